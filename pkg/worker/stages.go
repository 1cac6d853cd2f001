package worker

import (
	"context"
	"errors"
	"slices"

	"cyclone/pkg/cyclone"
)

// stage is a part of the event and what runs it.
type stage struct {
	name cyclone.Stage
	run  func(ctx context.Context) error
}

// handle runs the event from clone to deploy. The first stage that fails ends
// it; what was to come is skipped.
func (r *run) handle(ctx context.Context) cyclone.Result {
	result := r.through(ctx)
	r.settleOutputs(ctx)
	return result
}

func (r *run) through(ctx context.Context) cyclone.Result {
	if len(r.job.Config) > 0 {
		// A rerun knows its pipeline before the clone; what is wrong with it is
		// said where it always is, after the clone.
		_ = r.understand(r.job.Config, nil)
		r.prefetch(ctx)
	}
	if err := r.runStage(ctx, stage{cyclone.StageClone, r.clone}); err != nil {
		return r.result(err)
	}
	todo := r.todo()
	for i, s := range todo {
		if err := r.runStage(ctx, s); err != nil {
			r.skipStages(names(todo[i+1:]))
			return r.result(err)
		}
	}
	return r.result(nil)
}

// todo lists the stages that the pipeline has and the job lets run.
func (r *run) todo() []stage {
	p := r.pipeline
	var run []stage
	var plan, skip []cyclone.Stage
	for _, s := range []struct {
		stage
		present bool
	}{
		{stage{cyclone.StagePreBuild, r.preBuild}, len(p.PreBuild) > 0},
		{stage{cyclone.StageBuild, r.build}, len(p.Build) > 0},
		{stage{cyclone.StageIntegration, r.integration}, p.Integration != nil},
		{stage{cyclone.StagePostBuild, r.postBuild}, len(p.PostBuild) > 0},
		{stage{cyclone.StageDeploy, r.deploy}, len(p.Deploy) > 0},
	} {
		if !s.present {
			continue
		}
		plan = append(plan, s.name)
		if r.allowed(s.name) {
			run = append(run, s.stage)
		} else {
			skip = append(skip, s.name)
		}
	}
	r.update(func(s *cyclone.Report) {
		for _, name := range plan {
			stageState(s, name)
		}
	})
	r.skipStages(skip)
	return run
}

// allowed reports whether the job lets a stage run.
func (r *run) allowed(name cyclone.Stage) bool {
	return slices.Contains(r.job.Stages, name) && !r.takesOver(name)
}

func names(stages []stage) []cyclone.Stage {
	out := make([]cyclone.Stage, len(stages))
	for i, s := range stages {
		out[i] = s.name
	}
	return out
}

// runStage runs one stage and reports it.
func (r *run) runStage(ctx context.Context, s stage) error {
	if err := r.enter(ctx, s.name); err != nil {
		err = judge(ctx, s.name, "", err)
		r.turnBack(s.name, err)
		return err
	}
	r.beginStage(s.name)
	err := judge(ctx, s.name, "", s.run(ctx))
	// What the step already said need not be said again; an end from outside
	// between two steps is said here.
	var v *verdict
	if errors.As(err, &v) && v.step == "" {
		o := r.log.output(s.name, string(s.name))
		o.say("%v", err)
		o.close()
	}
	r.endStage(ctx, s.name, err)
	return err
}
