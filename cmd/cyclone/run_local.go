//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/deploy/kubernetes"
	"cyclone/pkg/engine/docker"
	"cyclone/pkg/local"
	"cyclone/pkg/scm/git"
	runner "cyclone/pkg/worker"
)

const (
	cleanTime = 30 * time.Second // for removing what a run has made
	killTime  = 5 * time.Second  // from killing everything to leaving
)

// localRun is one run of this program's.
type localRun struct {
	app    *app
	flags  *runFlags
	src    *local.Source
	run    *local.Run
	last   *local.Last // nil without a folder for it
	folder string      // what is kept of the repository; empty for nothing
}

// openFolder finds what is kept between the repository's runs. Without a home
// nothing is.
func (l *localRun) openFolder() error {
	caches, err := os.UserCacheDir()
	if err != nil {
		return nil
	}
	l.folder = local.Folder(caches, l.src.Root)
	l.last, err = local.OpenLast(l.folder)
	return err
}

// plan prints what the run would do.
func (l *localRun) plan(ctx context.Context) error {
	owner, err := local.NewOwner()
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(owner.Dir) }() // a temporary folder that no step has written to
	planner := local.NewPlanner(l.run, owner.Dir)
	server := local.NewServer(l.run.Job, &local.Files{}, planner)
	w := &runner.Worker{
		Server: server, Engine: runner.SharedEngine(func(context.Context) error { return nil }, slog.New(slog.DiscardHandler)),
		Containers: planner, Images: planner.Images(), Networks: planner, Deployer: planner, Cloner: l.cloner,
		Dir: owner.Dir, Local: &runner.Local{NoPush: noPush, Plan: planner.Container}, Log: slog.New(slog.DiscardHandler),
	}
	if err := w.Run(ctx); err != nil {
		return err
	}
	report, result := server.Outcome()
	if result.Status != cyclone.StatusSuccess {
		for _, line := range planner.Lines {
			if err := l.app.printf("%s\n", line); err != nil {
				return err
			}
		}
		return errSilent
	}
	plan := planner.Plan(l.src, report, l.flags.options.Deploy)
	if l.app.json {
		return l.app.printJSON(plan)
	}
	return l.app.printf("%s\n", plan.Text())
}

const noPush = "--push is not given"

// cloner makes the copy of the source.
func (l *localRun) cloner(string) (cyclone.Cloner, error) {
	if l.src.Ref != "" {
		return local.Ref{Source: l.src, Git: &git.Cloner{Files: true}}, nil
	}
	return local.Tree{Source: l.src}, nil
}

// execute runs the pipeline.
func (l *localRun) execute(ctx context.Context) error {
	api, err := l.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = api.Close() }() // nothing is in flight any more
	if err := l.needImages(ctx, api); err != nil {
		return err
	}
	if l.run.Job.Registries, err = local.Logins(ctx, l.dockerConfig()); err != nil {
		return err
	}
	owner, err := local.NewOwner()
	if err != nil {
		return err
	}
	printer := local.NewPrinter(l.app.out, l.style(), l.run)
	keeper := &local.Keeper{Containers: api, Networks: api, Images: api.Images(), Engine: api, Owner: owner, Keep: l.flags.keep}
	files := &local.Files{Artifacts: l.flags.artifacts, Last: l.last}
	server := local.NewServer(l.run.Job, files, printer)
	log := slog.New(slog.NewTextHandler(warnings{printer}, &slog.HandlerOptions{Level: slog.LevelWarn, ReplaceAttr: withoutTime}))
	w := &runner.Worker{
		Server: server, Engine: runner.SharedEngine(api.Ready, log),
		Containers: keeper, Images: api.Images(), Networks: keeper, Deployer: &kubernetes.Deployer{}, Cloner: l.cloner,
		Dir: owner.Dir, Local: &runner.Local{Labels: owner.Labels(), NoPush: noPush}, Log: log,
	}
	if l.folder != "" && !l.flags.noCache {
		// Copied: an overlay could only be mounted by root, and a crash would
		// leave it mounted.
		w.Cache = &runner.Cache{Dir: filepath.Join(l.folder, "cache"), Direct: true}
	}
	begun := time.Now()
	var sweeping sync.WaitGroup
	sweeping.Go(func() {
		if err := local.Sweep(ctx, api); err != nil && ctx.Err() == nil {
			printer.Warn(err.Error())
		}
	})
	failed := l.supervise(ctx, w, server, keeper, printer)
	_, result := server.Outcome()
	kept, err := l.settle(server, keeper, printer)
	sweeping.Wait()
	printer.Summary(l.run, server, time.Since(begun))
	for _, line := range kept.Lines() {
		printer.Say("%s", line)
	}
	if err := errors.Join(err, failed, printer.Close()); err != nil {
		return err
	}
	if result.Status != cyclone.StatusSuccess {
		return errSilent
	}
	return nil
}

// dockerConfig is where the docker client has its settings.
func (l *localRun) dockerConfig() string {
	if dir := l.app.getenv("DOCKER_CONFIG"); dir != "" {
		return filepath.Join(dir, "config.json")
	}
	return filepath.Join(l.app.getenv("HOME"), ".docker", "config.json")
}

// connect returns the person's engine once it has answered.
func (l *localRun) connect(ctx context.Context) (*docker.Engine, error) {
	host := l.app.getenv("DOCKER_HOST")
	if host == "" {
		host = docker.DefaultHost
	}
	api, err := docker.New(host)
	if err != nil {
		return nil, usage("DOCKER_HOST: %v", err)
	}
	ready, cancel := context.WithTimeout(ctx, engineWait)
	defer cancel()
	if err := api.Ready(ready); err != nil {
		_ = api.Close() // it never was open
		return nil, noEngine(host, err)
	}
	return api, nil
}

// needImages looks for the images that earlier runs have built.
func (l *localRun) needImages(ctx context.Context, api *docker.Engine) error {
	for _, image := range l.run.Job.Images {
		_, err := api.Images().Inspect(ctx, image.Ref())
		if errors.Is(err, cyclone.ErrNotFound) {
			return usage("the image %s of the last local run is no longer on the engine; run its build stage first", image.Ref())
		}
		if err != nil {
			return fmt.Errorf("look for the image of the last local run: %v", err)
		}
	}
	return nil
}

// supervise runs the worker, and ends it when somebody interrupts: gently at
// first, at once the second time.
func (l *localRun) supervise(ctx context.Context, w *runner.Worker, server *local.Server, keeper *local.Keeper, printer *local.Printer) error {
	signals := make(chan os.Signal, 4)
	// Somebody who reads no more of the output, or closes the terminal, ends
	// the run too; without this it would end without cleaning up.
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	defer signal.Stop(signals)
	done := make(chan error, 1)
	steady := context.WithoutCancel(ctx)
	go func() { done <- w.Run(steady) }()
	interrupted, told := ctx.Done(), 0
	interrupt := func() {
		switch told++; told {
		case 1:
			printer.Say("Interrupted: stopping what runs; once more to kill it at once")
			server.Cancel("interrupted")
		case 2:
			printer.Say("Killing what runs")
			kill, cancel := context.WithTimeout(steady, killTime)
			defer cancel()
			if err := keeper.Kill(kill); err != nil {
				printer.Warn(err.Error())
			}
			time.AfterFunc(killTime, func() { done <- errors.New("the run did not end after it was killed") })
		}
	}
	for {
		select {
		case err := <-done:
			return err
		case <-interrupted:
			interrupted = nil
			if told == 0 {
				interrupt()
			}
		case <-signals:
			interrupt()
		}
	}
}

// settle removes what the run has made, or returns what is kept.
func (l *localRun) settle(server *local.Server, keeper *local.Keeper, printer *local.Printer) (*local.Kept, error) {
	ctx, cancel := context.WithTimeout(context.Background(), cleanTime)
	defer cancel()
	report, result := server.Outcome()
	failed := result.Status != cyclone.StatusSuccess && result.Status != cyclone.StatusCanceled && result.Status != ""
	kept, err := keeper.Close(ctx, failed)
	if err != nil {
		printer.Warn(err.Error())
	}
	if l.last == nil {
		return kept, nil
	}
	return kept, l.last.Keep(l.run.Job.Event.ID, report)
}

// style says what standard output can show.
func (l *localRun) style() local.Style {
	f, isFile := l.app.out.(*os.File)
	columns := func() int { return 80 }
	onTerminal := false
	if isFile {
		size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
		onTerminal = err == nil && l.app.getenv("TERM") != "dumb"
		if onTerminal && size.Col > 0 {
			columns = func() int {
				if now, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && now.Col > 0 {
					return int(now.Col)
				}
				return int(size.Col)
			}
		}
	}
	s := local.Style{Columns: columns, Unicode: l.utf8()}
	s.Live = onTerminal && !l.flags.plain
	switch {
	case l.flags.plain, l.flags.color == "never":
	case l.flags.color == "always":
		s.Colours = true
	default:
		s.Colours = onTerminal && l.app.getenv("NO_COLOR") == ""
	}
	return s
}

// utf8 reports whether the locale is one of UTF-8.
func (l *localRun) utf8() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if value := strings.ToLower(l.app.getenv(name)); value != "" {
			return strings.Contains(value, "utf-8") || strings.Contains(value, "utf8")
		}
	}
	return false
}

// warnings prints what the worker logs.
type warnings struct{ printer *local.Printer }

// Write implements io.Writer.
func (w warnings) Write(p []byte) (int, error) {
	w.printer.Warn(strings.TrimSpace(strings.TrimPrefix(string(p), "level=WARN msg=")))
	return len(p), nil
}

func withoutTime(groups []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey && len(groups) == 0 {
		return slog.Attr{}
	}
	return a
}
