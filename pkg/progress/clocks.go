package progress

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"cyclone/pkg/cyclone"
)

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

// endOverdue ends events that wait or run for too long: without their worker
// those whose worker does not obey a cancellation or the time limit. since is
// when this server began to listen: before that no worker could be heard. One
// server at a time does it.
func (p *Progress) endOverdue(ctx context.Context, since time.Time) error {
	if held, err := p.Lease.Held(ctx); err != nil || !held {
		return err
	}
	if err := p.endWaiting(ctx); err != nil {
		return err
	}
	running, err := p.Queue.Running(ctx)
	if err != nil {
		return fmt.Errorf("list running events: %w", err)
	}
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
	if e.Run.CancelAt == nil || e.Run.Spare && deployBegan(e) {
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

// lookEvery is how often events that wait too long are looked for.
const lookEvery = 15 * time.Second

// endWaiting ends events that no worker could take in time.
func (p *Progress) endWaiting(ctx context.Context) error {
	now := p.now()
	if p.PendingTimeout == 0 || now.Sub(p.lookedForWaiting) < lookEvery {
		return nil
	}
	p.lookedForWaiting = now
	q := cyclone.EventQuery{
		Statuses: []cyclone.Status{cyclone.StatusPending}, Until: now.Add(-p.PendingTimeout), Page: cyclone.Page{Limit: 200},
	}
	l, err := p.Events.List(ctx, q)
	if err != nil {
		return fmt.Errorf("list pending events: %w", err)
	}
	if len(l.Items) == 0 {
		return nil
	}
	why := p.whyNoWorker(ctx)
	for _, e := range l.Items {
		if err := p.giveUpWaiting(ctx, e.ID, why); err != nil && !errors.Is(err, cyclone.ErrConflict) {
			p.Log.Warn("cannot end event that waits too long", "event", e.ID, "error", err)
		}
	}
	return nil
}

// giveUpWaiting ends an event if it still waits, and has for too long.
func (p *Progress) giveUpWaiting(ctx context.Context, id cyclone.EventID, why string) error {
	e, err := p.change(ctx, id, func(e *cyclone.Event) error {
		since := e.CreatedAt
		if e.Run.PendingSince != nil {
			since = *e.Run.PendingSince
		}
		if e.Status != cyclone.StatusPending || p.now().Sub(since) < p.PendingTimeout {
			return cyclone.Conflict("event %s does not wait too long", id)
		}
		reason := fmt.Sprintf("no worker could take the event within %s: %s", cyclone.Duration(p.PendingTimeout), why)
		return p.conclude(ctx, e, cyclone.Result{
			Status: cyclone.StatusTimeout, Reason: reason, Error: &cyclone.Failure{Message: reason},
		})
	})
	if err != nil {
		return err
	}
	p.after(e)
	return nil
}

// whyNoWorker says how the nodes are.
func (p *Progress) whyNoWorker(ctx context.Context) string {
	nodes, err := p.Nodes.List(ctx)
	if err != nil {
		return "the nodes' states cannot be read: " + err.Error()
	}
	var parts []string
	for _, n := range nodes {
		switch {
		case n.Gone(p.now()):
			parts = append(parts, "no server dispatches for node "+n.Name)
		case n.Reason != "":
			parts = append(parts, n.Reason)
		default:
			parts = append(parts, fmt.Sprintf("node %s was busy with other events (it runs %d at once)", n.Name, n.Capacity))
		}
	}
	if len(parts) == 0 {
		return "no server dispatches for any node"
	}
	return strings.Join(parts, "; ")
}

// forgetEnded forgets the tails of events that ended through another server.
func (p *Progress) forgetEnded(ctx context.Context) error {
	now := p.now()
	if now.Sub(p.lookedForEnded) < lookEvery {
		return nil
	}
	running, err := p.Queue.Running(ctx)
	if err != nil {
		return fmt.Errorf("list running events: %w", err)
	}
	p.lookedForEnded = now
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
	return nil
}
