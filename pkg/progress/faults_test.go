package progress_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/livelog"
	"cyclone/pkg/progress"
)

// another is a second server over the same stores.
func (w *world) another() *world {
	w.t.Helper()
	o := *w
	o.Progress = &progress.Progress{
		Events: w.Events, Queue: w.Queue, Projects: w.Projects, Secrets: w.Secrets, Clusters: w.Clusters, Logs: w.Logs, Sealer: w.Sealer,
		Hub: livelog.New(), Launcher: w.Launcher, Node: w.Node, Nodes: w.Nodes, Mail: w.Mail, Credentials: w.Credentials, Log: w.Log, Now: w.Now,
	}
	return &o
}

// failing is a log that cannot be written for a while.
type failing struct {
	cyclone.LogStore
	down bool
}

var errDown = cyclone.Unavailable("the store is out of reach")

func (f *failing) Last(ctx context.Context, id cyclone.EventID) (int64, error) {
	if f.down {
		return 0, errDown
	}
	return f.LogStore.Last(ctx, id)
}

// A server that dies while it ends an event leaves it to the next one, which
// ends it the same way and does not start it again.
func TestHalfEndedEventIsEnded(t *testing.T) {
	w := newWorld(t)
	w.project.Limits.Timeout = cyclone.Duration(10 * time.Minute)
	w.must(w.store.Projects.Replace(t.Context(), w.project))
	logs := &failing{LogStore: w.Logs}
	w.Logs = logs
	forward := w.underClock()
	w.running("e1")
	logs.down = true
	for range 40 {
		forward(20 * time.Second)
	}
	e := w.wantStatus("e1", cyclone.StatusRunning)
	if e.Run.Former == nil || e.Run.Ending != cyclone.StatusTimeout {
		t.Fatalf("after its time limit the event is %+v", e.Run)
	}
	next := w.another()
	next.Logs = logs.LogStore
	w.must(next.Lost(t.Context(), e, "nothing was heard of it"))
	e = w.wantStatus("e1", cyclone.StatusTimeout)
	if !strings.Contains(e.Reason, "time limit") || e.Worker.ID != "w-e1" || e.Run.Ending != "" {
		t.Errorf("reason %q, worker %+v", e.Reason, e.Worker)
	}
}

// While nobody can be sure that a lost worker is gone the event says so, and it
// is tried again soon.
func TestLostEventSaysWhatItWaitsFor(t *testing.T) {
	w := newWorld(t)
	w.running("e1")
	w.launcher.setFail(errors.New("the engine does not answer"))
	if err := w.Lost(t.Context(), w.find("e1"), "its container ended"); err == nil {
		t.Fatal("Lost succeeded although the worker could not be removed")
	}
	e := w.wantStatus("e1", cyclone.StatusRunning)
	if !strings.Contains(e.Reason, "w-e1 on node local was lost: its container ended, last heard of at") {
		t.Errorf("reason %q", e.Reason)
	}
	if left := time.Until(e.Run.LeaseUntil); left > 6*time.Second {
		t.Errorf("it is tried again in %s", left)
	}
	w.launcher.setFail(nil)
	w.must(w.Lost(t.Context(), e, "nothing was heard of it"))
	if again := w.wantStatus("e1", cyclone.StatusPending); again.Reason != e.Reason {
		t.Errorf("reason %q; want the first one %q", again.Reason, e.Reason)
	}
}

// The long lease of a launch ends with it: a worker that connected and fell
// silent is lost after the usual time.
func TestConnectingEndsTheLaunchsLease(t *testing.T) {
	w := newWorld(t)
	w.event("e1", nil)
	_, err := w.store.Events.Claim(t.Context(), cyclone.Claim{
		Project: "orders", Worker: "w-1", Node: "local", TokenHash: progress.HashToken("token"), Now: time.Now(), Lease: 3 * time.Minute,
	})
	w.must(err)
	_, _, err = w.Attach(t.Context(), "w-1", "token", "session")
	w.must(err)
	if left := time.Until(w.find("e1").Run.LeaseUntil); left > cyclone.LeaseTime || left < cyclone.LeaseTime-10*time.Second {
		t.Errorf("the lease runs out in %s", left)
	}
}

// What is the node's fault ends no event, however often it happens.
func TestLaunchFailedThroughTheNode(t *testing.T) {
	w := newWorld(t)
	w.event("e1", nil)
	for range 10 {
		w.claim("w-1")
		w.must(w.LaunchFailed(t.Context(), w.find("e1"), cyclone.Unavailable("node local: the Docker engine does not answer")))
		if e := w.wantStatus("e1", cyclone.StatusPending); !strings.Contains(e.Reason, "does not answer") {
			t.Errorf("reason %q", e.Reason)
		}
	}
	// And an attempt that then begins is the first one.
	w.claim("w-2")
	w.must(w.Lost(t.Context(), w.find("e1"), "its container ended"))
	w.wantStatus("e1", cyclone.StatusPending)
}

// A worker that connected although its launch failed keeps its event.
func TestLaunchFailedButConnected(t *testing.T) {
	w := newWorld(t)
	f := w.running("e1")
	wantKind(t, w.LaunchFailed(t.Context(), w.find("e1"), errors.New("the answer was lost")), cyclone.ErrConflict)
	w.must(w.Append(t.Context(), f, chunk(t, 1, "still here")))
}

// Nothing makes an event again that retention has removed.
func TestRemovedEventStaysRemoved(t *testing.T) {
	w := newWorld(t)
	f := w.running("e1")
	stale := w.find("e1")
	w.must(w.Finish(t.Context(), f, cyclone.Result{Status: cyclone.StatusSuccess}))
	stop := w.start()
	w.eventually("all notices told", func() bool { return w.find("e1").NoticeDue().IsZero() })
	w.must(w.store.Events.Delete(t.Context(), "e1"))
	ctx := t.Context()
	for what, err := range map[string]error{
		"append": w.Append(ctx, f, chunk(t, 1, "late")), "report": w.Report(ctx, f, cyclone.Report{}),
		"finish": w.Finish(ctx, f, cyclone.Result{Status: cyclone.StatusSuccess}), "lost": w.Lost(ctx, stale, "late"),
		"launch": w.LaunchFailed(ctx, stale, errors.New("late")),
	} {
		if !errors.Is(err, cyclone.ErrNotFound) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := w.Cancel(ctx, "e1", "late"); !errors.Is(err, cyclone.ErrNotFound) {
		t.Errorf("cancel: %v", err)
	}
	stop()
	if _, err := w.Events.Find(ctx, "e1"); !errors.Is(err, cyclone.ErrNotFound) {
		t.Errorf("the event is back: %v", err)
	}
	if last, err := w.store.Logs.Last(ctx, "e1"); err != nil || last != 0 {
		t.Errorf("its log is back: %d lines, %v", last, err)
	}
}

// A store that was out of reach has kept workers from being heard: they get the
// time to be heard again before they count as disobedient.
func TestStoreAwayIsNoDisobedience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		away := &absent{Queue: w.Queue}
		w.Queue = away
		f := w.running("e1")
		stop := w.start()
		defer stop()
		time.Sleep(time.Second)
		_, err := w.Cancel(t.Context(), "e1", "stop it")
		w.must(err)
		away.set(true)
		time.Sleep(10 * time.Minute)
		away.set(false)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		w.must(w.Finish(t.Context(), f, cyclone.Result{Status: cyclone.StatusCanceled}))
		w.wantStatus("e1", cyclone.StatusCanceled)
	})
}

// absent is a queue that is out of reach for a while.
type absent struct {
	cyclone.Queue
	mu   sync.Mutex
	down bool
}

func (a *absent) set(down bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.down = down
}

func (a *absent) Running(ctx context.Context) ([]*cyclone.Event, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.down {
		return nil, errDown
	}
	return a.Queue.Running(ctx)
}

// An event that waited too long says how busy its node was.
func TestWaitingForAFullNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.PendingTimeout, w.Timeout = time.Hour, 5*time.Hour
		f := w.running("e1")
		w.event("e2", nil)
		w.must(w.store.Nodes.Beat(t.Context(), &cyclone.Node{Name: "local", Capacity: 1, Ready: true, SeenAt: time.Now().Add(2 * time.Hour)}))
		stop := w.start()
		defer stop()
		for range 62 {
			time.Sleep(time.Minute - 30*time.Second)
			_, err := w.Renew(t.Context(), f)
			w.must(err)
			time.Sleep(30 * time.Second)
		}
		if e := w.wantStatus("e2", cyclone.StatusTimeout); !strings.Contains(e.Reason, "node local is full (1 of 1 workers busy)") {
			t.Errorf("reason %q", e.Reason)
		}
	})
}

// Two servers that take a lost event from its worker at once, while that comes
// back: the event is put back once, and the first attempt changes nothing more.
func TestTwoServersTakeOverAtOnce(t *testing.T) {
	for round := range 3 {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			t.Parallel()
			w := onEmbedded(t)
			servers := []*world{w, w.another(), w.another()}
			e := &cyclone.Event{ID: "e1", Project: "orders", Status: cyclone.StatusPending, CreatedAt: time.Now()}
			w.must(w.Events.Create(t.Context(), e))
			c := contested{w, "e1"}
			f, _ := c.attempt(1)
			lost, err := w.Events.Find(t.Context(), "e1")
			w.must(err)
			var wg sync.WaitGroup
			for _, s := range servers {
				wg.Go(func() {
					if err := s.Lost(t.Context(), lost, "so the test says"); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Go(func() {
				for n := int64(1); n < 50; n++ {
					if err := w.Append(t.Context(), f, chunk(t, n, "line")); err != nil {
						if !errors.Is(err, cyclone.ErrConflict) {
							t.Error(err)
						}
						return
					}
				}
			})
			wg.Wait()
			texts := logText(t, w.Logs, "e1")
			again := 0
			for _, text := range texts {
				if strings.Contains(text, "starts again") {
					again++
				}
			}
			now, err := w.Events.Find(t.Context(), "e1")
			w.must(err)
			if again != 1 || now.Status != cyclone.StatusPending || now.Worker.Attempt != 1 {
				t.Errorf("put back %d times; %s, attempt %d, log %q", again, now.Status, now.Worker.Attempt, texts)
			}
			// What was checked before and stored after the take-over is one
			// chunk at most: the next one is refused.
			put := slices.IndexFunc(texts, func(text string) bool { return strings.Contains(text, "starts again") })
			if late := len(texts) - 1 - put; late > 1 {
				t.Errorf("the first attempt wrote %d lines after it was over", late)
			}
		})
	}
}
