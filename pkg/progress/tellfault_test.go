package progress_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cyclone/pkg/cyclone"
)

// A refusal is final for the state that was told, said once in the log, and
// tried again with the next state.
func TestRefusalEndsWithTheState(t *testing.T) {
	for _, kind := range []error{cyclone.ErrForbidden, cyclone.ErrNotFound, cyclone.ErrInvalid} {
		synctest.Test(t, func(t *testing.T) {
			w, forge := tellingWorld(t)
			var log bytes.Buffer
			w.Log = slog.New(slog.NewTextHandler(&log, nil))
			forge.answer = func(e *cyclone.Event, _ int) error {
				if e.Status.Final() {
					return nil
				}
				return fmt.Errorf("the token may not: %w", kind)
			}
			stop := w.start()
			f := w.running("e1")
			soon()
			w.stage(f, cyclone.StageBuild)
			time.Sleep(5 * time.Minute)
			if n := w.find("e1").Run.Notices[0]; !n.Done || n.Error == "" {
				t.Errorf("the notice of a refused state is %+v", n)
			}
			w.success(f)
			soon()
			stop()
			wantTold(t, forge, "e1", "running", "running build", "success")
			if n := w.find("e1").Run.Notices[0]; !n.Done || n.Error != "" {
				t.Errorf("the notice is %+v in the end", n)
			}
			if n := strings.Count(log.String(), "the token may not"); n != 1 {
				t.Errorf("the log says %d times why:\n%s", n, &log)
			}
		})
	}
}

// While an attempt is put off, a new state waits with it: the forge said so, or
// does not answer.
func TestPutOffStaysSo(t *testing.T) {
	for _, c := range []struct {
		name  string
		err   error
		after time.Duration
	}{
		{"back-off", errors.New("cannot be reached"), 5 * time.Second},
		{"retry-after", cyclone.UnavailableFor(3*time.Minute, "too many calls"), 3 * time.Minute},
		{"a retry-after that is shorter than the back-off", cyclone.UnavailableFor(time.Millisecond, "busy"), 5 * time.Second},
		{"a retry-after without end", cyclone.UnavailableFor(1000*time.Hour, "go away"), 2 * time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, forge := tellingWorld(t)
				forge.answer = func(_ *cyclone.Event, try int) error {
					if try == 1 {
						return c.err
					}
					return nil
				}
				defer w.start()()
				f := w.running("e1")
				time.Sleep(100 * time.Millisecond)
				w.stage(f, cyclone.StageBuild)
				time.Sleep(100 * time.Millisecond)
				w.success(f)
				time.Sleep(3 * time.Hour)
				wantTold(t, forge, "e1", "running", "success")
				at := forge.times("e1")
				if wait := at[1].Sub(at[0]); wait < c.after || wait > c.after+2*time.Second {
					t.Errorf("told again after %s; want %s", wait, c.after)
				}
			})
		})
	}
}

// A forge that says when to come again is asked for a day, and then, as one
// that is out of order, for the limited attempts.
func TestPatienceWithForges(t *testing.T) {
	for _, c := range []struct {
		name        string
		err         error
		least, most int
		lasts       time.Duration
	}{
		{"limits", cyclone.UnavailableFor(10*time.Minute, "too many calls"), 100, 160, 42 * time.Hour},
		{"a flood of limits", cyclone.UnavailableFor(time.Second, "too many calls"), 100, 310, 42 * time.Hour},
		{"faults", cyclone.Unavailable("answers 500"), 8, 12, 20 * time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, forge := tellingWorld(t)
				w.Tick = time.Minute
				forge.answer = func(*cyclone.Event, int) error { return c.err }
				stop := w.start()
				w.event("e1", func(e *cyclone.Event) {
					e.Status, e.FinishedAt = cyclone.StatusSkipped, new(time.Now())
					planned(e)
				})
				time.Sleep(c.lasts)
				tries := len(forge.of("e1"))
				if tries < c.least || tries > c.most {
					t.Errorf("%d attempts; want %d to %d", tries, c.least, c.most)
				}
				w.noneDue("e1")
				stop()
			})
		})
	}
}

// The outbox of an event outlives its server: an attempt that nobody can say
// anything about is made again, with the state of then.
func TestServerDiesWhileTelling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, forge := tellingWorld(t)
		forge.takes = time.Hour
		stop := w.start()
		f := w.running("e1")
		soon()
		e := w.find("e1")
		if n := e.Run.Notices[0]; n.Done || n.Attempts != 1 {
			t.Errorf("the notice is %+v while it is told", n)
		}
		w.Events = dead{w.Events} // nothing of what it learns is saved
		stop()
		forge.takes = 0
		next := w.another()
		next.Events, next.Status, next.StatusWanted = w.store.Events, forge, always
		defer next.start()()
		next.stage(f, cyclone.StageBuild)
		time.Sleep(50 * time.Second)
		wantTold(t, forge, "e1", "running")
		time.Sleep(time.Minute)
		synctest.Wait()
		wantTold(t, forge, "e1", "running", "running build")
	})
}

// dead is a store that takes no writes any more.
type dead struct{ cyclone.EventStore }

func (dead) Replace(context.Context, *cyclone.Event) error { return errDown }

// Two servers tell of the same events, while workers report: no state is told
// after a newer one, by nobody at the same time, and the last one is told.
func TestTwoServersTellInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, forge := tellingWorld(t)
		forge.takes = 70 * time.Millisecond
		other := w.another()
		other.Status, other.StatusWanted = forge, always
		stop, stopOther := w.start(), other.start()
		order := []string{"pending", "running"}
		for _, s := range cyclone.Stages {
			order = append(order, "running "+string(s))
		}
		order = append(order, "success")
		var all sync.WaitGroup
		for i := range 12 {
			id := cyclone.EventID(fmt.Sprint("e", i))
			w.event(id, planned)
			f := w.claim(cyclone.WorkerID("w-" + id))
			all.Go(func() {
				server := []*world{w, other}[i%2]
				_, _, err := server.Attach(t.Context(), f.Worker, "token", "session")
				server.must(err)
				for j, s := range cyclone.Stages {
					time.Sleep(time.Duration(i*j) * 13 * time.Millisecond)
					server.stage(f, s)
				}
				server.success(f)
			})
		}
		all.Wait()
		time.Sleep(time.Minute)
		stop()
		stopOther()
		for i := range 12 {
			id := cyclone.EventID(fmt.Sprint("e", i))
			told := forge.of(id)
			if len(told) == 0 || told[len(told)-1] != "success" {
				t.Errorf("%s: the last that was told is not the end: %q", id, told)
			}
			for j := 1; j < len(told); j++ {
				if slices.Index(order, told[j]) < slices.Index(order, told[j-1]) {
					t.Errorf("%s was told backwards: %q", id, told)
				}
			}
			w.noneDue(id)
		}
	})
}

// A forge that hangs keeps back neither mails nor the forges of others.
func TestHangingForge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, forge := tellingWorld(t)
		w.must(w.store.Projects.Create(t.Context(), &cyclone.Project{Name: "other"}))
		hanging := &hangs{forge: forge, project: "orders"}
		w.Status = hanging
		stop := w.start()
		for i := range 600 { // more than are looked at in one round
			w.event(cyclone.EventID(fmt.Sprint("e", i)), planned)
		}
		time.Sleep(5 * time.Second)
		for i := range 40 {
			w.event(cyclone.EventID(fmt.Sprint("o", i)), func(e *cyclone.Event) { e.Project = "other"; planned(e) })
		}
		mailed := w.running("last") // the oldest that waits
		w.success(mailed)
		time.Sleep(10 * time.Second)
		for i := range 40 {
			wantTold(t, forge, cyclone.EventID(fmt.Sprint("o", i)), "pending")
		}
		if got := w.mail.of(mailed.Event); len(got) != 1 {
			t.Errorf("mails: %v", got)
		}
		if n := hanging.most.Load(); n != 4 {
			t.Errorf("%d calls of the forge that hangs at once; want 4", n)
		}
		stop()
	})
}

// hangs is a forge that answers the events of a project never.
type hangs struct {
	forge     *teller
	project   cyclone.ProjectName
	now, most atomic.Int64
}

func (h *hangs) Notify(ctx context.Context, p *cyclone.Project, e *cyclone.Event) error {
	if p.Name != h.project {
		return h.forge.Notify(ctx, p, e)
	}
	h.most.Store(max(h.now.Add(1), h.most.Load()))
	defer h.now.Add(-1)
	<-ctx.Done()
	return cyclone.Unavailable("no answer")
}
