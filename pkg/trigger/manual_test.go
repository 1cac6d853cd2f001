package trigger_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
)

func TestStart(t *testing.T) {
	cases := []struct {
		name    string
		request cyclone.StartRequest
		want    cyclone.Event // Ref, Branch, Tag, Version, Commit, PullRequest
	}{
		{"default branch", cyclone.StartRequest{}, cyclone.Event{Ref: "refs/heads/main", Branch: "main"}},
		{"branch", cyclone.StartRequest{Branch: "release/1"}, cyclone.Event{Ref: "refs/heads/release/1", Branch: "release/1"}},
		{"tag", cyclone.StartRequest{Tag: "v1"}, cyclone.Event{Ref: "refs/tags/v1", Tag: "v1", Version: "v1"}},
		{"ref of a branch", cyclone.StartRequest{Ref: "refs/heads/x"}, cyclone.Event{Ref: "refs/heads/x", Branch: "x"}},
		{"commit", cyclone.StartRequest{Commit: sha}, cyclone.Event{Ref: "refs/heads/main", Version: "ci-3f2a1b9", Commit: cyclone.Commit{SHA: sha}}},
		{"own version", cyclone.StartRequest{Tag: "v1", Version: "mine"}, cyclone.Event{Ref: "refs/tags/v1", Tag: "v1", Version: "mine"}},
		{"pull request's ref is a fork's", cyclone.StartRequest{Ref: "refs/pull/7/head"},
			cyclone.Event{Ref: "refs/pull/7/head", PullRequest: &cyclone.PullRequest{Number: 7, Fork: true}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, nil)
			p, err := w.store.Projects.Find(t.Context(), "orders")
			w.must(err)
			c.request.Actor = "alice"
			c.request.Stages = []cyclone.Stage{cyclone.StageBuild, cyclone.StagePreBuild}
			c.request.Variables = map[string]string{"A": "1"}
			e, err := w.Start(t.Context(), p, c.request)
			w.must(err)
			got := cyclone.Event{Ref: e.Ref, Branch: e.Branch, Tag: e.Tag, Version: e.Version, Commit: e.Commit, PullRequest: e.PullRequest}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("event (-want +got):\n%s", diff)
			}
			if e.Status != cyclone.StatusPending || e.Trigger.Actor != "alice" || e.Image.Tag != e.Version || w.woken != 1 ||
				!cmp.Equal(e.Run.Stages, []cyclone.Stage{cyclone.StagePreBuild, cyclone.StageBuild}) || e.Run.Variables["A"] != "1" {
				t.Errorf("event is %+v", e)
			}
		})
	}
}

// Projects of Subversion have revisions, no hashes, and a trunk.
func TestStartOfSubversion(t *testing.T) {
	w := newWorld(t, func(p *cyclone.Project) {
		p.Repository = cyclone.Repository{Type: "svn", URL: "svn://svn.example.com/orders"}
	})
	e, err := w.Start(t.Context(), w.project(), cyclone.StartRequest{Commit: "r42"})
	w.must(err)
	if e.Commit.SHA != "r42" || e.Ref != "refs/heads/trunk" || e.Version != "ci-r42" {
		t.Errorf("event is %+v", e)
	}
	for _, commit := range []string{sha, "42", "r0", "r", "r1 ", "r-1", "HEAD"} {
		if _, err := w.Start(t.Context(), w.project(), cyclone.StartRequest{Commit: commit}); !errors.Is(err, cyclone.ErrInvalid) {
			t.Errorf("commit %q: %v", commit, err)
		}
	}
	if _, err := newWorld(t, nil).Start(t.Context(), newWorld(t, nil).project(), cyclone.StartRequest{Commit: "r42"}); !errors.Is(err, cyclone.ErrInvalid) {
		t.Errorf("a revision of git: %v", err)
	}
}

func TestStartRefuses(t *testing.T) {
	cases := []struct {
		request cyclone.StartRequest
		fields  []string
	}{
		{cyclone.StartRequest{Branch: "--upload-pack=x"}, []string{"branch"}},
		{cyclone.StartRequest{Branch: "a b"}, []string{"branch"}},
		{cyclone.StartRequest{Tag: "../x"}, []string{"tag"}},
		{cyclone.StartRequest{Ref: "main"}, []string{"ref"}},
		{cyclone.StartRequest{Commit: "3f2a1b9"}, []string{"commit"}},
		{cyclone.StartRequest{Commit: strings.ToUpper(sha)}, []string{"commit"}},
		{cyclone.StartRequest{Branch: "a", Tag: "b"}, []string{"ref"}},
		{cyclone.StartRequest{Version: "a/b", Stages: []cyclone.Stage{"build", "bild"}, Variables: map[string]string{"1A": ""}},
			[]string{"version", "stages[1]", "variables"}},
	}
	for _, c := range cases {
		w := newWorld(t, nil)
		p, err := w.store.Projects.Find(t.Context(), "orders")
		w.must(err)
		_, err = w.Start(t.Context(), p, c.request)
		var invalid *cyclone.InvalidError
		if !errors.As(err, &invalid) {
			t.Errorf("%+v: Start = %v", c.request, err)
			continue
		}
		var fields []string
		for _, f := range invalid.Fields {
			fields = append(fields, f.Field)
		}
		if diff := cmp.Diff(c.fields, fields); diff != "" {
			t.Errorf("%+v: %v", c.request, err)
		}
	}
}

// ended makes an event final that a worker had run.
func (w *world) ended(e *cyclone.Event, edit func(*cyclone.Event)) *cyclone.Event {
	w.t.Helper()
	started := w.now
	e.Status, e.StartedAt, e.Run.Config, e.Image.Digest = cyclone.StatusFailure, &started, []byte("build: {}"), "sha256:1"
	if edit != nil {
		edit(e)
	}
	w.must(w.store.Events.Replace(w.t.Context(), e))
	return e
}

func TestRerun(t *testing.T) {
	w := newWorld(t, nil)
	_, e := w.deliver(push("main"))
	e.Run.Variables, e.Run.Stages = map[string]string{"A": "1"}, []cyclone.Stage{cyclone.StageBuild}
	parent := w.ended(e, nil)
	w.now = w.now.Add(time.Hour)
	got, err := w.Rerun(t.Context(), parent, "bob", cyclone.StagePreBuild)
	w.must(err)
	want := &cyclone.Event{
		ID: got.ID, Project: "orders", Number: 2, Status: cyclone.StatusPending,
		Trigger: cyclone.Trigger{Kind: cyclone.KindRerun, Actor: "bob", Parent: parent.ID},
		Ref:     parent.Ref, Branch: parent.Branch, Version: parent.Version, Commit: parent.Commit,
		Image:  cyclone.Image{Name: parent.Image.Name, Tag: parent.Image.Tag},
		Stages: []cyclone.StageState{}, Deployments: []cyclone.Deployment{}, CreatedAt: w.now,
		Run: cyclone.Run{
			Key: "rerun/" + string(got.ID), Revision: 1, Origin: cyclone.KindPush, Config: []byte("build: {}"),
			Variables: parent.Run.Variables, Stages: parent.Run.Stages,
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	again, err := w.Rerun(t.Context(), w.ended(got, nil), "bob", "")
	w.must(err)
	if again.Origin() != cyclone.KindPush || again.Trigger.Parent != got.ID {
		t.Errorf("rerun of a rerun has origin %q, parent %q", again.Origin(), again.Trigger.Parent)
	}
}

func TestRerunRefuses(t *testing.T) {
	w := newWorld(t, nil)
	_, e := w.deliver(push("main"))
	if _, err := w.Rerun(t.Context(), e, "bob", ""); !errors.Is(err, cyclone.ErrConflict) {
		t.Errorf("Rerun of a pending event = %v", err)
	}
	w.ended(e, nil)
	for _, from := range []cyclone.Stage{cyclone.StageBuild, cyclone.StageIntegration, cyclone.StagePostBuild, cyclone.StageDeploy, "x"} {
		if _, err := w.Rerun(t.Context(), e, "bob", from); !errors.Is(err, cyclone.ErrInvalid) || !strings.Contains(err.Error(), string(from)) {
			t.Errorf("Rerun from %s = %v", from, err)
		}
	}
}

// A rerun keeps every limit of a fork's event, and needs its approval if that
// was never given.
func TestRerunOfFork(t *testing.T) {
	for _, approved := range []bool{false, true} {
		w := newWorld(t, nil)
		_, e := w.deliver(request(7, true))
		parent := w.ended(e, func(e *cyclone.Event) {
			if !approved {
				e.StartedAt = nil
			}
		})
		got, err := w.Rerun(t.Context(), parent, "bob", "")
		w.must(err)
		if !got.FromFork() || got.Origin() != cyclone.KindPullRequest || (got.Status == cyclone.StatusPending) != approved {
			t.Errorf("approved %v: rerun is %+v", approved, got)
		}
	}
}
