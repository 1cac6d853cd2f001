package worker_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"cyclone/pkg/cyclone"
)

// askedSource is a source that notes what it was asked for, and learns a key.
type askedSource struct {
	heldSource
	asked, compared cyclone.CloneSpec
	learns          []string
	gives           cyclone.Commit // instead of the source's own
}

func (s *askedSource) Clone(ctx context.Context, spec cyclone.CloneSpec, out cyclone.Output) (cyclone.Commit, error) {
	s.asked = spec
	if spec.Learned != nil && s.learns != nil {
		spec.Learned(s.learns)
	}
	c, err := s.heldSource.Clone(ctx, spec, out)
	if s.gives.SHA != "" {
		c = s.gives
	}
	return c, err
}

func (s *askedSource) Changed(_ context.Context, spec cyclone.CloneSpec, _, _ string) ([]string, error) {
	s.compared = spec
	return []string{"docs/x"}, nil
}

func TestWhatIsCloned(t *testing.T) {
	t.Parallel()
	merge := &cyclone.PullRequestTrigger{Enabled: true, Merge: true}
	pull := func(job *cyclone.Job) {
		job.Event.PullRequest = &cyclone.PullRequest{Number: 7, TargetBranch: "main"}
		job.Event.Ref = "refs/pull/7/head"
	}
	for name, tt := range map[string]struct {
		change func(job *cyclone.Job)
		want   cyclone.CloneSpec
	}{
		"push": {func(*cyclone.Job) {}, cyclone.CloneSpec{Ref: "refs/heads/main", SHA: sha}},
		"patience and keys": {func(job *cyclone.Job) {
			job.Patience, job.Project.Repository.HostKeys = cyclone.Duration(time.Minute), []string{"ssh-ed25519 AAAA"}
		}, cyclone.CloneSpec{Ref: "refs/heads/main", SHA: sha, Patience: time.Minute, HostKeys: []string{"ssh-ed25519 AAAA"}}},
		"head of a pull request": {pull, cyclone.CloneSpec{Ref: "refs/pull/7/head", SHA: sha}},
		"merge of a pull request": {func(job *cyclone.Job) { pull(job); job.Project.Triggers.PullRequest = merge },
			cyclone.CloneSpec{Ref: "refs/pull/7/merge", SHA: sha, Merge: true}},
		"merge request": {func(job *cyclone.Job) {
			pull(job)
			job.Project.Triggers.PullRequest, job.Project.Repository.Type = merge, "gitlab"
		}, cyclone.CloneSpec{Ref: "refs/merge-requests/7/merge", SHA: sha, Merge: true}},
		"merges, but a push": {func(job *cyclone.Job) { job.Project.Triggers.PullRequest = merge }, cyclone.CloneSpec{Ref: "refs/heads/main", SHA: sha}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, "pre_build:\n  image: alpine\n  when: {paths: ['docs/**']}\n  commands: ['echo it runs']\n", nil)
			s := &askedSource{heldSource: heldSource{r.source, &r.held}, learns: []string{"ssh-ed25519 BBBB"}}
			if tt.want.Merge {
				s.gives = cyclone.Commit{SHA: "e83c5163316f89bfbde7d9ab23ca2e25604af290", Message: "Merge"}
			}
			r.cloner = s
			tt.change(r.server.job)
			r.server.job.Before = "b4"
			if result := r.run(t); result.Status != cyclone.StatusSuccess {
				t.Fatal(result.Reason)
			}
			job := r.server.job
			tt.want.URL, tt.want.Submodules = job.Project.Repository.URL, true
			ignored := cmpopts.IgnoreFields(cyclone.CloneSpec{}, "Dir", "Learned")
			if diff := cmp.Diff(tt.want, s.asked, ignored); diff != "" {
				t.Errorf("cloned (-want +got):\n%s", diff)
			}
			// What is compared is the head, over a host whose key is known by now.
			tt.want.Merge, tt.want.Ref = false, job.Event.Ref
			pinned := tt.want.HostKeys != nil
			if !pinned {
				tt.want.HostKeys = s.learns
			}
			if diff := cmp.Diff(tt.want, s.compared, ignored); diff != "" {
				t.Errorf("compared (-want +got):\n%s", diff)
			}
			if told := r.server.last().HostKeys; pinned == slices.Equal(told, s.learns) {
				t.Errorf("the server was told %q", told)
			}
			if got := r.server.last().Commit.SHA; got != sha {
				t.Errorf("the event is about %s now", got)
			}
			if tt.want.Merge {
				r.has(t, "This is e83c516, the merge of 3f2a1b9 with main.")
			}
		})
	}
}

// A push that a step made, or that asks for no run, runs nothing, also where only
// the clone tells; what people ask for runs.
func TestUnwantedCommit(t *testing.T) {
	t.Parallel()
	made := cyclone.Commit{SHA: sha, Message: "Release", Committer: cyclone.CommitterEmail}
	marked := cyclone.Commit{SHA: sha, Message: "Release [skip ci]", Committer: "a@example.com"}
	for name, tt := range map[string]struct {
		kind   cyclone.TriggerKind
		via    string
		commit cyclone.Commit
		runs   bool
		says   string
	}{
		"push of a step":   {cyclone.KindPush, "", made, false, "made by a step"},
		"the same by hand": {cyclone.KindManual, "", made, true, ""},
		"the same again":   {cyclone.KindRerun, "", made, true, ""},
		"polled, marked":   {cyclone.KindPush, cyclone.ViaPoll, marked, false, "[skip ci]"},
		"told, marked":     {cyclone.KindPush, "", marked, true, ""}, // as the webhook was judged
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, "pre_build:\n  image: alpine\n  commands: ['echo it runs']\n", nil)
			r.cloner = &askedSource{heldSource: heldSource{r.source, &r.held}, gives: tt.commit}
			r.server.job.Event.Trigger.Kind, r.server.job.Event.Trigger.Via = tt.kind, tt.via
			result := r.run(t)
			if ran := r.stages() != "clone success"; result.Status != cyclone.StatusSuccess || ran != tt.runs {
				t.Errorf("%s (%s), stages %s", result.Status, result.Reason, r.stages())
			}
			if tt.runs != (result.Reason == "") || !strings.Contains(result.Reason, tt.says) {
				t.Errorf("the reason is %q", result.Reason)
			}
		})
	}
}
