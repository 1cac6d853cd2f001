package trigger_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
)

// The answer does not wait for a forge that is slow; the server that took the
// delivery asks at once, not at its next tick, and nobody handles it twice.
func TestForgeIsAskedAfterTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &oracle{takes: 5 * time.Second, paths: []string{"docs/a.md"}}
		w := asking(t, o)
		defer w.under()()
		time.Sleep(300 * time.Millisecond)
		begun := time.Now()
		d := w.arrive(cutOff())
		if d.HandledAt != nil || d.Ignored != "" || len(d.Events) != 0 || time.Since(begun) > 0 {
			t.Fatalf("after %s: %+v", time.Since(begun), d)
		}
		synctest.Wait()
		if len(o.at) != 1 || !o.at[0].Equal(begun) {
			t.Fatalf("asked at %v; it arrived at %v", o.at, begun)
		}
		time.Sleep(4 * time.Second)
		if got := w.delivery(d); got.HandledAt != nil {
			t.Errorf("handled before there was an answer: %+v", got)
		}
		time.Sleep(2 * time.Second)
		if got := w.delivery(d); got.HandledAt == nil || got.Ignored != `none of the 1 changed paths matches the project's paths "src/**"` ||
			got.Ref != "refs/heads/main" || got.Commit != sha || got.NextAt != nil {
			t.Errorf("in the end: %+v", got)
		}
		o.mu.Lock()
		o.paths = []string{"src/a.go"}
		o.mu.Unlock()
		d = w.arrive(cutOff())
		time.Sleep(6 * time.Second)
		if got := w.delivery(d); len(got.Events) != 1 || !cmp.Equal(w.find(got.Events[0]).Run.Changed, []string{"src/a.go"}) {
			t.Errorf("with a path that matches: %+v", got)
		}
		time.Sleep(10 * time.Minute)
		want := []string{"changed orders aaa 3f2 0", "changed orders aaa 3f2 0"}
		if diff := cmp.Diff(want, o.questions()); diff != "" {
			t.Errorf("questions (-want +got):\n%s", diff)
		}
	})
}

// What is known without the forge is decided without it, at once.
func TestForgeIsNotAskedForNothing(t *testing.T) {
	cases := []struct {
		name string
		edit func(*world, *cyclone.Project)
		hook *cyclone.Hook
		runs bool
	}{
		{"no path filter", func(_ *world, p *cyclone.Project) { p.Triggers.Push = nil }, cutOff(), true},
		{"the payload tells", nil, with(cutOff(), func(h *cyclone.Hook) { h.Changed = []string{"src/a"} }), true},
		{"the payload tells of others", nil, with(cutOff(), func(h *cyclone.Hook) { h.Changed = []string{"a"} }), false},
		{"new branch", nil, push("new"), true},
		{"tag", nil, tag("v1"), true},
		{"no credential", func(_ *world, p *cyclone.Project) { p.Repository.Credential = "" }, cutOff(), true},
		{"nobody to ask", func(w *world, _ *cyclone.Project) { w.Asks = nil }, cutOff(), true},
		{"skipped anyway", nil, with(cutOff(), func(h *cyclone.Hook) { h.Commit.Message = "[skip ci]" }), true},
		{"branch is out", func(_ *world, p *cyclone.Project) { p.Triggers.Push.Branches = []string{"prod"} }, cutOff(), false},
		{"closed pull request", nil, with(request(7, false), func(h *cyclone.Hook) { h.Action = cyclone.ActionCancel }), false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			o := &oracle{}
			w := asking(t, o)
			w.edit(func(p *cyclone.Project) {
				if c.edit != nil {
					c.edit(w, p)
				}
			})
			d := w.arrive(c.hook)
			if d.HandledAt == nil || (len(d.Events) == 1) != c.runs || len(o.questions()) != 0 {
				t.Errorf("%+v; questions %q", d, o.questions())
			}
		})
	}
}

// edit changes the project.
func (w *world) edit(change func(*cyclone.Project)) {
	w.t.Helper()
	p, err := w.store.Projects.Find(w.t.Context(), "orders")
	w.must(err)
	change(p)
	w.must(w.store.Projects.Replace(w.t.Context(), p))
}

// Paths of a pull request are always the forge's to tell.
func TestPathsOfPullRequests(t *testing.T) {
	for _, runs := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			o := &oracle{paths: []string{"docs/a.md"}}
			if runs {
				o.paths = append(o.paths, "src/a.go")
			}
			w := asking(t, o)
			defer w.under()()
			d := w.arrive(request(7, false))
			time.Sleep(time.Second)
			got := w.delivery(d)
			if got.HandledAt == nil || (len(got.Events) == 1) != runs || !runs && !strings.Contains(got.Ignored, "paths for pull requests") {
				t.Errorf("%+v", got)
			}
			if diff := cmp.Diff([]string{"changed orders  3f2 7"}, o.questions()); diff != "" {
				t.Errorf("questions (-want +got):\n%s", diff)
			}
		})
	}
}

// Paths that stay unknown let the event run: at once when nobody can tell them
// or only much later, after a few attempts otherwise.
func TestPathsThatStayUnknown(t *testing.T) {
	cases := []struct {
		name  string
		fail  error
		asked int
		after time.Duration
	}{
		{"cut off there too", nil, 1, 0},
		{"forbidden", cyclone.Forbidden("the token lacks the permission contents:read"), 1, 0},
		{"not found", cyclone.NotFound("there is no such commit"), 1, 0},
		{"away", cyclone.Unavailable("502 Bad Gateway"), 3, 6 * time.Second},
		{"broken", errors.New("unexpected end of JSON"), 3, 6 * time.Second},
		{"limited for an hour", cyclone.UnavailableFor(time.Hour, "rate limited"), 1, 0},
		{"limited for a while", cyclone.UnavailableFor(30*time.Second, "rate limited"), 3, time.Minute},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &oracle{fail: func(int) error { return c.fail }}
				w := asking(t, o)
				defer w.under()()
				begun := time.Now()
				d := w.arrive(cutOff())
				time.Sleep(2 * time.Minute)
				got := w.delivery(d)
				if len(got.Events) != 1 || len(o.questions()) != c.asked {
					t.Fatalf("%+v after %d questions", got, len(o.questions()))
				}
				if took := got.HandledAt.Sub(begun); took < c.after || took > c.after+5*time.Second {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

// A forge says when it can be asked again, within reason.
func TestRetryAfter(t *testing.T) {
	cases := map[time.Duration]time.Duration{0: time.Second, 40 * time.Minute: 40 * time.Minute, 9999 * time.Hour: 2 * time.Hour}
	for says, waits := range cases {
		synctest.Test(t, func(t *testing.T) {
			o := &oracle{writers: []string{"alice"}, requests: open(7, false), fail: func(n int) error {
				if n == 1 {
					return cyclone.UnavailableFor(says, "rate limited")
				}
				return nil
			}}
			w := asking(t, o)
			w.edit(func(p *cyclone.Project) { p.Triggers.PullRequest.Paths = nil })
			defer w.under()()
			d := w.arrive(comment(7, cyclone.CommentTest))
			time.Sleep(500 * time.Millisecond)
			if got := w.delivery(d); got.Attempts != 1 || got.NextAt == nil || got.HandledAt != nil || !strings.Contains(got.Error, "rate limited") {
				t.Errorf("after the first attempt: %+v", got)
			}
			time.Sleep(3 * time.Hour)
			if got := w.delivery(d); len(got.Events) != 1 || len(o.at) != 3 {
				t.Fatalf("in the end: %+v", got)
			}
			if waited := o.at[1].Sub(o.at[0]); waited < waits || waited > waits+3*time.Second {
				t.Errorf("told to wait %s, waited %s", says, waited)
			}
		})
	}
}

// A comment that cannot be judged for a day is parked, as anything else.
func TestForgeThatNeverAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &oracle{takes: time.Hour}
		w := asking(t, o)
		w.Tick = 10 * time.Second
		defer w.under()()
		d := w.arrive(comment(7, cyclone.CommentTest))
		time.Sleep(8 * time.Hour)
		if got := w.delivery(d); got.ParkedAt == nil || got.Attempts != 10 || len(o.questions()) != 10 {
			t.Errorf("%+v after %d questions", got, len(o.questions()))
		}
	})
}

// A forge that hangs holds up its own project only, and is asked about it one
// delivery after the other.
func TestForgeThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &oracle{takes: 10 * time.Second, paths: []string{"src/a"}}
		w := asking(t, o)
		other := *w.project()
		other.Name, other.Revision = "other", 0
		w.must(w.store.Projects.Create(t.Context(), &other))
		defer w.under()()
		const many = 30
		var hanging []*cyclone.Delivery
		for range many {
			hanging = append(hanging, w.arrive(cutOff()))
		}
		w.forge.knows("late", cutOff())
		late := &cyclone.Delivery{ID: "late", SCM: "github", Project: "other", ReceivedAt: time.Now(), Body: []byte("late")}
		w.must(w.store.Deliveries.Create(t.Context(), late))
		w.must(w.Deliver(t.Context(), late))
		plainPush := w.arrive(with(cutOff(), func(h *cyclone.Hook) { h.Changed = []string{"src/a"} }))
		if plainPush.HandledAt == nil {
			t.Errorf("what needs no forge waits: %+v", plainPush)
		}
		time.Sleep(11 * time.Second)
		if got := w.delivery(late); len(got.Events) != 1 {
			t.Errorf("the other project's waits: %+v", got)
		}
		time.Sleep(many * 10 * time.Second)
		for _, d := range hanging {
			if got := w.delivery(d); len(got.Events) != 1 {
				t.Errorf("%+v", got)
			}
		}
		if n := len(o.questions()); n != many+1 {
			t.Errorf("%d questions about %d deliveries", n, many+1)
		}
	})
}

func (w *world) project() *cyclone.Project {
	w.t.Helper()
	p, err := w.store.Projects.Find(w.t.Context(), "orders")
	w.must(err)
	return p
}

// What the server that took it did not come to ask, another one asks.
func TestServerDiesBeforeItAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &oracle{paths: []string{"src/a"}}
		dead := asking(t, o)
		d := dead.arrive(cutOff())
		second := asking(t, o)
		second.Projects, second.Events, second.Deliveries, second.store = dead.Projects, dead.Events, dead.Deliveries, dead.store
		second.Forges["github"] = dead.forge
		defer second.under()()
		time.Sleep(30 * time.Second)
		if len(o.questions()) != 0 {
			t.Error("it was not left to the server that took it")
		}
		time.Sleep(time.Minute)
		if got := second.delivery(d); len(got.Events) != 1 {
			t.Errorf("%+v", got)
		}
	})
}

// More than are kept in mind are found when they are due.
func TestMoreQuestionsThanAreKeptInMind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &oracle{paths: []string{"src/a"}}
		w := asking(t, o)
		const many = 250
		for range many {
			w.arrive(cutOff())
		}
		defer w.under()()
		time.Sleep(time.Second)
		if n := w.events(); n != 200 {
			t.Errorf("%d events of those that are kept in mind", n)
		}
		time.Sleep(2 * time.Minute)
		if n := w.events(); n != many {
			t.Errorf("%d of %d events", n, many)
		}
	})
}
