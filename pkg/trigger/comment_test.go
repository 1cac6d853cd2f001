package trigger_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
)

// comment is what a payload tells of a comment: of the pull request no more
// than its number.
func comment(number int, command cyclone.CommentCommand) *cyclone.Hook {
	return &cyclone.Hook{
		Kind: cyclone.KindComment, Action: cyclone.ActionStart, Actor: "alice", Comment: command, Ref: "refs/pull/7/head",
		Repositories: []string{"https://github.com/acme/orders.git"}, PullRequest: &cyclone.PullRequest{Number: number, Fork: true},
	}
}

// open is an open pull request as its forge describes it.
func open(number int, fork bool) map[int]*cyclone.PullRequestInfo {
	return map[int]*cyclone.PullRequestInfo{number: {
		PullRequest: cyclone.PullRequest{Number: number, Title: "Fix it", SourceBranch: "fix", TargetBranch: "main", Fork: fork},
		Open:        true, Ref: "refs/pull/7/head", Head: cyclone.Commit{SHA: sha},
	}}
}

// discussion is a world in which alice may write.
func discussion(t *testing.T, o *oracle) *world {
	t.Helper()
	o.writers = []string{"alice"}
	if o.requests == nil {
		o.requests = open(7, false)
	}
	w := asking(t, o)
	w.edit(func(p *cyclone.Project) { p.Triggers.PullRequest.Paths = nil })
	return w
}

// says hands a comment in and returns what became of it.
func (w *world) says(h *cyclone.Hook) (*cyclone.Delivery, *cyclone.Event) {
	w.t.Helper()
	d := w.arrive(h)
	time.Sleep(time.Second)
	d = w.delivery(d)
	if d.HandledAt == nil || (len(d.Events) == 1) == (d.Ignored != "") {
		w.t.Errorf("outcome is %+v", d)
	}
	if len(d.Events) == 0 {
		return d, nil
	}
	return d, w.find(d.Events[0])
}

// Invariant: nobody who may not write starts anything by a comment.
func TestTestComment(t *testing.T) {
	cases := []struct {
		name   string
		edit   func(*oracle, *world, *cyclone.Hook)
		says   string // why it is ignored
		reason string // of the event
	}{
		{"by a writer", nil, "", ""},
		{"of a fork", func(o *oracle, _ *world, _ *cyclone.Hook) { o.requests = open(7, true) }, "", "approved by alice with /test"},
		{"by a stranger", func(_ *oracle, _ *world, h *cyclone.Hook) { h.Actor = "mallory" }, "/test is for those who may write to the repository, and mallory may not", ""},
		{"by nobody", func(_ *oracle, _ *world, h *cyclone.Hook) { h.Actor = "" }, "does not say who asks", ""},
		{"closed", func(o *oracle, _ *world, _ *cyclone.Hook) { o.requests[7].Open = false }, "pull request #7 is closed", ""},
		{"gone", func(o *oracle, _ *world, _ *cyclone.Hook) { o.requests = nil }, "there is no pull request #7", ""},
		{"a draft", func(o *oracle, _ *world, _ *cyclone.Hook) { o.requests[7].Draft = true }, "", ""},
		{"marked to be skipped", func(o *oracle, _ *world, _ *cyclone.Hook) { o.requests[7].Title = "[skip ci] x" }, "", ""},
		{"pull requests are off", func(_ *oracle, w *world, _ *cyclone.Hook) {
			w.edit(func(p *cyclone.Project) { p.Triggers.PullRequest = nil })
		}, "trigger for pull request is off", ""},
		{"another target", func(_ *oracle, w *world, _ *cyclone.Hook) {
			w.edit(func(p *cyclone.Project) { p.Triggers.PullRequest.Branches = []string{"prod"} })
		}, "target branch main does not match", ""},
		{"other paths", func(o *oracle, w *world, _ *cyclone.Hook) {
			o.paths = []string{"docs/a"}
			w.edit(func(p *cyclone.Project) { p.Triggers.PullRequest.Paths = []string{"src/**"} })
		}, "none of the 1 changed paths", ""},
		{"every one needs approval", func(_ *oracle, w *world, _ *cyclone.Hook) {
			w.edit(func(p *cyclone.Project) { p.Triggers.PullRequest.Approval = "always" })
		}, "", "approved by alice with /test"},
		{"no credential", func(_ *oracle, w *world, _ *cyclone.Hook) {
			w.edit(func(p *cyclone.Project) { p.Repository.Credential = "" })
		}, "store a token as a secret and name it in repository.credential", ""},
		{"nobody can be asked", func(_ *oracle, w *world, _ *cyclone.Hook) { w.Asks = nil }, "asks no forges", ""},
		{"no permission", func(o *oracle, _ *world, _ *cyclone.Hook) {
			o.fail = func(int) error { return cyclone.Forbidden("the token lacks members:read") }
		}, "lacks members:read", ""},
		{"a fork that moved on", func(o *oracle, _ *world, h *cyclone.Hook) {
			o.requests, h.Commit.SHA = open(7, true), older
		}, "another commit since the comment", ""},
		{"a head that is no commit", func(o *oracle, _ *world, _ *cyclone.Hook) { o.requests[7].Head.SHA = "--upload-pack=x" }, "refused", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &oracle{requests: open(7, false)}
				w := discussion(t, o)
				h := comment(7, cyclone.CommentTest)
				if c.edit != nil {
					c.edit(o, w, h)
				}
				defer w.under()()
				if c.says == "refused" {
					d := w.arrive(h)
					time.Sleep(time.Second)
					if d = w.delivery(d); d.Error == "" || d.HandledAt == nil || w.events() != 0 {
						t.Errorf("%+v", d)
					}
					return
				}
				d, e := w.says(h)
				if c.says != "" {
					if !strings.Contains(d.Ignored, c.says) || w.events() != 0 {
						t.Errorf("ignored is %q, %d events", d.Ignored, w.events())
					}
					return
				}
				if e == nil || e.Status != cyclone.StatusPending || e.Reason != c.reason || e.Trigger.Kind != cyclone.KindComment || e.Trigger.Actor != "alice" {
					t.Fatalf("event %+v, ignored %q", e, d.Ignored)
				}
				if e.Commit.SHA != sha || e.Ref != "refs/pull/7/head" || e.Branch != "fix" || e.Version != "pr-7-3f2a1b9" || d.Commit != sha {
					t.Errorf("event is of %+v, delivery %+v", e, d)
				}
				want := o.requests[7].PullRequest
				if diff := cmp.Diff(&want, e.PullRequest); diff != "" {
					t.Errorf("pull request (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// What a comment approved is what its author could see.
func TestCommentThatIsJudgedLate(t *testing.T) {
	for _, fork := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			o := &oracle{requests: open(7, fork), fail: func(n int) error {
				if n == 1 {
					return cyclone.UnavailableFor(30*time.Minute, "rate limited")
				}
				return nil
			}}
			w := discussion(t, o)
			defer w.under()()
			d := w.arrive(comment(7, cyclone.CommentTest))
			time.Sleep(time.Hour)
			got := w.delivery(d)
			if fork && !strings.Contains(got.Ignored, "comment /test again") || !fork && len(got.Events) != 1 {
				t.Errorf("fork %t: %+v", fork, got)
			}
		})
	}
}

// A comment's event takes the place of the pull request's own and the other
// way round.
func TestCommentsSupersede(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := discussion(t, &oracle{requests: open(7, true)})
		w.edit(func(p *cyclone.Project) { p.CancelSuperseded = true })
		defer w.under()()
		_, own := w.says(request(7, true))
		_, asked := w.says(comment(7, cyclone.CommentTest))
		if got := w.find(own.ID); own.Status != cyclone.StatusBlocked || got.Status != cyclone.StatusCanceled {
			t.Errorf("the pull request's own event was %s and is %s", own.Status, got.Status)
		}
		_, next := w.says(request(7, true))
		if got := w.find(asked.ID); got.Status != cyclone.StatusCanceled || !strings.Contains(got.Reason, "superseded") {
			t.Errorf("the comment's event is %s: %s", got.Status, got.Reason)
		}
		if got := w.find(next.ID); got.Status != cyclone.StatusBlocked {
			t.Errorf("a later commit of a fork is %s", got.Status)
		}
	})
}

func TestRetestComment(t *testing.T) {
	cases := []struct {
		status cyclone.Status
		says   string // why it is ignored
	}{
		{cyclone.StatusFailure, ""}, {cyclone.StatusError, ""}, {cyclone.StatusTimeout, ""}, {cyclone.StatusCanceled, ""},
		{cyclone.StatusSuccess, "event #2, the latest of pull request #7, succeeded"},
		{cyclone.StatusSkipped, "was skipped"},
		{cyclone.StatusPending, "is still pending"},
		{cyclone.StatusRunning, "is still running"},
		{"", "pull request #7 has no event"},
	}
	for _, c := range cases {
		t.Run(string(c.status), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := discussion(t, &oracle{})
				w.edit(func(p *cyclone.Project) { p.Triggers.PullRequest.Paths = []string{"src/**"} })
				defer w.under()()
				w.edit(func(p *cyclone.Project) { p.Triggers.PullRequest.Paths = nil })
				var latest *cyclone.Event
				if c.status != "" {
					w.says(request(7, false))
					_, latest = w.says(request(7, false))
					w.says(request(8, false))
					w.says(with(push("fix"), func(h *cyclone.Hook) { h.Changed = []string{"src/a"} }))
					w.ended(latest, func(e *cyclone.Event) { e.Status = c.status })
				}
				before := w.events()
				d, e := w.says(comment(7, cyclone.CommentRetest))
				if c.says != "" {
					if !strings.Contains(d.Ignored, c.says) || w.events() != before {
						t.Errorf("ignored is %q, %d events more", d.Ignored, w.events()-before)
					}
					return
				}
				if e == nil || e.Trigger.Parent != latest.ID || e.Trigger.Kind != cyclone.KindRerun || e.Trigger.Actor != "alice" || e.Trigger.Delivery != d.ID {
					t.Fatalf("event %+v, ignored %q", e, d.Ignored)
				}
				// Handled once more it is the same event.
				d.HandledAt = nil
				w.must(w.store.Deliveries.Replace(t.Context(), d))
				time.Sleep(5 * time.Second)
				if again := w.delivery(d); len(again.Events) != 1 || again.Events[0] != e.ID || w.events() != before+1 {
					t.Errorf("once more: %+v", again)
				}
			})
		})
	}
}

func TestRetestIsForWriters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := discussion(t, &oracle{})
		defer w.under()()
		_, e := w.says(request(7, false))
		w.ended(e, nil)
		d, again := w.says(with(comment(7, cyclone.CommentRetest), func(h *cyclone.Hook) { h.Actor = "mallory" }))
		if again != nil || !strings.Contains(d.Ignored, "mallory may not") {
			t.Errorf("ignored is %q, event %+v", d.Ignored, again)
		}
	})
}

// A fork's event that nobody approved is not approved by running it again; one
// that a comment asked for was.
func TestRerunOfAComment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := discussion(t, &oracle{requests: open(7, true)})
		defer w.under()()
		_, e := w.says(comment(7, cyclone.CommentTest))
		w.ended(e, func(e *cyclone.Event) { e.Status, e.StartedAt = cyclone.StatusCanceled, nil })
		got, err := w.Rerun(t.Context(), e, "bob", "")
		w.must(err)
		if got.Status != cyclone.StatusPending || !got.FromFork() || got.Origin() != cyclone.KindComment {
			t.Errorf("rerun is %+v", got)
		}
	})
}
