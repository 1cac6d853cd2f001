package progress_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"cyclone/pkg/cyclone"
)

func TestFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		stop := w.start()
		f := w.running("e1")
		w.must(w.Append(t.Context(), f, opaque(1, 2)))
		started := time.Now().UTC()
		w.must(w.Report(t.Context(), f, cyclone.Report{
			Stages: []cyclone.StageState{
				{Name: cyclone.StageBuild, Status: cyclone.StatusRunning, StartedAt: &started,
					Steps: []cyclone.StepState{{Name: "build", Status: cyclone.StatusRunning}}},
				{Name: cyclone.StageDeploy, Status: cyclone.StatusPending},
			},
		}))
		result := cyclone.Result{
			Status: cyclone.StatusFailure, Reason: "build failed", LastLine: 2,
			Error: &cyclone.Failure{Stage: cyclone.StageBuild, ExitCode: 1},
		}
		w.must(w.Finish(t.Context(), f, result))
		w.must(w.Finish(t.Context(), f, result)) // the acknowledgement was lost
		e := w.wantStatus("e1", cyclone.StatusFailure)
		if e.Reason != "build failed" || e.Error.ExitCode != 1 || e.LogLines != 2 || e.FinishedAt == nil || !e.Run.LeaseUntil.IsZero() {
			t.Errorf("event is %+v", e)
		}
		if e.Stages[0].Status != cyclone.StatusFailure || e.Stages[0].Steps[0].Status != cyclone.StatusFailure ||
			e.Stages[0].FinishedAt == nil || e.Stages[1].Status != cyclone.StatusSkipped {
			t.Errorf("stages were left open: %+v", e.Stages)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		stop()
		if got := w.mail.of("e1"); !slices.Equal(got, []cyclone.Status{cyclone.StatusFailure}) {
			t.Errorf("mails: %v; want exactly one", got)
		}
		if got := w.launcher.gone(); !slices.Equal(got, []cyclone.WorkerID{"w-e1"}) {
			t.Errorf("removed workers: %v; want exactly the event's", got)
		}
		if e := w.find("e1"); !e.NoticeDue().IsZero() {
			t.Errorf("notices are left: %+v", e.Run.Notices)
		}
	})
}

func TestFinishRefuses(t *testing.T) {
	w := newWorld(t)
	f := w.running("e1")
	for _, s := range []cyclone.Status{cyclone.StatusRunning, cyclone.StatusPending, cyclone.StatusSkipped, "", "great"} {
		wantKind(t, w.Finish(t.Context(), f, cyclone.Result{Status: s}), cyclone.ErrInvalid)
	}
	w.wantStatus("e1", cyclone.StatusRunning)
}

func TestFinishWaitsForLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f := w.running("e1")
		w.must(w.Append(t.Context(), f, opaque(1, 1)))
		done := make(chan error)
		go func() { done <- w.Finish(t.Context(), f, cyclone.Result{Status: cyclone.StatusSuccess, LastLine: 2}) }()
		time.Sleep(time.Second)
		synctest.Wait()
		w.wantStatus("e1", cyclone.StatusRunning)
		w.must(w.Append(t.Context(), f, opaque(2, 1)))
		w.must(<-done)
		if e := w.wantStatus("e1", cyclone.StatusSuccess); e.LogLines != 2 {
			t.Errorf("log has %d lines", e.LogLines)
		}
		// The log is sealed: nothing is appended to a final event's.
		wantKind(t, w.Append(t.Context(), f, opaque(3, 1)), cyclone.ErrConflict)

		g := w.running("e2")
		wantKind(t, w.Finish(t.Context(), g, cyclone.Result{Status: cyclone.StatusSuccess, LastLine: 2}), cyclone.ErrUnavailable)
		w.wantStatus("e2", cyclone.StatusRunning)
	})
}

// Each notice is tried on its own, with growing pauses, until it succeeds; and
// after the server was restarted the next one goes on.
func TestNoticesRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.mail.fail = 3
		w.launcher.setFail(errors.New("node is away"))
		stop := w.start()
		f := w.running("e1")
		w.must(w.Finish(t.Context(), f, cyclone.Result{Status: cyclone.StatusSuccess}))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := w.mail.of("e1"); len(got) != 0 {
			t.Errorf("mails: %v", got)
		}
		e := w.wantStatus("e1", cyclone.StatusSuccess)
		for _, n := range e.Run.Notices {
			if n.Done || n.Error == "" || n.Attempts < 2 || n.Attempts > 3 {
				t.Errorf("notice is %+v", n)
			}
		}
		stop()

		again := newWorld(t)
		again.Events, again.Queue, again.Projects, again.Logs = w.Events, w.Queue, w.Projects, w.Logs
		again.mail, again.Mail = w.mail, w.mail
		stop = again.start()
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		stop()
		if got := w.mail.of("e1"); !slices.Equal(got, []cyclone.Status{cyclone.StatusSuccess}) {
			t.Errorf("mails: %v; want exactly one", got)
		}
		if got := again.launcher.gone(); !slices.Equal(got, []cyclone.WorkerID{"w-e1"}) {
			t.Errorf("removed workers: %v; want the event's once", got)
		}
	})
}

func TestNoticeIsGivenUpInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.mail.fail = 1 << 30
		stop := w.start()
		w.must(w.Finish(t.Context(), w.running("e1"), cyclone.Result{Status: cyclone.StatusSuccess}))
		time.Sleep(48 * time.Hour)
		stop()
		e := w.wantStatus("e1", cyclone.StatusSuccess)
		if !e.NoticeDue().IsZero() || w.mail.tries < 5 || w.mail.tries > 20 {
			t.Errorf("after %d tries notices are %+v", w.mail.tries, e.Run.Notices)
		}
	})
}

// Two servers on one store tell everything once.
func TestNoticesOnceWithTwoServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		other := newWorld(t)
		other.Events, other.Queue, other.Projects, other.Logs = w.Events, w.Queue, w.Projects, w.Logs
		other.Mail, other.Launcher = w.Mail, w.Launcher
		stop, stopOther := w.start(), other.start()
		for i := range 20 {
			id := cyclone.EventID(fmt.Sprint("e", i))
			w.must(w.Finish(t.Context(), w.running(id), cyclone.Result{Status: cyclone.StatusSuccess}))
		}
		time.Sleep(time.Minute)
		stop()
		stopOther()
		for i := range 20 {
			if got := w.mail.of(cyclone.EventID(fmt.Sprint("e", i))); len(got) != 1 {
				t.Errorf("event %d: mails %v; want one", i, got)
			}
		}
		if got := w.launcher.gone(); len(got) != 20 {
			t.Errorf("%d removals; want 20", len(got))
		}
	})
}

func TestMailRules(t *testing.T) {
	ok, bad, stopped := cyclone.StatusSuccess, cyclone.StatusFailure, cyclone.StatusCanceled
	cases := []struct {
		when cyclone.When
		runs []cyclone.Status
		want []bool
	}{
		{"", []cyclone.Status{ok, bad, stopped, ok}, []bool{true, true, true, true}},
		{cyclone.WhenAlways, []cyclone.Status{ok, stopped, cyclone.StatusTimeout}, []bool{true, true, true}},
		{cyclone.WhenFailure, []cyclone.Status{ok, bad, bad, stopped, cyclone.StatusError}, []bool{false, true, true, false, true}},
		{cyclone.WhenChange, []cyclone.Status{ok, ok, bad, stopped, bad, ok, stopped, ok, cyclone.StatusTimeout},
			[]bool{false, false, true, false, false, true, false, false, true}},
		{cyclone.WhenChange, []cyclone.Status{bad, bad}, []bool{true, false}},
		{cyclone.WhenNever, []cyclone.Status{bad, ok}, []bool{false, false}},
	}
	for _, c := range cases {
		t.Run(fmt.Sprint(c.when, c.runs), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.project.Notifications.Email.When = c.when
				w.must(w.store.Projects.Replace(t.Context(), w.project))
				stop := w.start()
				defer stop()
				for i, status := range c.runs {
					id := cyclone.EventID(fmt.Sprint("e", i))
					w.must(w.Finish(t.Context(), w.running(id), cyclone.Result{Status: status}))
					time.Sleep(3 * time.Second)
					synctest.Wait()
					if got := len(w.mail.of(id)) == 1; got != c.want[i] {
						t.Errorf("run %d (%s): mail sent is %v; want %v", i, status, got, c.want[i])
					}
				}
			})
		})
	}
}
