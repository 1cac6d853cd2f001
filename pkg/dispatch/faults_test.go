package dispatch_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/lead"
)

// running claims the project's oldest event as an earlier server did; seen is
// when its worker was last heard of, zero for one that never connected.
func (w *world) running(p cyclone.ProjectName, worker cyclone.WorkerID, seen time.Time) *cyclone.Event {
	w.t.Helper()
	e, err := w.store.Events.Claim(w.t.Context(), cyclone.Claim{Project: p, Worker: worker, Node: "local", Now: time.Now(), Lease: 3 * time.Minute})
	w.must(err)
	if !seen.IsZero() {
		e.Run.SessionHash, e.Run.LeaseUntil = []byte("session"), seen.Add(cyclone.LeaseTime)
		w.must(w.store.Events.Replace(w.t.Context(), e))
	}
	return e
}

// A worker that somebody removed is missed long before its lease runs out, but
// not while it speaks.
func TestMissingWorker(t *testing.T) {
	cases := []struct {
		name   string
		seen   time.Duration // ago; 0 for a worker that never connected
		shared bool          // with other servers
		within time.Duration // that it takes; 0: it is not lost in 40 s
	}{
		{"silent", 30 * time.Second, false, 5 * time.Second},
		{"it spoke a moment ago", time.Second, false, 25 * time.Second},
		{"never launched", 0, false, 5 * time.Second},
		{"another server may still launch it", 0, true, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.project("a", cyclone.Limits{})
				w.pending("a")
				var seen time.Time
				if c.seen > 0 {
					seen = time.Now().Add(-c.seen)
				}
				w.running("a", "w-old", seen)
				if c.shared {
					w.Lease = &lead.Lease{Store: w.store.Leases, Name: "dispatch/local", Holder: "h", Now: time.Now}
				}
				begun := time.Now()
				stop := w.start()
				defer stop()
				for len(w.out.taken()) == 0 && time.Since(begun) < 40*time.Second {
					time.Sleep(100 * time.Millisecond)
				}
				took := time.Since(begun)
				if c.within == 0 {
					if got := w.out.taken(); len(got) != 0 {
						t.Errorf("lost after %s: %v", took, got)
					}
					return
				}
				if got := w.out.taken(); len(got) != 1 || !strings.Contains(got[0], "not on the node any more") || took > c.within {
					t.Errorf("after %s: %v", took, got)
				}
			})
		})
	}
}

// An event that a server held when it died waits for nobody: there is no worker
// to be heard.
func TestEventHeldByADeadServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.project("a", cyclone.Limits{})
		w.pending("a")
		e := w.running("a", "server-x", time.Time{})
		e.Run.Former, e.Run.LeaseUntil = &cyclone.WorkerRef{ID: "w-1", Node: "local", Attempt: 1}, time.Now().Add(5*time.Second)
		w.must(w.store.Events.Replace(t.Context(), e))
		stop := w.start()
		defer stop()
		time.Sleep(4 * time.Second)
		if got := w.out.taken(); len(got) != 0 {
			t.Errorf("while it is held: %v", got)
		}
		time.Sleep(3 * time.Second)
		if got := w.out.taken(); len(got) != 1 {
			t.Errorf("after its lease: %v", got)
		}
	})
}

// paused is a store in which one question can take very long, as it looks to a
// server that was stopped for a while.
type paused struct {
	cyclone.Queue
	once sync.Once
	mu   sync.Mutex
	long time.Duration
}

func (p *paused) Running(ctx context.Context) ([]*cyclone.Event, error) {
	p.mu.Lock()
	long := p.long
	p.mu.Unlock()
	if long > 0 {
		p.once.Do(func() { time.Sleep(long) })
	}
	return p.Queue.Running(ctx)
}

// A server that was paused has heard nobody meanwhile, which is no worker's fault.
func TestPausedServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.project("a", cyclone.Limits{})
		w.pending("a")
		q := &paused{Queue: w.Queue}
		w.Queue = q
		stop := w.start()
		defer stop()
		time.Sleep(100 * time.Millisecond)
		e, err := w.store.Events.Find(t.Context(), "a-1")
		w.must(err)
		q.mu.Lock()
		q.long = 10 * time.Minute
		q.mu.Unlock()
		time.Sleep(10*time.Minute + 30*time.Second)
		if got := w.out.taken(); len(got) != 0 {
			t.Fatalf("half a minute after the pause: %v", got)
		}
		_, err = w.store.Events.Renew(t.Context(), cyclone.Fence{Event: e.ID, Worker: e.Worker.ID, Attempt: 1}, time.Now().Add(cyclone.LeaseTime))
		w.must(err)
		time.Sleep(55 * time.Second)
		if got := w.out.taken(); len(got) != 0 {
			t.Errorf("after its worker was heard again: %v", got)
		}
		time.Sleep(10 * time.Second)
		if got := w.out.taken(); len(got) != 1 {
			t.Errorf("after its lease: %v", got)
		}
	})
}

// stuck is a node whose engine takes a launch and never answers any question.
type stuck struct {
	*node
	mu      sync.Mutex
	removes int
}

func (s *stuck) Remove(ctx context.Context, _ cyclone.WorkerID) error {
	s.mu.Lock()
	s.removes++
	s.mu.Unlock()
	<-ctx.Done()
	return ctx.Err()
}

// A failed launch gives the event back although what is left of the worker
// cannot be removed now.
func TestEventIsBackBeforeItsWorkerIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.project("a", cyclone.Limits{})
		w.pending("a")
		s := &stuck{node: w.node}
		w.Launcher, w.node.fail = s, errors.New("the engine broke off")
		stop := w.start()
		defer stop()
		time.Sleep(100 * time.Millisecond)
		if got := w.statuses(); got[cyclone.StatusPending] != 1 {
			t.Errorf("statuses are %v", got)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.removes != 1 {
			t.Errorf("%d removals", s.removes)
		}
	})
}

// What failed because the node can start no worker at all is said to be the
// node's fault.
func TestLaunchFailsWithTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.project("a", cyclone.Limits{})
		w.node.slow, w.node.fail = 100*time.Millisecond, errors.New("unexpected EOF")
		w.pending("a")
		stop := w.start()
		defer stop()
		time.Sleep(50 * time.Millisecond)
		w.node.set(func(n *node) { n.notReady = cyclone.Unavailable("node local: the Docker engine does not answer") })
		time.Sleep(time.Second)
		if got := w.out.taken(); len(got) != 1 || !strings.Contains(got[0], "does not answer: unexpected EOF") {
			t.Errorf("notes are %q", got)
		}
		if !errors.Is(w.out.cause(), cyclone.ErrUnavailable) {
			t.Errorf("the cause is %v", w.out.cause())
		}
	})
}

// A worker that connected although its launch failed is left alone.
func TestWorkerThatStartedAfterAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.project("a", cyclone.Limits{})
		w.node.fail = errors.New("the answer was lost")
		w.out.connected = true
		w.pending("a")
		stop := w.start()
		defer stop()
		time.Sleep(500 * time.Millisecond)
		if len(w.node.removed) != 0 {
			t.Errorf("removed %v", w.node.removed)
		}
	})
}

// A project whose first event cannot be launched, and one that is at its limit,
// keep nobody waiting.
func TestNobodyWaitsForAnotherProjectsFirstEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Capacity = 3
		w.project("bad", cyclone.Limits{})
		w.project("full", cyclone.Limits{Concurrency: 1})
		w.project("good", cyclone.Limits{})
		w.Launcher = picky{w.node}
		for range 5 {
			w.pending("bad")
		}
		for range 5 {
			w.pending("full")
		}
		w.pending("good")
		stop := w.start()
		defer stop()
		time.Sleep(1500 * time.Millisecond)
		if got := w.order(); got != "full good" && got != "good full" {
			t.Errorf("launched %q", got)
		}
	})
}

// picky is a node that can launch everything but one project's workers.
type picky struct{ *node }

func (p picky) Launch(ctx context.Context, w cyclone.WorkerSpec) error {
	if w.Project == "bad" {
		return errors.New("its limits do not fit this host")
	}
	return p.node.Launch(ctx, w)
}

// slowQueue takes two seconds for each call.
type slowQueue struct{ cyclone.Queue }

func (s slowQueue) Claim(ctx context.Context, c cyclone.Claim) (*cyclone.Event, error) {
	time.Sleep(2 * time.Second)
	return s.Queue.Claim(ctx, c)
}

// With a store that takes two seconds per claim, 40 claims do not cost the
// server its lease.
func TestSlowStoreKeepsTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.project("a", cyclone.Limits{})
		w.Queue = slowQueue{w.Queue}
		w.Lease = &lead.Lease{Store: w.store.Leases, Name: "dispatch/local", Holder: "first", Now: time.Now}
		for range 40 {
			w.pending("a")
		}
		stop := w.start()
		defer stop()
		time.Sleep(time.Second)
		for range 90 {
			time.Sleep(time.Second)
			if got, err := w.store.Leases.Acquire(t.Context(), "dispatch/local", "second", time.Now(), time.Second); err != nil || got {
				t.Fatalf("another server could take the node over: %v", err)
			}
		}
		if got := w.statuses()[cyclone.StatusRunning]; got != 40 {
			t.Errorf("%d events run", got)
		}
	})
}
