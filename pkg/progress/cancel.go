package progress

import (
	"context"
	"errors"
	"fmt"

	"cyclone/pkg/cyclone"
)

// subscription is one connected worker that wants to know of a cancellation.
type subscription struct {
	fence  cyclone.Fence
	reason chan cyclone.Cancellation
	told   cyclone.Cancellation // the last one
}

// Cancels returns a channel on which the reason arrives when the attempt is to
// be canceled, and a function that ends the subscription. A cancellation from
// before is Renew's answer; one that came to another server arrives with the
// next round of Run.
func (p *Progress) Cancels(f cyclone.Fence) (<-chan cyclone.Cancellation, func()) {
	s := &subscription{fence: f, reason: make(chan cyclone.Cancellation, 1)}
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
		if s.fence != f || s.told == c {
			continue
		}
		// One that was not taken yet is out of date: a person's wish counts
		// where one that spared a deployment does not.
		select {
		case <-s.reason:
		default:
		}
		s.told = c
		s.reason <- c
	}
}

// passOn tells the workers that are connected here about cancellations that
// came to another server.
func (p *Progress) passOn(ctx context.Context) error {
	p.mu.Lock()
	none := len(p.cancels) == 0
	p.mu.Unlock()
	if none || p.Lease == nil {
		return nil
	}
	running, err := p.Queue.Running(ctx)
	if err != nil {
		return fmt.Errorf("list running events: %w", err)
	}
	for _, e := range running {
		if canceled(e) {
			p.pushCancel(fenceOf(e), cancellation(e))
		}
	}
	return nil
}

// canceled reports whether a running event is to end. A wish that spares a
// deployment is void once that has begun.
func canceled(e *cyclone.Event) bool {
	return e.Run.CancelReason != "" && (!e.Run.Spare || !deployBegan(e))
}

// Cancel ends an event that is not over. A pending or blocked one is canceled
// when Cancel returns, and so is one whose worker has not connected yet: that
// worker finds its attempt over. Another running one is when its worker has
// stopped, or, when the worker does not answer, a little later without it; see
// Run. ErrConflict when the event is over.
func (p *Progress) Cancel(ctx context.Context, id cyclone.EventID, reason string) (*cyclone.Event, error) {
	if reason == "" {
		reason = "canceled"
	}
	e, err := p.cancel(ctx, id, cyclone.Cancellation{Reason: reason})
	if err != nil {
		return nil, fmt.Errorf("cancel event: %w", err)
	}
	return e, nil
}

// Supersede cancels an event because a newer one takes its place. ErrConflict
// when the event is over or has begun to deploy: a rollout is never left half
// done for that.
func (p *Progress) Supersede(ctx context.Context, id cyclone.EventID, reason string) (*cyclone.Event, error) {
	e, err := p.cancel(ctx, id, cyclone.Cancellation{Reason: reason, Spare: true})
	if err != nil {
		return nil, fmt.Errorf("supersede event: %w", err)
	}
	return e, nil
}

func (p *Progress) cancel(ctx context.Context, id cyclone.EventID, c cyclone.Cancellation) (*cyclone.Event, error) {
	e, err := p.change(ctx, id, func(e *cyclone.Event) error { return p.askToEnd(ctx, e, c) })
	if err != nil {
		return nil, err
	}
	if e.Status.Final() {
		p.after(e)
		return e, nil
	}
	if e.Run.SessionHash == nil && e.Run.Former == nil {
		return p.cancelUnheard(ctx, e)
	}
	p.pushCancel(fenceOf(e), cancellation(e))
	p.publish(e)
	return e, nil
}

// cancellation is what a running event's worker is to be told.
func cancellation(e *cyclone.Event) cyclone.Cancellation {
	return cyclone.Cancellation{Reason: e.Run.CancelReason, Spare: e.Run.Spare}
}

// askToEnd notes the wish in the event, or ends it where nobody runs it.
func (p *Progress) askToEnd(ctx context.Context, e *cyclone.Event, c cyclone.Cancellation) error {
	switch {
	case e.Status.Final():
		return over(e, e.Status)
	case e.Status != cyclone.StatusRunning:
		return p.conclude(ctx, e, cyclone.Result{Status: cyclone.StatusCanceled, Reason: c.Reason})
	case c.Spare && deployBegan(e):
		return cyclone.Conflict("event #%d has begun to deploy", e.Number)
	case e.Run.CancelReason == "", e.Run.Spare && !c.Spare:
		// The first wish counts, but for one that spared a deployment.
		now := p.now()
		e.Run.CancelReason, e.Run.CancelAt, e.Run.Spare = c.Reason, &now, c.Spare
	}
	return nil
}

// cancelUnheard ends an event whose worker is on its way: it may come or not,
// but it will not be let in.
func (p *Progress) cancelUnheard(ctx context.Context, e *cyclone.Event) (*cyclone.Event, error) {
	err := p.end(ctx, fenceOf(e), cyclone.StatusCanceled, e.Run.CancelReason)
	now, find := p.Events.Find(ctx, e.ID)
	if find != nil {
		return nil, find
	}
	if errors.Is(err, cyclone.ErrConflict) {
		// It connected meanwhile, or somebody else ended the event. The
		// worker reads the wish with its job.
		err = nil
	}
	return now, err
}

// Approve lets a blocked event run. ErrConflict when it is not blocked.
func (p *Progress) Approve(ctx context.Context, id cyclone.EventID, actor string) (*cyclone.Event, error) {
	e, err := p.change(ctx, id, func(e *cyclone.Event) error {
		if e.Status != cyclone.StatusBlocked {
			return cyclone.Conflict("event #%d is %s; only a blocked event can be approved", e.Number, e.Status)
		}
		now := p.now()
		e.Status, e.Reason, e.Run.PendingSince = cyclone.StatusPending, "approved by "+actor, &now
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("approve event: %w", err)
	}
	p.publish(e)
	p.wake()
	return e, nil
}
