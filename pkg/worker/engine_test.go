package worker_test

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/worker"
)

// daemon returns an engine whose dockerd is a shell script; its socket answers.
func daemon(t *testing.T, script string) *worker.Engine {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "dockerd")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "docker.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	e := worker.NewEngine(socket, func(context.Context) error { return nil }, slog.New(slog.DiscardHandler))
	e.Dockerd, e.Containerd, e.Run, e.Root = program, "", dir, dir
	return e
}

func TestEngineStarts(t *testing.T) {
	out := filepath.Join(t.TempDir(), "arguments")
	e := daemon(t, `echo "$@" > "`+out+`"; exec sleep 60`)
	err := e.Start(t.Context(), cyclone.EngineConfig{RegistryMirror: "http://mirror.test:5000", InsecureRegistries: []string{"a.test", "b.test"}})
	if err != nil {
		t.Fatal(err)
	}
	var text []byte
	for len(text) == 0 { // until the script has begun
		text, _ = os.ReadFile(out)
	}
	for _, want := range []string{"--registry-mirror http://mirror.test:5000", "--insecure-registry a.test --insecure-registry b.test", "--storage-driver overlay2"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("dockerd %s lacks %s", text, want)
		}
	}
	e.Stop()
	if e.Err() == nil {
		t.Error("a stopped engine says that it runs")
	}
}

func TestEngineThatCannotStart(t *testing.T) {
	e := daemon(t, "echo 'failed to mount overlay: operation not permitted' >&2; exit 1")
	e.Ready = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	r := newRig(t, "pre_build:\n  image: alpine\n  commands: ['true']\n", nil)
	r.docker = e
	result := r.run(t)
	if result.Status != cyclone.StatusError || !strings.Contains(result.Reason, "operation not permitted") || !strings.Contains(result.Reason, "exit status 1") {
		t.Errorf("%s: %s", result.Status, result.Reason)
	}
}

func TestEngineDiesDuringAStep(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, "pre_build:\n  image: alpine\n  commands: ['echo > \"$FIFO\"', 'sleep 20']\n", nil)
	r.server.job.Variables["FIFO"] = fifo
	r.docker = daemon(t, "read x < "+fifo+"; echo 'fatal: it broke' >&2; exit 2")
	result := r.run(t)
	if result.Status != cyclone.StatusError || !strings.HasPrefix(result.Reason, "the Docker engine died: ") ||
		!strings.Contains(result.Reason, "fatal: it broke") {
		t.Errorf("%s: %s", result.Status, result.Reason)
	}
}
