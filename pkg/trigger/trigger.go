// Package trigger decides what becomes an event: it takes a stored, verified
// delivery, a manual start or the wish to run an event again, goes through one
// flat list of checks and writes the event into the store, which is the queue.
//
// A delivery is handled exactly once however often it is tried: an event's key
// is made of the delivery's id, and everything else here can be repeated. One
// that could not be handled is tried again by Run, less and less often, until
// it is parked for people to look at.
//
// The answer to a webhook never waits for a forge: what only the forge knows
// (the paths of a push whose payload was cut off, who may write, the head of a
// pull request that was commented on) Run asks for right afterwards.
//
// It knows no forge's API, runs nothing, and changes no status: ending
// superseded events is progress's.
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
	// Asks asks the forges of projects; nil: nothing can be asked.
	Asks asker
	// Files are what events left for those that are run again from a later
	// stage; optional.
	Files cyclone.FileStore
	// Registry names the images of projects that name none: <Registry>/<project>.
	// Optional.
	Registry string
	// StatusWanted says whether how far an event is can be set beside its
	// commit; nil when it never can.
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
	// Wake tells the dispatcher that something is pending, and progress that
	// something is to be told; optional.
	Wake func()

	hands     hands
	questions questions
	asked     bell // there is a question
	kicked    bell // somebody stored deliveries
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
// repository, ErrNotFound when its project is gone. When it is not set and
// there is no error, the project's forge must be asked first, which Run does at
// once. Any other error leaves it to Run, which tries it again at d.NextAt
// unless d.ParkedAt is set.
func (t *Trigger) Deliver(ctx context.Context, d *cyclone.Delivery) error {
	return t.attempt(ctx, d, attempt{limit: handleTime})
}

// attempt says how a delivery is tried.
type attempt struct {
	mayAsk bool // the forge may be asked
	limit  time.Duration
}

func (t *Trigger) attempt(ctx context.Context, d *cyclone.Delivery, a attempt) error {
	if d.HandledAt != nil {
		return nil
	}
	t.hands.take(key(d))
	defer t.hands.give(key(d))
	work, stop := context.WithTimeout(ctx, a.limit)
	defer stop()
	err := t.handleSafely(work, d, a)
	if errors.Is(err, errLater) {
		if err = t.putOff(work, d); err == nil {
			return nil
		}
	}
	var refused *refusal
	if err == nil || errors.As(err, &refused) {
		save := t.handled(work, d, err)
		if save == nil {
			return err
		}
		err = save
	}
	return t.failed(ctx, work, d, a, err)
}

// refusal is an error that trying again would not change.
type refusal struct{ error }

func (r *refusal) Unwrap() error { return r.error }

// refuse tells what is wrong with a delivery from what went wrong with it.
func refuse(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, cyclone.ErrInvalid) || errors.Is(err, cyclone.ErrNotFound) {
		return &refusal{err}
	}
	return err
}

// matter is a delivery that is being decided.
type matter struct {
	*Trigger
	project  *cyclone.Project
	delivery *cyclone.Delivery
	hook     *cyclone.Hook
	mayAsk   bool
}

func (t *Trigger) handle(ctx context.Context, d *cyclone.Delivery, a attempt) error {
	d.Events, d.Ignored, d.Error = nil, "", ""
	m, err := t.read(ctx, d)
	if err != nil {
		return refuse(err)
	}
	m.mayAsk = a.mayAsk
	if d.Ignored, err = m.ignore(ctx); err != nil {
		return err
	}
	d.Ref, d.Commit = m.hook.Ref, m.hook.Commit.SHA
	switch {
	case d.Ignored != "":
		return nil
	case m.hook.Action == cyclone.ActionCancel:
		return m.closed(ctx)
	case m.hook.Comment == cyclone.CommentRetest:
		return m.retest(ctx)
	}
	return m.start(ctx)
}

// read finds out what a delivery says, and that it is the project's.
func (t *Trigger) read(ctx context.Context, d *cyclone.Delivery) (*matter, error) {
	p, err := t.Projects.Find(ctx, d.Project)
	if err != nil {
		return nil, fmt.Errorf("find project: %w", err)
	}
	forge, ok := t.forge(d.SCM)
	if !ok {
		return nil, cyclone.Invalid("scm", "%q is not known", d.SCM)
	}
	hook, err := forge.Parse(d.Header, d.Body)
	if err != nil {
		return nil, err
	}
	if err := checkHook(p, hook); err != nil {
		return nil, err
	}
	return &matter{Trigger: t, project: p, delivery: d, hook: hook}, nil
}

// forge is the driver of a delivery. Those of polling are our own.
func (t *Trigger) forge(scm string) (cyclone.Forge, bool) {
	if scm == cyclone.SCMPoll {
		return Polled{}, true
	}
	forge, ok := t.Forges[scm]
	return forge, ok
}

// start creates the event of a hook that passed all checks. Tried again after
// a crash it finds the event that is there already and goes on with the rest.
func (m *matter) start(ctx context.Context) error {
	e, err := m.event()
	if err != nil {
		return err
	}
	err = m.create(ctx, m.project, e)
	if errors.Is(err, cyclone.ErrConflict) {
		e, err = m.Events.FindByKey(ctx, e.Run.Key)
	}
	if err != nil {
		return err
	}
	m.delivery.Events = []cyclone.EventID{e.ID}
	if m.project.CancelSuperseded && e.Status != cyclone.StatusSkipped {
		return m.supersede(ctx, e)
	}
	return nil
}

// blank begins an event that waits to be run.
func (t *Trigger) blank(p *cyclone.Project, why cyclone.Trigger) (*cyclone.Event, error) {
	id, err := uuid.NewV7() // so that ids sort by time
	if err != nil {
		return nil, fmt.Errorf("make event id: %w", err)
	}
	return &cyclone.Event{
		ID: cyclone.EventID(id.String()), Project: p.Name, Status: cyclone.StatusPending, Trigger: why,
		Stages: []cyclone.StageState{}, Deployments: []cyclone.Deployment{}, CreatedAt: cyclone.Stamp(t.Now()),
	}, nil
}

// create stores an event with what is to be told about it, and tells that it
// is there. ErrConflict when there is one with its key.
func (t *Trigger) create(ctx context.Context, p *cyclone.Project, e *cyclone.Event) error {
	t.told(p, e)
	if err := t.Events.Create(ctx, e); err != nil {
		return fmt.Errorf("create event: %w", err)
	}
	t.announce(e)
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
	if t.Wake != nil && (e.Status == cyclone.StatusPending || len(e.Run.Notices) > 0) {
		t.Wake()
	}
}
