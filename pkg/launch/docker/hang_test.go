package docker_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
	launch "cyclone/pkg/launch/docker"
)

// hung is the address of an engine that takes every question and answers none.
func hung(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "docker.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan net.Conn, 100)
	go func() {
		defer close(accepted)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		for c := range accepted {
			_ = c.Close() // the other end may have closed it
		}
	})
	return "unix://" + path
}

// An engine that never answers takes no longer than the caller allows, whatever
// it is asked for, and what cannot start a worker is the node's fault.
func TestEngineThatNeverAnswers(t *testing.T) {
	const allowed = 200 * time.Millisecond
	l := &launch.Launcher{Host: hung(t), Image: "worker:1", ServerID: "s", ServerURL: "http://server", Node: "local"}
	calls := map[string]func(context.Context) error{
		"ready":   l.Ready,
		"launch":  func(ctx context.Context) error { return l.Launch(ctx, cyclone.WorkerSpec{ID: "w-1", CPUs: 1}) },
		"remove":  func(ctx context.Context) error { return l.Remove(ctx, "w-1") },
		"workers": func(ctx context.Context) error { _, err := l.Workers(ctx); return err },
		"disk":    func(ctx context.Context) error { _, err := l.Disk(ctx); return err },
		"sweep":   func(ctx context.Context) error { return l.Sweep(ctx, func(cyclone.WorkerID) bool { return true }) },
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, stop := context.WithTimeout(t.Context(), allowed)
			defer stop()
			begun := time.Now()
			err := call(ctx)
			if took := time.Since(begun); err == nil || took > 10*allowed {
				t.Errorf("%v after %s", err, took)
			}
			if name == "ready" && !errors.Is(err, cyclone.ErrUnavailable) {
				t.Errorf("error is %v", err)
			}
		})
	}
}
