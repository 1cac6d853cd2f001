package worker_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
)

// keeper notes how an engine's data are put away.
type keeper struct {
	rig    *rig
	fail   error
	calls  []string
	keep   map[string]string
	before []string
}

func (k *keeper) PutAway(_ context.Context, keep map[string]string, before []string) error {
	k.calls, k.keep, k.before = append(k.calls, "put away"), keep, before
	if k.rig.server.result != nil {
		k.calls = append(k.calls, "after the result was told")
	}
	return k.fail
}

func (k *keeper) Shrink(_ context.Context, limit cyclone.Size, images []string) error {
	k.calls = append(k.calls, "shrink to "+limit.String()+": "+strings.Join(images, " "))
	return nil
}

// onData runs an event on an engine whose data last in root.
func onData(t *testing.T, root, config string, change func(*rig, *keeper)) *keeper {
	t.Helper()
	r := newRig(t, config, nil)
	k := &keeper{rig: r}
	r.docker = daemon(t, "exec sleep 60")
	r.docker.Root, r.docker.Data = root, k
	// The program of all these engines is the same one.
	r.docker.Dockerd = filepath.Join(root, "..", "dockerd")
	if err := os.WriteFile(r.docker.Dockerd+".new", []byte("#!/bin/sh\nexec sleep 60\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(r.docker.Dockerd); err != nil {
		if err := os.Rename(r.docker.Dockerd+".new", r.docker.Dockerd); err != nil {
			t.Fatal(err)
		}
	}
	r.server.job.CacheLimit = 5 << 20
	if change != nil {
		change(r, k)
	}
	if result := r.run(t); result.Status != cyclone.StatusSuccess {
		t.Errorf("%s: %s", result.Status, result.Reason)
	}
	return k
}

const pulling = "pre_build:\n  image: alpine\n  commands: ['true']\n"

// dataFolder is where engines keep data, with a layer in it once one has run.
func dataFolder(t *testing.T) (root, layer string) {
	t.Helper()
	root = filepath.Join(t.TempDir(), "data")
	onData(t, root, pulling, nil)
	layer = filepath.Join(root, "layer")
	if err := os.WriteFile(layer, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return root, layer
}

func there(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestEngineDataLast(t *testing.T) {
	t.Parallel()
	root, layer := dataFolder(t)
	k := onData(t, root, pulling, nil)
	if !there(layer) || !there(filepath.Join(root, "cyclone-clean.json")) {
		t.Error("the data of an event that ended in good order are gone")
	}
	alpine := k.keep["alpine"]
	if !strings.HasPrefix(alpine, "kept.cyclone.invalid/") || !slices.Equal(k.before, []string{alpine}) {
		t.Errorf("kept %q, before %q", k.keep, k.before)
	}
	// What an event does not use goes first; the name of an image depends on
	// the login.
	other := onData(t, root, "pre_build:\n  image: golang:1.26\n  commands: ['true']\n", nil)
	if diff := cmp.Diff([]string{"put away", "shrink to 5m: " + alpine}, other.calls); diff != "" {
		t.Error(diff)
	}
	again := onData(t, root, pulling, func(r *rig, _ *keeper) {
		r.server.job.Registries = map[string]cyclone.RegistryAuth{"docker.io": {Username: "u", Password: "p-1234"}}
	})
	names := slices.Sorted(maps.Values(again.keep))
	if len(again.before) != 2 || len(names) != 1 || names[0] == alpine {
		t.Errorf("with a login: kept %q, before %q", names, again.before)
	}
	if len(again.calls) != 2 || strings.HasSuffix(again.calls[1], alpine) {
		t.Errorf("the image used before last goes first: %q", again.calls)
	}
}

// Data that nobody has put away, or that another engine wrote, or that were
// written before the machine stopped, are gone when the engine starts.
func TestDoubtfulEngineDataAreRemoved(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(root, mark string) error{
		"killed":  func(_, mark string) error { return os.Remove(mark) },
		"boot":    func(_, mark string) error { return replaceIn(mark, `"boot":"`, `"boot":"x`) },
		"unread":  func(_, mark string) error { return os.WriteFile(mark, []byte("{"), 0o600) },
		"upgrade": func(root, _ string) error { return replaceIn(filepath.Join(root, "../dockerd"), "60", "061") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root, layer := dataFolder(t)
			mark := filepath.Join(root, "cyclone-clean.json")
			if err := spoil(root, mark); err != nil {
				t.Fatal(err)
			}
			onData(t, root, pulling, func(r *rig, _ *keeper) {
				ready := r.docker.Ready
				r.docker.Ready = func(ctx context.Context) error {
					if there(layer) || there(mark) {
						t.Error("the engine saw the data")
					}
					return ready(ctx)
				}
			})
			if !there(mark) || there(filepath.Join(root, "cyclone-wiped")) {
				t.Error("the next event does not begin in good order")
			}
		})
	}
}

func replaceIn(path, old, with string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(strings.Replace(string(text), old, with, 1)), 0o600)
}

// From the start of an engine until its data are put away nothing says that
// they are in good order; when that fails, nothing says so afterwards.
func TestEngineDataInUseAreInDoubt(t *testing.T) {
	t.Parallel()
	root, _ := dataFolder(t)
	mark := filepath.Join(root, "cyclone-clean.json")
	onData(t, root, pulling, func(r *rig, k *keeper) {
		r.server.seen = func(cyclone.Line) {
			if there(mark) {
				t.Error("the data in use are marked")
			}
		}
		k.fail = errors.New("it is busy")
	})
	if there(mark) {
		t.Error("the data are marked although they could not be put away")
	}
}

// A worker that finds the data taken by another leaves them, and its event,
// alone.
func TestEngineDataOfAnotherWorker(t *testing.T) {
	t.Parallel()
	root, layer := dataFolder(t)
	onData(t, root, pulling, func(first *rig, _ *keeper) {
		ready := first.docker.Ready
		first.docker.Ready = func(ctx context.Context) error {
			second := newRig(t, pulling, nil)
			second.docker = daemon(t, "exec sleep 60")
			second.docker.Root, second.docker.Data = root, &keeper{rig: second}
			if err := second.work(ctx); err == nil || second.server.result != nil || !strings.Contains(err.Error(), "another worker") {
				t.Errorf("%v, result %+v", err, second.server.result)
			}
			return ready(ctx)
		}
	})
	if !there(layer) {
		t.Error("the data are gone")
	}
}

// While the registry is away the image that an earlier event pulled is used,
// but only with the login it was pulled with, and never with pull: always.
func TestKeptImageWhileTheRegistryIsAway(t *testing.T) {
	t.Parallel()
	root, _ := dataFolder(t)
	name := onData(t, root, pulling, nil).keep["alpine"]
	for _, tt := range []struct {
		name, policy string
		err          error
		login        bool
		want         cyclone.Status
	}{
		{"away", "missing", cyclone.ErrUnavailable, false, cyclone.StatusSuccess},
		{"always", "always", cyclone.ErrUnavailable, false, cyclone.StatusError},
		{"refused", "missing", cyclone.ErrForbidden, false, cyclone.StatusFailure},
		{"gone", "missing", cyclone.ErrNotFound, false, cyclone.StatusFailure},
		{"login", "missing", cyclone.ErrUnavailable, true, cyclone.StatusError},
	} {
		r := newRig(t, "pre_build:\n  image: alpine\n  pull: "+tt.policy+"\n  commands: ['true']\n", nil)
		r.docker = daemon(t, "exec sleep 60")
		r.docker.Root, r.docker.Data = root, &keeper{rig: r}
		r.engine.Present = map[string]cyclone.ImageInfo{name: {}}
		r.engine.Errors["pull alpine"] = tt.err
		if tt.login {
			r.server.job.Registries = map[string]cyclone.RegistryAuth{"docker.io": {Username: "u", Password: "p-1234"}}
		}
		if result := r.run(t); result.Status != tt.want {
			t.Errorf("%s: %s: %s", tt.name, result.Status, result.Reason)
		}
		if said := strings.Contains(r.server.log(), "an earlier event pulled"); said != (tt.want == cyclone.StatusSuccess) {
			t.Errorf("%s: the log:\n%s", tt.name, r.server.log())
		}
	}
}
