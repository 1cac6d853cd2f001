package worker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/manifest"
)

const defaultConfig = "caicloud.yml"

// clone checks the source out and reads caicloud.yml.
func (r *run) clone(ctx context.Context) error {
	if err := r.step(ctx, cyclone.StageClone, string(cyclone.StageClone), func(s *step) error { return r.checkOut(ctx, s) }); err != nil {
		return err
	}
	if r.unwanted {
		r.pipeline = &cyclone.Pipeline{}
		return nil
	}
	err := r.step(ctx, cyclone.StageClone, r.configFile(), func(s *step) error { return r.configure(ctx, s) })
	if err != nil || !r.takesOver(cyclone.StagePreBuild) {
		return err
	}
	return r.step(ctx, cyclone.StageClone, "results", func(s *step) error { return r.takeOver(ctx, s) })
}

func (r *run) checkOut(ctx context.Context, s *step) error {
	e := r.job.Event
	repository := r.job.Project.Repository
	cloner, err := r.Cloner(repository.Type)
	if err != nil {
		return err
	}
	spec := r.cloneSpec()
	commit, err := cloner.Clone(ctx, spec, s)
	if err != nil {
		return err
	}
	if spec.Merge {
		s.say("This is %s, the merge of %s with %s.", commit.ShortSHA(), e.Commit.ShortSHA(), e.PullRequest.TargetBranch)
		// The event is about the commit that was merged, and so is its status
		// at the forge, which knows the merge only until the next push.
		commit = e.Commit
	}
	if why := unwanted(e, commit); why != "" {
		remark := why + ", so that nothing is run"
		r.remarks, r.unwanted = append(r.remarks, remark), true
		s.say("%s", remark)
	}
	r.update(func(state *cyclone.Report) {
		commit.URL = firstOf(commit.URL, e.Commit.URL)
		state.Commit = commit
		state.Version = r.version(commit)
		state.Image.Name = firstOf(state.Image.Name, r.job.Project.Image, string(r.job.Project.Name))
		state.Image.Tag = state.Version
	})
	return nil
}

// unwanted says why a push is not to be run that would have been left out if
// its webhook had told all: not all forges say who committed, and when polling
// found the push nothing is known of its commit.
func unwanted(e cyclone.Event, c cyclone.Commit) string {
	if e.Trigger.Kind != cyclone.KindPush {
		return ""
	}
	if c.Committer == cyclone.CommitterEmail {
		return "the commit was made by a step (its committer is " + c.Committer + ")"
	}
	if m := cyclone.SkipMark(c.Message); m != "" && e.Trigger.Via != "" {
		return "the commit's message says " + m
	}
	return ""
}

func (r *run) cloneSpec() cyclone.CloneSpec {
	repository := r.job.Project.Repository
	s := cyclone.CloneSpec{
		URL: repository.URL, Ref: r.job.Event.Ref, SHA: r.job.Event.Commit.SHA, Dir: r.tree,
		Username: r.job.CloneUsername, Password: r.job.ClonePassword, Submodules: true,
		HostKeys: repository.HostKeys, Patience: time.Duration(r.job.Patience),
	}
	if len(s.HostKeys) == 0 {
		s.HostKeys = r.learnedHostKeys()
		s.Learned = func(keys []string) { r.update(func(state *cyclone.Report) { state.HostKeys = keys }) }
	}
	if ref := r.mergeRef(); ref != "" {
		s.Ref, s.Merge = ref, true
	}
	return s
}

// learnedHostKeys are those that the event itself has seen first.
func (r *run) learnedHostKeys() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state.HostKeys
}

// mergeRef is where the forge has the merge of the event's pull request, and
// empty when its head is to be run.
func (r *run) mergeRef() string {
	e, trigger := r.job.Event, r.job.Project.Triggers.PullRequest
	if e.PullRequest == nil || e.Commit.SHA == "" || trigger == nil || !trigger.Merge {
		return ""
	}
	if r.job.Project.Repository.Type == "gitlab" {
		return fmt.Sprintf("refs/merge-requests/%d/merge", e.PullRequest.Number)
	}
	return fmt.Sprintf("refs/pull/%d/merge", e.PullRequest.Number)
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// version is what this event's images are tagged with.
func (r *run) version(c cyclone.Commit) string {
	e := r.job.Event
	e.Commit = c
	return cyclone.DockerTag(firstOf(e.Version, e.DefaultVersion()))
}

func (r *run) configFile() string { return firstOf(r.job.Project.ConfigFile, defaultConfig) }

// configure finds and reads caicloud.yml and begins to pull its images.
func (r *run) configure(ctx context.Context, s *step) error {
	data := r.job.Config
	if len(data) == 0 {
		var err error
		data, err = r.root.ReadFile(r.configFile())
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return r.withoutConfig(s)
		case err != nil:
			// The text of an os.Root error names the folder of the worker.
			return failure(cyclone.StageClone, s.name, "cannot read %s: %v", r.configFile(), pathReason(err))
		}
	}
	r.update(func(state *cyclone.Report) { state.Config = data })
	if err := r.understand(data, s); err != nil {
		return err
	}
	r.log.hide(r.secrets())
	if r.pipeline.Empty() {
		remark := r.configFile() + " has no stages: nothing was done"
		r.remarks = append(r.remarks, remark)
		s.say("%s", remark)
	}
	r.prefetch(ctx)
	return nil
}

// withoutConfig makes the pipeline of a repository without caicloud.yml.
func (r *run) withoutConfig(s *step) error {
	if _, err := r.root.Stat("Dockerfile"); err != nil {
		return &verdict{
			status: cyclone.StatusFailure, stage: cyclone.StageClone, step: s.name,
			message: "no " + r.configFile() + " at " + r.commit().SHA,
		}
	}
	s.say("No %s, but a Dockerfile: building that.", r.configFile())
	r.pipeline = &cyclone.Pipeline{Build: []cyclone.Build{{
		Name: string(cyclone.StageBuild), ContextDir: ".", Dockerfile: "Dockerfile",
	}}}
	return nil
}

func (r *run) commit() cyclone.Commit {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state.Commit
}

// understand parses the file and says what is wrong with it; s is nil while
// nobody is to be told yet.
func (r *run) understand(data []byte, s *step) error {
	pipeline, problems := manifest.Expand(data, manifest.Values{
		Variables: r.variables(), Secrets: r.secretValues(),
	})
	if !r.job.Project.Trusted {
		problems = append(problems, manifest.Trusted(pipeline)...)
	}
	r.report(problems)
	var errs []string
	for _, p := range problems {
		if s != nil {
			s.say("%s", manifest.Format(r.configFile(), p, data))
		}
		if p.Severity == cyclone.SeverityError {
			errs = append(errs, manifest.Format(r.configFile(), p, nil))
		}
	}
	if len(errs) > 0 {
		return &verdict{
			status: cyclone.StatusFailure, stage: cyclone.StageClone, step: r.configFile(),
			message: fmt.Sprintf("%s is not valid:\n%s", r.configFile(), strings.Join(errs, "\n")),
		}
	}
	r.pipeline = pipeline
	return nil
}

// report tells the server what was found in the file.
func (r *run) report(problems []cyclone.Problem) {
	var all []cyclone.Problem
	for _, p := range problems {
		p.File = r.configFile()
		p.Message, p.Hint = r.log.masked(p.Message), r.log.masked(p.Hint)
		all = append(all, p)
	}
	r.update(func(s *cyclone.Report) { s.Problems = all })
}

func (r *run) secretValues() map[string]string {
	out := map[string]string{}
	for name, s := range r.job.Secrets {
		out[name] = s.Value
	}
	return out
}

// pathReason is an error of the file system without the worker's own path.
func pathReason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
