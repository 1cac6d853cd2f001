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
		case p.overtime(ctx, e, since):
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
	if e.Run.CancelAt == nil || !canceled(e) {
		return false
	}
	now := p.now()
	asked := *e.Run.CancelAt
	if asked.Before(since) {
		asked = since
	}
	if now.Sub(asked) >= obedience && (!e.Run.Spare || now.Before(e.Run.LeaseUntil)) {
		return true
	}
	if e.Run.SessionHash == nil {
		return now.Sub(asked) >= silence
	}
	// Of a silent worker it is not known whether it deploys by now. A wish
	// that would spare that waits until the worker counts as lost.
	seen := e.Run.LeaseUntil.Add(-cyclone.LeaseTime)
	return !e.Run.Spare && now.Sub(asked) >= silence && now.Sub(seen) >= silence
}

// overtime: a worker that kept the limit while no server listened gets the
// time to come back with its result.
func (p *Progress) overtime(ctx context.Context, e *cyclone.Event, since time.Time) bool {
	if e.StartedAt == nil || p.now().Sub(*e.StartedAt) < overtime || p.now().Sub(since) < silence {
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
	var why string
	for {
		l, err := p.Events.List(ctx, q)
		if err != nil {
			return fmt.Errorf("list pending events: %w", err)
		}
		if why == "" && len(l.Items) > 0 {
			if why, err = p.whyNoWorker(ctx); err != nil {
				return err
			}
		}
		for _, e := range l.Items {
			if err := p.giveUpWaiting(ctx, e.ID, why); err != nil && !errors.Is(err, cyclone.ErrConflict) {
				p.Log.Warn("cannot end event that waits too long", "event", e.ID, "error", err)
			}
		}
		if l.Next == "" || ctx.Err() != nil {
			return nil
		}
		q.Cursor = l.Next
	}
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
func (p *Progress) whyNoWorker(ctx context.Context) (string, error) {
	nodes, err := p.Nodes.List(ctx)
	if err != nil {
		return "", fmt.Errorf("list nodes: %w", err)
	}
	running, err := p.Queue.Running(ctx)
	if err != nil {
		return "", fmt.Errorf("list running events: %w", err)
	}
	busy := map[string]int{}
	for _, e := range running {
		busy[e.Worker.Node]++
	}
	var parts []string
	for _, n := range nodes {
		parts = append(parts, p.whyNot(n, busy[n.Name]))
	}
	if len(parts) == 0 {
		return "no server dispatches for any node", nil
	}
	return strings.Join(parts, "; "), nil
}

// whyNot says why a node may have taken no more events.
func (p *Progress) whyNot(n *cyclone.Node, busy int) string {
	switch {
	case n.Gone(p.now()):
		return "no server dispatches for node " + n.Name
	case n.Reason != "":
		return n.Reason
	case busy >= n.Capacity:
		return fmt.Sprintf("node %s is full (%d of %d workers busy)", n.Name, busy, n.Capacity)
	}
	return fmt.Sprintf("node %s has room (%d of %d workers busy), so the limit of the project or its owner was reached, or others went first",
		n.Name, busy, n.Capacity)
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
