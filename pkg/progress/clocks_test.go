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
	"cyclone/pkg/lead"
	"cyclone/pkg/progress"
)

// An event that no worker takes ends, and says what it waited for; one that
// was put back has its whole time again.
func TestWaitingTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.PendingTimeout = time.Hour
		w.must(w.store.Nodes.Beat(t.Context(), &cyclone.Node{Name: "local", SeenAt: time.Now().Add(time.Hour), Reason: "node local has 0.1 GiB of free disk space"}))
		w.event("e1", nil)
		stop := w.start()
		defer stop()
		time.Sleep(59 * time.Minute)
		synctest.Wait()
		w.wantStatus("e1", cyclone.StatusPending)
		again := w.event("e2", func(e *cyclone.Event) {
			e.CreatedAt = time.Now().Add(-2 * time.Hour).UTC()
			back := time.Now().UTC()
			e.Run.PendingSince = &back
		})
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		e := w.wantStatus("e1", cyclone.StatusTimeout)
		if !strings.Contains(e.Reason, "within 1h") || !strings.Contains(e.Reason, "0.1 GiB") || e.Error == nil || e.FinishedAt == nil {
			t.Errorf("event %+v", e)
		}
		w.wantStatus(again.ID, cyclone.StatusPending)
		if got := w.mail.of("e1"); len(got) != 1 {
			t.Errorf("mails: %v", got)
		}
	})
}

// The server's maximum holds whatever the project says.
func TestTimeoutHasAMaximum(t *testing.T) {
	w := newWorld(t)
	w.project.Limits.Timeout = cyclone.Duration(48 * time.Hour)
	w.must(w.store.Projects.Replace(t.Context(), w.project))
	w.MaxTimeout = 2 * time.Hour
	w.LogLimit = 1 << 20
	job, err := w.Job(t.Context(), w.running("e1"))
	if err != nil || time.Duration(job.Timeout) != 2*time.Hour || job.LogLimit != 1<<20 {
		t.Errorf("job %+v, %v", job, err)
	}
}

// What is overdue is ended by one server only.
func TestOnlyTheLeaderEndsWhatIsOverdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.PendingTimeout = time.Hour
		w.Lease = &lead.Lease{Store: w.store.Leases, Name: "overdue", Holder: "b", Now: time.Now}
		held, err := w.store.Leases.Acquire(t.Context(), "overdue", "a", time.Now(), 2*time.Hour)
		if err != nil || !held {
			t.Fatalf("%v, %v", held, err)
		}
		w.event("e1", nil)
		stop := w.start()
		defer stop()
		time.Sleep(119 * time.Minute)
		synctest.Wait()
		w.wantStatus("e1", cyclone.StatusPending)
		time.Sleep(2 * time.Minute) // the other's lease runs out
		synctest.Wait()
		w.wantStatus("e1", cyclone.StatusTimeout)
	})
}

func deploying() cyclone.Report {
	now := time.Now().UTC()
	return cyclone.Report{Stages: []cyclone.StageState{{Name: cyclone.StageDeploy, Status: cyclone.StatusRunning, StartedAt: &now}}}
}

// A newer push ends an event, but never one that has begun to deploy.
func TestSupersede(t *testing.T) {
	w := newWorld(t)
	f := w.running("e1")
	told, unsubscribe := w.Cancels(f)
	defer unsubscribe()
	if _, err := w.Supersede(t.Context(), "e1", "superseded by event #2"); err != nil {
		t.Fatal(err)
	}
	if c := <-told; !c.Spare || c.Reason != "superseded by event #2" {
		t.Errorf("told %+v", c)
	}
	// It began to deploy before the wish reached it: the wish is void, and the
	// clock of the disobedient does not run.
	w.must(w.Report(t.Context(), f, deploying()))
	_, err := w.Supersede(t.Context(), "e1", "superseded by event #3")
	wantKind(t, err, cyclone.ErrConflict)
	// A person's wish counts all the same.
	if _, err := w.Cancel(t.Context(), "e1", "stop it"); err != nil {
		t.Fatal(err)
	}
	if c := <-told; c.Spare || c.Reason != "stop it" {
		t.Errorf("told %+v", c)
	}

	waiting := w.event("e2", nil)
	if e, err := w.Supersede(t.Context(), waiting.ID, "superseded by event #3"); err != nil || e.Status != cyclone.StatusCanceled {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestSupersededEventThatDeploysIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f := w.running("e1")
		stop := w.start()
		defer stop()
		_, err := w.Supersede(t.Context(), "e1", "superseded by event #2")
		w.must(err)
		w.must(w.Report(t.Context(), f, deploying()))
		for range 10 {
			time.Sleep(30 * time.Second)
			if _, err := w.Renew(t.Context(), f); err != nil {
				t.Fatalf("the event was taken from its worker: %v", err)
			}
		}
		w.must(w.Finish(t.Context(), f, cyclone.Result{Status: cyclone.StatusSuccess}))
		if e := w.wantStatus("e1", cyclone.StatusSuccess); e.Reason != "" {
			t.Errorf("reason %q", e.Reason)
		}
	})
}

// A worker that is on its way when the event is canceled is not waited for,
// not let in, and removed.
func TestCancelWhileTheWorkerStarts(t *testing.T) {
	w := newWorld(t)
	w.event("e1", nil)
	f := w.claim("w-1")
	forward := w.underClock()
	e, err := w.Cancel(t.Context(), "e1", "no longer needed")
	if err != nil || e.Status != cyclone.StatusCanceled || e.Reason != "no longer needed" {
		t.Fatalf("%+v, %v", e, err)
	}
	_, _, err = w.Attach(t.Context(), f.Worker, "token", "session")
	wantKind(t, err, cyclone.ErrConflict)
	w.must(w.LaunchFailed(t.Context(), e, errors.New("late")))
	forward(5 * time.Second)
	w.eventually("the worker is removed", func() bool { return slices.Equal(w.launcher.gone(), []cyclone.WorkerID{"w-1"}) })
	w.wantStatus("e1", cyclone.StatusCanceled)
}

// One that has connected and asks for its job after the wish gets none.
func TestCancelBeforeTheJob(t *testing.T) {
	w := newWorld(t)
	f := w.running("e1")
	_, err := w.Cancel(t.Context(), "e1", "no longer needed")
	w.must(err)
	_, err = w.Job(t.Context(), f)
	wantKind(t, err, cyclone.ErrConflict)
	if e := w.wantStatus("e1", cyclone.StatusCanceled); e.Reason != "no longer needed" {
		t.Errorf("reason %q", e.Reason)
	}
}

func TestLostPolicy(t *testing.T) {
	w := newWorld(t)
	w.project.Limits.OnWorkerLost = cyclone.LostFail
	w.must(w.store.Projects.Replace(t.Context(), w.project))
	w.running("e1")
	w.must(w.Lost(t.Context(), w.find("e1"), "its container ended"))
	if e := w.wantStatus("e1", cyclone.StatusError); !strings.Contains(e.Reason, "w-e1 on node local") {
		t.Errorf("reason %q", e.Reason)
	}
}

// An event whose node stays out of reach does not hang for ever: it ends, and
// says that nobody knows whether its worker is gone.
func TestLostOnANodeOutOfReach(t *testing.T) {
	w := newWorld(t)
	c := &clock{}
	w.Now = c.now
	w.running("e1")
	w.launcher.setFail(errors.New("the engine does not answer"))
	begun := c.now()
	for w.find("e1").Status == cyclone.StatusRunning && c.now().Sub(begun) < time.Hour {
		if err := w.Lost(t.Context(), w.find("e1"), "nothing was heard of it"); err != nil && !strings.Contains(err.Error(), "engine does not answer") {
			t.Fatal(err)
		}
		c.ahead.Add(int64(30 * time.Second)) // dispatch tries when the lease has run out
	}
	if took := c.now().Sub(begun); took < 5*time.Minute || took > 6*time.Minute {
		t.Errorf("it took %s", took)
	}
	e := w.wantStatus("e1", cyclone.StatusError)
	if !strings.Contains(e.Reason, "node local cannot be reached") {
		t.Errorf("reason %q", e.Reason)
	}
}

// What runs on another node is left to that node's servers, until there are
// none any more.
func TestOtherNodes(t *testing.T) {
	w := newWorld(t)
	f := w.running("e1")
	w.Node = "other"
	w.must(w.store.Nodes.Beat(t.Context(), &cyclone.Node{Name: "local", SeenAt: time.Now()}))
	w.must(w.Finish(t.Context(), f, cyclone.Result{Status: cyclone.StatusSuccess}))
	w.running("e2")
	forward := w.underClock()
	forward(30 * time.Second)
	if got := w.launcher.gone(); len(got) != 0 || w.find("e1").Run.Notices[0].Attempts != 0 {
		t.Errorf("workers of another node were removed: %v", got)
	}
	if err := w.Lost(t.Context(), w.find("e2"), "nothing was heard of it"); !errors.Is(err, cyclone.ErrUnavailable) {
		t.Errorf("lost on a node that another server serves: %v", err)
	}
	forward(time.Minute) // nobody beats for the node any more
	w.eventually("the release is given up", func() bool { return w.find("e1").Run.Notices[0].Done })
	if n := w.find("e1").Run.Notices[0]; !strings.Contains(n.Error, "no server dispatches") {
		t.Errorf("notice %+v", n)
	}
	w.must(w.Lost(t.Context(), w.find("e2"), "nothing was heard of it"))
	if e := w.wantStatus("e2", cyclone.StatusError); !strings.Contains(e.Reason, "node local cannot be reached") {
		t.Errorf("reason %q", e.Reason)
	}
}

// forge is told statuses; it fails with what it has.
type forge struct {
	mailer
	err error
}

func (f *forge) Notify(ctx context.Context, p *cyclone.Project, e *cyclone.Event) error {
	if err := f.mailer.Notify(ctx, p, e); err != nil {
		return err
	}
	return f.err
}

// The outbox: each notice is told on its own; a refusal for good is not tried
// again; what a server left undone its successor does, and no more than that.
func TestOutbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		refusing := &forge{err: cyclone.Forbidden("the token may not set statuses")}
		w.Status, w.StatusWanted = refusing, func(*cyclone.Project, *cyclone.Event) bool { return true }
		w.mail.fail = 1
		w.must(w.Finish(t.Context(), w.running("e1"), cyclone.Result{Status: cyclone.StatusSuccess}))
		stop := w.start()
		time.Sleep(3 * time.Second)
		stop() // the mail has failed once
		successor := &world{t: t}
		successor.Progress = &progress.Progress{
			Events: w.Events, Queue: w.Queue, Projects: w.Projects, Logs: w.Logs, Hub: w.Hub, Launcher: w.Launcher, Node: w.Node, Nodes: w.Nodes,
			Mail: w.Mail, Status: w.Status, StatusWanted: w.StatusWanted, Log: w.Log, Now: time.Now,
		}
		defer successor.start()()
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := w.mail.of("e1"); len(got) != 1 {
			t.Errorf("mails: %v", got)
		}
		if refusing.tries != 1 {
			t.Errorf("the forge was asked %d times", refusing.tries)
		}
		if got := w.launcher.gone(); len(got) != 1 {
			t.Errorf("removed %v", got)
		}
		for _, n := range w.find("e1").Run.Notices {
			if !n.Done {
				t.Errorf("notice %+v is left", n)
			}
		}
	})
}
