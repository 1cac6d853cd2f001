package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/dispatch"
	"cyclone/pkg/lead"
)

// A node says how it is, and takes no work when it should not.
func TestNodeState(t *testing.T) {
	cases := []struct {
		name  string
		spoil func(w *world)
		says  string // part of the reason; empty for a node that is ready
		ready bool   // of the server
	}{
		{"well", func(*world) {}, "", true},
		{"engine down", func(w *world) {
			w.node.notReady = cyclone.Unavailable("node local: the Docker engine does not answer")
		}, "does not answer", false},
		{"short of disk", func(w *world) { w.node.disk.Free = 1 << 30 }, "1.0 GiB of free disk space, less than the limit of 2.0 GiB", false},
		{"only queues", func(w *world) { w.Capacity = 0 }, "only queues", true},
		{"drained", func(w *world) {
			w.must(w.store.Nodes.Beat(w.t.Context(), &cyclone.Node{Name: "local"}))
			_, err := w.store.Nodes.Drain(w.t.Context(), "local", true)
			w.must(err)
		}, "drained", true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.MinFree, w.Kind, w.Server = 2<<30, "docker", "here"
				w.node.disk = &cyclone.Disk{Free: 50 << 30, Total: 100 << 30}
				w.project("a", cyclone.Limits{})
				w.pending("a")
				c.spoil(w)
				stop := w.start()
				time.Sleep(1500 * time.Millisecond)
				stop()
				if err := w.Ready(t.Context()); (err == nil) != c.ready {
					t.Errorf("readiness: %v", err)
				}
				n, err := w.store.Nodes.Find(t.Context(), "local")
				w.must(err)
				if n.Ready != (c.says == "") || !strings.Contains(n.Reason, c.says) {
					t.Errorf("node %+v", n)
				}
				if n.Capacity != w.Capacity || n.Kind != "docker" || n.Server != "here" || n.Disk.Minimum != 2<<30 || n.Gone(time.Now()) {
					t.Errorf("node %+v", n)
				}
				if launched := w.order() == "a"; launched != n.Ready {
					t.Errorf("launched %q", w.order())
				}
			})
		})
	}
}

// A node that has room again takes work again, and what runs on a drained one
// goes on.
func TestNodeTakesWorkAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.project("a", cyclone.Limits{})
		w.pending("a")
		stop := w.start()
		defer stop()
		time.Sleep(1100 * time.Millisecond)
		_, err := w.store.Nodes.Drain(t.Context(), "local", true)
		w.must(err)
		w.pending("a")
		time.Sleep(5 * time.Second)
		if got := w.statuses(); got[cyclone.StatusRunning] != 1 || got[cyclone.StatusPending] != 1 {
			t.Errorf("while it is drained: %v", got)
		}
		_, err = w.store.Nodes.Drain(t.Context(), "local", false)
		w.must(err)
		time.Sleep(2 * time.Second)
		if got := w.statuses(); got[cyclone.StatusRunning] != 2 {
			t.Errorf("after that: %v", got)
		}
	})
}

// Of two servers on one node one dispatches; when it ends the other one takes
// over, at once after an orderly end, after the lease's time when it was killed.
func TestTwoServersOnOneNode(t *testing.T) {
	for _, c := range []struct {
		name   string
		orders bool // the first server ends in order
		within time.Duration
	}{{"orderly end", true, time.Second}, {"killed", false, lead.DefaultTTL + time.Second}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				first := newWorld(t)
				first.project("a", cyclone.Limits{})
				lost := &losable{LeaseStore: first.store.Leases}
				first.Lease, first.Capacity = &lead.Lease{Store: lost, Name: "dispatch/local", Holder: "first", Now: time.Now}, 3
				lease := &lead.Lease{Store: first.store.Leases, Name: "dispatch/local", Holder: "second", Now: time.Now}
				second := &world{Dispatcher: &dispatch.Dispatcher{
					Queue: first.Queue, Projects: first.Projects, Launcher: first.node, Progress: first.out, Nodes: first.Nodes,
					Node: "local", Capacity: 5, Lease: lease, Server: "second", Log: first.Log, Now: time.Now,
				}, t: t, store: first.store, node: first.node, out: first.out}
				stopFirst := first.start()
				time.Sleep(10 * time.Millisecond)
				stopSecond := second.start()
				defer stopSecond()
				for range 10 {
					first.pending("a")
				}
				time.Sleep(2 * time.Second)
				if got := first.statuses(); got[cyclone.StatusRunning] != 3 {
					t.Errorf("two servers filled 3 places with %v", got)
				}
				lost.gone.Store(!c.orders) // then nothing is given back
				stopFirst()
				time.Sleep(c.within)
				if got := first.statuses(); got[cyclone.StatusRunning] != 5 {
					t.Errorf("after %s: %v", c.within, got)
				}
			})
		})
	}
}

// losable is a store that can get out of a server's reach.
type losable struct {
	cyclone.LeaseStore
	gone atomic.Bool
}

func (l *losable) Acquire(ctx context.Context, name, holder string, now time.Time, ttl time.Duration) (bool, error) {
	if l.gone.Load() {
		return false, errors.New("out of reach")
	}
	return l.LeaseStore.Acquire(ctx, name, holder, now, ttl)
}

func (l *losable) Release(ctx context.Context, name, holder string) error {
	if l.gone.Load() {
		return errors.New("out of reach")
	}
	return l.LeaseStore.Release(ctx, name, holder)
}

// What runs on a node that another server serves is left alone, until no
// server serves it any more.
func TestSilentWorkerOnAnotherNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.project("a", cyclone.Limits{})
		id := w.pending("a")
		w.must(w.store.Nodes.Beat(t.Context(), &cyclone.Node{Name: "far", SeenAt: time.Now().Add(3 * time.Minute)}))
		_, err := w.store.Events.Claim(t.Context(), cyclone.Claim{Project: "a", Worker: "w-1", Node: "far", Now: time.Now(), Lease: time.Minute})
		w.must(err)
		stop := w.start()
		defer stop()
		time.Sleep(3 * time.Minute)
		if got := w.out.taken(); len(got) != 0 {
			t.Errorf("taken from a node that is served: %v", got)
		}
		time.Sleep(2 * time.Minute)
		if got := w.out.taken(); len(got) != 1 || !strings.HasPrefix(got[0], string(id)) {
			t.Errorf("after the node had gone: %v", got)
		}
	})
}

// One owner's projects together run no more than the owner's limit, and do not
// block others; projects without an owner share no limit.
func TestUserLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.UserLimit = 2
		for name, owner := range map[cyclone.ProjectName]string{"a": "alice", "b": "alice", "c": "carol", "x": "", "y": ""} {
			w.must(w.store.Projects.Create(t.Context(), &cyclone.Project{Name: name, Owner: owner}))
		}
		for _, p := range []cyclone.ProjectName{"a", "a", "a", "b", "b", "c", "x", "x", "y", "y"} {
			w.pending(p)
		}
		stop := w.start()
		time.Sleep(1500 * time.Millisecond)
		stop()
		running := map[string]int{}
		for _, s := range w.node.launched() {
			running[string(s.Project)]++
		}
		if running["a"]+running["b"] != 2 || running["c"] != 1 || running["x"] != 2 || running["y"] != 2 {
			t.Errorf("running %v", running)
		}
	})
}

// An engine that never answers does not stop the look at silent workers.
func TestEngineThatNeverAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.project("a", cyclone.Limits{})
		w.pending("a")
		_, err := w.store.Events.Claim(t.Context(), cyclone.Claim{Project: "a", Worker: "w-1", Node: "local", Now: time.Now(), Lease: time.Minute})
		w.must(err)
		w.Launcher = silent{w.node}
		stop := w.start()
		defer stop()
		time.Sleep(3 * time.Minute)
		if got := w.out.taken(); len(got) != 1 || !strings.Contains(got[0], "nothing was heard") {
			t.Errorf("lost: %v", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := w.Ready(ctx); err == nil || ctx.Err() != nil {
			t.Errorf("readiness: %v after %v", err, ctx.Err())
		}
	})
}

// silent is a node whose engine accepts questions and answers none.
type silent struct{ *node }

func (silent) Workers(ctx context.Context) ([]cyclone.WorkerState, error) {
	<-ctx.Done()
	return nil, fmt.Errorf("list workers: %w", ctx.Err())
}

func (silent) Ready(ctx context.Context) error {
	<-ctx.Done()
	return cyclone.Unavailable("node local: the engine does not answer: %v", ctx.Err())
}

// Leftovers are looked for at the start and each minute, and nothing is swept
// whose event runs or is being decided about.
func TestSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.project("a", cyclone.Limits{})
		w.pending("a")
		s := &sweeping{node: w.node, found: []cyclone.WorkerID{"w-left"}}
		w.Launcher = s
		stop := w.start()
		defer stop()
		time.Sleep(500 * time.Millisecond)
		owner := w.node.launched()[0].ID
		s.mu.Lock()
		s.found = append(s.found, owner)
		s.mu.Unlock()
		time.Sleep(2 * time.Minute)
		s.mu.Lock()
		defer s.mu.Unlock()
		if got := strings.Join(s.swept, " "); got != "w-left w-left w-left" {
			t.Errorf("swept %q", got)
		}
	})
}

type sweeping struct {
	*node
	mu    sync.Mutex
	found []cyclone.WorkerID
	swept []string
}

func (s *sweeping) Sweep(_ context.Context, live func(cyclone.WorkerID) bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range s.found {
		if !live(id) {
			s.swept = append(s.swept, string(id))
		}
	}
	return nil
}
