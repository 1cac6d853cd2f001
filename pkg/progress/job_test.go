package progress_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
)

func TestJobLimits(t *testing.T) {
	fork := &cyclone.PullRequest{Number: 7, Fork: true}
	own := &cyclone.PullRequest{Number: 7}
	all := cyclone.Stages
	review := []cyclone.Stage{cyclone.StageClone, cyclone.StagePreBuild, cyclone.StageBuild, cyclone.StageIntegration}
	cases := []struct {
		name                string
		kind, origin        cyclone.TriggerKind
		pr                  *cyclone.PullRequest
		wanted, stages      []cyclone.Stage
		push                bool
		secrets, clusters   []string
		registries, private bool
	}{
		{name: "push", kind: cyclone.KindPush, stages: all, push: true,
			secrets: []string{"any", "repo", "on_push"}, clusters: []string{"open", "ours"}, registries: true},
		{name: "tag", kind: cyclone.KindTag, stages: all, push: true,
			secrets: []string{"any", "repo"}, clusters: []string{"open", "ours"}, registries: true},
		{name: "chosen stages without deploy", kind: cyclone.KindManual, stages: review[:3], push: true,
			wanted:  []cyclone.Stage{cyclone.StageBuild, cyclone.StagePreBuild},
			secrets: []string{"any", "repo"}, registries: true},
		{name: "pull request of the repository", kind: cyclone.KindPullRequest, pr: own, stages: review,
			secrets: []string{"any", "repo"}, registries: true},
		{name: "pull request of a fork", kind: cyclone.KindPullRequest, pr: fork, stages: review},
		{name: "fork whose trigger names all stages", kind: cyclone.KindPullRequest, pr: fork, wanted: all, stages: all[:5]},
		{name: "rerun of a fork", kind: cyclone.KindRerun, origin: cyclone.KindPullRequest, pr: fork, wanted: all, stages: all[:5]},
		{name: "rerun of a push", kind: cyclone.KindRerun, origin: cyclone.KindPush, stages: all, push: true,
			secrets: []string{"any", "repo", "on_push"}, clusters: []string{"open", "ours"}, registries: true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.secret("any", "1")
			w.secret("on_push", "2", cyclone.KindPush)
			w.secret("repo", "bot:pass:word")
			w.cluster("open")
			w.cluster("ours", "orders", "other")
			w.cluster("theirs", "other")
			w.project.Repository.Credential = "repo"
			w.must(w.store.Projects.Replace(t.Context(), w.project))
			w.event("e1", func(e *cyclone.Event) {
				e.Trigger.Kind, e.Run.Origin, e.PullRequest, e.Run.Stages = c.kind, c.origin, c.pr, c.wanted
			})
			job, err := w.Job(t.Context(), w.claim("w-1"))
			w.must(err)
			if diff := cmp.Diff(c.stages, job.Stages); diff != "" {
				t.Errorf("stages:\n%s", diff)
			}
			slices.Sort(c.secrets)
			if got := slices.Sorted(maps.Keys(job.Secrets)); !slices.Equal(got, c.secrets) {
				t.Errorf("secrets are %q; want %q", got, c.secrets)
			}
			var clusters []string
			for name, access := range job.Clusters {
				clusters = append(clusters, string(name))
				if access.Token != "token of "+string(name) {
					t.Errorf("access of %s is %+v", name, access)
				}
			}
			slices.Sort(clusters)
			if !slices.Equal(clusters, c.clusters) {
				t.Errorf("clusters are %q; want %q", clusters, c.clusters)
			}
			if job.Push != c.push || len(job.Registries) > 0 != c.registries {
				t.Errorf("push is %v, registries are %v", job.Push, job.Registries)
			}
			if job.CloneUsername != "bot" || job.ClonePassword != "pass:word" {
				t.Errorf("clone credential is %q, %q", job.CloneUsername, job.ClonePassword)
			}
		})
	}
}

func TestJobContents(t *testing.T) {
	w := newWorld(t)
	w.secret("repo", "bot:ghp_token")
	w.project.Repository.Credential = "repo"
	w.project.Limits.Timeout = cyclone.Duration(10 * time.Minute)
	w.must(w.store.Projects.Replace(t.Context(), w.project))
	for id, image := range map[cyclone.EventID]cyclone.Image{
		"old": {Name: "r/o", Tag: "ci-1", Digest: "sha256:1"}, "unpushed": {Name: "r/o", Tag: "ci-2"},
	} {
		w.event(id, func(e *cyclone.Event) {
			e.Image, e.Status = image, cyclone.StatusSuccess
			e.CreatedAt = time.Now().Add(-time.Hour)
		})
	}
	w.event("e1", func(e *cyclone.Event) {
		e.Run.Variables = map[string]string{"B": "event", "C": "event"}
		e.Run.Config = []byte("pre_build: {}")
	})
	f := w.claim("w-1")
	w.must(w.Append(t.Context(), f, chunk(t, 1, "a", "b", "c")))
	job, err := w.Job(t.Context(), f)
	w.must(err)
	if job.Fence != f || job.LastLine != 3 || job.Timeout != w.project.Limits.Timeout || string(job.Config) != "pre_build: {}" ||
		job.EventURL != "http://ci/events/e1" || job.CloneUsername != "bot" || job.ClonePassword != "ghp_token" {
		t.Errorf("job is %+v", job)
	}
	if diff := cmp.Diff(map[string]string{"A": "project", "B": "event", "C": "event"}, job.Variables); diff != "" {
		t.Errorf("variables:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"r/o:ci-1"}, job.CacheFrom); diff != "" {
		t.Errorf("cache:\n%s", diff)
	}
	if !job.Secrets["repo"].Masked {
		t.Error("the repository's credential is not masked")
	}
}

// A job that can never be made up ends the event with the reason.
func TestJobBroken(t *testing.T) {
	cases := map[string]struct {
		spoil func(*world)
		says  string
	}{
		"credential is missing": {func(w *world) { w.project.Repository.Credential = "gone" }, `"gone"`},
		"secret of another key": {func(w *world) {
			w.secret("s", "x")
			w.Sealer = newWorld(w.t).Sealer
		}, `secret "s" cannot be opened`},
		"cluster of another key": {func(w *world) {
			w.cluster("prod")
			w.Sealer = newWorld(w.t).Sealer
		}, `cluster "prod" cannot be opened`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.event("e1", nil)
			c.spoil(w)
			w.must(w.store.Projects.Replace(t.Context(), w.project))
			_, err := w.Job(t.Context(), w.claim("w-1"))
			wantKind(t, err, cyclone.ErrConflict)
			e := w.wantStatus("e1", cyclone.StatusError)
			if !strings.Contains(e.Reason, c.says) || e.Worker.ID != "w-1" {
				t.Errorf("reason is %q, worker %q", e.Reason, e.Worker.ID)
			}
			if log := w.text("e1"); len(log) != 1 || log[0] != e.Reason {
				t.Errorf("log is %q", log)
			}
		})
	}
}

// The clone waits for what a forge may not show yet, and for nothing else.
func TestJobPatience(t *testing.T) {
	delivered := func(ago time.Duration) func(*cyclone.Event) {
		return func(e *cyclone.Event) { e.Trigger.Delivery, e.CreatedAt = "d1", time.Now().Add(-ago) }
	}
	for name, c := range map[string]struct {
		edit func(*cyclone.Event)
		want time.Duration
	}{
		"just delivered": {delivered(0), time.Minute}, "waited a little": {delivered(9 * time.Minute), time.Minute},
		"waited long": {delivered(11 * time.Minute), 0}, "started by hand": {nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.event("e1", c.edit)
			job, err := w.Job(t.Context(), w.claim("w-1"))
			w.must(err)
			if time.Duration(job.Patience) != c.want {
				t.Errorf("patience is %s; want %s", job.Patience, c.want)
			}
		})
	}
}

// given is a source of credentials that answers one thing.
type given struct {
	credential cyclone.Credential
	err        error
}

func (g given) Credential(context.Context, *cyclone.Project) (cyclone.Credential, error) {
	return g.credential, g.err
}

// A credential that can never be opened ends the event, one that cannot be
// opened now does not.
func TestJobCredential(t *testing.T) {
	for name, c := range map[string]struct {
		given  given
		status cyclone.Status
	}{
		"account":     {given{credential: cyclone.Credential{Username: "oauth2", Password: "t"}}, cyclone.StatusRunning},
		"expired":     {given{err: cyclone.Forbidden("the account expired")}, cyclone.StatusError},
		"unavailable": {given{err: cyclone.Unavailable("later")}, cyclone.StatusRunning},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.project.Repository.Account = "github/github.com/alice"
			w.must(w.store.Projects.Replace(t.Context(), w.project))
			w.Credentials = c.given
			w.event("e1", nil)
			job, err := w.Job(t.Context(), w.claim("w-1"))
			e := w.wantStatus("e1", c.status)
			switch {
			case c.given.err == nil && (err != nil || job.CloneUsername != "oauth2" || job.ClonePassword != "t"):
				t.Errorf("job is %+v, %v", job, err)
			case c.given.err != nil && err == nil:
				t.Error("there is a job without its credential")
			case c.status == cyclone.StatusError && e.Reason != c.given.err.Error():
				t.Errorf("reason is %q", e.Reason)
			}
		})
	}
	// A project that names none is not asked for any.
	w := newWorld(t)
	w.Credentials = given{err: cyclone.Forbidden("asked")}
	w.event("e1", nil)
	_, err := w.Job(t.Context(), w.claim("w-1"))
	w.must(err)
}
