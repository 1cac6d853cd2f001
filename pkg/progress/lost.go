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
)

// takeOver makes the server the event's worker: from here on the former one's
// writes are refused, so that nobody writes the log or the status while the
// server does. With a revision other than 0 the event must not have been
// written since.
func (p *Progress) takeOver(ctx context.Context, f cyclone.Fence, revision int64) (*cyclone.Event, error) {
	return p.held(ctx, f, func(e *cyclone.Event) error {
		if revision != 0 && e.Run.Revision != revision {
			return cyclone.Conflict("event %s was written meanwhile", e.ID)
		}
		if e.Run.Former == nil {
			former := e.Worker
			e.Run.Former = &former
		}
		e.Worker.ID = cyclone.WorkerID("server-" + rand.Text())
		e.Run.TokenHash, e.Run.SessionHash = nil, nil
		e.Run.LeaseUntil = p.now().Add(takeOverLease)
		return nil
	})
}

// Lost is told by the dispatcher that an event's worker is dead or silent past
// its lease. The event is tried again with another worker, unless it was tried
// before or had begun to deploy; then it ends with an error. When the worker
// was heard of since e was read, nothing happens.
func (p *Progress) Lost(ctx context.Context, e *cyclone.Event, why string) error {
	text := lostText(e, why)
	taken, err := p.takeOver(ctx, fenceOf(e), e.Run.Revision)
	if errors.Is(err, cyclone.ErrConflict) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("take lost event %s over: %w", e.ID, err)
	}
	p.Log.Warn("worker lost", "event", e.ID, "worker", taken.Run.Former.ID, "node", taken.Worker.Node, "why", why)
	switch {
	case taken.Run.CancelReason != "":
		err = p.endOwn(ctx, taken, cyclone.StatusCanceled, taken.Run.CancelReason)
	case taken.Worker.Attempt-taken.Run.LaunchFailures < maxAttempts && !deployBegan(taken):
		err = p.again(ctx, taken, text)
	default:
		err = p.endOwn(ctx, taken, cyclone.StatusError, text)
	}
	if err != nil {
		return fmt.Errorf("handle lost worker of event %s: %w", e.ID, err)
	}
	return nil
}

// lostText names worker and node and since when nothing was heard.
func lostText(e *cyclone.Event, why string) string {
	ref := e.Worker
	if e.Run.Former != nil {
		ref = *e.Run.Former
	}
	text := fmt.Sprintf("worker %s on node %s was lost: %s", ref.ID, ref.Node, why)
	switch {
	case e.Run.Former != nil:
		return text
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
// again.
func (p *Progress) again(ctx context.Context, e *cyclone.Event, text string) error {
	if err := p.Launcher.Remove(ctx, e.Run.Former.ID); err != nil {
		return fmt.Errorf("remove worker %s: %w", e.Run.Former.ID, err)
	}
	mine := fenceOf(e)
	if err := p.say(ctx, mine, text+"; the event starts again with another worker"); err != nil {
		return err
	}
	return p.release(ctx, mine, text, func(*cyclone.Event) {})
}

// release makes a running event pending, or, when somebody asked for that
// meanwhile, canceled. The caller is sure that no worker runs it.
func (p *Progress) release(ctx context.Context, f cyclone.Fence, why string, also func(*cyclone.Event)) error {
	e, err := p.held(ctx, f, func(e *cyclone.Event) error {
		also(e)
		if e.Run.CancelReason != "" {
			return p.conclude(ctx, e, cyclone.Result{Status: cyclone.StatusCanceled})
		}
		e.Status, e.Reason, e.StartedAt = cyclone.StatusPending, why, nil
		// The attempt stays: it is the fence against the worker before.
		e.Worker = cyclone.WorkerRef{Attempt: e.Worker.Attempt}
		e.Stages, e.Deployments, e.Image.Digest = []cyclone.StageState{}, []cyclone.Deployment{}, ""
		e.Run.TokenHash, e.Run.SessionHash, e.Run.Former = nil, nil, nil
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
// cause as the reason. A launch that the server's own end broke off
// (context.Canceled) never ends it.
func (p *Progress) LaunchFailed(ctx context.Context, e *cyclone.Event, cause error) error {
	f := fenceOf(e)
	last := e.Run.LaunchFailures+1 >= maxLaunches && !errors.Is(cause, context.Canceled)
	var err error
	if last && e.Run.CancelReason == "" {
		reason := fmt.Sprintf("no worker could be started on node %s in %d tries: %v", e.Worker.Node, e.Run.LaunchFailures+1, cause)
		err = p.end(ctx, f, cyclone.StatusError, reason)
	} else {
		why := fmt.Sprintf("the worker could not be started on node %s and will be tried again: %v", e.Worker.Node, cause)
		err = p.release(ctx, f, why, func(e *cyclone.Event) { e.Run.LaunchFailures++ })
	}
	if err != nil && !errors.Is(err, cyclone.ErrConflict) {
		return fmt.Errorf("release event %s after failed launch: %w", e.ID, err)
	}
	return nil
}
