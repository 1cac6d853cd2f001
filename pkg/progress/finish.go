package progress

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cyclone/pkg/cyclone"
)

// Finish ends an event as its worker says. The end is one list: seal the log,
// save the result with the notices it calls for, tell viewers, then the
// notices (mail, forge, release of the worker), each on its own; see Run.
//
// Invariant: the end is reached exactly once. Result and notices are saved in
// one write before anybody is told, so a crash at any point leaves either a
// running event or one whose notices are still to be worked off; and what
// fails later undoes nothing. A result that arrives twice is accepted twice
// and acted on once. ErrConflict when the attempt is over; ErrUnavailable when
// lines of the log are missing: the worker sends them and the result again.
func (p *Progress) Finish(ctx context.Context, f cyclone.Fence, r cyclone.Result) error {
	if !r.Status.Final() || r.Status == cyclone.StatusSkipped {
		return cyclone.Invalid("status", "%q is not how a worker's event ends", r.Status)
	}
	if err := p.waitForLog(ctx, f, r.LastLine); err != nil {
		return p.unlessFinished(ctx, f, r, err)
	}
	e, err := p.save(ctx, f, r)
	if err != nil {
		return p.unlessFinished(ctx, f, r, err)
	}
	p.after(e)
	return nil
}

// unlessFinished turns the failure of a repeated Finish into success.
func (p *Progress) unlessFinished(ctx context.Context, f cyclone.Fence, r cyclone.Result, err error) error {
	e, find := p.Events.Find(ctx, f.Event)
	if find == nil && e.Status == r.Status && e.Worker.ID == f.Worker && e.Worker.Attempt == f.Attempt {
		return nil
	}
	return fmt.Errorf("finish event %s: %w", f.Event, err)
}

// How long Finish waits for lines that are still on their way, and how often
// it looks.
const (
	logWait = 5 * time.Second
	logLook = 25 * time.Millisecond
)

// waitForLog returns once all lines up to last are stored. The worker sends
// them before its result, so normally they are there.
func (p *Progress) waitForLog(ctx context.Context, f cyclone.Fence, last int64) error {
	ctx, stop := context.WithTimeoutCause(ctx, logWait, cyclone.Unavailable("lines of the log are missing"))
	defer stop()
	for {
		// A worker whose attempt is over must not wait for lines that it is
		// no longer allowed to send.
		if _, err := p.check(ctx, f); err != nil {
			return err
		}
		have, err := p.Logs.Last(ctx, f.Event)
		if err != nil {
			return err
		}
		if have >= last {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the log has %d of %d lines: %w", have, last, context.Cause(ctx))
		case <-time.After(logLook):
		}
	}
}

// save seals the log and writes the result. The lock keeps chunks of this
// attempt out from here on: after the write its fence holds no more.
func (p *Progress) save(ctx context.Context, f cyclone.Fence, r cyclone.Result) (*cyclone.Event, error) {
	defer p.lock(f.Event)()
	return p.held(ctx, f, func(e *cyclone.Event) error { return p.conclude(ctx, e, r) })
}

// conclude gives an event its final status with everything that belongs to
// it. The caller writes it.
func (p *Progress) conclude(ctx context.Context, e *cyclone.Event, r cyclone.Result) error {
	lines, err := p.Logs.Last(ctx, e.ID)
	if err != nil {
		return err
	}
	now := p.now()
	e.Status, e.Reason, e.Error = r.Status, r.Reason, r.Error
	if e.Status == cyclone.StatusCanceled && e.Reason == "" {
		e.Reason = e.Run.CancelReason
	}
	e.FinishedAt, e.LogLines = &now, lines
	if e.Files, err = p.countArtifacts(ctx, e); err != nil {
		return err
	}
	closeStages(e, now)
	soon := now.Add(releaseDelay)
	if e.Run.Former != nil {
		e.Worker, e.Run.Former, soon = *e.Run.Former, nil, now
	}
	if e.Run.CancelAt != nil && now.Sub(*e.Run.CancelAt) < launchDelay {
		// Its worker had no time to obey: it may be just about to be launched.
		soon = e.Run.CancelAt.Add(launchDelay)
	}
	e.Run.LeaseUntil, e.Run.TokenHash, e.Run.SessionHash, e.Run.LostAt, e.Run.Ending = time.Time{}, nil, nil, nil, ""
	e.Run.Notices, err = p.plan(ctx, e, now, soon)
	return err
}

// closeStages ends what the worker left open, so that nothing of a final
// event looks as if it still ran.
func closeStages(e *cyclone.Event, now time.Time) {
	closed := func(s cyclone.Status) cyclone.Status {
		switch {
		case s.Final():
			return s
		case s != cyclone.StatusRunning:
			return cyclone.StatusSkipped
		case e.Status == cyclone.StatusSuccess:
			return cyclone.StatusError // its end was never told
		}
		return e.Status
	}
	for i := range e.Stages {
		s := &e.Stages[i]
		if s.Status == cyclone.StatusRunning {
			s.FinishedAt, s.LastLine = &now, max(s.LastLine, e.LogLines)
		}
		s.Status = closed(s.Status)
		for j := range s.Steps {
			if s.Steps[j].Status == cyclone.StatusRunning {
				s.Steps[j].FinishedAt = &now
			}
			s.Steps[j].Status = closed(s.Steps[j].Status)
		}
	}
	for i := range e.Deployments {
		e.Deployments[i].Status = closed(e.Deployments[i].Status)
	}
}

// after tells everybody about a final event that is saved.
func (p *Progress) after(e *cyclone.Event) {
	p.forget(e.ID)
	p.publish(e)
	p.Metrics.EventFinished(e)
	p.Log.Info("event finished", "event", e.ID, "project", e.Project, "number", e.Number,
		"status", e.Status, "reason", e.Reason, "lines", e.LogLines)
	p.kicked()
	p.wake()
}

// end finishes an event without its worker: it takes the event away from it,
// writes the reason into the log and goes through the same list.
func (p *Progress) end(ctx context.Context, f cyclone.Fence, s cyclone.Status, reason string) error {
	// Noted with it is how the event ends, so that whoever finds this half
	// done does not start it again.
	e, err := p.takeOver(ctx, f, 0, func(e *cyclone.Event) { e.Reason, e.Run.Ending = reason, s })
	if err != nil {
		return err
	}
	return p.endOwn(ctx, e, s, reason)
}

// endOwn is end for an event that the server holds already.
func (p *Progress) endOwn(ctx context.Context, e *cyclone.Event, s cyclone.Status, reason string) error {
	mine := fenceOf(e)
	if err := p.say(ctx, mine, reason); err != nil {
		if errors.Is(err, cyclone.ErrConflict) {
			return err
		}
		// The event must end all the same; its reason says what the line would.
		p.Log.Error("a line of the server's is missing from the log", "event", e.ID, "error", err)
	}
	r := cyclone.Result{Status: s, Reason: reason}
	if s != cyclone.StatusSuccess {
		r.Error = &cyclone.Failure{Stage: runningStage(e), Message: reason}
	}
	return p.Finish(ctx, mine, r)
}

func runningStage(e *cyclone.Event) cyclone.Stage {
	for _, s := range e.Stages {
		if s.Status == cyclone.StatusRunning {
			return s.Name
		}
	}
	return ""
}
