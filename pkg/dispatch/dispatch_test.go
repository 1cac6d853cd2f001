package dispatch_test

import (
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
)

func TestLaunches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.project("a", cyclone.Limits{Memory: 1 << 30})
		id := w.pending("a")
		stop := w.start()
		time.Sleep(100 * time.Millisecond)
		stop()
		specs := w.node.launched()
		if len(specs) != 1 {
			t.Fatalf("launched %+v", specs)
		}
		s := specs[0]
		e, err := w.store.Events.Find(t.Context(), id)
		w.must(err)
		sum := sha256.Sum256([]byte(s.Token))
		if e.Status != cyclone.StatusRunning || e.Worker != (cyclone.WorkerRef{ID: s.ID, Node: "local", Attempt: 1}) ||
			!cmp.Equal(e.Run.TokenHash, sum[:]) || len(s.Token) < 43 {
			t.Errorf("event is %+v, %+v; worker is %+v", e.Worker, e.Run, s)
		}
		if s.Event != id || s.CPUs != 2 || s.Memory != 1<<30 || s.Attempt != 1 {
			t.Errorf("worker is %+v", s)
		}
	})
}

func TestWakeIsFasterThanTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.project("a", cyclone.Limits{})
		stop := w.start()
		defer stop()
		time.Sleep(1100 * time.Millisecond)
		w.pending("a")
		for range 10 {
			w.Wake()
		}
		time.Sleep(20 * time.Millisecond)
		if w.order() != "a" {
			t.Error("nothing was launched after Wake")
		}
		w.pending("a")
		time.Sleep(1100 * time.Millisecond)
		if w.order() != "a a" {
			t.Error("nothing was launched after a tick")
		}
	})
}

func TestFairness(t *testing.T) {
	cases := []struct {
		name     string
		capacity int
		limits   map[cyclone.ProjectName]cyclone.Limits
		pending  string // projects, the longest waiting first
		want     string
	}{
		{"one project alone uses the node", 3, nil, "a a a a", "a a a"},
		{"few running goes before long waiting", 4, nil, "a a a a b c", "a b c a"},
		{"among equals who waits longest", 2, nil, "b a", "b a"},
		{"a project's own limit", 4, map[cyclone.ProjectName]cyclone.Limits{"a": {Concurrency: 1}}, "a a a b", "a b"},
		{"capacity 0 only queues", 0, nil, "a b", ""},
		{"a project that is not there", 2, nil, "x a", "a"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.Capacity = 1
				for _, p := range []cyclone.ProjectName{"a", "b", "c"} {
					w.project(p, c.limits[p])
				}
				for _, p := range strings.Fields(c.pending) {
					w.pending(cyclone.ProjectName(p))
				}
				// One more place at a time shows the order.
				for w.Capacity = min(1, c.capacity); ; w.Capacity++ {
					stop := w.start()
					time.Sleep(100 * time.Millisecond)
					stop()
					if w.Capacity >= c.capacity {
						break
					}
				}
				if got := w.order(); got != c.want {
					t.Errorf("launched %q; want %q", got, c.want)
				}
			})
		})
	}
}

func TestManyAtOnceWithinCapacity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Capacity = 5
		w.node.slow = 700 * time.Millisecond
		w.project("a", cyclone.Limits{})
		for range 20 {
			w.pending("a")
		}
		stop := w.start()
		for range 50 {
			w.Wake()
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Second)
		stop()
		if got := w.statuses(); got[cyclone.StatusRunning] != 5 || got[cyclone.StatusPending] != 15 {
			t.Errorf("statuses are %v", got)
		}
		if w.node.overlap {
			t.Error("two rounds ran at once")
		}
		if notes := w.out.taken(); len(notes) != 0 {
			t.Errorf("workers that were starting counted as dead: %q", notes)
		}
	})
}

func TestLaunchFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.project("a", cyclone.Limits{})
		w.project("b", cyclone.Limits{})
		w.node.fail = errors.New("no such image")
		w.pending("a")
		stop := w.start()
		time.Sleep(500 * time.Millisecond)
		if got := w.out.taken(); len(got) != 1 || !strings.Contains(got[0], "no such image") {
			t.Fatalf("notes are %q", got)
		}
		// The project waits a little; others do not.
		w.node.set(func(n *node) { n.fail = nil })
		w.pending("b")
		w.Wake()
		time.Sleep(100 * time.Millisecond)
		if got := w.order(); got != "b" {
			t.Errorf("launched %q", got)
		}
		time.Sleep(3 * time.Second)
		stop()
		if got := w.order(); got != "b a" {
			t.Errorf("launched %q", got)
		}
		if got := len(w.node.removed); got != 1 {
			t.Errorf("%d workers that did not start were removed", got)
		}
	})
}

func TestLaunchFailsForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.project("a", cyclone.Limits{})
		w.node.fail = errors.New("no such image")
		w.pending("a")
		stop := w.start()
		time.Sleep(time.Minute)
		stop()
		if got := w.out.taken(); len(got) != 3 {
			t.Errorf("tried %d times", len(got))
		}
	})
}

// A node that is not ready fails nothing: events wait for it.
func TestNodeNotReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.project("a", cyclone.Limits{})
		w.node.notReady = cyclone.Unavailable("no Docker engine")
		w.pending("a")
		stop := w.start()
		time.Sleep(time.Hour)
		if err := w.Ready(t.Context()); !errors.Is(err, cyclone.ErrUnavailable) {
			t.Errorf("Ready = %v", err)
		}
		if got := w.statuses(); got[cyclone.StatusPending] != 1 {
			t.Errorf("statuses are %v", got)
		}
		w.node.set(func(n *node) { n.notReady = nil })
		time.Sleep(2 * time.Second)
		if w.order() != "a" {
			t.Error("nothing was launched when the node was ready")
		}
		stop() // the loop reads the capacity
		w.Capacity = 0
		w.node.set(func(n *node) { n.notReady = cyclone.Unavailable("no Docker engine") })
		w.must(w.Ready(t.Context()))
	})
}

func TestDeadWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.project("a", cyclone.Limits{})
		id := w.pending("a")
		stop := w.start()
		time.Sleep(100 * time.Millisecond)
		worker := w.node.launched()[0].ID
		w.node.set(func(n *node) {
			n.workers[worker] = cyclone.WorkerState{ID: worker, Event: id, Detail: "exit code 137"}
		})
		time.Sleep(2 * time.Second)
		if diff := cmp.Diff([]string{string(id) + ": lost: it ended without a result: exit code 137"}, w.out.taken()); diff != "" {
			t.Error(diff)
		}
		time.Sleep(20 * time.Second)
		stop()
		if !slices.Equal(w.node.removed, []cyclone.WorkerID{worker}) {
			t.Errorf("removed %v", w.node.removed)
		}
	})
}

func TestSilentWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.project("a", cyclone.Limits{})
		w.pending("a")
		e, err := w.store.Events.Claim(t.Context(), cyclone.Claim{Project: "a", Worker: "w-old", Node: "elsewhere", Now: time.Now(), Lease: time.Minute})
		w.must(err)
		// The server was away for longer than the lease. Workers get the time
		// to be heard again.
		time.Sleep(time.Hour)
		stop := w.start()
		defer stop()
		time.Sleep(50 * time.Second)
		if got := w.out.taken(); len(got) != 0 {
			t.Errorf("notes after 50 s: %q", got)
		}
		_, err = w.store.Events.Renew(t.Context(), cyclone.Fence{Event: e.ID, Worker: "w-old", Attempt: 1}, time.Now().Add(time.Minute))
		w.must(err)
		time.Sleep(55 * time.Second)
		if got := w.out.taken(); len(got) != 0 {
			t.Errorf("notes while the lease holds: %q", got)
		}
		time.Sleep(10 * time.Second)
		if got := w.out.taken(); len(got) != 1 || !strings.Contains(got[0], "nothing was heard") {
			t.Errorf("notes after the lease: %q", got)
		}
	})
}

func TestOrphans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.project("a", cyclone.Limits{})
		w.pending("a")
		w.node.workers["w-orphan"] = cyclone.WorkerState{ID: "w-orphan", Event: "over", Running: true}
		w.node.workers["w-ended"] = cyclone.WorkerState{ID: "w-ended", Event: "over"}
		w.node.workers["w-warm"] = cyclone.WorkerState{ID: "w-warm", Running: true} // waits for an event
		stop := w.start()
		time.Sleep(5 * time.Second)
		w.node.set(func(n *node) {
			if len(n.removed) != 0 {
				t.Errorf("removed %v before progress could", n.removed)
			}
		})
		time.Sleep(10 * time.Second)
		stop()
		slices.Sort(w.node.removed)
		if !slices.Equal(w.node.removed, []cyclone.WorkerID{"w-ended", "w-orphan"}) {
			t.Errorf("removed %v", w.node.removed)
		}
		if w.order() != "a" {
			t.Error("the pending event was not launched")
		}
	})
}

// The end of ctx in the middle of a launch puts the event back.
func TestEndInTheMiddleOfALaunch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.project("a", cyclone.Limits{})
		w.node.slow = time.Minute
		w.pending("a")
		stop := w.start()
		time.Sleep(500 * time.Millisecond)
		stop()
		if got := w.statuses(); got[cyclone.StatusPending] != 1 {
			t.Errorf("statuses are %v", got)
		}
		if got := w.out.taken(); len(got) != 1 || !strings.Contains(got[0], "the server ended") {
			t.Errorf("notes are %q", got)
		}
		if len(w.node.workers) != 0 {
			t.Errorf("left on the node: %v", w.node.workers)
		}
	})
}
