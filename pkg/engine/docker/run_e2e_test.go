//go:build e2e

package docker_test

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
)

func TestRunReportsExitAndKeepsOrder(t *testing.T) {
	e, labels := engine(t)
	id := create(t, e, labels, "echo $GREETING; pwd; sleep 0.1; echo oops >&2; sleep 0.1; printf 'no newline'; exit 7", func(s *cyclone.ContainerSpec) {
		s.Environment = []string{"GREETING=hello"}
		s.WorkingDir = "/tmp/work"
	})
	var out recorder
	exit, err := e.Run(t.Context(), id, &out)
	if err != nil {
		t.Fatal(err)
	}
	if want := (cyclone.Exit{Code: 7}); exit != want {
		t.Errorf("exit %+v, want %+v", exit, want)
	}
	if want := "hello\n/tmp/work\noops\nno newline"; out.String() != want {
		t.Errorf("output %q, want %q", out.String(), want)
	}
	if got := out.of(cyclone.Stderr); got != "oops\n" {
		t.Errorf("stderr %q", got)
	}
	info, err := e.Inspect(t.Context(), id)
	if err != nil || info.Running || info.Exit.Code != 7 {
		t.Errorf("inspect: %+v, %v", info, err)
	}
}

// lineCounter checks that numbered lines arrive in order, at the speed of a
// consumer that looks at every byte.
type lineCounter struct {
	rest []byte
	next int
	bad  string
}

func (c *lineCounter) Write(_ cyclone.Stream, p []byte) {
	c.rest = append(c.rest, p...)
	for {
		line, after, found := strings.Cut(string(c.rest[:min(len(c.rest), 64)]), "\n")
		_ = after
		if !found {
			return
		}
		c.next++
		if line != fmt.Sprint(c.next) && c.bad == "" {
			c.bad = fmt.Sprintf("line %d is %q", c.next, line)
		}
		c.rest = c.rest[len(line)+1:]
	}
}

func TestRunCarriesAMillionLines(t *testing.T) {
	const lines = 1_000_000
	e, labels := engine(t)
	id := create(t, e, labels, fmt.Sprintf("seq 1 %d", lines), nil)
	var got lineCounter
	begin := time.Now()
	if _, err := e.Run(t.Context(), id, &got); err != nil {
		t.Fatal(err)
	}
	ours := time.Since(begin)
	if got.next != lines || got.bad != "" || len(got.rest) > 0 {
		t.Errorf("%d lines, %q, rest %q", got.next, got.bad, got.rest)
	}
	theirs := dockerLogs(t, busybox(t, e), lines)
	t.Logf("Run took %v for %d lines, docker run and docker logs took %v: ratio %.2f", ours, lines, theirs, theirs.Seconds()/ours.Seconds())
	if ours > 2*theirs {
		t.Errorf("Run took %v, more than twice the %v of docker logs", ours, theirs)
	}
}

// dockerLogs measures `docker logs -f` of a container that prints lines.
func dockerLogs(t *testing.T, image string, lines int) time.Duration {
	t.Helper()
	begin := time.Now()
	id, err := exec.Command("docker", "run", "-d", image, "seq", "1", fmt.Sprint(lines)).Output()
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimSpace(string(id))
	defer func() { _ = exec.Command("docker", "rm", "-f", name).Run() }() // a leftover of a failed test only
	logs := exec.Command("docker", "logs", "-f", name)
	out, err := logs.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := logs.Start(); err != nil {
		t.Fatal(err)
	}
	n := 0
	for s := bufio.NewScanner(out); s.Scan(); {
		n++
	}
	if err := logs.Wait(); err != nil || n != lines {
		t.Fatalf("docker logs: %d lines, %v", n, err)
	}
	return time.Since(begin)
}

// runUntil runs a container and cancels it once its output holds a text.
func runUntil(t *testing.T, script, text string) (cyclone.Exit, string, time.Duration, error) {
	t.Helper()
	e, labels := engine(t)
	id := create(t, e, labels, script, nil)
	ctx, cancel := context.WithCancelCause(t.Context())
	var canceled atomic.Int64
	out := recorder{}
	out.notify = func(all string) {
		if strings.Contains(all, text) && canceled.CompareAndSwap(0, time.Now().UnixNano()) {
			cancel(errWhy)
		}
	}
	exit, err := e.Run(ctx, id, &out)
	return exit, out.String(), time.Since(time.Unix(0, canceled.Load())), err
}

func TestRunStopsTheCommandOfAShell(t *testing.T) {
	exit, out, took, err := runUntil(t, "echo started; sleep 300; echo not reached", "started")
	if !errors.Is(err, errWhy) {
		t.Errorf("error %v", err)
	}
	if exit.Code != 143 || exit.Signal != "SIGTERM" || took > 8*time.Second {
		t.Errorf("exit %+v after %v", exit, took)
	}
	if strings.Contains(out, "not reached") {
		t.Errorf("output %q", out)
	}
}

func TestRunLetsACommandCleanUp(t *testing.T) {
	exit, out, _, err := runUntil(t, `trap 'echo cleaning; sleep 1; echo clean; exit 3' TERM; echo started; while :; do sleep 0.1 || :; done`, "started")
	if !errors.Is(err, errWhy) || exit.Code != 3 || !strings.Contains(out, "cleaning\nclean\n") {
		t.Errorf("exit %+v, error %v, output %q", exit, err, out)
	}
}

func TestRunKillsWhatIgnoresTermination(t *testing.T) {
	exit, _, took, err := runUntil(t, `trap '' TERM; echo started; while :; do sleep 1; done`, "started")
	if !errors.Is(err, errWhy) || exit.Code != 137 || exit.Signal != "SIGKILL" {
		t.Errorf("exit %+v, error %v", exit, err)
	}
	if took < 9*time.Second || took > 20*time.Second {
		t.Errorf("took %v, want about 10s", took)
	}
}

// TestRemoveEndsWhatIgnoresTermination: services are removed while they run.
func TestRemoveEndsWhatIgnoresTermination(t *testing.T) {
	e, labels := engine(t)
	id := create(t, e, labels, `trap '' TERM; echo started; while :; do sleep 1; done`, nil)
	up := make(chan struct{})
	out := recorder{}
	out.notify = func(all string) {
		if strings.Contains(all, "started") {
			close(up)
			out.notify = nil
		}
	}
	ended := make(chan error, 1)
	go func() {
		_, err := e.Run(t.Context(), id, &out)
		ended <- err
	}()
	<-up
	begin := time.Now()
	if err := e.Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	<-ended // with or without the exit code: it may be gone before it is asked for
	if took := time.Since(begin); took > 8*time.Second {
		t.Errorf("took %v", took)
	}
	if _, err := e.Inspect(t.Context(), id); !errors.Is(err, cyclone.ErrNotFound) {
		t.Errorf("it is still there: %v", err)
	}
}

func TestRunDoesNotStartWhatIsCanceled(t *testing.T) {
	e, labels := engine(t)
	id := create(t, e, labels, "echo started", nil)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errWhy)
	var out recorder
	if _, err := e.Run(ctx, id, &out); !errors.Is(err, errWhy) || out.String() != "" {
		t.Errorf("error %v, output %q", err, out.String())
	}
}

func TestRunReportsMemoryKill(t *testing.T) {
	e, labels := engine(t)
	id := create(t, e, labels, "tail /dev/zero", func(s *cyclone.ContainerSpec) { s.Memory = 16 << 20 })
	var out recorder
	exit, err := e.Run(t.Context(), id, &out)
	if err != nil || !exit.OOMKilled || exit.Code != 137 {
		t.Errorf("exit %+v, error %v, output %q", exit, err, out.String())
	}
}

func TestCreateAndStartErrors(t *testing.T) {
	e, labels := engine(t)
	image := busybox(t, e)
	_, err := e.Create(t.Context(), cyclone.ContainerSpec{Name: "x", Image: "cyclone-engine-test/absent:1", Labels: labels})
	wantKind(t, err, cyclone.ErrNotFound, "cyclone-engine-test/absent:1")
	_, err = e.Create(t.Context(), cyclone.ContainerSpec{Name: "x", Image: image, Labels: labels,
		Mounts: []cyclone.Mount{{Source: "/no/such/place", Target: "/mnt"}}})
	wantKind(t, err, cyclone.ErrInvalid, "/no/such/place")
	_, err = e.Create(t.Context(), cyclone.ContainerSpec{Name: "x", Image: image, Labels: labels, Ports: []string{"what"}})
	wantKind(t, err, cyclone.ErrInvalid, "what")
	_, err = e.Create(t.Context(), cyclone.ContainerSpec{Name: "x", Image: image, Labels: labels, Devices: []string{"a:b:c:d"}})
	wantKind(t, err, cyclone.ErrInvalid, "a:b:c:d")

	id, err := e.Create(t.Context(), cyclone.ContainerSpec{Name: "x", Image: image, Labels: labels, Command: []string{"no-such-program"}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.Run(t.Context(), id, &recorder{})
	wantKind(t, err, cyclone.ErrInvalid, "no-such-program")
	_, err = e.Inspect(t.Context(), "0123456789ab")
	wantKind(t, err, cyclone.ErrNotFound)
	if err := e.Remove(t.Context(), "0123456789ab"); err != nil {
		t.Error(err)
	}
}

func TestCopyOut(t *testing.T) {
	e, labels := engine(t)
	id := create(t, e, labels, "mkdir -p /out/dir; echo one >/out/dir/one; chmod 750 /out/dir/one; ln -s one /out/dir/link", nil)
	if _, err := e.Run(t.Context(), id, &recorder{}); err != nil {
		t.Fatal(err)
	}
	stream, err := e.CopyOut(t.Context(), id, "/out/dir")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	got := map[string]string{}
	for r := tar.NewReader(stream); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		got[h.Name] = fmt.Sprintf("%v %s%s", h.FileInfo().Mode(), text, h.Linkname)
	}
	want := map[string]string{"dir/": "drwxr-xr-x ", "dir/one": "-rwxr-x--- one\n", "dir/link": "Lrwxrwxrwx one"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	_, err = e.CopyOut(t.Context(), id, "/out/absent")
	wantKind(t, err, cyclone.ErrNotFound, "/out/absent")
}
