package worker_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/worker"
)

// Both ways to show a path, on folders of one file system: by overlays, and by
// copies.
func eachWay(t *testing.T, test func(t *testing.T, cache *worker.Cache, dir string)) {
	t.Helper()
	t.Run("copies", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		test(t, &worker.Cache{Dir: filepath.Join(dir, "kept"), Direct: true}, dir)
	})
	t.Run("overlays", func(t *testing.T) {
		t.Parallel()
		if os.Geteuid() != 0 {
			t.Skip("mounting an overlay needs root")
		}
		dir := t.TempDir()
		// Not every file system for temporary files can be under an overlay.
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64m"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			noMounts(t, dir)
			if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
		test(t, &worker.Cache{Dir: filepath.Join(dir, "kept")}, dir)
	})
}

// noMounts holds workers to leaving no mount behind.
func noMounts(t *testing.T, dir string) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, dir+"/") {
			t.Errorf("left behind: %s", line)
		}
	}
}

// cached runs one event in a folder of its own and returns the rig.
func cached(t *testing.T, cache *worker.Cache, dir, config string, change func(*rig)) *rig {
	t.Helper()
	r := newRig(t, config, map[string]string{"made/old": "of the repository\n"})
	var err error
	if r.dir, err = os.MkdirTemp(dir, "worker-"); err != nil {
		t.Fatal(err)
	}
	r.cache = cache
	if change != nil {
		change(r)
	}
	r.run(t)
	return r
}

func (r *rig) mustSay(t *testing.T, lines ...string) {
	t.Helper()
	for _, l := range lines {
		if !strings.Contains(r.server.log(), l) {
			t.Errorf("the log lacks %q:\n%s", l, r.server.log())
		}
	}
}

const inTree = `
pre_build:
  image: alpine
  cache: made
  commands:
    - echo "found $(cat made/n 2>/dev/null || echo none)"
    - n=$(cat made/n 2>/dev/null || echo 0); mkdir -p made && echo $((n+1)) >made/n
    - test ! -f made/fail
post_build:
  image: alpine
  commands: ['echo "later $(cat made/n)"']
`

func TestCachedFolderOfTheTree(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, cache *worker.Cache, dir string) {
		first := cached(t, cache, dir, inTree, nil)
		first.mustSay(t, "pre_build| Cache /workspace/made: empty", "pre_build| found none", "kept: ", "post_build| later 1")
		second := cached(t, cache, dir, inTree, func(r *rig) { r.server.job.Event.Number = 43 })
		second.mustSay(t, "KiB from event #42", "found 1", "post_build| later 2")
		fork := cached(t, cache, dir, inTree, func(r *rig) { r.server.job.Event.PullRequest = &cyclone.PullRequest{Fork: true} })
		fork.mustSay(t, "KiB from event #43", "found 2", "post_build| later 3")
		if strings.Contains(fork.server.log(), "kept: ") {
			t.Errorf("an event of a fork kept something:\n%s", fork.server.log())
		}
		failing := strings.Replace(inTree, "test ! -f", "false || test -f", 1)
		cached(t, cache, dir, failing, nil).mustSay(t, "found 2", "pre_build failed")
		unchanged := "pre_build:\n  image: alpine\n  cache: made\n  commands: ['echo \"found $(cat made/n)\"']\n"
		cached(t, cache, dir, unchanged, nil).mustSay(t, "found 2", "Cache /workspace/made: unchanged")
	})
}

// The content of the repository is there at first, and what a step removes is
// removed for good.
func TestCachedFolderBeginsWithTheRepositorys(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, cache *worker.Cache, dir string) {
		const config = "pre_build:\n  image: alpine\n  cache: made\n  commands: [ls made, rm -f made/old, mkdir -p made/new, ls made]\n"
		cached(t, cache, dir, config, nil).mustSay(t, "pre_build| old\n", "pre_build| new\n")
		r := cached(t, cache, dir, config, nil)
		r.mustSay(t, "pre_build| new\n")
		if strings.Contains(r.server.log(), "pre_build| old\n") {
			t.Errorf("what was removed is back:\n%s", r.server.log())
		}
	})
}

// program runs as the image "tool": it adds a line to a file of its cached
// path, and fails when it is asked to.
func program(fail bool, lines *[]string) func(context.Context, cyclone.ContainerSpec, cyclone.Output) (cyclone.Exit, error) {
	return func(_ context.Context, c cyclone.ContainerSpec, _ cyclone.Output) (cyclone.Exit, error) {
		for _, m := range c.Mounts {
			if m.Target != "/root/.cache/tool" {
				continue
			}
			path := filepath.Join(m.Source, "lines")
			text, err := os.ReadFile(path)
			if err != nil && !os.IsNotExist(err) {
				return cyclone.Exit{}, err
			}
			*lines = append(*lines, string(text))
			if err := os.WriteFile(path, append(text, 'x'), 0o600); err != nil {
				return cyclone.Exit{}, err
			}
		}
		if fail {
			return cyclone.Exit{Code: 1}, nil
		}
		return cyclone.Exit{}, nil
	}
}

func TestCachedPathOfTheContainer(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, cache *worker.Cache, dir string) {
		const config = "pre_build:\n  image: tool:1\n  command: run\n  cache: /root/.cache/tool\n  retries: 1\n"
		var found []string
		event := func(fail, fork bool) *rig {
			t.Helper()
			return cached(t, cache, dir, config, func(r *rig) {
				r.engine.Remote["tool:1"] = cyclone.ImageInfo{}
				r.engine.Programs = map[string]func(context.Context, cyclone.ContainerSpec, cyclone.Output) (cyclone.Exit, error){"tool:1": program(fail, &found)}
				if fork {
					r.server.job.Event.PullRequest = &cyclone.PullRequest{Fork: true}
				}
			})
		}
		event(false, false).mustSay(t, "Cache /root/.cache/tool: empty", "Cache /root/.cache/tool: kept: 4 KiB")
		event(true, false).mustSay(t, "trying again")
		event(false, true)
		event(false, false).mustSay(t, "from event #42", "kept: ")
		event(false, false)
		if got := strings.Join(found, ","); got != ",x,x,x,x,xx" {
			t.Errorf("found %q", got)
		}
	})
}

// A service may still have the tree open when the integration step ends: what
// that leaves is published once all have ended.
func TestCacheOfTheIntegrationStep(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, cache *worker.Cache, dir string) {
		const config = "integration:\n  image: alpine\n  cache: made\n  commands: ['echo \"found $(cat made/n 2>/dev/null)\"', 'echo 1 >made/n']\n"
		cached(t, cache, dir, config, nil).mustSay(t, "Cache /workspace/made: empty", "integration| Cache /workspace/made: kept: ")
		cached(t, cache, dir, config, nil).mustSay(t, "integration| found 1")
	})
}

func TestCacheLimits(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, cache *worker.Cache, dir string) {
		event := func(config string) *rig {
			t.Helper()
			return cached(t, cache, dir, config, func(r *rig) { r.server.job.CacheLimit = 1 << 20 })
		}
		fill := func(name, size string) string {
			return "pre_build:\n  image: alpine\n  cache: " + name + "\n  commands: ['mkdir -p " + name + "; ls " + name + " | head -1; head -c " + size + " /dev/zero >" + name + "/file']\n" +
				"post_build:\n  image: alpine\n  commands: ['ls " + name + "']\n"
		}
		// Too large by itself: not kept, but there for the rest of the event.
		event(fill("big", "2000000")).mustSay(t, "Cache /workspace/big: not kept: 1 MiB are more than the limit of 1 MiB", "post_build| file")
		event(fill("big", "10")).mustSay(t, "big: empty", "big: kept")
		event(fill("one", "600000")).mustSay(t, "one: kept")
		event(fill("two", "600000")).mustSay(t, "two: kept", "Cache /workspace/big: removed", "Cache /workspace/one: removed")
		event(fill("two", "600000")).mustSay(t, "two: 588 KiB from")
	})
}

// What cannot be kept is said and fails nothing.
func TestCachePathsThatCannotBe(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, cache *worker.Cache, dir string) {
		for cachePath, want := range map[string]string{
			"self": "the source tree itself", "caicloud.yml": "no folder", "[made, alias/deep]": "one in the other", "out": "not used",
		} {
			config := "pre_build:\n  image: alpine\n  cache: " + cachePath + "\n  commands: [echo ran]\n"
			r := newRig(t, config, map[string]string{"made/old": "1", "out": "-> /etc", "self": "-> .", "alias": "-> made"})
			var err error
			if r.dir, err = os.MkdirTemp(dir, "worker-"); err != nil {
				t.Fatal(err)
			}
			r.cache = cache
			if result := r.run(t); result.Status != cyclone.StatusSuccess {
				t.Errorf("cache: %s: %s: %s", cachePath, result.Status, result.Reason)
			}
			r.mustSay(t, "not used", want, "pre_build| ran")
		}
		r := cached(t, nil, dir, "pre_build:\n  image: alpine\n  cache: made\n  commands: [echo ran]\n", nil)
		r.mustSay(t, "Cache made: not used: nothing is kept between events here", "pre_build| ran")
	})
}
