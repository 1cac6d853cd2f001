package trigger

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/metrics"
)

// retryDelays are the times between the attempts at a delivery; after the last
// one it is parked.
var retryDelays = []time.Duration{
	time.Second, 5 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute,
	15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour,
}

const (
	// maxPanics is how often a delivery may break its handling; a bug does not
	// go away by itself.
	maxPanics = 3
	// tick is how often Run looks for deliveries that are due.
	tick = time.Second
	// young is how long a delivery is left to the request that brought it.
	young = 2 * time.Second
	// attemptTime bounds one attempt, saveTime the writing of its outcome.
	attemptTime = 20 * time.Second
	saveTime    = 5 * time.Second
	// atOnce bounds the deliveries that are tried at the same time, so that a
	// slow one does not hold up others.
	atOnce = 8
	// batch is how many deliveries are taken from the store at once.
	batch = 100
)

// Deliver makes one attempt at a stored, verified delivery: it creates the
// event the delivery asks for, or ends the events of a closed pull request, and
// writes what became of it into d and the store. A delivery that was handled
// before is left alone. ErrInvalid: the payload cannot be read, or is about
// another repository; that is an outcome too. After any other error the
// delivery is tried again by Run, later each time, and parked after the tenth
// failure. A store that is out of reach (ErrUnavailable) is no failure of the
// delivery's.
func (t *Trigger) Deliver(ctx context.Context, d *cyclone.Delivery) error {
	if d.HandledAt != nil {
		return nil
	}
	err := t.attempt(ctx, d)
	switch {
	case err == nil:
	case errors.Is(err, cyclone.ErrInvalid), errors.Is(err, cyclone.ErrNotFound):
		d.Error = err.Error()
		t.Metrics.Delivery(d.SCM, metrics.DeliveryRefused)
	case errors.Is(err, cyclone.ErrUnavailable):
		return fmt.Errorf("handle delivery %s of project %s: %w", d.ID, d.Project, err)
	default:
		return t.postpone(ctx, d, fmt.Errorf("handle delivery %s of project %s: %w", d.ID, d.Project, err))
	}
	now := cyclone.Stamp(t.Now())
	d.HandledAt, d.NextAt, d.ParkedAt = &now, nil, nil
	if save := t.Deliveries.Replace(ctx, d); save != nil {
		d.HandledAt = nil
		return fmt.Errorf("save outcome of delivery %s of project %s: %w", d.ID, d.Project, save)
	}
	return err
}

// panicError is a delivery that broke its handling.
type panicError struct{ value any }

func (e *panicError) Error() string {
	return fmt.Sprintf("its handling broke down: %v; this is a bug of the server's, its log says where", e.value)
}

// attempt handles a delivery; a panic, which only a bug causes, becomes an
// error, so that one delivery does not end the server again and again.
func (t *Trigger) attempt(ctx context.Context, d *cyclone.Delivery) (err error) {
	defer func() {
		if value := recover(); value != nil {
			t.Log.Error("a delivery broke its handling", "delivery", d.ID, "project", d.Project, "panic", value, "stack", string(debug.Stack()))
			err = &panicError{value}
		}
	}()
	return t.handle(ctx, d)
}

// postpone writes down that an attempt failed, and when the next one is.
func (t *Trigger) postpone(ctx context.Context, d *cyclone.Delivery, cause error) error {
	now := cyclone.Stamp(t.Now())
	d.Events, d.Ignored, d.Error, d.NextAt = nil, "", cause.Error(), nil
	d.Attempts++
	broken := new(panicError)
	outcome := metrics.DeliveryFailed
	if d.Attempts > len(retryDelays) || errors.As(cause, &broken) && d.Attempts >= maxPanics {
		d.ParkedAt, outcome = &now, metrics.DeliveryParked
		t.Log.Error("delivery parked: it waits for somebody to redeliver it", "project", d.Project, "delivery", d.ID, "attempts", d.Attempts, "error", cause)
	} else {
		next := now.Add(retryDelays[d.Attempts-1])
		d.NextAt = &next
	}
	t.Metrics.Delivery(d.SCM, outcome)
	// What failed may be ctx itself.
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), saveTime)
	defer stop()
	if err := t.Deliveries.Replace(ctx, d); err != nil {
		return errors.Join(cause, fmt.Errorf("save failure: %w", err))
	}
	return cause
}

// Run tries deliveries that are due until ctx ends: those whose handling
// failed, and those that a server accepted and did not handle because it
// ended. One server at a time does it. It returns nil when the attempts on
// their way are over.
func (t *Trigger) Run(ctx context.Context) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, atOnce)
	for {
		t.complain(ctx, t.tryDue(ctx, &running, slots))
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// complain logs what is wrong when it begins, changes or is over.
func (t *Trigger) complain(ctx context.Context, err error) {
	text := ""
	if err != nil && ctx.Err() == nil {
		text = err.Error()
	}
	if text != "" && text != t.trouble {
		t.Log.Warn("cannot look for deliveries that are due", "error", text)
	}
	t.trouble = text
}

// tryDue begins an attempt at each delivery that is due, as far as there are
// free slots.
func (t *Trigger) tryDue(ctx context.Context, running *sync.WaitGroup, slots chan struct{}) error {
	if held, err := t.Lease.Held(ctx); err != nil || !held {
		return err
	}
	due, err := t.Deliveries.Due(ctx, t.Now().Add(-young), batch)
	if err != nil {
		return fmt.Errorf("list deliveries that are due: %w", err)
	}
	for _, d := range due {
		if !t.take(d) {
			continue // a slow attempt at it is on its way
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			t.drop(d)
			return nil
		}
		running.Go(func() {
			defer func() { <-slots }()
			defer t.drop(d)
			t.again(ctx, d)
		})
	}
	return nil
}

// again makes one more attempt.
func (t *Trigger) again(ctx context.Context, d *cyclone.Delivery) {
	ctx, stop := context.WithTimeout(ctx, attemptTime)
	defer stop()
	err := t.Deliver(ctx, d)
	switch {
	case err == nil || d.HandledAt != nil:
		t.Log.Info("delivery recovered", "delivery", d.ID, "project", d.Project, "events", d.Events, "ignored", d.Ignored, "error", d.Error)
	case d.ParkedAt == nil && context.Cause(ctx) == nil:
		t.Log.Warn("delivery is not handled yet", "delivery", d.ID, "project", d.Project, "attempts", d.Attempts, "error", err)
	}
}

func key(d *cyclone.Delivery) string {
	return d.SCM + "/" + string(d.Project) + "/" + string(d.ID)
}

// take marks a delivery as being tried; false when it is already.
func (t *Trigger) take(d *cyclone.Delivery) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.trying == nil {
		t.trying = map[string]bool{}
	}
	if t.trying[key(d)] {
		return false
	}
	t.trying[key(d)] = true
	return true
}

func (t *Trigger) drop(d *cyclone.Delivery) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.trying, key(d))
}
