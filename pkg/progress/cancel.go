package progress

import (
	"context"
	"fmt"
	"time"

	"cyclone/pkg/cyclone"
)

// subscription is one connected worker that wants to know of a cancellation.
type subscription struct {
	fence  cyclone.Fence
	reason chan cyclone.Cancellation
}

// Cancels returns a channel on which the reason arrives when the attempt is to
// be canceled, and a function that ends the subscription. A cancellation from
// before, or through another server, is Renew's answer.
func (p *Progress) Cancels(f cyclone.Fence) (<-chan cyclone.Cancellation, func()) {
	s := &subscription{f, make(chan cyclone.Cancellation, 1)}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cancels == nil {
		p.cancels = map[cyclone.EventID]map[*subscription]struct{}{}
	}
	if p.cancels[f.Event] == nil {
		p.cancels[f.Event] = map[*subscription]struct{}{}
	}
	p.cancels[f.Event][s] = struct{}{}
	return s.reason, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.cancels[f.Event], s)
		if len(p.cancels[f.Event]) == 0 {
			delete(p.cancels, f.Event)
		}
	}
}

// pushCancel hands the reason to the worker's connection, if it is here.
func (p *Progress) pushCancel(f cyclone.Fence, c cyclone.Cancellation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for s := range p.cancels[f.Event] {
		if s.fence != f {
			continue
		}
		select {
		case s.reason <- c:
		default: // it was told already
		}
	}
}

// Cancel ends an event that is not over. A pending or blocked one is canceled
// when Cancel returns. A running one is when its worker has stopped, or, when
// the worker does not answer, a little later without it; see Run. ErrConflict
// when the event is over.
func (p *Progress) Cancel(ctx context.Context, id cyclone.EventID, reason string) (*cyclone.Event, error) {
	if reason == "" {
		reason = "canceled"
	}
	e, err := p.change(ctx, id, func(e *cyclone.Event) error {
		switch {
		case e.Status.Final():
			return over(e, e.Status)
		case e.Status != cyclone.StatusRunning:
			return p.conclude(ctx, e, cyclone.Result{Status: cyclone.StatusCanceled, Reason: reason})
		case e.Run.CancelReason == "":
			now := p.now()
			e.Run.CancelReason, e.Run.CancelAt = reason, &now
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cancel event: %w", err)
	}
	if e.Status.Final() {
		p.after(e)
		return e, nil
	}
	p.pushCancel(fenceOf(e), cyclone.Cancellation{Reason: e.Run.CancelReason, Spare: e.Run.Spare})
	p.publish(e)
	return e, nil
}

// Approve lets a blocked event run. ErrConflict when it is not blocked.
func (p *Progress) Approve(ctx context.Context, id cyclone.EventID, actor string) (*cyclone.Event, error) {
	e, err := p.change(ctx, id, func(e *cyclone.Event) error {
		if e.Status != cyclone.StatusBlocked {
			return cyclone.Conflict("event #%d is %s; only a blocked event can be approved", e.Number, e.Status)
		}
		e.Status, e.Reason = cyclone.StatusPending, "approved by "+actor
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("approve event: %w", err)
	}
	p.publish(e)
	p.wake()
	return e, nil
}

// How long a worker has to obey.
const (
	// silence is how long a canceled event's worker may say nothing.
	silence = 30 * time.Second
	// obedience is how long it may take when it does say something.
	obedience = 2 * time.Minute
	// overtime is how long past its limit an event may run before the server
	// ends it; the worker keeps the limit itself.
	overtime = 2 * time.Minute
)

// endOverdue ends, without their worker, events whose worker does not obey a
// cancellation or the time limit. since is when this server began to listen:
// before that no worker could be heard.
func (p *Progress) endOverdue(ctx context.Context, since time.Time) error {
	running, err := p.Queue.Running(ctx)
	if err != nil {
		return fmt.Errorf("list running events: %w", err)
	}
	p.prune(running)
	for _, e := range running {
		if e.Run.Former != nil {
			continue // somebody is at it; else its lease runs out
		}
		switch {
		case p.disobeys(e, since):
			err = p.end(ctx, fenceOf(e), cyclone.StatusCanceled, e.Run.CancelReason)
		case p.overtime(ctx, e):
			err = p.end(ctx, fenceOf(e), cyclone.StatusTimeout, "the event ran past its time limit and its worker did not stop it")
		default:
			continue
		}
		if err != nil {
			p.Log.Warn("cannot end event", "event", e.ID, "error", err)
		}
	}
	return nil
}

func (p *Progress) disobeys(e *cyclone.Event, since time.Time) bool {
	if e.Run.CancelAt == nil {
		return false
	}
	now := p.now()
	asked := *e.Run.CancelAt
	if asked.Before(since) {
		asked = since
	}
	if now.Sub(asked) >= obedience {
		return true
	}
	connected := e.Run.SessionHash != nil
	seen := e.Run.LeaseUntil.Add(-cyclone.LeaseTime)
	return now.Sub(asked) >= silence && (!connected || now.Sub(seen) >= silence)
}

func (p *Progress) overtime(ctx context.Context, e *cyclone.Event) bool {
	if e.StartedAt == nil || p.now().Sub(*e.StartedAt) < overtime {
		return false
	}
	project, err := p.Projects.Find(ctx, e.Project)
	return err == nil && p.now().Sub(*e.StartedAt) >= p.timeout(project)+overtime
}

// prune forgets the tails of events that ended through another server.
func (p *Progress) prune(running []*cyclone.Event) {
	live := map[cyclone.EventID]bool{}
	for _, e := range running {
		live[e.ID] = true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for id := range p.tails {
		if !live[id] {
			delete(p.tails, id)
		}
	}
}
