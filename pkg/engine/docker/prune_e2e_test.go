//go:build e2e

package docker_test

import (
	"context"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/lab"
	"cyclone/pkg/engine/docker"
)

// ownEngine starts an engine that is the test's alone: what is tested here
// removes everything on it.
func ownEngine(t *testing.T) (*docker.Engine, func(args ...string) string) {
	t.Helper()
	dir := t.TempDir()
	second, err := lab.StartEngine(t.Context(), filepath.Join(dir, "data"), filepath.Join(dir, "run"), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(second.Stop)
	if err := second.Load(t.Context(), "cyclone/busybox:demo"); err != nil {
		t.Fatal(err)
	}
	e, err := docker.New(second.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e, func(args ...string) string {
		t.Helper()
		out, err := second.Docker(t.Context(), args...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
}

func TestPutAwayAndShrink(t *testing.T) {
	e, run := ownEngine(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	build := func(name, text string) {
		t.Helper()
		dir := contextDir(t, map[string]string{"Dockerfile": text})
		spec := cyclone.BuildSpec{ContextDir: dir, Dockerfile: filepath.Join(dir, "Dockerfile"), Image: name}
		if err := e.Images().Build(ctx, spec, &recorder{}); err != nil {
			t.Fatal(err)
		}
	}
	build("built:1", "FROM cyclone/busybox:demo\nRUN dd if=/dev/zero of=/five bs=1M count=5\n")
	run("tag", "cyclone/busybox:demo", "golang:1.26")
	run("tag", "cyclone/busybox:demo", "kept.cyclone.invalid/old:1")
	run("run", "-d", "--name", "left", "-v", "made:/made", "-v", "/anonymous", "cyclone/busybox:demo", "sleep", "100")
	run("network", "create", "made")
	run("network", "connect", "made", "left")

	keep := map[string]string{"golang:1.26": "kept.cyclone.invalid/new:1", "removed:1": "kept.cyclone.invalid/gone:1"}
	if err := e.PutAway(ctx, keep, []string{"kept.cyclone.invalid/old:1"}); err != nil {
		t.Fatal(err)
	}
	for _, list := range [][]string{{"ps", "-aq"}, {"volume", "ls", "-q"}, {"network", "ls", "-q", "--filter", "type=custom"}} {
		if left := run(list...); left != "" {
			t.Errorf("%v: %s", list, left)
		}
	}
	if got := strings.Fields(run("images", "--format", "{{.Repository}}:{{.Tag}}")); len(got) != 2 || !strings.HasPrefix(got[0], "kept.") || !strings.HasPrefix(got[1], "kept.") {
		t.Errorf("images %q", got)
	}
	begun := time.Now()
	if err := e.Shrink(ctx, 1<<30, []string{"kept.cyclone.invalid/old:1"}); err != nil {
		t.Fatal(err)
	}
	t.Logf("a look at what is kept took %s", time.Since(begun))
	if n := len(strings.Fields(run("images", "-q"))); n != 2 {
		t.Errorf("%d images although there is room", n)
	}

	// The layers are there still, and go when they are too many.
	run("tag", "kept.cyclone.invalid/new:1", "cyclone/busybox:demo")
	out := &recorder{}
	dir := contextDir(t, map[string]string{"Dockerfile": "FROM cyclone/busybox:demo\nRUN dd if=/dev/zero of=/five bs=1M count=5\n"})
	spec := cyclone.BuildSpec{ContextDir: dir, Dockerfile: filepath.Join(dir, "Dockerfile"), Image: "built:2"}
	if err := e.Images().Build(ctx, spec, out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "CACHED") {
		t.Errorf("it was built again:\n%s", out.String())
	}
	if err := e.PutAway(ctx, nil, []string{"kept.cyclone.invalid/new:1", "kept.cyclone.invalid/old:1"}); err != nil {
		t.Fatal(err)
	}
	if err := e.Shrink(ctx, 4<<20, []string{"kept.cyclone.invalid/old:1"}); err != nil {
		t.Fatal(err)
	}
	if got := run("images", "--format", "{{.Repository}}"); got != "kept.cyclone.invalid/new" {
		t.Errorf("images %q", got)
	}
	for line := range strings.Lines(run("system", "df", "--format", "{{.Type}} {{.Size}}")) {
		if strings.HasPrefix(line, "Build Cache") && strings.Contains(line, "MB") {
			t.Errorf("left: %s", line)
		}
	}
}
