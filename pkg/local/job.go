package local

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/manifest"
)

// DefaultConfig is the file that is run when nobody names another.
const DefaultConfig = "caicloud.yml"

// Options are what somebody wants of a run.
type Options struct {
	// Config is the path of the file from the root of the source.
	Config string
	// Stages are the stages to run, all when empty; From is the first one.
	Stages []cyclone.Stage
	From   cyclone.Stage
	// Push and Deploy let the run do what others can see.
	Push, Deploy bool
	// Image and Version name the image; empty for the project's name and for
	// what the commit says.
	Image, Version string
	// Event is the kind of event to be, KindManual when empty. Branch and Tag
	// say where; empty for what the source says.
	Event       cyclone.TriggerKind
	Branch, Tag string
	// Changed are the paths that count as changed; nil when that is unknown.
	Changed   []string
	Variables map[string]string
	Secrets   map[string]string
	Trusted   bool
	DryRun    bool
	Timeout   time.Duration
}

// Run is a run that may begin.
type Run struct {
	Job *cyclone.Job
	// Pipeline is what the file says, with ${NAME} as written; nil for a source
	// without the file.
	Pipeline *cyclone.Pipeline
	// Why says of stages of the pipeline that do not run why they do not.
	Why map[cyclone.Stage]string
}

// Problems is an error that says what is wrong with the file.
type Problems struct {
	File   string
	List   []cyclone.Problem
	Source []byte
}

// Error implements error.
func (p *Problems) Error() string {
	return fmt.Sprintf("%s has %d errors", p.File, manifest.Errors(p.List))
}

// UsageError is an error of the command line.
type UsageError struct{ message string }

// Error implements error.
func (e *UsageError) Error() string { return e.message }

func usage(format string, args ...any) error {
	return &UsageError{fmt.Sprintf(format, args...)}
}

// NewRun makes a job of the source as somebody wants it. data is the text of
// the file, nil when there is none. *Problems: the file has errors; *UsageError:
// the options do not go together, or something is missing.
func NewRun(src *Source, data []byte, last *Last, o Options) (*Run, error) {
	r := &Run{Why: map[cyclone.Stage]string{}}
	if data != nil {
		pipeline, problems := manifest.Parse(data)
		if !o.Trusted {
			problems = append(problems, manifest.Trusted(pipeline)...)
		}
		if manifest.Errors(problems) > 0 {
			return nil, &Problems{o.Config, problems, data}
		}
		r.Pipeline = pipeline
	}
	event, err := newEvent(src, &o)
	if err != nil {
		return nil, err
	}
	stages, err := r.stages(&event, o)
	if err != nil {
		return nil, err
	}
	r.Job = &cyclone.Job{
		Fence: cyclone.Fence{Event: event.ID, Worker: cyclone.WorkerID(event.ID), Attempt: 1}, Event: event,
		Project: cyclone.Project{
			Name: event.Project, Image: o.Image, ConfigFile: o.Config, Trusted: o.Trusted,
			Repository: cyclone.Repository{Type: "git", URL: src.Root},
		},
		Config: data, Variables: o.Variables, Stages: stages, Push: o.Push, Changed: o.Changed,
		Secrets: map[string]cyclone.JobSecret{}, Timeout: cyclone.Duration(o.Timeout),
	}
	for name, value := range o.Secrets {
		r.Job.Secrets[name] = cyclone.JobSecret{Value: value, Masked: true}
	}
	if err := errors.Join(r.needSecrets(o), r.mayPush(o)); err != nil {
		return nil, err
	}
	return r, r.begin(last, o)
}

// newEvent is the event that the run is.
func newEvent(src *Source, o *Options) (cyclone.Event, error) {
	if o.Event == "" {
		o.Event = cyclone.KindManual
	}
	tag := o.Tag
	if tag == "" && o.Branch == "" {
		tag = src.Tag()
	}
	e := cyclone.Event{
		ID: newID(), Project: src.Name(), Trigger: cyclone.Trigger{Kind: o.Event},
		Branch: o.Branch, Tag: tag, Ref: src.FullRef, Commit: src.Commit, Version: cyclone.DockerTag(o.Version),
	}
	if e.Branch == "" && e.Tag == "" {
		e.Branch = src.Branch()
	}
	switch {
	case e.Tag != "":
		e.Ref = "refs/tags/" + e.Tag
	case e.Branch != "":
		e.Ref = "refs/heads/" + e.Branch
	}
	switch o.Event {
	case cyclone.KindTag, cyclone.KindRelease:
		if e.Tag == "" {
			return e, usage("--event %s needs --tag", o.Event)
		}
	case cyclone.KindPullRequest:
		e.PullRequest = &cyclone.PullRequest{SourceBranch: e.Branch, TargetBranch: "main"}
	}
	if e.Version == "" {
		e.Version = version(src, &e)
	}
	return e, nil
}

// version says of a source that is not what its commit says that it is not.
func version(src *Source, e *cyclone.Event) string {
	v := e.DefaultVersion()
	switch {
	case v == "":
		return "local"
	case src.Changes > 0:
		return cyclone.DockerTag(v[:min(len(v), 100)] + "-dirty")
	}
	return v
}

// newID is an id that no other run has, anywhere on the engine.
func newID() cyclone.EventID {
	return cyclone.EventID("local-" + time.Now().UTC().Format("20060102-150405") + "-" + strings.ToLower(rand.Text()[:8]))
}

// present are the stages that the file has.
func (r *Run) present() []cyclone.Stage {
	p := r.Pipeline
	if p == nil {
		return []cyclone.Stage{cyclone.StageBuild} // of a Dockerfile
	}
	var out []cyclone.Stage
	for stage, there := range map[cyclone.Stage]bool{
		cyclone.StagePreBuild: len(p.PreBuild) > 0, cyclone.StageBuild: len(p.Build) > 0, cyclone.StageIntegration: p.Integration != nil,
		cyclone.StagePostBuild: len(p.PostBuild) > 0, cyclone.StageDeploy: len(p.Deploy) > 0,
	} {
		if there {
			out = append(out, stage)
		}
	}
	slices.SortFunc(out, func(a, b cyclone.Stage) int { return slices.Index(cyclone.Stages, a) - slices.Index(cyclone.Stages, b) })
	return out
}

// stages are the stages that may run, clone among them.
func (r *Run) stages(e *cyclone.Event, o Options) ([]cyclone.Stage, error) {
	present := r.present()
	for _, s := range append(slices.Clone(o.Stages), o.From) {
		if s != "" && s != cyclone.StageClone && !slices.Contains(present, s) {
			return nil, usage("%s has no stage %s; it has %s", o.Config, s, list(present))
		}
	}
	if slices.Contains(o.Stages, cyclone.StageDeploy) && !o.Deploy {
		return nil, usage("--stage deploy needs --deploy: nothing is deployed without it")
	}
	usual := e.DefaultStages()
	if len(o.Stages) > 0 {
		usual = append([]cyclone.Stage{cyclone.StageClone}, o.Stages...)
	}
	var out []cyclone.Stage
	for _, s := range cyclone.Stages {
		early := o.From != "" && slices.Index(cyclone.Stages, s) < slices.Index(cyclone.Stages, o.From)
		switch {
		case s == cyclone.StageDeploy && !o.Deploy:
			r.Why[s] = "--deploy is not given"
		case !slices.Contains(usual, s) && len(o.Stages) > 0:
			r.Why[s] = "--stage does not name it"
		case !slices.Contains(usual, s):
			r.Why[s] = fmt.Sprintf("events of kind %s do not run it", o.Event)
		case early && s != cyclone.StageClone:
			r.Why[s] = "--from begins after it"
			out = append(out, s)
		default:
			out = append(out, s)
		}
	}
	return out, nil
}

func list(stages []cyclone.Stage) string {
	var out []string
	for _, s := range stages {
		out = append(out, string(s))
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, ", ")
}

// runs reports whether a stage runs.
func (r *Run) runs(s cyclone.Stage) bool {
	_, not := r.Why[s]
	return !not && (r.Job == nil || slices.Contains(r.Job.Stages, s))
}
