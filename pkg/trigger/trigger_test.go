package trigger_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
)

func TestPushBecomesEvent(t *testing.T) {
	w := newWorld(t, nil)
	d, e := w.deliver(push("main"))
	want := &cyclone.Event{
		ID: e.ID, Project: "orders", Number: 1, Status: cyclone.StatusPending,
		Trigger: cyclone.Trigger{Kind: cyclone.KindPush, Actor: "alice", Delivery: d.ID},
		Ref:     "refs/heads/main", Branch: "main", Version: "ci-3f2a1b9",
		Commit: cyclone.Commit{SHA: sha, Message: "Fix"},
		Image:  cyclone.Image{Name: "registry.example.com/orders", Tag: "ci-3f2a1b9"},
		Stages: []cyclone.StageState{}, Deployments: []cyclone.Deployment{}, CreatedAt: d.ReceivedAt,
		Run: cyclone.Run{Key: "github/orders/delivery-1/0", Revision: 1},
	}
	if diff := cmp.Diff(want, e); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	if w.woken != 1 {
		t.Errorf("the dispatcher was woken %d times", w.woken)
	}
}

func TestVersions(t *testing.T) {
	cases := []struct {
		hook *cyclone.Hook
		want string
	}{
		{push("main"), "ci-3f2a1b9"},
		{tag("v1.2.0"), "v1.2.0"},
		{tag("release/1.0+build"), "release-1.0-build"},
		{tag(".hidden"), "hidden"},
		{tag("版本"), "ci-3f2a1b9"},
		{tag(strings.Repeat("v", 300)), strings.Repeat("v", 128)},
		{request(7, false), "pr-7-3f2a1b9"},
		{with(tag("v2"), func(h *cyclone.Hook) { h.Kind, h.Commit = cyclone.KindRelease, cyclone.Commit{} }), "v2"},
	}
	for _, c := range cases {
		w := newWorld(t, func(p *cyclone.Project) {
			p.Triggers.Release = &cyclone.ReleaseTrigger{Enabled: true}
			p.Image = "r.example.com/acme/orders"
		})
		_, e := w.deliver(c.hook)
		if e.Version != c.want || e.Image.Ref() != "r.example.com/acme/orders:"+c.want {
			t.Errorf("%s: version is %q, image %q; want %q", c.hook.Ref, e.Version, e.Image.Ref(), c.want)
		}
	}
}

// Lists of events carry all messages, so that a huge one is cut.
func TestHugeCommitMessageIsCut(t *testing.T) {
	w := newWorld(t, nil)
	_, e := w.deliver(with(push("main"), func(h *cyclone.Hook) { h.Commit.Message = "Fix\n" + strings.Repeat("ä", 1<<20) }))
	if len(e.Commit.Message) > 17<<10 || !strings.HasPrefix(e.Commit.Message, "Fix\n") || !utf8.ValidString(e.Commit.Message) {
		t.Errorf("the message has %d bytes", len(e.Commit.Message))
	}
}

func TestFilters(t *testing.T) {
	start, skip := cyclone.StatusPending, cyclone.StatusSkipped
	pushes := func(p cyclone.PushTrigger) func(*cyclone.Project) {
		return func(x *cyclone.Project) { x.Triggers.Push = &p }
	}
	requests := func(p cyclone.PullRequestTrigger) func(*cyclone.Project) {
		return func(x *cyclone.Project) { x.Triggers.PullRequest = &p }
	}
	changed := func(paths ...string) *cyclone.Hook {
		return with(push("main"), func(h *cyclone.Hook) { h.Changed = paths })
	}
	says := func(text string) *cyclone.Hook {
		return with(push("main"), func(h *cyclone.Hook) { h.Commit.Message = text })
	}
	cases := []struct {
		name string
		edit func(*cyclone.Project)
		hook *cyclone.Hook
		want cyclone.Status // "" for ignored
		says string
	}{
		{"driver's own word", nil, with(push("main"), func(h *cyclone.Hook) { h.Ignored = "ping" }), "", "ping"},
		{"pushes off", pushes(cyclone.PushTrigger{Disabled: true}), push("main"), "", "push is off"},
		{"tags off", func(p *cyclone.Project) { p.Triggers.Tag = &cyclone.TagTrigger{Disabled: true} }, tag("v1"), "", "tag is off"},
		{"releases are off by default", nil, with(tag("v1"), func(h *cyclone.Hook) { h.Kind = cyclone.KindRelease }), "", "release is off"},
		{"pull requests are off by default", func(p *cyclone.Project) { p.Triggers = cyclone.Triggers{} }, request(1, false), "", "pull request is off"},
		{"branch", pushes(cyclone.PushTrigger{Branches: []string{"main", "release/*"}}), push("release/1.0"), start, ""},
		{"other branch", pushes(cyclone.PushTrigger{Branches: []string{"main", "release/*"}}), push("topic"), "", `"release/*"`},
		{"star stays in its element", pushes(cyclone.PushTrigger{Branches: []string{"release/*"}}), push("release/1/2"), "", "does not match"},
		{"two stars do not", pushes(cyclone.PushTrigger{Branches: []string{"**"}}), push("a/b/c"), start, ""},
		{"excluded branch", pushes(cyclone.PushTrigger{Branches: []string{"!wip/**"}}), push("wip/x"), "", "does not match"},
		{"not excluded branch", pushes(cyclone.PushTrigger{Branches: []string{"!wip/**"}}), push("x"), start, ""},
		{"glob that is none", pushes(cyclone.PushTrigger{Branches: []string{"[x"}}), push("[x"), start, ""},
		{"tag pattern", func(p *cyclone.Project) { p.Triggers.Tag = &cyclone.TagTrigger{Patterns: []string{"v*"}} }, tag("v1"), start, ""},
		{"other tag", func(p *cyclone.Project) { p.Triggers.Tag = &cyclone.TagTrigger{Patterns: []string{"v*"}} }, tag("x1"), "", "tag x1"},
		{"path", pushes(cyclone.PushTrigger{Paths: []string{"src/**", "!docs/**"}}), changed("docs/a.md", "src/a/b.go"), start, ""},
		{"other paths", pushes(cyclone.PushTrigger{Paths: []string{"src/**"}}), changed("docs/a.md"), "", "none of the 1 changed paths"},
		{"excluded paths only", pushes(cyclone.PushTrigger{Paths: []string{"!docs/**"}}), changed("docs/a.md"), "", "none of the 1"},
		{"unknown paths run", pushes(cyclone.PushTrigger{Paths: []string{"src/**"}}), push("main"), start, ""},
		{"target", requests(cyclone.PullRequestTrigger{Enabled: true, Branches: []string{"main"}}), request(1, false), start, ""},
		{"other target", requests(cyclone.PullRequestTrigger{Enabled: true, Branches: []string{"prod"}}), request(1, false), "", "target branch main"},
		{"skip ci", nil, says("Fix\n\n[skip ci]"), skip, "[skip ci]"},
		{"ci skip", nil, says("[CI Skip] fix"), skip, "[ci skip]"},
		{"skip cyclone", nil, says("[skip cyclone]"), skip, "[skip cyclone]"},
		{"skip in title", nil, with(request(1, false), func(h *cyclone.Hook) { h.PullRequest.Title = "[skip ci] x" }), skip, "title"},
		{"no ci", nil, says("Docs [no ci]"), skip, "[no ci]"},
		{"skip-ci", nil, says("Docs [skip-ci]"), skip, "[skip-ci]"},
		{"trailer", nil, says("Docs\n\nText\n\nSigned-off-by: A\nSkip-Checks: True\n"), skip, "skip-checks: true"},
		{"trailer that is not at the end", nil, says("Docs\n\nskip-checks: true\n\nText"), start, ""},
		{"trailer that is a subject", nil, says("skip-checks: true"), start, ""},
		{"trailer that says false", nil, says("Docs\n\nskip-checks: false"), start, ""},
		{"no skip", nil, says("skip ci"), start, ""},
		{"skip in the branch", nil, push("[skip-ci]"), start, ""},
		{"own commit", nil, with(push("main"), func(h *cyclone.Hook) { h.Committer = "Cyclone@noreply.invalid" }), "", "its committer is cyclone@noreply.invalid"},
		{"somebody's commit", nil, with(push("main"), func(h *cyclone.Hook) { h.Committer = "alice@example.com" }), start, ""},
		{"pull request of an own commit", nil, with(request(1, false), func(h *cyclone.Hook) { h.Committer = cyclone.CommitterEmail }), start, ""},
		{"fork", nil, request(1, true), cyclone.StatusBlocked, "fork"},
		{"fork without approval", requests(cyclone.PullRequestTrigger{Enabled: true, Approval: "never"}), request(1, true), start, ""},
		{"approval always", requests(cyclone.PullRequestTrigger{Enabled: true, Approval: "always"}), request(1, false), cyclone.StatusBlocked, "approval"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, c.edit)
			d, e := w.deliver(c.hook)
			if c.want == "" {
				if e != nil || !strings.Contains(d.Ignored, c.says) {
					t.Errorf("ignored is %q, event %+v; want %q", d.Ignored, e, c.says)
				}
				return
			}
			if e == nil || e.Status != c.want || !strings.Contains(e.Reason, c.says) {
				t.Fatalf("event is %+v, ignored %q; want %s", e, d.Ignored, c.want)
			}
			if c.want.Final() != (e.FinishedAt != nil) || (c.want == start || c.want == cyclone.StatusSkipped) != (w.woken == 1) {
				t.Errorf("finished at %v, woken %d times", e.FinishedAt, w.woken)
			}
		})
	}
}

func TestSupersede(t *testing.T) {
	on := func(p *cyclone.Project) { p.CancelSuperseded = true }
	w := newWorld(t, on)
	_, main1 := w.deliver(push("main"))
	_, fix := w.deliver(push("fix"))
	_, tagged := w.deliver(tag("v1"))
	_, pr7 := w.deliver(request(7, false)) // its source branch is called fix too
	_, pr8 := w.deliver(request(8, true))
	_, skipped := w.deliver(with(push("main"), func(h *cyclone.Hook) { h.Commit.Message = "[skip ci]" }))
	late := w.stored(push("main"))
	_, main2 := w.deliver(push("main"))
	_, pr8again := w.deliver(request(8, true))
	// One that arrived before but is handled after what came later cancels nothing newer.
	w.must(w.Deliver(t.Context(), late))
	want := map[*cyclone.Event]cyclone.Status{
		main1: cyclone.StatusCanceled, fix: cyclone.StatusPending, tagged: cyclone.StatusPending, pr7: cyclone.StatusPending,
		pr8: cyclone.StatusCanceled, skipped: cyclone.StatusSkipped, main2: cyclone.StatusPending, pr8again: cyclone.StatusBlocked,
	}
	for e, status := range want {
		if got := w.find(e.ID); got.Status != status {
			t.Errorf("event #%d (%s) is %s (%s); want %s", e.Number, e.Ref, got.Status, got.Reason, status)
		}
	}
	if got := w.find(main1.ID).Reason; got != fmt.Sprintf("superseded by event #%d", main2.Number) {
		t.Errorf("reason is %q", got)
	}

	w = newWorld(t, nil)
	_, first := w.deliver(push("main"))
	w.deliver(push("main"))
	if got := w.find(first.ID).Status; got != cyclone.StatusPending {
		t.Errorf("without cancelSuperseded the older event is %s", got)
	}
}

func TestClosedPullRequest(t *testing.T) {
	w := newWorld(t, nil)
	_, a := w.deliver(request(7, false))
	_, b := w.deliver(request(7, false))
	_, other := w.deliver(request(8, false))
	closing := with(request(7, false), func(h *cyclone.Hook) { h.Action = cyclone.ActionCancel })
	d, _ := w.deliver(closing)
	if d.Ignored != "pull request #7 was closed: 2 events canceled" {
		t.Errorf("ignored is %q", d.Ignored)
	}
	for e, want := range map[*cyclone.Event]cyclone.Status{a: cyclone.StatusCanceled, b: cyclone.StatusCanceled, other: cyclone.StatusPending} {
		if got := w.find(e.ID).Status; got != want {
			t.Errorf("event #%d is %s; want %s", e.Number, got, want)
		}
	}
}

// Invariant: an accepted delivery is never lost and never handled twice.
func TestDeliveredTwiceIsOneEvent(t *testing.T) {
	w := newWorld(t, nil)
	d := w.stored(push("main"))
	var wg sync.WaitGroup
	w.Wake = nil
	for range 10 {
		wg.Go(func() {
			c := *d
			if err := w.Deliver(t.Context(), &c); err != nil || len(c.Events) != 1 {
				t.Errorf("Deliver: %v, events %v", err, c.Events)
			}
		})
	}
	wg.Wait()
	l, err := w.store.Events.List(t.Context(), cyclone.EventQuery{})
	w.must(err)
	if l.Total != 1 {
		t.Errorf("%d events of one delivery", l.Total)
	}
	handled, err := w.store.Deliveries.Find(t.Context(), "orders", "github", d.ID)
	w.must(err)
	before := *handled.HandledAt
	w.now = w.now.Add(time.Hour)
	w.must(w.Deliver(t.Context(), handled))
	if !handled.HandledAt.Equal(before) {
		t.Error("a handled delivery was handled again")
	}
}

// brokenEvents fails until it is repaired.
type brokenEvents struct {
	cyclone.EventStore
	broken atomic.Bool
}

func (b *brokenEvents) Create(ctx context.Context, e *cyclone.Event) error {
	if b.broken.Load() {
		return cyclone.Unavailable("store is out of reach")
	}
	return b.EventStore.Create(ctx, e)
}
