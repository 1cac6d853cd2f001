package progress

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"cyclone/pkg/cyclone"
)

// Bounds of trying again.
const (
	// maxAttempts is how many workers may begin an event.
	maxAttempts = 2
	// maxLaunches is how many times a worker may fail to start.
	maxLaunches = 3
	// takeOverLease is how long the server keeps an event that it took from
	// its worker. When it dies meanwhile, the lease runs out like a worker's.
	takeOverLease = 30 * time.Second
	// lookAgain is when that is tried again whose worker could not be removed.
	lookAgain = 5 * time.Second
	// outOfReach is how long a node may be out of reach before an event that
	// was lost on it is given up.
	outOfReach = 5 * time.Minute
)

// takeOver makes the server the event's worker: from here on the former one's
// writes are refused, so that nobody writes the log or the status while the
// server does. With a revision other than 0 the event must not have been
// written since.
func (p *Progress) takeOver(ctx context.Context, f cyclone.Fence, revision int64, also func(*cyclone.Event)) (*cyclone.Event, error) {
	return p.held(ctx, f, func(e *cyclone.Event) error {
		if revision != 0 && e.Run.Revision != revision {
			return cyclone.Conflict("event %s was written meanwhile", e.ID)
		}
		if e.Run.Former == nil {
			former, now := e.Worker, p.now()
			e.Run.Former, e.Run.LostAt = &former, &now
		}
		e.Worker.ID = cyclone.WorkerID("server-" + rand.Text())
		e.Run.TokenHash, e.Run.SessionHash = nil, nil
		e.Run.LeaseUntil = p.now().Add(takeOverLease)
		also(e)
		return nil
	})
}

// Lost is told by the dispatcher that an event's worker is dead or silent past
// its lease. The event is tried again with another worker, unless it was tried
// before or had begun to deploy; then it ends with an error. When the worker
// was heard of since e was read, nothing happens.
//
// Who calls it: the one dispatcher that holds its node's lease, for the events
// of its node; for those of a node that no server dispatches for any more all
// dispatchers do, and of these the compare-and-set of takeOver lets one through.
func (p *Progress) Lost(ctx context.Context, e *cyclone.Event, why string) error {
	text := lostText(e, why)
	taken, err := p.takeOver(ctx, fenceOf(e), e.Run.Revision, func(e *cyclone.Event) {
		if e.Run.Ending == "" {
			e.Reason = text // for those who wonder while nobody can be sure that the worker is gone
		}
	})
	if errors.Is(err, cyclone.ErrConflict) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("take lost event %s over: %w", e.ID, err)
	}
	if e.Run.Former == nil {
		p.Metrics.WorkerLost(e.Worker.Node)
	}
	if e.Run.Former == nil {
		p.Log.Warn("worker lost", "event", e.ID, "worker", taken.Run.Former.ID, "node", taken.Worker.Node, "why", why)
	}
	p.publish(taken)
	if err := p.decide(ctx, taken, text); err != nil {
		return fmt.Errorf("handle lost worker of event %s: %w", e.ID, err)
	}
	return nil
}

// decide ends a lost event or starts it again, as the project's policy says.
func (p *Progress) decide(ctx context.Context, e *cyclone.Event, text string) error {
	retry, err := p.retries(ctx, e)
	switch {
	case e.Run.Ending != "":
		// A server died while it ended the event.
		return p.endOwn(ctx, e, e.Run.Ending, e.Reason)
	case err != nil:
		return err
	case canceled(e):
		return p.endOwn(ctx, e, cyclone.StatusCanceled, e.Run.CancelReason)
	case deployBegan(e):
		return p.endOwn(ctx, e, cyclone.StatusError, text+"; the event had begun to deploy, so it does not start again by itself")
	case !retry:
		return p.endOwn(ctx, e, cyclone.StatusError, text)
	}
	return p.again(ctx, e, text)
}

// retries reports whether the event may start once more.
func (p *Progress) retries(ctx context.Context, e *cyclone.Event) (bool, error) {
	project, err := p.Projects.Find(ctx, e.Project)
	if errors.Is(err, cyclone.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("find project %s: %w", e.Project, err)
	}
	return project.Limits.OnWorkerLost != cyclone.LostFail && e.Worker.Attempt-e.Run.LaunchFailures < maxAttempts, nil
}

// lostText names worker and node and since when nothing was heard.
func lostText(e *cyclone.Event, why string) string {
	ref := e.Worker
	if e.Run.Former != nil {
		ref = *e.Run.Former
	}
	if e.Run.Former != nil && e.Reason != "" {
		return e.Reason // what was found when it was lost
	}
	text := fmt.Sprintf("worker %s on node %s was lost: %s", ref.ID, ref.Node, why)
	switch {
	case e.Run.SessionHash != nil:
		return text + ", last heard of at " + clock(e.Run.LeaseUntil.Add(-cyclone.LeaseTime))
	case e.StartedAt != nil:
		return text + ", never connected since its start at " + clock(*e.StartedAt)
	}
	return text
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// deployBegan: what was rolled out, perhaps in part, is not rolled out again
// by a machine's own decision.
func deployBegan(e *cyclone.Event) bool {
	for _, s := range e.Stages {
		if s.Name == cyclone.StageDeploy && s.StartedAt != nil {
			return true
		}
	}
	return len(e.Deployments) > 0
}

// again puts an event that the server holds back into the queue.
//
// Invariant: one event is run by at most one worker at a time. The former
// worker may still run, cut off from us; so it is removed first, and when that
// fails the event stays where it is until the lease runs out and this is tried
// again, but not for ever.
func (p *Progress) again(ctx context.Context, e *cyclone.Event, text string) error {
	if err := p.remove(ctx, *e.Run.Former); err != nil {
		if errors.Is(err, errNodeGone) || e.Run.LostAt != nil && p.now().Sub(*e.Run.LostAt) >= outOfReach {
			return p.endOwn(ctx, e, cyclone.StatusError, fmt.Sprintf(
				"%s; node %s cannot be reached, so nobody can make sure that the worker is gone: start the event again when that is certain",
				text, e.Run.Former.Node))
		}
		return errors.Join(fmt.Errorf("remove worker %s: %w", e.Run.Former.ID, err), p.letGo(ctx, e))
	}
	p.Metrics.EventRetried(e.Run.Former.Node)
	mine := fenceOf(e)
	if err := p.say(ctx, mine, text+"; the event starts again with another worker"); err != nil {
		return err
	}
	return p.release(ctx, mine, text, func(*cyclone.Event) error { return nil })
}

// letGo shortens the time for which the server holds an event with which it
// cannot go on now, so that this is tried again soon.
func (p *Progress) letGo(ctx context.Context, e *cyclone.Event) error {
	_, err := p.held(ctx, fenceOf(e), func(e *cyclone.Event) error {
		e.Run.LeaseUntil = p.now().Add(lookAgain)
		return nil
	})
	if errors.Is(err, cyclone.ErrConflict) {
		return nil // somebody else has it
	}
	return err
}

// release makes a running event pending, or, when somebody asked for that
// meanwhile, canceled. The caller is sure that no worker runs it.
func (p *Progress) release(ctx context.Context, f cyclone.Fence, why string, also func(*cyclone.Event) error) error {
	e, err := p.held(ctx, f, func(e *cyclone.Event) error {
		if err := also(e); err != nil {
			return err
		}
		if e.Run.CancelReason != "" {
			return p.conclude(ctx, e, cyclone.Result{Status: cyclone.StatusCanceled})
		}
		now := p.now()
		e.Status, e.Reason, e.StartedAt, e.Run.PendingSince = cyclone.StatusPending, why, nil, &now
		// The attempt stays: it is the fence against the worker before.
		e.Worker = cyclone.WorkerRef{Attempt: e.Worker.Attempt}
		e.Stages, e.Deployments = []cyclone.StageState{}, []cyclone.Deployment{}
		forgetFindings(e)
		e.Run.TokenHash, e.Run.SessionHash, e.Run.Former, e.Run.LostAt, e.Run.Ending = nil, nil, nil, nil, ""
		e.Run.LeaseUntil = time.Time{}
		return nil
	})
	if err != nil {
		return err
	}
	if e.Status.Final() {
		p.after(e)
		return nil
	}
	p.forget(e.ID)
	p.publish(e)
	p.wake()
	return nil
}

// LaunchFailed is told by the dispatcher that a claimed event's worker never
// started. The event waits again, until its third failure ends it with the
// cause as the reason. What is no fault of the event's never ends it: a launch
// that the server's own end broke off (context.Canceled), and a node that
// cannot start workers (ErrUnavailable). ErrConflict when the worker did start,
// for it has connected: it is to be left alone.
func (p *Progress) LaunchFailed(ctx context.Context, e *cyclone.Event, cause error) error {
	why := fmt.Sprintf("the worker could not be started on node %s and will be tried again: %v", e.Worker.Node, cause)
	last := e.Run.LaunchFailures+1 >= maxLaunches && !errors.Is(cause, context.Canceled) && !errors.Is(cause, cyclone.ErrUnavailable)
	err := p.release(ctx, fenceOf(e), why, func(e *cyclone.Event) error {
		switch {
		case e.Run.SessionHash != nil:
			return errConnected
		case last && e.Run.CancelReason == "":
			return errLastTry
		}
		e.Run.LaunchFailures++
		return nil
	})
	if errors.Is(err, errLastTry) {
		reason := fmt.Sprintf("no worker could be started on node %s in %d tries: %v", e.Worker.Node, e.Run.LaunchFailures+1, cause)
		err = p.end(ctx, fenceOf(e), cyclone.StatusError, reason)
	}
	switch {
	case errors.Is(err, errConnected):
		return cyclone.Conflict("worker %s has connected, so it did start", e.Worker.ID)
	case err != nil && !errors.Is(err, cyclone.ErrConflict):
		return fmt.Errorf("release event %s after failed launch: %w", e.ID, err)
	}
	return nil
}

var (
	errConnected = errors.New("worker has connected")
	errLastTry   = errors.New("the last try failed")
)
