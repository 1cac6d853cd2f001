package dispatch_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cyclone/pkg/cyclone"
)

// warehouse is a node that keeps caches.
type warehouse struct {
	*node
	mu     sync.Mutex
	kept   map[string]cyclone.Cache
	asked  int
	refuse string // the id of one that somebody has begun to use
}

func (h *warehouse) Caches(context.Context) ([]cyclone.Cache, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked++
	return slices.Collect(maps.Values(h.kept)), nil
}

func (h *warehouse) RemoveCache(_ context.Context, id string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if id == h.refuse {
		return cyclone.Conflict("in use")
	}
	size := h.kept[id].Size
	delete(h.kept, id)
	h.set(func(n *node) {
		if n.disk != nil {
			n.disk.Free += size
		}
	})
	return nil
}

// left are the ids that are still there.
func (h *warehouse) left() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(slices.Sorted(maps.Keys(h.kept)), " ")
}

// stock puts caches of 10 bytes on a node, unused for the longer the later
// they stand in the list.
func (w *world) stock(ids ...string) *warehouse {
	w.t.Helper()
	h := &warehouse{node: w.node, kept: map[string]cyclone.Cache{}}
	for i, id := range ids {
		name, _, _ := strings.Cut(id, ".")
		p, err := w.store.Projects.Find(w.t.Context(), cyclone.ProjectName(name))
		epoch := int64(0)
		if err == nil {
			epoch = p.CreatedAt.UnixMilli() + p.CacheEpoch
		}
		h.kept[id] = cyclone.Cache{
			ID: id, Project: cyclone.ProjectName(name), Kind: cyclone.CachePaths, Epoch: epoch, Size: 10,
			UsedAt: time.Now().Add(-time.Duration(i) * time.Hour),
		}
	}
	w.Launcher = h
	return h
}

func (w *world) made(name cyclone.ProjectName) {
	w.t.Helper()
	w.must(w.store.Projects.Create(w.t.Context(), &cyclone.Project{Name: name, CreatedAt: time.Now()}))
}

// An event's worker is told the epoch of its project, and that one of a fork
// only reads.
func TestWorkersAreToldTheirCaches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.made("a")
		w.pending("a")
		fork := &cyclone.Event{ID: "fork", Project: "a", Status: cyclone.StatusPending, CreatedAt: time.Now(), PullRequest: &cyclone.PullRequest{Fork: true}}
		fork.Run.Key = "fork"
		w.must(w.store.Events.Create(t.Context(), fork))
		stop := w.start()
		defer stop()
		time.Sleep(5 * time.Second)
		epoch := time.Now().UnixMilli()
		for _, s := range w.node.launched() {
			if s.Cache == nil || s.Cache.ReadOnly != (s.Event == "fork") || s.Cache.Epoch > epoch || s.Cache.Epoch < epoch-60_000 {
				t.Errorf("event %s: %+v", s.Event, s.Cache)
			}
		}
		if n := len(w.node.launched()); n != 2 {
			t.Errorf("%d launched", n)
		}
	})
}

func TestCachesNobodyWillUseAreRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for _, name := range []cyclone.ProjectName{"a", "b", "c"} {
			w.made(name)
		}
		h := w.stock("a", "a.busy", "b", "c", "gone")
		busy := h.kept["a.busy"]
		busy.InUse, busy.Epoch = true, busy.Epoch-1
		h.kept["a.busy"] = busy
		h.refuse = "c"
		stop := w.start()
		defer stop()
		time.Sleep(5 * time.Second)
		if got := h.left(); got != "a a.busy b c" {
			t.Errorf("at first: %s", got)
		}
		time.Sleep(10 * time.Second) // the next sign of life
		if n, err := w.store.Nodes.Find(t.Context(), "local"); err != nil || len(n.Caches) != 4 {
			t.Errorf("the node says %+v, %v", n, err)
		}
		// Cleared, deleted, and deleted and made anew: soon gone.
		p, err := w.store.Projects.Find(t.Context(), "a")
		w.must(err)
		p.CacheEpoch++
		w.must(w.store.Projects.Replace(t.Context(), p))
		w.must(w.store.Projects.Delete(t.Context(), "b"))
		w.must(w.store.Projects.Delete(t.Context(), "c"))
		w.made("c")
		time.Sleep(2 * time.Minute)
		if got := h.left(); got != "a.busy c" {
			t.Errorf("after they were cleared: %s", got)
		}
		h.mu.Lock()
		h.refuse = ""
		busy.InUse = false
		h.kept["a.busy"] = busy
		h.mu.Unlock()
		time.Sleep(2 * time.Minute)
		if got := h.left(); got != "" {
			t.Errorf("once nobody used them: %s", got)
		}
	})
}

func TestCachesUnusedForLongestGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.made("p")
		h := w.stock("p.4", "p.3", "p.2", "p.1")
		oldest := h.kept["p.1"]
		oldest.InUse = true
		h.kept["p.1"] = oldest
		w.CacheTotal = 25
		stop := w.start()
		time.Sleep(5 * time.Second)
		stop()
		if got := h.left(); got != "p.1 p.4" {
			t.Errorf("left: %s", got)
		}
	})
}

// A short disk loses caches before the node refuses work, and no more of them
// than need be.
func TestShortDiskLosesCaches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.made("p")
		w.node.disk = &cyclone.Disk{Free: 1000, Total: 1000}
		w.MinFree = 100
		h := w.stock("p.4", "p.3", "p.2", "p.1")
		stop := w.start()
		defer stop()
		time.Sleep(time.Minute)
		if got := h.left(); got != "p.1 p.2 p.3 p.4" {
			t.Errorf("with a large disk: %s", got)
		}
		w.node.set(func(n *node) { n.disk.Free = 110 })
		time.Sleep(time.Minute)
		if got := h.left(); got != "p.3 p.4" {
			t.Errorf("with a short disk: %s", got)
		}
	})
}

// When caches were used is not forgotten by a restart, although the node
// itself knows only when they were made.
func TestUseOfCachesOutlastsTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.made("p")
		h := w.stock("p.new", "p.old")
		old := h.kept["p.old"]
		old.InUse = true // now
		old.UsedAt = time.Now()
		h.kept["p.old"] = old
		stop := w.start()
		time.Sleep(20 * time.Second)
		stop()
		again := newWorld(t)
		again.store, again.Nodes, again.Projects = w.store, w.store.Nodes, w.store.Projects
		again.Launcher, again.node, again.CacheTotal = h, w.node, 15
		old.InUse, old.UsedAt = false, time.Now().Add(-24*time.Hour)
		h.kept["p.old"] = old
		stop = again.start()
		time.Sleep(5 * time.Second)
		stop()
		if got := h.left(); got != "p.old" {
			t.Errorf("left: %s", got)
		}
	})
}

func TestWithoutCaches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.made("a")
		w.pending("a")
		h := w.stock("a")
		w.NoCache = true
		stop := w.start()
		defer stop()
		time.Sleep(5 * time.Second)
		if s := w.node.launched(); len(s) != 1 || s[0].Cache != nil || h.left() != "" {
			t.Errorf("launched %+v, left %s", s, h.left())
		}
	})
}
