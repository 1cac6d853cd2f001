package trigger

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/metrics"
)

// delays between the attempts at a delivery; when the one after the last has
// failed it is parked.
var delays = []time.Duration{
	time.Second, 5 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute,
	15 * time.Minute, 30 * time.Minute, time.Hour, time.Hour,
}

// longestWait bounds what a forge may say about when to come again.
const longestWait = 2 * time.Hour

// mostPanics is how often a delivery is tried that makes the program panic:
// that is a flaw which time does not mend.
const mostPanics = 3

// saveTime bounds the writing down of a failure.
const saveTime = 5 * time.Second

// panicked is what a panic is turned into.
type panicked struct{ value any }

func (p *panicked) Error() string {
	return fmt.Sprintf("its handling broke down: %v; this is a bug of the server's, its log says where", p.value)
}

// handleSafely is handle, but one delivery that makes it panic must not take
// the server with it.
func (t *Trigger) handleSafely(ctx context.Context, d *cyclone.Delivery, a attempt) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &panicked{r}
			t.Log.Error("panic while handling a delivery", "project", d.Project, "delivery", d.ID, "panic", r, "stack", string(debug.Stack()))
		}
	}()
	return t.handle(ctx, d, a)
}

// handled writes down that a delivery was handled, or refused.
func (t *Trigger) handled(ctx context.Context, d *cyclone.Delivery, refused error) error {
	now := cyclone.Stamp(t.Now())
	next, parked := d.NextAt, d.ParkedAt
	d.HandledAt, d.NextAt, d.ParkedAt = &now, nil, nil
	if refused != nil {
		d.Error = refused.Error()
	}
	if err := t.Deliveries.Replace(ctx, d); err != nil {
		d.HandledAt, d.NextAt, d.ParkedAt = nil, next, parked
		return fmt.Errorf("save outcome: %w", err)
	}
	if refused != nil {
		t.Metrics.Delivery(d.SCM, metrics.DeliveryRefused)
	}
	return nil
}

// failed writes down that an attempt failed, and when the next one is due. What
// another server made of the delivery meanwhile counts more.
//
// A store that is out of reach is no fault of the delivery, nor is the end of
// the server: nothing is written then and the delivery stays due. That it took
// too long may be its own fault, so that counts if it can be written, and so
// does a forge that does not answer.
func (t *Trigger) failed(ctx, work context.Context, d *cyclone.Delivery, a attempt, cause error) error {
	err := fmt.Errorf("handle delivery %s of project %s: %w", d.ID, d.Project, cause)
	slow := work.Err() != nil
	var asked *unanswered
	if ctx.Err() != nil || errors.Is(cause, cyclone.ErrUnavailable) && !slow && !errors.As(cause, &asked) {
		t.hands.rest(key(d), t.Now())
		return err
	}
	save, stop := context.WithTimeout(ctx, saveTime)
	defer stop()
	stored, find := t.Deliveries.Find(save, d.Project, d.SCM, d.ID)
	if find == nil && stored.HandledAt != nil {
		*d = *stored
		return nil
	}
	if find == nil {
		d.Attempts = stored.Attempts
		if slow {
			cause = fmt.Errorf("it was not handled within %s: %w", cyclone.Duration(a.limit), cause)
		}
		t.count(d, cause)
		find = t.Deliveries.Replace(save, d)
	}
	switch {
	case find == nil:
		t.Metrics.Delivery(d.SCM, outcome(d))
	case errors.Is(find, cyclone.ErrNotFound): // it went with its project
	default:
		t.hands.rest(key(d), t.Now())
		err = errors.Join(err, fmt.Errorf("save failed attempt: %w", find))
	}
	return err
}

// count adds a failed attempt to a delivery.
func (t *Trigger) count(d *cyclone.Delivery, cause error) {
	now := cyclone.Stamp(t.Now())
	d.Attempts++
	d.HandledAt, d.NextAt, d.ParkedAt = nil, nil, nil
	d.Events, d.Ignored, d.Error = nil, "", cause.Error()
	var panicking *panicked
	if d.Attempts > len(delays) || errors.As(cause, &panicking) && d.Attempts >= mostPanics {
		d.ParkedAt = &now
		return
	}
	// A forge says when it can be asked again, but not how long we remember.
	wait := min(cyclone.RetryAfter(cause), longestWait)
	next := now.Add(max(delays[d.Attempts-1], wait))
	d.NextAt = &next
}

func outcome(d *cyclone.Delivery) string {
	if d.ParkedAt != nil {
		return metrics.DeliveryParked
	}
	return metrics.DeliveryFailed
}
