package forge_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/fakeforge"
	"cyclone/pkg/scm/github"
)

// ran is an event's edit: it took so long.
func ran(s cyclone.Status, took time.Duration, reason string) func(*cyclone.Event) {
	return func(e *cyclone.Event) {
		start, end := epoch, epoch.Add(took)
		e.Status, e.StartedAt, e.FinishedAt, e.Reason = s, &start, &end, reason
	}
}

func TestStatus(t *testing.T) {
	start := epoch
	running := func(stages ...cyclone.StageState) func(*cyclone.Event) {
		return func(e *cyclone.Event) { e.Status, e.Stages = cyclone.StatusRunning, stages }
	}
	for _, c := range []struct {
		name  string
		edit  func(*cyclone.Event)
		state cyclone.CommitState
		says  string
	}{
		{"new", nil, "pending", "waits for a worker"},
		{"waits again", func(e *cyclone.Event) { e.Reason = "worker w-1 was lost" }, "pending", "waits for a worker: worker w-1 was lost"},
		{"blocked", func(e *cyclone.Event) {
			e.Status, e.Reason = cyclone.StatusBlocked, "the pull request comes from a fork"
		},
			"pending", "waits for approval: the pull request comes from a fork"},
		{"began", running(), "running", "running: clone"},
		{"a stage", running(cyclone.StageState{Name: "clone", Status: "success", StartedAt: &start}, cyclone.StageState{Name: "build", Status: "running", StartedAt: &start}),
			"running", "running: build"},
		{"a step", running(cyclone.StageState{Name: "build", Status: "running", StartedAt: &start, Steps: []cyclone.StepState{
			{Name: "lint", Status: "success"}, {Name: "web\n\x1b[31mapp", Status: "running"}, {Name: "last", Status: "pending"}}},
			cyclone.StageState{Name: "deploy", Status: "pending"}), "running", "running: build, step web [31mapp"},
		{"a step of the stage's name", running(cyclone.StageState{Name: "build", Status: "running", StartedAt: &start, Steps: []cyclone.StepState{
			{Name: "build", Status: "running"}}}), "running", "running: build"},
		{"between two stages", running(cyclone.StageState{Name: "build", Status: "success", StartedAt: &start}), "running", "running: build"},
		{"success", ran("success", 192*time.Second, ""), "success", "success after 3m12s"},
		{"failure", ran("failure", time.Hour, "step web failed:\r\n exit code 2"), "failure", "failure after 1h: step web failed: exit code 2"},
		{"short", ran("failure", time.Millisecond, ""), "failure", "failure after 1s"},
		{"error", ran("error", time.Minute, "the worker was lost"), "error", "error after 1m: the worker was lost"},
		{"timeout", ran("timeout", time.Minute, ""), "error", "timeout after 1m"},
		{"canceled before it began", func(e *cyclone.Event) { e.Status, e.Reason = cyclone.StatusCanceled, "superseded by event #9" },
			"canceled", "canceled: superseded by event #9"},
		{"skipped", func(e *cyclone.Event) { e.Status, e.Reason = cyclone.StatusSkipped, "[skip ci]" }, "skipped", "skipped: [skip ci]"},
		{"unprintable", ran("failure", 0, "a\x00\u202eb\u2028c"), "failure", "failure: ab c"},
		{"long", ran("failure", 0, strings.Repeat("ä ", 1<<16)), "failure", "failure: " + strings.Repeat("ä ", 244) + "..."},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.notify(w.event(c.edit))
			want := []told{{
				Access: cyclone.ForgeAccess{URL: "https://github.com/acme/orders.git", Credential: token}, SHA: sha,
				Status: cyclone.CommitStatus{State: c.state, Context: "cyclone/orders", Description: c.says, URL: "https://ci.example.com/events/e1", Ref: "refs/heads/main"},
			}}
			if diff := cmp.Diff(want, w.setter.calls); diff != "" {
				t.Errorf("told (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWanted(t *testing.T) {
	for name, c := range map[string]struct {
		edit            func(*cyclone.Project, *cyclone.Event)
		status, comment bool
	}{
		"all there": {func(*cyclone.Project, *cyclone.Event) {}, true, true},
		"an account": {func(p *cyclone.Project, _ *cyclone.Event) {
			p.Repository.Credential, p.Repository.Account = "", "github/alice"
		}, true, true},
		"no credential":       {func(p *cyclone.Project, _ *cyclone.Event) { p.Repository.Credential = "" }, false, false},
		"plain git":           {func(p *cyclone.Project, _ *cyclone.Event) { p.Repository.Type = "git" }, false, false},
		"unknown commit":      {func(_ *cyclone.Project, e *cyclone.Event) { e.Commit.SHA = "" }, false, false},
		"no comments":         {func(p *cyclone.Project, _ *cyclone.Event) { p.Notifications.Comment.Enabled = false }, true, false},
		"nothing of comments": {func(p *cyclone.Project, _ *cyclone.Event) { p.Notifications.Comment = nil }, true, false},
		"no pull request":     {func(_ *cyclone.Project, e *cyclone.Event) { e.PullRequest = nil }, true, false},
		"skipped":             {func(_ *cyclone.Project, e *cyclone.Event) { e.Status = cyclone.StatusSkipped }, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			e := w.event(func(e *cyclone.Event) { request(7)(e); c.edit(w.project, e) })
			comments := w.Comments()
			if w.Wanted(w.project, e) != c.status || comments.Wanted(w.project, e) != c.comment {
				t.Errorf("status is wanted: %v, comment: %v", w.Wanted(w.project, e), comments.Wanted(w.project, e))
			}
			w.notify(e)
			if err := comments.Notify(t.Context(), w.project, e); err != nil {
				t.Error(err)
			}
			statuses, texts := 0, 0
			for _, call := range w.setter.calls {
				if call.Number == 0 {
					statuses++
				} else {
					texts++
				}
			}
			if (statuses == 1) != c.status || (texts == 1) != c.comment {
				t.Errorf("%d statuses and %d comments", statuses, texts)
			}
		})
	}
}

// What goes wrong keeps its kind and its time, and carries no credential.
func TestErrors(t *testing.T) {
	for _, want := range []error{
		cyclone.Forbidden("the token may not"), cyclone.NotFound("no repository"), cyclone.Invalid("status", "too many"),
		cyclone.UnavailableFor(time.Minute, "too many calls"), errors.New("something"),
	} {
		w := newWorld(t)
		e := w.event(request(7))
		w.setter.err = want
		byForge := []error{w.Notify(t.Context(), w.project, e), w.Comments().Notify(t.Context(), w.project, e)}
		w.Credentials = given{err: want}
		bySource := []error{w.Notify(t.Context(), w.project, e), w.Comments().Notify(t.Context(), w.project, e)}
		for _, err := range append(byForge, bySource...) {
			if !errors.Is(err, want) || cyclone.RetryAfter(err) != cyclone.RetryAfter(want) || strings.Contains(err.Error(), token.Password) {
				t.Errorf("%v became %v", want, err)
			}
		}
	}
}

// A key for ssh opens the repository and no API: nothing is told, and nothing
// is wrong.
func TestKeysForSSHTellNothing(t *testing.T) {
	w := newWorld(t)
	e := w.event(request(7))
	for _, c := range []cyclone.Credential{{}, {Password: "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n-----END OPENSSH PRIVATE KEY-----\n"}} {
		w.Credentials = given{credential: c}
		w.notify(e)
		if err := w.Comments().Notify(t.Context(), w.project, e); err != nil || len(w.setter.calls) != 0 {
			t.Errorf("told %+v, %v", w.setter.calls, err)
		}
	}
}

// A commit shows its newest event, whatever ends when.
func TestNewestEventOfCommit(t *testing.T) {
	w := newWorld(t)
	first := w.event(ran("failure", time.Second, ""))
	elsewhere := w.event(func(e *cyclone.Event) { e.Commit.SHA = strings.Repeat("a", 40) })
	second := w.event(ran("success", time.Second, ""))
	foreign := w.event(func(e *cyclone.Event) { e.Project = "other" })
	skipped := w.event(func(e *cyclone.Event) { e.Status = cyclone.StatusSkipped })
	for _, e := range []*cyclone.Event{first, second, first, skipped, elsewhere} {
		w.notify(e)
	}
	if diff := cmp.Diff([]string{"success e3", "pending e2"}, w.states()); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	w.setter.calls = nil
	only := w.event(func(e *cyclone.Event) { e.Status, e.Commit.SHA = cyclone.StatusSkipped, strings.Repeat("b", 40) })
	w.notify(only)
	w.notify(foreign)
	if diff := cmp.Diff([]string{"skipped e6", "pending e4"}, w.states()); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

// The newest event is found behind more of others than a page holds.
func TestNewestEventAmongMany(t *testing.T) {
	w := newWorld(t)
	first := w.event(nil)
	w.event(ran("success", time.Second, ""))
	for range 250 {
		w.event(func(e *cyclone.Event) { e.Commit.SHA = strings.Repeat("a", 40) })
	}
	w.notify(first)
	if got := w.states(); len(got) != 0 {
		t.Errorf("told %q", got)
	}
}

// What lands over a newer event's state is written over by it.
func TestNewerEventWhileTelling(t *testing.T) {
	w := newWorld(t)
	first := w.event(ran("failure", time.Second, ""))
	var second *cyclone.Event
	w.setter.meanwhile = func(n int) {
		switch n {
		case 1:
			second = w.event(nil)
		case 2:
			w.now(second, cyclone.StatusSuccess) // told by its own call, before this one lands
		}
	}
	w.notify(first)
	if diff := cmp.Diff([]string{"failure e1", "pending e2", "success e2"}, w.states()); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	// The event's own changes are told by calls of their own.
	w.setter.calls = nil
	third := w.event(nil)
	w.setter.meanwhile = func(int) { w.now(third, cyclone.StatusRunning) }
	w.notify(third)
	if diff := cmp.Diff([]string{"pending e3"}, w.states()); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

// With a real driver against a strict forge: one comment, edited in place, and
// statuses in their order, also where the forge limits calls.
func TestOnGitHub(t *testing.T) {
	t.Parallel()
	hub := fakeforge.NewGitHub(t)
	hub.AddUser("robot", token.Password)
	hub.AddRepository(fakeforge.Repository{
		Name: "acme/orders", Roles: map[string]fakeforge.Role{"robot": fakeforge.Write},
		PullRequests: []fakeforge.PullRequest{{Number: 7, SHA: sha, Source: "x", Target: "main"}},
	})
	w := newWorld(t)
	w.Drivers = map[string]cyclone.StatusSetter{"github": &github.API{}}
	w.project.Repository.URL = hub.RepositoryURL("acme/orders")
	comments := w.Comments()
	both := func(e *cyclone.Event) error {
		return errors.Join(w.Notify(t.Context(), w.project, e), comments.Notify(t.Context(), w.project, e))
	}
	first := w.event(request(7))
	must(t, both(first))
	second := w.event(func(e *cyclone.Event) {
		request(7)(e)
		ran("failure", time.Minute, "step web failed")(e)
	})
	must(t, both(second))
	must(t, both(first)) // too late
	got := hub.Repository("acme/orders")
	var states []string
	for _, s := range got.Statuses {
		states = append(states, s.State+" "+s.Context+" "+s.Text)
	}
	want := []string{"pending cyclone/orders waits for a worker", "failure cyclone/orders failure after 1m: step web failed"}
	if diff := cmp.Diff(want, states); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
	if len(got.Comments) != 1 || !strings.Contains(got.Comments[0].Text, "event 2") || !strings.Contains(got.Comments[0].Text, "<!-- cyclone/orders -->") {
		t.Errorf("comments are %+v", got.Comments)
	}
	hub.Inject(fakeforge.Answer(429, "slow down", "Retry-After", "90"))
	err := w.Notify(t.Context(), w.project, second)
	if !errors.Is(err, cyclone.ErrUnavailable) || cyclone.RetryAfter(err) < 80*time.Second {
		t.Errorf("the error of a limit is %v, for %s", err, cyclone.RetryAfter(err))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
