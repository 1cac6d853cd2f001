package progress_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cyclone/pkg/cyclone"
)

func TestLostIsTriedOnceMore(t *testing.T) {
	w := newWorld(t)
	woken := 0
	w.Wake = func() { woken++ }
	f := w.running("e1")
	w.must(w.Append(t.Context(), f, chunk(t, 1, "a")))
	w.must(w.Lost(t.Context(), w.find("e1"), "its container ended"))
	e := w.wantStatus("e1", cyclone.StatusPending)
	if e.Worker != (cyclone.WorkerRef{Attempt: 1}) || e.Run.TokenHash != nil || e.Run.Former != nil || woken != 1 {
		t.Errorf("event is %+v, %+v, woken %d times", e.Worker, e.Run, woken)
	}
	if got := w.launcher.gone(); !slices.Equal(got, []cyclone.WorkerID{"w-e1"}) {
		t.Errorf("removed workers: %v", got)
	}
	log := w.text("e1")
	if len(log) != 2 || !strings.Contains(log[1], "worker w-e1 on node local was lost: its container ended") {
		t.Errorf("log is %q", log)
	}

	w.claim("w-2")
	w.must(w.Lost(t.Context(), w.find("e1"), "nothing was heard"))
	e = w.wantStatus("e1", cyclone.StatusError)
	for _, part := range []string{"w-2", "local", "nothing was heard", "never connected since its start at 20"} {
		if !strings.Contains(e.Reason, part) {
			t.Errorf("reason %q lacks %q", e.Reason, part)
		}
	}
	if e.Worker.ID != "w-2" || e.Worker.Attempt != 2 || e.LogLines != 3 || e.Error == nil {
		t.Errorf("event is %+v", e)
	}
}

func TestLostDecisions(t *testing.T) {
	started := time.Now().UTC()
	deploying := cyclone.Report{Stages: []cyclone.StageState{{Name: cyclone.StageDeploy, Status: cyclone.StatusRunning, StartedAt: &started}}}
	cases := []struct {
		name  string
		spoil func(w *world, f cyclone.Fence)
		want  cyclone.Status
		says  string
	}{
		{"plain", func(*world, cyclone.Fence) {}, cyclone.StatusPending, "was lost"},
		{"deploy had begun", func(w *world, f cyclone.Fence) { w.must(w.Report(t.Context(), f, deploying)) },
			cyclone.StatusError, "last heard of at 20"},
		{"deploy was to come", func(w *world, f cyclone.Fence) {
			w.must(w.Report(t.Context(), f, cyclone.Report{Stages: []cyclone.StageState{{Name: cyclone.StageDeploy, Status: cyclone.StatusPending}}}))
		}, cyclone.StatusPending, "was lost"},
		{"cancel was asked for", func(w *world, f cyclone.Fence) {
			_, err := w.Cancel(t.Context(), f.Event, "no longer needed")
			w.must(err)
		}, cyclone.StatusCanceled, "no longer needed"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			c.spoil(w, w.running("e1"))
			w.must(w.Lost(t.Context(), w.find("e1"), "its container ended"))
			e := w.wantStatus("e1", c.want)
			if !strings.Contains(e.Reason, c.says) {
				t.Errorf("reason is %q; want %q in it", e.Reason, c.says)
			}
		})
	}
}

// A worker that was heard of after the dispatcher looked is not lost.
func TestLostButHeardOf(t *testing.T) {
	w := newWorld(t)
	f := w.running("e1")
	seen := w.find("e1")
	_, err := w.Renew(t.Context(), f)
	w.must(err)
	w.must(w.Lost(t.Context(), seen, "nothing was heard"))
	w.wantStatus("e1", cyclone.StatusRunning)
	w.must(w.Append(t.Context(), f, chunk(t, 1, "still here")))
}

// Invariant: one event is run by at most one worker at a time. While the
// former worker cannot be removed, no other one starts.
func TestLostWorkerMustBeGoneFirst(t *testing.T) {
	w := newWorld(t)
	f := w.running("e1")
	w.launcher.setFail(errors.New("node is away"))
	if err := w.Lost(t.Context(), w.find("e1"), "nothing was heard"); err == nil {
		t.Fatal("Lost succeeded although the worker is still there")
	}
	e := w.wantStatus("e1", cyclone.StatusRunning)
	wantKind(t, w.Append(t.Context(), f, chunk(t, 1, "late")), cyclone.ErrConflict)
	if e.Run.LeaseUntil.After(time.Now().Add(cyclone.LeaseTime)) {
		t.Errorf("lease runs until %v", e.Run.LeaseUntil)
	}
	w.launcher.setFail(nil)
	w.must(w.Lost(t.Context(), e, "its lease ran out"))
	w.wantStatus("e1", cyclone.StatusPending)
	if got := w.launcher.gone(); !slices.Equal(got, []cyclone.WorkerID{"w-e1"}) {
		t.Errorf("removed workers: %v", got)
	}
}

func TestLaunchFailed(t *testing.T) {
	w := newWorld(t)
	w.event("e1", nil)
	cause := errors.New("image cyclone-worker does not exist")
	for try := 1; try <= 3; try++ {
		w.claim("w-1")
		w.must(w.LaunchFailed(t.Context(), w.find("e1"), context.Canceled)) // the server ended: no try
		e := w.wantStatus("e1", cyclone.StatusPending)
		if e.Worker.ID != "" {
			t.Errorf("worker is still %q", e.Worker.ID)
		}
		e.Run.LaunchFailures = try - 1
		w.must(w.store.Events.Replace(t.Context(), e))
		w.claim("w-1")
		w.must(w.LaunchFailed(t.Context(), w.find("e1"), cause))
		if try < 3 {
			w.wantStatus("e1", cyclone.StatusPending)
		}
	}
	e := w.wantStatus("e1", cyclone.StatusError)
	if !strings.Contains(e.Reason, cause.Error()) || !strings.Contains(e.Reason, "local") || len(w.text("e1")) != 1 {
		t.Errorf("reason is %q, log %q", e.Reason, w.text("e1"))
	}
}

// Launches that failed do not use up the attempts of an event.
func TestLostAfterFailedLaunch(t *testing.T) {
	w := newWorld(t)
	w.event("e1", nil)
	w.claim("w-1")
	w.must(w.LaunchFailed(t.Context(), w.find("e1"), errors.New("busy")))
	w.claim("w-2")
	w.must(w.Lost(t.Context(), w.find("e1"), "gone"))
	w.wantStatus("e1", cyclone.StatusPending)
	w.claim("w-3")
	w.must(w.Lost(t.Context(), w.find("e1"), "gone"))
	w.wantStatus("e1", cyclone.StatusError)
}

func TestCancelBeforeRunning(t *testing.T) {
	for _, status := range []cyclone.Status{cyclone.StatusPending, cyclone.StatusBlocked} {
		t.Run(string(status), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				stop := w.start()
				defer stop()
				w.event("e1", func(e *cyclone.Event) { e.Status = status })
				e, err := w.Cancel(t.Context(), "e1", "superseded by event #2")
				if err != nil || e.Status != cyclone.StatusCanceled || e.Reason != "superseded by event #2" || e.FinishedAt == nil {
					t.Errorf("Cancel = %+v, %v", e, err)
				}
				time.Sleep(5 * time.Second)
				synctest.Wait()
				if got := w.mail.of("e1"); len(got) != 1 {
					t.Errorf("mails: %v", got)
				}
				if got := w.launcher.gone(); len(got) != 0 {
					t.Errorf("workers were removed: %v", got)
				}
			})
		})
	}
}

func TestCancelReachesWorker(t *testing.T) {
	w := newWorld(t)
	f := w.running("e1")
	reasons, unsubscribe := w.Cancels(f)
	old, unsubscribeOld := w.Cancels(cyclone.Fence{Event: "e1", Worker: "w-old", Attempt: 0})
	defer unsubscribeOld()
	for range 3 { // impatient users do no harm
		e, err := w.Cancel(t.Context(), "e1", "no longer needed")
		if err != nil || e.Status != cyclone.StatusRunning {
			t.Fatalf("Cancel = %+v, %v", e, err)
		}
	}
	if got := <-reasons; got.Reason != "no longer needed" {
		t.Errorf("told %+v", got)
	}
	if len(old) != 0 {
		t.Error("another attempt's connection was told")
	}
	unsubscribe()
	w.must(w.Finish(t.Context(), f, cyclone.Result{Status: cyclone.StatusCanceled}))
	if e := w.wantStatus("e1", cyclone.StatusCanceled); e.Reason != "no longer needed" {
		t.Errorf("reason is %q", e.Reason)
	}
}

func TestCancelWithoutAnswer(t *testing.T) {
	cases := []struct {
		name      string
		heartbeat bool
		after     time.Duration // still running then
		by        time.Duration // canceled then
	}{
		{"silent worker", false, 28 * time.Second, 35 * time.Second},
		{"worker that lives but does not obey", true, 110 * time.Second, 125 * time.Second},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			forward := w.underClock()
			f := w.running("e1")
			_, err := w.Cancel(t.Context(), "e1", "no longer needed")
			w.must(err)
			for passed := time.Duration(0); passed < c.after; passed += 2 * time.Second {
				if c.heartbeat {
					_, err := w.Renew(t.Context(), f)
					w.must(err)
				}
				forward(2 * time.Second)
			}
			w.wantStatus("e1", cyclone.StatusRunning)
			forward(c.by - c.after)
			forward(2 * time.Second)
			e := w.wantStatus("e1", cyclone.StatusCanceled)
			if log := w.text("e1"); e.Reason != "no longer needed" || len(log) != 1 || log[0] != e.Reason {
				t.Errorf("reason %q, log %q", e.Reason, log)
			}
			wantKind(t, w.Finish(t.Context(), f, cyclone.Result{Status: cyclone.StatusSuccess}), cyclone.ErrConflict)
			w.eventually("worker removed and mail sent", func() bool {
				return slices.Contains(w.launcher.gone(), "w-e1") && len(w.mail.of("e1")) == 1
			})
		})
	}
}

// A restarted server gives workers the time to be heard again.
func TestCancelAfterRestart(t *testing.T) {
	w := newWorld(t)
	w.running("e1")
	_, err := w.Cancel(t.Context(), "e1", "no longer needed")
	w.must(err)
	e := w.find("e1")
	long := e.Run.CancelAt.Add(-time.Hour)
	e.Run.CancelAt, e.Run.LeaseUntil = &long, long
	w.must(w.store.Events.Replace(t.Context(), e))
	forward := w.underClock()
	forward(20 * time.Second)
	w.wantStatus("e1", cyclone.StatusRunning)
	forward(20 * time.Second)
	w.wantStatus("e1", cyclone.StatusCanceled)
}

func TestOvertime(t *testing.T) {
	w := newWorld(t)
	w.project.Limits.Timeout = cyclone.Duration(10 * time.Minute)
	w.must(w.store.Projects.Replace(t.Context(), w.project))
	forward := w.underClock()
	w.running("e1")
	forward(11 * time.Minute)
	w.wantStatus("e1", cyclone.StatusRunning)
	forward(2 * time.Minute)
	// For the server that was a pause, after which it listens first.
	w.wantStatus("e1", cyclone.StatusRunning)
	forward(20 * time.Second)
	forward(20 * time.Second)
	w.wantStatus("e1", cyclone.StatusTimeout)
}
