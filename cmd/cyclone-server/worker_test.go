package main

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"cyclone/pkg/client"
	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest"
	"cyclone/pkg/engine/docker"
	"cyclone/pkg/worker"
)

// asServer makes the test binary be cyclone-server, for what only a process
// has: an exit code.
const asServer = "CYCLONE_TEST_AS_SERVER"

// TestMain lets the test binary play three parts: a server started by a test,
// a worker started by the server that is tested, and the tests.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv(asServer) != "":
		main()
		os.Exit(0)
	case os.Getenv("CYCLONE_WORKER_ID") != "":
		os.Exit(beWorker())
	}
	os.Exit(m.Run())
}

// beWorker is cyclone-worker with another engine: the connection, the stages
// and the log are the real ones, the containers are processes.
func beWorker() int {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := work(ctx, os.Getenv("CYCLONE_ENGINE_HOST"), log); err != nil {
		log.Error("the event was not handled", "error", err)
		return 1
	}
	return 0
}

func work(ctx context.Context, host string, log *slog.Logger) error {
	shared, err := docker.New(host)
	if err != nil {
		return err
	}
	defer shared.Close()
	server, err := client.NewWorker(os.Getenv("CYCLONE_SERVER_URL"), cyclone.WorkerID(os.Getenv("CYCLONE_WORKER_ID")), os.Getenv("CYCLONE_WORKER_TOKEN"))
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "worker-")
	if err != nil {
		return err
	}
	server.Log, server.SpillDir = log, dir
	containers := containers()
	w := &worker.Worker{
		Server: server, Engine: worker.SharedEngine(shared.Ready, log), Containers: containers, Images: containers.Images(), Networks: containers,
		Cloner: func(string) (cyclone.Cloner, error) {
			return &repository{filepath.Join(filepath.Dir(strings.TrimPrefix(host, "unix://")), "repository")}, nil
		},
		Deployer: &cyclonetest.Cluster{}, Dir: dir, Log: log,
	}
	var connected sync.WaitGroup
	defer connected.Wait()
	defer server.Close()
	connected.Go(func() { _ = server.Run(context.WithoutCancel(ctx)) }) // server.Err says why it ended
	if err := w.Run(ctx); err != nil {
		return err
	}
	if left := containers.Left(); len(left) > 0 {
		return fmt.Errorf("left on the engine: %v", left)
	}
	return nil
}

// containers is an engine that runs shells as processes and a database that is
// healthy until it is stopped.
func containers() *cyclonetest.Engine {
	return &cyclonetest.Engine{
		Remote: map[string]cyclone.ImageInfo{"golang:1.26": {}, "busybox:1": {}, "postgres:17": {Healthcheck: true}},
		Info:   map[string]cyclone.ContainerInfo{"postgres:17": {Health: "healthy"}},
		Programs: map[string]func(context.Context, cyclone.ContainerSpec, cyclone.Output) (cyclone.Exit, error){
			"postgres:17": func(ctx context.Context, _ cyclone.ContainerSpec, out cyclone.Output) (cyclone.Exit, error) {
				out.Write(cyclone.Stderr, []byte("database system is ready to accept connections\n"))
				<-ctx.Done()
				return cyclone.Exit{Code: 0}, nil
			},
		},
	}
}

// repository is a repository in a folder that has every commit one asks for.
type repository struct{ folder string }

// Clone implements cyclone.Cloner.
func (r *repository) Clone(ctx context.Context, spec cyclone.CloneSpec, out cyclone.Output) (cyclone.Commit, error) {
	source := cyclonetest.Source{Commit: cyclone.Commit{SHA: spec.SHA}, Files: map[string]string{}}
	err := filepath.WalkDir(r.folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(r.folder, path)
		source.Files[name] = string(text)
		return err
	})
	if err != nil {
		return cyclone.Commit{}, err
	}
	return source.Clone(ctx, spec, out)
}
