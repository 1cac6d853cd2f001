package progress_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
)

// teller is a forge that remembers what it was told about each event.
type teller struct {
	t      *testing.T
	answer func(e *cyclone.Event, try int) error // nil: all is well
	takes  time.Duration

	mu   sync.Mutex
	told map[cyclone.EventID][]string
	at   map[cyclone.EventID][]time.Time
	busy map[cyclone.EventID]bool
}

func newTeller(t *testing.T) *teller {
	return &teller{t: t, told: map[cyclone.EventID][]string{}, at: map[cyclone.EventID][]time.Time{}, busy: map[cyclone.EventID]bool{}}
}

// text is a state as a forge shows it.
func text(e *cyclone.Event) string {
	for i := len(e.Stages) - 1; i >= 0 && e.Status == cyclone.StatusRunning; i-- {
		if e.Stages[i].StartedAt != nil {
			return "running " + string(e.Stages[i].Name)
		}
	}
	return string(e.Status)
}

func (f *teller) Notify(ctx context.Context, _ *cyclone.Project, e *cyclone.Event) error {
	f.mu.Lock()
	if f.busy[e.ID] {
		f.t.Errorf("event %s is told by two at once", e.ID)
	}
	f.busy[e.ID] = true
	f.told[e.ID] = append(f.told[e.ID], text(e))
	f.at[e.ID] = append(f.at[e.ID], time.Now())
	try := len(f.told[e.ID])
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.busy[e.ID] = false
	}()
	select {
	case <-time.After(f.takes):
	case <-ctx.Done():
		return ctx.Err()
	}
	if f.answer != nil {
		return f.answer(e, try)
	}
	return nil
}

func (f *teller) of(id cyclone.EventID) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string{}, f.told[id]...)
}

func (f *teller) times(id cyclone.EventID) []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]time.Time{}, f.at[id]...)
}

func always(*cyclone.Project, *cyclone.Event) bool { return true }

// tellingWorld is a world whose forge is told.
func tellingWorld(t *testing.T) (*world, *teller) {
	w, f := newWorld(t), newTeller(t)
	w.Status, w.StatusWanted = f, always
	return w, f
}

// planned is how trigger leaves a new event.
func planned(e *cyclone.Event) {
	e.Run.Notices = []cyclone.Notice{{Name: cyclone.NoticeStatus, NextAt: time.Now()}}
}

// stage reports that stages up to the named one have begun.
func (w *world) stage(f cyclone.Fence, upTo cyclone.Stage) {
	w.t.Helper()
	now := time.Now().UTC()
	var stages []cyclone.StageState
	for _, s := range cyclone.Stages {
		state := cyclone.StageState{Name: s, Status: cyclone.StatusSuccess, StartedAt: &now, FinishedAt: &now}
		if s == upTo {
			state.Status, state.FinishedAt = cyclone.StatusRunning, nil
		}
		if stages = append(stages, state); s == upTo {
			break
		}
	}
	w.must(w.Report(w.t.Context(), f, cyclone.Report{Commit: cyclone.Commit{SHA: sha}, Stages: stages}))
}

func (w *world) success(f cyclone.Fence) {
	w.t.Helper()
	w.must(w.Finish(w.t.Context(), f, cyclone.Result{Status: cyclone.StatusSuccess}))
}

// soon lets what is due be told.
func soon() {
	time.Sleep(2 * time.Second)
	synctest.Wait()
}

func wantTold(t *testing.T, f *teller, id cyclone.EventID, want ...string) {
	t.Helper()
	if diff := cmp.Diff(append([]string{}, want...), f.of(id)); diff != "" {
		t.Errorf("the forge was told of %s (-want +got):\n%s", id, diff)
	}
}

// noneDue checks that all is told.
func (w *world) noneDue(id cyclone.EventID) {
	w.t.Helper()
	if e := w.find(id); !e.NoticeDue().IsZero() {
		w.t.Errorf("notices are left: %+v", e.Run.Notices)
	}
}

func TestForgeIsToldOfEachStage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, forge := tellingWorld(t)
		defer w.start()()
		w.event("e1", planned)
		w.Kick()
		soon()
		wantTold(t, forge, "e1", "pending")
		f := w.claim("w-1")
		_, _, err := w.Attach(t.Context(), f.Worker, "token", "session")
		w.must(err)
		soon()
		for _, s := range cyclone.Stages {
			w.stage(f, s)
			w.stage(f, s) // nothing new
			soon()
		}
		w.success(f)
		soon()
		// The first stage is what a worker begins with.
		wantTold(t, forge, "e1", "pending", "running", "running pre_build", "running build", "running integration",
			"running post_build", "running deploy", "success")
		w.noneDue("e1")
		time.Sleep(time.Hour)
		if n := len(forge.of("e1")); n != 8 {
			t.Errorf("an event that is over was told %d times", n)
		}
	})
}

// What changes while the forge is being told is told once, in the end; the
// worker does not wait for it.
func TestChangesAreToldTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, forge := tellingWorld(t)
		forge.takes = 30 * time.Second
		writes := &counting{EventStore: w.Events}
		w.Events = writes
		defer w.start()()
		f := w.running("e1")
		soon() // being told
		began, before := time.Now(), writes.n.Load()
		for _, s := range cyclone.Stages {
			w.stage(f, s)
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("the worker waited %s for the forge", took)
		}
		if n := writes.n.Load() - before; n != int64(len(cyclone.Stages)) {
			t.Errorf("%d reports made %d writes", len(cyclone.Stages), n)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		wantTold(t, forge, "e1", "running", "running deploy")
		w.stage(f, cyclone.StageDeploy)
		w.success(f)
		time.Sleep(time.Minute)
		synctest.Wait()
		wantTold(t, forge, "e1", "running", "running deploy", "success")
		w.noneDue("e1")
	})
}

// counting counts the writes of events.
type counting struct {
	cyclone.EventStore
	n atomic.Int64
}

func (c *counting) Replace(ctx context.Context, e *cyclone.Event) error {
	c.n.Add(1)
	return c.EventStore.Replace(ctx, e)
}

// An event that starts again is told to wait again.
func TestForgeIsToldOfALostWorker(t *testing.T) {
	w, forge := tellingWorld(t)
	defer w.start()()
	told := func(want ...string) {
		t.Helper()
		w.eventually("the forge is told of the last change", func() bool { return slices.Equal(forge.of("e1"), want) })
	}
	w.event("e1", planned)
	w.Kick()
	told("pending")
	f := w.claim("w-1")
	_, _, err := w.Attach(t.Context(), f.Worker, "token", "session")
	w.must(err)
	told("pending", "running")
	w.stage(f, cyclone.StageBuild)
	told("pending", "running", "running build")
	w.must(w.Lost(t.Context(), w.find("e1"), "it died"))
	told("pending", "running", "running build", "pending")
}

func TestForgeIsToldOfWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, forge := tellingWorld(t)
		defer w.start()()
		w.event("blocked", func(e *cyclone.Event) { e.Status = cyclone.StatusBlocked; planned(e) })
		soon()
		_, err := w.Approve(t.Context(), "blocked", "alice")
		w.must(err)
		soon()
		_, err = w.Cancel(t.Context(), "blocked", "no")
		w.must(err)
		soon()
		wantTold(t, forge, "blocked", "blocked", "pending", "canceled")

		w.event("skipped", func(e *cyclone.Event) { e.Status = cyclone.StatusSkipped; planned(e) })
		soon()
		wantTold(t, forge, "skipped", "skipped")
		w.noneDue("skipped")
	})
}

// A commit that only the worker finds out is told of from then on.
func TestUnknownCommitIsToldLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, forge := tellingWorld(t)
		w.StatusWanted = func(_ *cyclone.Project, e *cyclone.Event) bool { return e.Commit.SHA != "" }
		defer w.start()()
		w.event("e1", func(e *cyclone.Event) { e.Commit = cyclone.Commit{} })
		f := w.claim("w-1")
		_, _, err := w.Attach(t.Context(), f.Worker, "token", "session")
		w.must(err)
		w.must(w.Report(t.Context(), f, cyclone.Report{}))
		soon()
		wantTold(t, forge, "e1")
		w.stage(f, cyclone.StageClone)
		soon()
		w.success(f)
		soon()
		wantTold(t, forge, "e1", "running clone", "success")
	})
}

// The comment is written every ten seconds at most, and at once at the end.
func TestCommentRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		comment := newTeller(t)
		w.Comment, w.CommentWanted = comment, func(_ *cyclone.Project, e *cyclone.Event) bool { return e.Number == 1 }
		defer w.start()()
		f := w.running("e1")
		for range 5 { // as if it began again and again
			for _, s := range cyclone.Stages {
				w.stage(f, s)
				time.Sleep(time.Second)
			}
		}
		time.Sleep(20 * time.Second)
		w.stage(f, cyclone.StageBuild)
		time.Sleep(3 * time.Second)
		w.success(f)
		ended := time.Now()
		soon()
		at := comment.times("e1")
		for i := 1; i < len(at)-1; i++ {
			if wait := at[i].Sub(at[i-1]); wait < 10*time.Second {
				t.Errorf("written again after %s", wait)
			}
		}
		if told := comment.of("e1"); len(told) < 5 || len(told) > 8 || told[len(told)-1] != "success" {
			t.Errorf("the comment was %q", told)
		}
		if late := at[len(at)-1].Sub(ended); late > time.Second {
			t.Errorf("the end was written after %s", late)
		}
		w.success(w.running("e2"))
		soon()
		wantTold(t, comment, "e2")
		w.noneDue("e2")
	})
}
