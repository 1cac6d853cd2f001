package progress_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/lead"
)

// A wish to end that a person uttered replaces one that spares a deployment,
// although the worker's connection has not taken that yet.
func TestLaterCancellationReplacesTheFirst(t *testing.T) {
	w := newWorld(t)
	told, unsubscribe := w.Cancels(w.running("e1"))
	defer unsubscribe()
	_, err := w.Supersede(t.Context(), "e1", "superseded by event #2")
	w.must(err)
	_, err = w.Cancel(t.Context(), "e1", "stop it")
	w.must(err)
	if c := <-told; c != (cyclone.Cancellation{Reason: "stop it"}) {
		t.Errorf("told %+v", c)
	}
	select {
	case c := <-told:
		t.Errorf("told again: %+v", c)
	default:
	}
}

// A cancellation reaches a worker that is connected to another server.
func TestCancelThroughAnotherServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		other := w.another()
		other.Lease = &lead.Lease{Store: w.store.Leases, Name: "overdue", Holder: "other", Now: time.Now}
		f := w.running("e1")
		told, unsubscribe := other.Cancels(f)
		defer unsubscribe()
		stop := other.start()
		defer stop()
		time.Sleep(100 * time.Millisecond)
		_, err := w.Cancel(t.Context(), "e1", "stop it")
		w.must(err)
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		if len(told) != 1 {
			t.Fatal("the worker was not told within a tick")
		}
		<-told
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if len(told) != 0 {
			t.Error("the worker was told again")
		}
	})
}

// Of a worker that is superseded and silent nobody knows whether it deploys by
// now: it keeps its event until it counts as lost.
func TestSupersededSilentWorkerMayDeploy(t *testing.T) {
	w := newWorld(t)
	forward := w.underClock()
	f := w.running("e1")
	_, err := w.Supersede(t.Context(), "e1", "superseded by event #2")
	w.must(err)
	for range 20 {
		forward(10 * time.Second)
	}
	w.wantStatus("e1", cyclone.StatusRunning)
	w.must(w.Report(t.Context(), f, deploying())) // the connection was cut
	w.must(w.Finish(t.Context(), f, cyclone.Result{Status: cyclone.StatusSuccess}))
	if e := w.wantStatus("e1", cyclone.StatusSuccess); e.Reason != "" {
		t.Errorf("reason %q", e.Reason)
	}
}

// One that was superseded before its deployment and lost is canceled; one that
// asks for its job again while it deploys gets it.
func TestSupersededAndLost(t *testing.T) {
	w := newWorld(t)
	w.running("e1")
	g := w.running("e2")
	for _, id := range []cyclone.EventID{"e1", "e2"} {
		_, err := w.Supersede(t.Context(), id, "superseded by event #3")
		w.must(err)
	}
	w.must(w.Lost(t.Context(), w.find("e1"), "its container ended"))
	w.wantStatus("e1", cyclone.StatusCanceled)
	w.must(w.Report(t.Context(), g, deploying()))
	if _, err := w.Job(t.Context(), g); err != nil {
		t.Errorf("job of an event that deploys: %v", err)
	}
	w.must(w.Lost(t.Context(), w.find("e2"), "its container ended"))
	if e := w.wantStatus("e2", cyclone.StatusError); !strings.Contains(e.Reason, "begun to deploy") {
		t.Errorf("reason %q", e.Reason)
	}
}
