package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"cyclone/pkg/cyclone"
)

// run is one event on its way through the stages.
type run struct {
	*Worker
	job  *cyclone.Job
	up   *startup
	log  *journal
	tree string   // the source tree
	root *os.Root // the same, which no path leaves
	aux  string   // scripts and other small files

	pipeline *cyclone.Pipeline
	pulls    *puller
	built    []built
	remarks  []string // what there is to say about a success
	unwanted bool     // nothing of the commit is to be run
	changes  changes
	kept     keeper
	outputs  outputKeeper

	mu    sync.Mutex
	state cyclone.Report

	network   sync.Mutex
	networkID string

	caches caches

	gate      sync.Mutex
	deploying bool // the deploy stage has begun
}

func newRun(w *Worker, job *cyclone.Job, up *startup) (*run, error) {
	r := &run{Worker: w, job: job, up: up, tree: filepath.Join(w.Dir, "source"), aux: filepath.Join(w.Dir, "scripts")}
	for _, dir := range []string{r.tree, r.aux} {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return nil, fmt.Errorf("make the event's folder: %w", err)
		}
	}
	// Steps may run as any user.
	if err := errors.Join(os.Chmod(r.tree, 0o755), os.Chmod(r.aux, 0o755)); err != nil { //#nosec G302
		return nil, fmt.Errorf("make the event's folder: %w", err)
	}
	root, err := os.OpenRoot(r.tree)
	if err != nil {
		return nil, fmt.Errorf("make the event's folder: %w", err)
	}
	r.root = root
	r.log = newJournal(w.Server, job.LastLine, r.secrets(), w.Log)
	r.log.bound(job.LogLimit, w.Dir)
	r.pulls = &puller{run: r, pulls: map[pullKey]*pull{}}
	r.kept.files = map[string]kept{}
	r.state = cyclone.Report{
		Commit: job.Event.Commit, Version: job.Event.Version, Image: job.Event.Image, Config: job.Config,
		Stages: []cyclone.StageState{}, Deployments: []cyclone.Deployment{},
	}
	return r, nil
}

// secrets are the texts that the log hides: secrets of the project, logins,
// and what caicloud.yml says in clear.
func (r *run) secrets() []string {
	out := []string{r.job.ClonePassword}
	for _, s := range r.job.Secrets {
		if s.Masked {
			out = append(out, s.Value)
		}
	}
	for _, a := range r.job.Registries {
		out = append(out, a.Password)
	}
	for _, c := range r.job.Clusters {
		out = append(out, c.Token)
	}
	if r.pipeline == nil {
		return out
	}
	for _, t := range r.pipeline.Deploy {
		out = append(out, t.Token)
	}
	for _, s := range r.steps() {
		if s.Auth != nil {
			out = append(out, s.Auth.Password)
		}
	}
	return slices.DeleteFunc(out, func(s string) bool { return s == "" })
}

// steps are all container steps of the pipeline in the order of the stages.
func (r *run) steps() []cyclone.Step {
	p := r.pipeline
	out := slices.Clone(p.PreBuild)
	if p.Integration != nil {
		out = append(append(out, p.Integration.Services...), p.Integration.Step)
	}
	return append(out, p.PostBuild...)
}

// update changes what the server knows and tells it.
func (r *run) update(change func(s *cyclone.Report)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.state)
	snapshot := r.state
	snapshot.Stages = slices.Clone(r.state.Stages)
	for i := range snapshot.Stages {
		st := &snapshot.Stages[i]
		st.Steps = slices.Clone(st.Steps)
		st.FirstLine, st.LastLine = r.log.place(st.FirstLine, st.LastLine)
	}
	snapshot.Images = slices.Clone(r.state.Images)
	snapshot.Deployments = slices.Clone(r.state.Deployments)
	// An error means that the connection has ended; Server.Done tells.
	_ = r.Server.Report(snapshot)
}

// stageState finds a stage in a report, and adds it when it is not there.
func stageState(s *cyclone.Report, name cyclone.Stage) *cyclone.StageState {
	for i := range s.Stages {
		if s.Stages[i].Name == name {
			return &s.Stages[i]
		}
	}
	s.Stages = append(s.Stages, cyclone.StageState{Name: name, Status: cyclone.StatusPending, Steps: []cyclone.StepState{}})
	return &s.Stages[len(s.Stages)-1]
}

// beginStage notes that a stage runs now.
func (r *run) beginStage(name cyclone.Stage) {
	first := r.log.last() + 1
	now := cyclone.Stamp(time.Now())
	r.update(func(s *cyclone.Report) {
		st := stageState(s, name)
		st.Status, st.StartedAt, st.FirstLine = cyclone.StatusRunning, &now, first
	})
}

// endStage notes how a stage ended. Its lines go out before the news.
func (r *run) endStage(ctx context.Context, name cyclone.Stage, err error) {
	if flushErr := r.log.flush(context.WithoutCancel(ctx)); flushErr != nil {
		r.Log.Warn("cannot deliver the log of a stage", "stage", name, "error", flushErr)
	}
	last := r.log.last()
	now := cyclone.Stamp(time.Now())
	r.update(func(s *cyclone.Report) {
		st := stageState(s, name)
		st.Status, st.FinishedAt, st.LastLine = statusOf(err), &now, last
		if st.LastLine < st.FirstLine { // it printed nothing
			st.FirstLine, st.LastLine = 0, 0
		}
	})
}

// turnBack notes that a stage never began because the run had ended, and says
// so where it would have been.
func (r *run) turnBack(name cyclone.Stage, why error) {
	first := r.log.last() + 1
	o := r.log.output(name, string(name))
	o.say("%v", why)
	o.close()
	last := r.log.last()
	r.update(func(s *cyclone.Report) {
		st := stageState(s, name)
		st.Status, st.FirstLine, st.LastLine = statusOf(why), first, last
	})
}

// skipStages notes that stages that were to come will not run.
func (r *run) skipStages(names []cyclone.Stage) {
	if len(names) == 0 {
		return
	}
	r.update(func(s *cyclone.Report) {
		for _, name := range names {
			stageState(s, name).Status = cyclone.StatusSkipped
		}
	})
}

func statusOf(err error) cyclone.Status {
	var v *verdict
	switch {
	case err == nil:
		return cyclone.StatusSuccess
	case errors.As(err, &v):
		return v.status
	}
	return cyclone.StatusError
}

// step runs fn as a step: its state is reported before and after, its output
// is closed, what went wrong is a line of its log. fn may set the state's Image
// and ExitCode through set.
func (r *run) step(ctx context.Context, stage cyclone.Stage, name string, fn func(s *step) error) error {
	now := cyclone.Stamp(time.Now())
	s := &step{run: r, stage: stage, name: name, output: r.log.output(stage, name)}
	s.set(func(st *cyclone.StepState) { st.Status, st.StartedAt = cyclone.StatusRunning, &now })
	disk := r.watchDisk()
	err := fn(s)
	full := disk()
	if errors.Is(err, errSkipped) {
		s.set(func(st *cyclone.StepState) { st.Status = cyclone.StatusSkipped })
		s.close()
		return nil
	}
	err = blameDisk(r.engineFirst(judge(ctx, stage, name, err)), full)
	s.close()
	if err != nil {
		s.say("%v", err)
		s.close()
	}
	end := cyclone.Stamp(time.Now())
	s.set(func(st *cyclone.StepState) {
		st.Status, st.FinishedAt = statusOf(err), &end
		if err != nil {
			st.Error = r.log.masked(err.Error())
		}
	})
	return err
}

var errSkipped = errors.New("skipped")

// engineFirst prefers the engine's death to what follows from it: calls fail a
// moment before the process is known to be gone.
func (r *run) engineFirst(err error) error {
	var v *verdict
	if !errors.As(err, &v) || v.status != cyclone.StatusError || r.Engine.Shared {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), aliveTime)
	defer cancel()
	if r.Engine.Alive(ctx) != nil && r.Engine.Err() != nil {
		return r.engineDied().in(v.stage, v.step)
	}
	return err
}

// aliveTime is how long an engine may take to show that it lives.
const aliveTime = 2 * time.Second

// step is one step while it runs.
type step struct {
	*output
	run   *run
	stage cyclone.Stage
	name  string
	kept  bool // something of it went to the server: it is not tried again
	// again reports whether a step that ends with an error is tried again.
	again func(err error) bool
}

// set changes the step's state and reports it.
func (s *step) set(change func(st *cyclone.StepState)) {
	s.run.update(func(report *cyclone.Report) {
		stage := stageState(report, s.stage)
		for i := range stage.Steps {
			if stage.Steps[i].Name == s.name {
				change(&stage.Steps[i])
				return
			}
		}
		stage.Steps = append(stage.Steps, cyclone.StepState{Name: s.name})
		change(&stage.Steps[len(stage.Steps)-1])
	})
}
