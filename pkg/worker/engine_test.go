package worker_test

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

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

// TestHalfAnEngineDies: containerd is killed by SIGKILL, and what it started
// holds its output open. dockerd must not keep anybody waiting.
func TestHalfAnEngineDies(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	e := daemon(t, "echo $$ > "+dir+"/dockerd.pid; exec sleep 60")
	e.Containerd = filepath.Join(dir, "containerd")
	script := "#!/bin/sh\nsleep 30 &\necho $! > " + dir + "/shim.pid\necho 'out of luck' >&2\nread x < " + fifo + "\nkill -KILL $$\n"
	if err := os.WriteFile(e.Containerd, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, "pre_build:\n  image: alpine\n  commands: ['echo first; echo > \"$FIFO\"', 'sleep 20']\n", nil)
	r.server.job.Variables["FIFO"] = fifo
	r.docker = e
	begin := time.Now()
	result := r.run(t)
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
	if result.Status != cyclone.StatusError || !strings.HasPrefix(result.Reason, "the Docker engine died: "+e.Containerd+": signal: killed") ||
		!strings.Contains(result.Reason, "out of luck") {
		t.Errorf("%s: %s", result.Status, result.Reason)
	}
	if !strings.Contains(r.server.log(), "pre_build| first\n") {
		t.Errorf("the log is not complete:\n%s", r.server.log())
	}
	if pid := pidIn(t, filepath.Join(dir, "dockerd.pid")); syscall.Kill(pid, 0) == nil {
		t.Error("dockerd was left behind")
	}
	_ = syscall.Kill(pidIn(t, filepath.Join(dir, "shim.pid")), syscall.SIGKILL) // ours, and of no more use
}

func pidIn(t *testing.T, path string) int {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}
