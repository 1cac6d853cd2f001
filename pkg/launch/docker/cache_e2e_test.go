//go:build e2e

package docker_test

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	launch "cyclone/pkg/launch/docker"
)

// keeping is a launcher whose caches are removed when the test ends.
func keeping(t *testing.T) (*launch.Launcher, *client.Client) {
	t.Helper()
	l, api := launcher(t)
	t.Cleanup(func() {
		nobody := func(cyclone.WorkerID) bool { return false }
		err := l.Sweep(context.Background(), nobody)
		found, ferr := l.Caches(context.Background())
		for _, c := range found {
			err = errors.Join(err, l.RemoveCache(context.Background(), c.ID))
		}
		if err := errors.Join(err, ferr); err != nil {
			t.Error(err)
		}
	})
	return l, api
}

func cachedSpec(epoch int64, readOnly bool) cyclone.WorkerSpec {
	w := spec("t")
	w.Cache = &cyclone.CacheUse{Epoch: epoch, ReadOnly: readOnly}
	return w
}

// mountsOf are a worker's volumes: where -> name; anonymous ones are "".
func mountsOf(t *testing.T, c container.InspectResponse) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, m := range c.Mounts {
		name := m.Name
		if len(name) == 64 {
			name = ""
		}
		if m.Type == "volume" {
			out[m.Destination] = name
			if !m.RW {
				out[m.Destination] += " read-only"
			}
		}
	}
	return out
}

func start(t *testing.T, l *launch.Launcher, w cyclone.WorkerSpec) {
	t.Helper()
	if err := l.Launch(t.Context(), w); err != nil {
		t.Fatal(err)
	}
}

func TestVolumesOfAProject(t *testing.T) {
	l, api := keeping(t)
	prefix := "-" + l.ServerID + "-orders-5"
	a, b, fork, none := cachedSpec(5, false), cachedSpec(5, false), cachedSpec(5, true), spec("t")
	for _, w := range []cyclone.WorkerSpec{a, b, fork, none} {
		start(t, l, w)
	}
	own := func(n string) map[string]string {
		return map[string]string{
			"/var/lib/docker": "cyclone-engine" + prefix + "-" + n, "/var/lib/cyclone-work": "", "/var/lib/cyclone-cache": "cyclone-cache" + prefix,
		}
	}
	for what, tt := range map[string]struct {
		w    cyclone.WorkerSpec
		want map[string]string
	}{
		"first": {a, own("1")}, "at the same time": {b, own("2")},
		"fork":    {fork, map[string]string{"/var/lib/docker": "", "/var/lib/cyclone-cache": "cyclone-cache" + prefix + " read-only"}},
		"without": {none, map[string]string{"/var/lib/docker": ""}},
	} {
		c := inspect(t, api, tt.w)
		if diff := cmp.Diff(tt.want, mountsOf(t, c)); diff != "" {
			t.Errorf("%s:\n%s", what, diff)
		}
		env := strings.Join(c.Config.Env, " ")
		if got := strings.Contains(env, "CYCLONE_CACHE_DIR=/var/lib/cyclone-cache"); got != (what != "without") {
			t.Errorf("%s: environment %s", what, env)
		}
		if got := strings.Contains(env, "CYCLONE_WORK_DIR="); got != (tt.want["/var/lib/docker"] != "") {
			t.Errorf("%s: environment %s", what, env)
		}
	}
	out, err := exec.Command("docker", "exec", "cyclone-worker-"+string(fork.ID), "/bin/busybox", "touch", "/var/lib/cyclone-cache/x").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "Read-only") {
		t.Errorf("a fork's worker may write: %v %s", err, out)
	}
	// The one that was used last is warm, and free again.
	if err := l.Remove(t.Context(), b.ID); err != nil {
		t.Fatal(err)
	}
	next := cachedSpec(5, false)
	start(t, l, next)
	if diff := cmp.Diff(own("2"), mountsOf(t, inspect(t, api, next))); diff != "" {
		t.Errorf("the next one:\n%s", diff)
	}
	cleared := cachedSpec(6, false)
	start(t, l, cleared)
	if got := mountsOf(t, inspect(t, api, cleared))["/var/lib/docker"]; got != "cyclone-engine-"+l.ServerID+"-orders-6-1" {
		t.Errorf("after they were cleared: %s", got)
	}
}

// Many launches at once never share an engine's data.
func TestEnginesDataAreNeverShared(t *testing.T) {
	l, api := keeping(t)
	specs := make([]cyclone.WorkerSpec, 6)
	errs := make(chan error, len(specs))
	for i := range specs {
		specs[i] = cachedSpec(1, false)
		go func() { errs <- l.Launch(t.Context(), specs[i]) }()
	}
	for range specs {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	seen := map[string]bool{}
	for _, w := range specs {
		seen[mountsOf(t, inspect(t, api, w))["/var/lib/docker"]] = true
	}
	if len(seen) != len(specs) {
		t.Errorf("%d workers have %d volumes: %v", len(specs), len(seen), seen)
	}
}

func TestCachesAreListedAndRemoved(t *testing.T) {
	l, _ := keeping(t)
	other, _ := keeping(t)
	w, theirs := cachedSpec(3, false), cachedSpec(3, false)
	start(t, l, w)
	start(t, other, theirs)
	out, err := exec.Command("docker", "exec", "cyclone-worker-"+string(w.ID), "/bin/busybox", "dd", "if=/dev/zero", "of=/var/lib/cyclone-cache/x", "bs=1024", "count=300").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	found, err := l.Caches(t.Context())
	if err != nil || len(found) != 2 {
		t.Fatalf("%+v, %v", found, err)
	}
	for _, c := range found {
		if c.Project != "orders" || c.Epoch != 3 || !c.InUse || c.UsedAt.IsZero() {
			t.Errorf("%+v", c)
		}
		if err := l.RemoveCache(t.Context(), c.ID); !errors.Is(err, cyclone.ErrConflict) {
			t.Errorf("removal of %s while it is used: %v", c.ID, err)
		}
	}
	if paths := found[0]; paths.Kind != cyclone.CachePaths || paths.Size < 300<<10 || paths.Size > 2<<20 {
		t.Errorf("%+v", paths)
	}
	// Neither the end of a worker nor a sweep touches them.
	nobody := func(cyclone.WorkerID) bool { return false }
	if err := errors.Join(l.Remove(t.Context(), w.ID), l.Sweep(t.Context(), nobody)); err != nil {
		t.Fatal(err)
	}
	again, err := l.Caches(t.Context())
	if err != nil || len(again) != 2 || again[0].InUse || again[1].InUse {
		t.Fatalf("after the worker: %+v, %v", again, err)
	}
	strangers, err := other.Caches(t.Context())
	if err != nil || len(strangers) != 2 {
		t.Fatalf("%+v, %v", strangers, err)
	}
	for _, id := range []string{again[0].ID, again[1].ID, again[0].ID, strangers[0].ID, "no-such-volume"} {
		if err := l.RemoveCache(t.Context(), id); err != nil {
			t.Errorf("remove %s: %v", id, err)
		}
	}
	if left, err := l.Caches(t.Context()); err != nil || len(left) != 0 {
		t.Errorf("left: %+v, %v", left, err)
	}
	if still, err := other.Caches(t.Context()); err != nil || len(still) != 2 {
		t.Errorf("of the other installation: %+v, %v", still, err)
	}
}
