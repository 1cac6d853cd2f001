// Package trigger decides what becomes an event: it takes a stored, verified
// delivery, a manual start or the wish to run an event again, goes through one
// flat list of checks and writes the event into the store, which is the queue.
//
// A delivery is handled exactly once however often it is tried: an event's key
// is made of the delivery's id, and everything else here can be repeated. It
// calls no forge, runs nothing, and changes no status: ending superseded
// events is progress's.
package trigger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/lead"
	"cyclone/pkg/metrics"
)

// canceler ends an event that is not over; ErrConflict when it is, and for
// Supersede also when it has begun to deploy.
type canceler interface {
	Cancel(ctx context.Context, id cyclone.EventID, reason string) (*cyclone.Event, error)
	Supersede(ctx context.Context, id cyclone.EventID, reason string) (*cyclone.Event, error)
}

// Trigger turns deliveries and requests into events. All fields but Registry,
// Lease, Metrics and Wake are required. It must not be copied.
type Trigger struct {
	Projects   cyclone.ProjectStore
	Events     cyclone.EventStore
	Deliveries cyclone.DeliveryStore
	Forges     map[string]cyclone.Forge // by the scm of a delivery: "github"
	Progress   canceler
	// Registry names the images of projects that name none: <Registry>/<project>.
	Registry string
	// Lease lets one of several servers try failed deliveries again; nil when
	// there is one only.
	Lease   *lead.Lease
	Metrics *metrics.Metrics
	Log     *slog.Logger
	Now     func() time.Time
	// Wake tells the dispatcher that something is pending.
	Wake func()

	mu      sync.Mutex
	trying  map[string]bool // deliveries that Run is at
	trouble string          // what was last logged as wrong; only Run touches it
}

func (t *Trigger) handle(ctx context.Context, d *cyclone.Delivery) error {
	d.Events, d.Ignored, d.Error = nil, "", ""
	p, err := t.Projects.Find(ctx, d.Project)
	if err != nil {
		return fmt.Errorf("find project: %w", err)
	}
	forge, ok := t.Forges[d.SCM]
	if !ok {
		return cyclone.Invalid("scm", "%q is not known", d.SCM)
	}
	hook, err := forge.Parse(d.Header, d.Body)
	if err != nil {
		return err
	}
	if err := checkRepository(p, hook); err != nil {
		return err
	}
	if d.Ignored = t.ignore(p, hook); d.Ignored != "" {
		return nil
	}
	if hook.Action == cyclone.ActionCancel {
		return t.closed(ctx, d, hook)
	}
	return t.start(ctx, d, p, hook)
}

// start creates the event of a hook that passed all checks. Tried again after
// a crash it finds the event that is there already and goes on with the rest.
func (t *Trigger) start(ctx context.Context, d *cyclone.Delivery, p *cyclone.Project, hook *cyclone.Hook) error {
	e, err := t.event(d, p, hook)
	if err != nil {
		return err
	}
	err = t.Events.Create(ctx, e)
	if errors.Is(err, cyclone.ErrConflict) {
		e, err = t.Events.FindByKey(ctx, e.Run.Key)
	}
	if err != nil {
		return fmt.Errorf("create event: %w", err)
	}
	d.Events = []cyclone.EventID{e.ID}
	if p.CancelSuperseded && e.Status != cyclone.StatusSkipped {
		if err := t.supersede(ctx, e); err != nil {
			return err
		}
	}
	t.announce(e)
	return nil
}

// announce tells the log and the dispatcher about a new event.
func (t *Trigger) announce(e *cyclone.Event) {
	t.Metrics.EventCreated(e.Trigger.Kind)
	t.Log.Info("event created", "event", e.ID, "project", e.Project, "number", e.Number,
		"trigger", e.Trigger.Kind, "status", e.Status, "reason", e.Reason)
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
