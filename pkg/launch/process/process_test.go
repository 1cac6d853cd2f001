package process_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/launch/process"
)

// fakeEngine is an engine that is up or down and keeps what it was told to sweep.
type fakeEngine struct {
	mu    sync.Mutex
	swept []map[string]string
	err   error
}

func (e *fakeEngine) Ready(context.Context) error { return e.err }

func (e *fakeEngine) Sweep(_ context.Context, labels map[string]string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.swept = append(e.swept, labels)
	return e.err
}

// launcher makes a launcher whose worker is a shell script. What it left is
// removed when the test ends.
func launcher(t *testing.T, script string) (*process.Launcher, *fakeEngine) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "worker")
	if err := os.WriteFile(binary, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	engine := &fakeEngine{}
	l := &process.Launcher{Binary: binary, Dir: filepath.Join(t.TempDir(), "workers"), ServerURL: "http://127.0.0.1:7099",
		EngineHost: "unix:///var/run/docker.sock", Engine: engine, Node: "here"}
	t.Cleanup(func() {
		list, err := l.Workers(context.Background())
		for _, w := range list {
			err = errors.Join(err, l.Remove(context.Background(), w.ID))
		}
		if err != nil {
			t.Error(err)
		}
	})
	return l, engine
}

var spec = cyclone.WorkerSpec{ID: "w-1", Event: "e-1", Project: "orders", Attempt: 1, Token: "secret-token"}

func launch(t *testing.T, l *process.Launcher) {
	t.Helper()
	if err := l.Launch(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
}

// only returns the state of the one worker there is.
func only(t *testing.T, l *process.Launcher) cyclone.WorkerState {
	t.Helper()
	list, err := l.Workers(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatalf("workers %+v, %v", list, err)
	}
	return list[0]
}

// text waits for a file that the worker writes.
func text(t *testing.T, l *process.Launcher, name string) string {
	t.Helper()
	path := filepath.Join(l.Dir, string(spec.ID), "work", name)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if b, err := os.ReadFile(path); err == nil && strings.HasSuffix(string(b), "\n") {
			return strings.TrimSpace(string(b))
		}
		if time.Now().After(deadline) {
			t.Fatalf("the worker did not write %s", name)
		}
	}
}

// running reports whether a process exists and is not a zombie.
func running(t *testing.T, pid string) bool {
	t.Helper()
	b, err := os.ReadFile("/proc/" + pid + "/stat")
	return err == nil && !strings.Contains(string(b), ") Z ")
}

func TestWorkerGetsItsEnvironmentAndNothingElse(t *testing.T) {
	t.Setenv("SERVER_ONLY", "not for workers")
	l, _ := launcher(t, "env >env.tmp; mv env.tmp env; sleep 300")
	l.Environment = []string{"LANG=C.UTF-8"}
	launch(t, l)
	dir := filepath.Join(l.Dir, "w-1")
	got := strings.Split(text(t, l, "env"), "\n")
	slices.Sort(got)
	got = slices.DeleteFunc(got, func(v string) bool { return strings.HasPrefix(v, "_=") || strings.HasPrefix(v, "OLDPWD=") })
	want := []string{
		"CYCLONE_ENGINE_HOST=unix:///var/run/docker.sock", "CYCLONE_SERVER_URL=http://127.0.0.1:7099",
		"CYCLONE_WORKER_ID=w-1", "CYCLONE_WORKER_TOKEN=secret-token", "HOME=" + dir + "/work", "LANG=C.UTF-8",
		"PATH=" + process.DefaultPath, "PWD=" + dir + "/work", "TMPDIR=" + dir + "/tmp",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	state, err := os.ReadFile(filepath.Join(dir, "worker.json"))
	if err != nil || strings.Contains(string(state), "secret-token") {
		t.Errorf("state %s, %v", state, err)
	}
}

func TestRemoveEndsEverythingAWorkerStarted(t *testing.T) {
	// One child begins a process group of its own, one ignores SIGTERM.
	l, engine := launcher(t, `sleep 300 & echo $! >child; set -m; (trap "" TERM; while :; do sleep 1; done) & echo $! >stubborn
trap 'kill -9 $(cat stubborn); exit 0' TERM; echo $$ >self; while :; do sleep 0.05; done`)
	launch(t, l)
	pids := []string{text(t, l, "self"), text(t, l, "child"), text(t, l, "stubborn")}
	if w := only(t, l); !w.Running || w.Event != "e-1" {
		t.Errorf("state %+v", w)
	}
	if err := l.Launch(t.Context(), spec); !errors.Is(err, cyclone.ErrConflict) {
		t.Errorf("second launch: %v", err)
	}
	if err := l.Remove(t.Context(), "w-1"); err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		if running(t, pid) {
			t.Errorf("process %s still runs", pid)
		}
	}
	if _, err := os.Stat(filepath.Join(l.Dir, "w-1")); err == nil {
		t.Error("the directory is still there")
	}
	if err := l.Remove(t.Context(), "w-1"); err != nil {
		t.Errorf("second removal: %v", err)
	}
	if diff := cmp.Diff(map[string]string{cyclone.LabelWorker: "w-1"}, engine.swept[0]); diff != "" {
		t.Error(diff)
	}
}

func TestRemoveKillsWhatIgnoresTermination(t *testing.T) {
	l, _ := launcher(t, `trap "" TERM; echo $$ >self; while :; do sleep 1; done`)
	launch(t, l)
	pid := text(t, l, "self")
	// A context that ends cuts the patience short, not the removal.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Remove(ctx, "w-1"); err != nil || running(t, pid) {
		t.Errorf("error %v, running %v", err, running(t, pid))
	}
}

func TestDeadWorkerSaysWhy(t *testing.T) {
	for script, want := range map[string]string{
		"echo cannot connect >&2; exit 9": "exited with 9; it last said:\ncannot connect",
		"kill -9 $$":                      "was ended by a signal: killed",
	} {
		t.Run(want, func(t *testing.T) {
			l, _ := launcher(t, script)
			launch(t, l)
			deadline := time.Now().Add(10 * time.Second)
			for only(t, l).Running && time.Now().Before(deadline) {
				time.Sleep(5 * time.Millisecond)
			}
			if w := only(t, l); w.Running || w.Detail != "the worker process "+want {
				t.Errorf("state %+v", w)
			}
		})
	}
}

func TestRestartedServerFindsItsWorkers(t *testing.T) {
	l, engine := launcher(t, "echo $$ >self; sleep 300")
	launch(t, l)
	pid := text(t, l, "self")
	restarted := &process.Launcher{Binary: l.Binary, Dir: l.Dir, Engine: engine}
	if w := only(t, restarted); !w.Running || w.ID != "w-1" || w.Event != "e-1" {
		t.Errorf("state %+v", w)
	}
	if err := restarted.Remove(t.Context(), "w-1"); err != nil || running(t, pid) {
		t.Errorf("error %v, running %v", err, running(t, pid))
	}
}

// TestStartThatWasCutShort is a server that died between starting a worker and
// noting its number: the number is taken out of the state.
func TestStartThatWasCutShort(t *testing.T) {
	l, _ := launcher(t, "echo $$ >self; sleep 300")
	launch(t, l)
	pid := text(t, l, "self")
	rewrite(t, l, `{"worker":"w-1","event":"e-1"}`)
	if w := only(t, l); !w.Running {
		t.Errorf("state %+v", w)
	}
	if err := l.Remove(t.Context(), "w-1"); err != nil || running(t, pid) {
		t.Errorf("error %v, running %v", err, running(t, pid))
	}
}

func rewrite(t *testing.T, l *process.Launcher, state string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(l.Dir, "w-1", "worker.json"), []byte(state), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestNumberUsedAgain is a worker of before whose process number belongs to
// somebody else now: here, to a process of this test.
func TestNumberUsedAgain(t *testing.T) {
	stranger, err := os.StartProcess("/bin/sleep", []string{"sleep", "300"}, &os.ProcAttr{Sys: &syscall.SysProcAttr{Setsid: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := stranger.Kill(); err != nil {
			t.Errorf("the stranger is gone: %v", err)
		}
		_, _ = stranger.Wait() // says that it was killed
	}()
	l, _ := launcher(t, "exit 0")
	launch(t, l)
	for _, boot := range []string{"another start of the machine", bootID(t)} {
		rewrite(t, l, fmt.Sprintf(`{"worker":"w-1","event":"e-1","process":{"pid":%d,"start":"12345","boot":%q}}`, stranger.Pid, boot))
		if w := only(t, l); w.Running {
			t.Errorf("state %+v", w)
		}
	}
	if err := l.Remove(t.Context(), "w-1"); err != nil {
		t.Fatal(err)
	}
	if !running(t, strconv.Itoa(stranger.Pid)) {
		t.Error("the stranger was ended")
	}
}

func bootID(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func TestLaunchThatFailsLeavesNothing(t *testing.T) {
	l, _ := launcher(t, "exit 0")
	l.Binary = "/no/such/cyclone-worker"
	if err := l.Launch(t.Context(), spec); err == nil || !strings.Contains(err.Error(), l.Binary) {
		t.Errorf("error %v", err)
	}
	if list, err := l.Workers(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("workers %+v, %v", list, err)
	}
	bad := spec
	for _, id := range []cyclone.WorkerID{"", "..", "a/b"} {
		bad.ID = id
		if err := l.Launch(t.Context(), bad); !errors.Is(err, cyclone.ErrInvalid) {
			t.Errorf("id %q: %v", id, err)
		}
	}
}

func TestReady(t *testing.T) {
	l, engine := launcher(t, "exit 0")
	if err := l.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	engine.err = errors.New("docker engine does not answer")
	wantUnready(t, l, "docker engine does not answer")
	engine.err = nil
	l.Binary = "/no/such/cyclone-worker"
	wantUnready(t, l, "make build")
	l.Binary, l.Dir = "/bin/sh", "/proc/no/such"
	wantUnready(t, l, "directory")
	l.Dir = t.TempDir()
}

func wantUnready(t *testing.T, l *process.Launcher, want string) {
	t.Helper()
	if err := l.Ready(t.Context()); !errors.Is(err, cyclone.ErrUnavailable) || !strings.Contains(err.Error(), want) {
		t.Errorf("ready: %v, want %q", err, want)
	}
}

func TestDisk(t *testing.T) {
	l, _ := launcher(t, "exit 0")
	if d, err := l.Disk(t.Context()); err != nil || d.Free <= 0 || d.Total < d.Free {
		t.Errorf("%+v, %v", d, err)
	}
}
