// Command demo shows Cyclone's main job on real parts and checks it from
// outside: a signed push delivery, a worker container, the five stages, the
// rollout and the mail. It exits 0 only if the registry, the Kubernetes API and
// the mailbox confirm what the event says.
//
// It is called by scripts/demo.sh, which builds what it needs.
package main

import (
	"context"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/lab"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := flag.String("root", ".", "the repository")
	cache := flag.String("cache", "", "folder that outlives the demo")
	kubeapi := flag.String("kubeapi", "", "the cached Kubernetes API server, if there is one")
	flag.Parse()
	d := &demo{root: *root, cache: *cache, kubeapi: *kubeapi}
	if err := d.run(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "\n\033[31mthe demo failed:\033[0m %v\n", err)
		os.Exit(1)
	}
}

type demo struct {
	root, cache, kubeapi string
	system               *lab.System
	target               *target
	event                string // its id
	lines                int64  // seen live
}

func say(format string, args ...any) { fmt.Printf("\033[36m==>\033[0m "+format+"\n", args...) }

// run starts everything, does the job, checks it and cleans up.
func (d *demo) run(ctx context.Context) (failed error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	system, err := lab.StartSystem(ctx, lab.SystemOptions{
		Bin: filepath.Join(d.root, "bin"), Cache: d.cache, Images: lab.BaseImages, Say: say,
	})
	defer func() { failed = errorsOf(failed, d.cleanUp(context.WithoutCancel(ctx))) }()
	if d.system = system; err != nil {
		return err
	}
	if d.target, err = startTarget(ctx, d.kubeapi, system.Bridge); err != nil {
		return err
	}
	say("Kubernetes API: %s", d.target.what)
	if err := d.target.apply(ctx, filepath.Join(d.root, "docs/examples/shop/k8s/shop.yml")); err != nil {
		return err
	}
	if d.event, err = d.push(ctx); err != nil {
		return err
	}
	status, err := system.Server.Follow(ctx, d.event, d.show)
	if err != nil {
		return err
	}
	return d.check(ctx, status)
}

// push connects the example as a project and delivers a signed push of it. It
// returns the event's id.
func (d *demo) push(ctx context.Context) (string, error) {
	files, err := read(filepath.Join(d.root, "docs/examples/shop"))
	if err != nil {
		return "", err
	}
	sha, err := d.system.Git.Commit(ctx, "shop", "main", "Sell tea and coffee", files)
	if err != nil {
		return "", err
	}
	server, url := d.system.Server, d.system.Git.URL("shop")
	if err := server.Call(ctx, "POST", "/api/v1/clusters", d.target.cluster(), nil); err != nil {
		return "", err
	}
	var project struct{ WebhookSecret string }
	err = server.Call(ctx, "POST", "/api/v1/projects", map[string]any{
		"name": "shop", "repository": map[string]any{"type": "github", "url": url},
		"notifications": map[string]any{"email": map[string]any{"recipients": []string{"team@example.com"}}},
	}, &project)
	if err != nil {
		return "", err
	}
	say("pushing %s of %s: a signed delivery to %s/api/v1/hooks/github/shop", sha[:7], url, server.URL)
	begun := time.Now()
	answer, err := server.Deliver(ctx, "shop", project.WebhookSecret, "push", lab.Push(url, "main", sha, "Sell tea and coffee"))
	if err != nil {
		return "", err
	}
	if len(answer.Events) != 1 {
		return "", fmt.Errorf("the delivery made no event: %s", answer.Ignored)
	}
	say("202 after %s: event %s; its log, live over the websocket:", time.Since(begun).Round(time.Millisecond), answer.Events[0])
	return answer.Events[0], nil
}

// show prints a line of the log as it arrives.
func (d *demo) show(l cyclone.Line) {
	d.lines = l.N
	colour := map[cyclone.Stream]string{cyclone.System: "\033[33m", cyclone.Stderr: "\033[2m"}[l.Stream]
	fmt.Printf("\033[2m%s %4d %-20s\033[0m %s%s\033[0m\n", l.Time.Local().Format("15:04:05.000"), l.N, l.Step, colour, l.Text)
}

// table prints the stages with their durations.
func table(e *cyclone.Event) {
	t := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "\nSTAGE\tSTATUS\tDURATION")
	for _, s := range e.Stages {
		took := ""
		if s.StartedAt != nil && s.FinishedAt != nil {
			took = s.FinishedAt.Sub(*s.StartedAt).Round(100 * time.Millisecond).String()
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", s.Name, s.Status, took)
	}
	_ = t.Flush() // standard output
	fmt.Println()
}

// cleanUp ends all that was started and says what is left, which is an error.
func (d *demo) cleanUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var failed error
	if d.event != "" {
		failed = lab.Gone(ctx, d.event)
	}
	if d.target != nil {
		d.target.stop()
	}
	return errorsOf(failed, d.system.Stop())
}

// read returns the files below a folder by their paths in it.
func read(folder string) (map[string][]byte, error) {
	files := map[string][]byte{}
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		files[strings.TrimPrefix(path, folder+"/")] = content
		return err
	})
	return files, err
}
