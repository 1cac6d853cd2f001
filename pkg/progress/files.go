package progress

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cyclone/pkg/cyclone"
)

// countArtifacts counts the artifacts that are kept with an event.
func (p *Progress) countArtifacts(ctx context.Context, e *cyclone.Event) (int, error) {
	if p.Files == nil || e.Worker.Attempt == 0 {
		return 0, nil // nobody has run it
	}
	all, err := p.Files.List(ctx, e.ID, cyclone.FileArtifact)
	if err != nil {
		return 0, fmt.Errorf("list artifacts: %w", err)
	}
	return len(all), nil
}

// dropFiles removes what an earlier attempt left, so that nobody takes it for
// the result of this one. The earlier worker's fence no longer holds, so it
// adds nothing; and a worker asks for its job before it keeps a file.
func (p *Progress) dropFiles(ctx context.Context, job *cyclone.Job) error {
	if p.Files == nil || job.Fence.Attempt < 2 {
		return nil
	}
	if err := p.Files.Delete(ctx, job.Event.ID); err != nil {
		return fmt.Errorf("remove files of the attempt before: %w", err)
	}
	return nil
}

// fillTakenOver adds what a rerun from a later stage takes over: the images of
// earlier events, and the outputs that pre_build left with Base. An event
// whose base is gone meanwhile can never be run.
func (p *Progress) fillTakenOver(ctx context.Context, job *cyclone.Job) error {
	run := job.Event.Run
	if run.From == "" {
		return nil
	}
	job.Images = job.Event.Images
	if run.Base == "" {
		return nil // nothing is needed of it
	}
	base, err := p.Events.Find(ctx, run.Base)
	switch {
	case errors.Is(err, cyclone.ErrNotFound):
		err = lostBase(job, "the event that ran pre_build does not exist any more")
	case err != nil:
		return err
	case base.FilesRemovedAt != nil:
		err = lostBase(job, fmt.Sprintf("retention removed the files of event #%d on %s", base.Number, base.FilesRemovedAt.UTC().Format(time.DateOnly)))
	case p.Files == nil:
		err = lostBase(job, "this server keeps no files")
	default:
		job.Outputs, err = p.Files.List(ctx, run.Base, cyclone.FileOutput)
		return err
	}
	if run.From == cyclone.StageDeploy {
		return nil // trigger saw to it that it can do without
	}
	return err
}

func lostBase(job *cyclone.Job, why string) error {
	return broken("the rerun cannot begin at %s, because the outputs of pre_build are gone: %s; rerun the event from pre_build", job.Event.Run.From, why)
}

// Bounds of what a report adds to its event: lists of events carry it all.
const (
	maxImages   = 100
	maxProblems = 200
	maxText     = 2 << 10 // of a message
	maxName     = 500
	maxPrinted  = 4 << 10 // of a failed test's output
)

// applyFindings takes over what was found in the file and by the tests.
func applyFindings(e *cyclone.Event, r cyclone.Report) {
	if r.Problems != nil {
		e.Problems = slices.Clone(r.Problems[:min(len(r.Problems), maxProblems)])
		for i := range e.Problems {
			problem := &e.Problems[i]
			problem.File, problem.Path = head(problem.File, maxText), head(problem.Path, maxText)
			problem.Message, problem.Hint = head(problem.Message, maxText), head(problem.Hint, maxText)
		}
	}
	if r.Tests == nil {
		return
	}
	tests := *r.Tests
	tests.Failures = slices.Clone(tests.Failures[:min(len(tests.Failures), cyclone.MaxFailures)])
	for i := range tests.Failures {
		f := &tests.Failures[i]
		f.Step, f.Suite, f.Class, f.Name = head(f.Step, maxName), head(f.Suite, maxName), head(f.Class, maxName), head(f.Name, maxName)
		f.Message, f.Output = head(f.Message, maxText), tail(f.Output, maxPrinted)
	}
	e.Tests = &tests
}

// forgetFindings is for an event that starts again: what its worker built and
// found does not count any more. What a rerun took over does.
func forgetFindings(e *cyclone.Event) {
	e.Problems, e.Tests = nil, nil
	if !tookImages(e) {
		e.Images, e.Image.Digest = nil, ""
	}
}

// tookImages reports whether the event's images are those of earlier events.
func tookImages(e *cyclone.Event) bool {
	return slices.Index(cyclone.Stages, e.Run.From) > slices.Index(cyclone.Stages, cyclone.StageBuild)
}

// head is a text cut to its beginning.
func head(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "..."
}

// tail is a text cut to its end.
func tail(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return "..." + strings.ToValidUTF8(s[len(s)-limit:], "")
}
