// Command cyclone-worker handles one event and exits. It is started with
// three values in its environment: CYCLONE_SERVER_URL, CYCLONE_WORKER_ID and
// CYCLONE_WORKER_TOKEN; CYCLONE_ENGINE_HOST makes it use an engine that runs
// already instead of one of its own. CYCLONE_CACHE_DIR and CYCLONE_WORK_DIR say
// what lasts between the events of a project: cached paths, and the data of the
// worker's own engine.
//
// Exit codes: 0 the server has the result; 1 it could not be delivered or
// there was no job; 2 wrong settings; 3 the attempt is over (another worker
// has the event, or the token is not accepted).
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"

	"cyclone/pkg/client"
	"cyclone/pkg/config"
	"cyclone/pkg/cyclone"
	"cyclone/pkg/deploy/kubernetes"
	"cyclone/pkg/engine/docker"
	"cyclone/pkg/scm/git"
	"cyclone/pkg/scm/svn"
	"cyclone/pkg/worker"
)

const (
	exitFailed   = 1
	exitSettings = 2
	exitOver     = 3

	ownSocket = "/run/docker.sock"
	ownData   = "/var/lib/docker"
)

// Set by the linker.
var (
	version = "unknown"
	commit  = "unknown"
)

func main() {
	if os.Getpid() == 1 {
		os.Exit(initProcess())
	}
	os.Exit(run(os.Args[1:]))
}

// settings are the worker's.
type settings struct {
	server, id, token, engine string
	cacheDir, workDir         string
}

// read reads the settings and takes the token out of the environment, which
// the engine and everything it starts would inherit.
func (s *settings) read(args []string) error {
	set := config.Set{Program: "cyclone-worker", Lookup: os.LookupEnv}
	set.Text(&s.server, "server-url", "", "the server: http(s)://host:port or unix:///path/server.sock")
	set.Text(&s.id, "worker-id", "", "this worker's id")
	set.Secret(&s.token, "worker-token", "this worker's one-time token")
	set.Text(&s.engine, "engine-host", "", "use this Docker engine (unix:///var/run/docker.sock) instead of an own one")
	set.Text(&s.cacheDir, "cache-dir", "", "the folder with the cached paths of the event's project; empty for none")
	set.Text(&s.workDir, "work-dir", "", "the folder for the source tree, where the own engine's data folder lasts between events; empty where it does not")
	for name, value := range map[string]*string{
		"CYCLONE_SERVER_URL": &s.server, "CYCLONE_WORKER_ID": &s.id, "CYCLONE_WORKER_TOKEN": &s.token,
	} {
		set.Check(func() error {
			if *value == "" {
				return fmt.Errorf("%s is not set; the server sets it when it starts a worker", name)
			}
			return nil
		})
	}
	err := set.Parse(args, os.Stdout)
	return errors.Join(err, os.Unsetenv("CYCLONE_WORKER_TOKEN"))
}

func run(args []string) int {
	if len(args) == 1 && args[0] == "--version" {
		fmt.Println("cyclone-worker", version, commit)
		return 0
	}
	var s settings
	if err := s.read(args); errors.Is(err, config.ErrHelp) {
		return 0
	} else if err != nil {
		fmt.Fprintln(os.Stderr, "cyclone-worker:", err)
		return exitSettings
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("worker", s.id)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	err := work(ctx, s, log)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, cyclone.ErrInvalid):
		log.Error("wrong settings", "error", err)
		return exitSettings
	case errors.Is(err, cyclone.ErrConflict), errors.Is(err, cyclone.ErrForbidden):
		log.Warn("the attempt is over", "error", err)
		return exitOver
	}
	log.Error("the event was not handled", "error", err)
	return exitFailed
}

// work wires the worker and runs it next to its connection.
func work(ctx context.Context, s settings, log *slog.Logger) error {
	host := s.engine
	if host == "" {
		host = "unix://" + ownSocket
	}
	api, err := docker.New(host)
	if err != nil {
		return err
	}
	defer func() { _ = api.Close() }() // nothing is in flight any more
	server, err := client.NewWorker(s.server, cyclone.WorkerID(s.id), s.token)
	if err != nil {
		return err
	}
	dir, err := folder(s.workDir, s.engine == "")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // the launcher removes what is left
	server.Log, server.SpillDir = log, dir

	engine := worker.NewEngine(ownSocket, api.Ready, log)
	if s.engine != "" {
		engine = worker.SharedEngine(api.Ready, log)
	} else if s.workDir != "" {
		engine.Data = api
	}
	w := &worker.Worker{
		Server: server, Engine: engine, Containers: api, Images: api.Images(), Networks: api,
		Cloner: cloner, Deployer: &kubernetes.Deployer{}, Dir: dir, Log: log,
	}
	if s.cacheDir != "" {
		w.Cache = &worker.Cache{Dir: s.cacheDir, Direct: s.engine != ""}
	}
	var connected sync.WaitGroup
	defer connected.Wait()
	defer server.Close()
	// The connection outlives ctx: the result still has to be told.
	connected.Go(func() { _ = server.Run(context.WithoutCancel(ctx)) }) // server.Err says why it ended
	return w.Run(ctx)
}

// folder makes the folder of the source tree. With an own engine whose volume
// goes with the container it is there: that disk is the fast one.
func folder(parent string, own bool) (string, error) {
	if parent == "" && own {
		parent = filepath.Join(ownData, "cyclone")
		if err := os.MkdirAll(parent, 0o755); err != nil { //#nosec G301 -- steps of any user must get through
			return "", fmt.Errorf("make the worker's folder: %w", err)
		}
	}
	dir, err := os.MkdirTemp(parent, "cyclone-worker-")
	if err != nil {
		return "", fmt.Errorf("make the worker's folder: %w", err)
	}
	return dir, nil
}

// cloner returns what clones repositories of a type.
func cloner(repositoryType string) (cyclone.Cloner, error) {
	switch repositoryType {
	case "github", "gitlab", "gitea", "git":
		return &git.Cloner{}, nil
	case "svn":
		return &svn.Cloner{}, nil
	}
	return nil, cyclone.Invalid("repository.type", "this worker cannot clone repositories of type %q", repositoryType)
}
