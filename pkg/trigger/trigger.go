// Package trigger decides what becomes an event: it takes a stored, verified
// delivery, a manual start or the wish to run an event again, goes through one
// flat list of checks and writes the event into the store, which is the queue.
//
// A delivery is handled exactly once however often it is tried: an event's key
// is made of the delivery's id, and everything else here can be repeated. One
// that could not be handled is tried again by Run, less and less often, until
// it is parked for people to look at.
//
// It calls no forge, runs nothing, and changes no status: ending superseded
// events is progress's.
package trigger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/lead"
	"cyclone/pkg/metrics"
)

// canceler ends an event that is not over; ErrConflict when it is.
type canceler interface {
	Cancel(ctx context.Context, id cyclone.EventID, reason string) (*cyclone.Event, error)
	// Supersede is Cancel, but ErrConflict too when the event has begun to
	// deploy.
	Supersede(ctx context.Context, id cyclone.EventID, reason string) (*cyclone.Event, error)
}

// Trigger turns deliveries and requests into events. All fields are required
// unless they say otherwise; its methods are safe for concurrent use.
type Trigger struct {
	Projects   cyclone.ProjectStore
	Events     cyclone.EventStore
	Deliveries cyclone.DeliveryStore
	Forges     map[string]cyclone.Forge // by the scm of a delivery: "github"
	Progress   canceler
	// Files are what events left for those that are run again from a later
	// stage; optional.
	Files cyclone.FileStore
	// Registry names the images of projects that name none: <Registry>/<project>.
	// Optional.
	Registry string
	// StatusWanted says whether a result can be set beside the commit at its
	// forge; nil when none ever can.
	StatusWanted func(*cyclone.Project, *cyclone.Event) bool
	// Lease lets one of several servers work off what waits; nil when there is
	// one only.
	Lease *lead.Lease
	// Metrics is optional.
	Metrics *metrics.Metrics
	// Tick is how often Run looks for what is due; 0 means DefaultTick.
	Tick time.Duration
	Log  *slog.Logger
	Now  func() time.Time
	// Wake tells the dispatcher that something is pending; optional.
	Wake func()

	hands hands
}

// handleTime bounds one attempt at a delivery.
const handleTime = 20 * time.Second

// Deliver makes one attempt at a stored, verified delivery: it creates the
// event the delivery asks for, or ends the events of a closed pull request, and
// writes what became of it into d and the store. A delivery that was handled
// before is left alone.
//
// When d.HandledAt is set and there is an error, the delivery was refused for
// good: ErrInvalid when the payload cannot be read or is about another
// repository, ErrNotFound when its project is gone. Any other error leaves it
// to Run, which tries it again at d.NextAt unless d.ParkedAt is set.
func (t *Trigger) Deliver(ctx context.Context, d *cyclone.Delivery) error {
	if d.HandledAt != nil {
		return nil
	}
	t.hands.take(key(d))
	defer t.hands.give(key(d))
	work, stop := context.WithTimeout(ctx, handleTime)
	defer stop()
	err := t.handleSafely(work, d)
	var refused *refusal
	if err == nil || errors.As(err, &refused) {
		save := t.handled(work, d, err)
		if save == nil {
			return err
		}
		err = save
	}
	return t.failed(ctx, work, d, err)
}

// refusal is an error that trying again would not change.
type refusal struct{ error }

func (r *refusal) Unwrap() error { return r.error }

// refuse tells what is wrong with a delivery from what went wrong with it.
func refuse(err error) error {
	if errors.Is(err, cyclone.ErrInvalid) || errors.Is(err, cyclone.ErrNotFound) {
		return &refusal{err}
	}
	return err
}

func (t *Trigger) handle(ctx context.Context, d *cyclone.Delivery) error {
	d.Events, d.Ignored, d.Error = nil, "", ""
	p, hook, err := t.read(ctx, d)
	if err != nil {
		return refuse(err)
	}
	if d.Ignored = t.ignore(p, hook); d.Ignored != "" {
		return nil
	}
	if hook.Action == cyclone.ActionCancel {
		return t.closed(ctx, d, hook)
	}
	return t.start(ctx, d, p, hook)
}

// read finds out what a delivery says, and that it is the project's.
func (t *Trigger) read(ctx context.Context, d *cyclone.Delivery) (*cyclone.Project, *cyclone.Hook, error) {
	p, err := t.Projects.Find(ctx, d.Project)
	if err != nil {
		return nil, nil, fmt.Errorf("find project: %w", err)
	}
	forge, ok := t.Forges[d.SCM]
	if !ok {
		return nil, nil, cyclone.Invalid("scm", "%q is not known", d.SCM)
	}
	hook, err := forge.Parse(d.Header, d.Body)
	if err != nil {
		return nil, nil, err
	}
	if hook.Action == cyclone.ActionCancel && hook.PullRequest == nil {
		return nil, nil, cyclone.Invalid("pull_request", "is missing")
	}
	return p, hook, checkRepository(p, hook)
}

// start creates the event of a hook that passed all checks. Tried again after
// a crash it finds the event that is there already and goes on with the rest.
func (t *Trigger) start(ctx context.Context, d *cyclone.Delivery, p *cyclone.Project, hook *cyclone.Hook) error {
	e, err := t.event(d, p, hook)
	if err != nil {
		return err
	}
	err = t.Events.Create(ctx, e)
	if err == nil {
		t.announce(e)
	}
	if errors.Is(err, cyclone.ErrConflict) {
		e, err = t.Events.FindByKey(ctx, e.Run.Key)
	}
	if err != nil {
		return fmt.Errorf("create event: %w", err)
	}
	d.Events = []cyclone.EventID{e.ID}
	if p.CancelSuperseded && e.Status != cyclone.StatusSkipped {
		return t.supersede(ctx, e)
	}
	return nil
}

// announce tells the log, the metrics and the dispatcher about a new event.
func (t *Trigger) announce(e *cyclone.Event) {
	t.Log.Info("event created", "event", e.ID, "project", e.Project, "number", e.Number,
		"trigger", e.Trigger.Kind, "status", e.Status, "reason", e.Reason)
	t.Metrics.EventCreated(e.Trigger.Kind)
	if e.Status.Final() {
		t.Metrics.EventFinished(e)
	}
	if e.Status == cyclone.StatusPending && t.Wake != nil {
		t.Wake()
	}
}

// newID makes an event id: a UUID of version 7, so that ids sort by time.
func newID() (cyclone.EventID, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("make event id: %w", err)
	}
	return cyclone.EventID(id.String()), nil
}
