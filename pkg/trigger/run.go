package trigger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"cyclone/pkg/cyclone"
)

// DefaultTick is how often Run looks for what is due.
const DefaultTick = time.Second

const (
	// atOnce bounds the deliveries that Run handles at the same time, so that a
	// slow one does not hold up the others.
	atOnce = 8
	// batch is how many are looked at in one round: more than can be under way,
	// so that there are always others among them, and few, since a delivery may
	// have 25 MiB.
	batch = 2 * atOnce
	// youth is for how long a delivery is left to the request that brought it.
	// To handle it twice would do no harm, but is work for nothing.
	youth = 2 * time.Second
)

// Kick makes Run look at once for what is due.
func (t *Trigger) Kick() { t.kicked.ring() }

// Run works off the deliveries that are stored but not handled until ctx ends:
// those whose server died before it came to it, and those whose earlier
// attempts failed, each when its time has come; and those of this server about
// which a forge must be asked. It returns nil after those under way are done.
func (t *Trigger) Run(ctx context.Context) error {
	r := &rounds{
		Trigger: t, slots: make(chan struct{}, atOnce), asking: make(chan struct{}, askAtOnce), more: make(chan struct{}, 1),
	}
	tick := time.NewTicker(cmp.Or(t.Tick, DefaultTick))
	defer tick.Stop()
	for {
		r.complain(ctx, r.round(ctx))
		if !r.wait(ctx, tick.C) {
			r.running.Wait()
			return t.leave(ctx)
		}
	}
}

// wait waits for the next round and has forges asked meanwhile. It reports
// false when ctx ends.
func (r *rounds) wait(ctx context.Context, tick <-chan time.Time) bool {
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick:
			return true
		case <-r.more:
			return true
		case <-r.kicked.rung():
			return true
		case <-r.asked.rung():
			r.askForges(ctx)
		}
	}
}

// askForges starts an attempt at every delivery about which a forge must be
// asked, as far as there are free slots. The end of one leads here again.
func (r *rounds) askForges(ctx context.Context) {
	for {
		select {
		case r.asking <- struct{}{}:
		default:
			return
		}
		q, ok := r.questions.next()
		if !ok {
			<-r.asking
			return
		}
		r.running.Go(func() {
			r.answer(ctx, q)
			r.questions.done(q)
			<-r.asking
			r.asked.ring()
		})
	}
}

// answer makes an attempt at a delivery, in which its forge is asked.
func (r *rounds) answer(ctx context.Context, q question) {
	defer r.hands.give(key(&cyclone.Delivery{Project: q.project, SCM: q.scm, ID: q.id}))
	d, err := r.Deliveries.Find(ctx, q.project, q.scm, q.id)
	if err == nil && d.HandledAt == nil && d.ParkedAt == nil {
		err = r.attempt(ctx, d, attempt{mayAsk: true, limit: askedTime})
	}
	if err != nil && ctx.Err() == nil && !errors.Is(err, cyclone.ErrNotFound) {
		r.told(d, err)
	}
}

// leave gives the lease back, so that another server need not wait for its end.
func (t *Trigger) leave(ctx context.Context) error {
	last, stop := context.WithTimeout(context.WithoutCancel(ctx), saveTime)
	defer stop()
	if err := t.Lease.Release(last); err != nil {
		t.Log.Warn("lease of the deliveries is left to run out", "error", err)
	}
	return nil
}

// rounds is what Run keeps between its rounds.
type rounds struct {
	*Trigger
	running sync.WaitGroup
	slots   chan struct{}
	asking  chan struct{} // slots of those that ask forges
	more    chan struct{} // a slot is free again and there may be more to do
	trouble string        // what was last logged as wrong
}

// round starts an attempt at every delivery that is due, as far as there are
// free slots.
func (r *rounds) round(ctx context.Context) error {
	limited, stop := context.WithTimeout(ctx, handleTime)
	defer stop()
	held, err := r.Lease.Held(limited)
	if err != nil || !held {
		return err
	}
	now := r.Now()
	due, err := r.Deliveries.Due(limited, now, batch+r.hands.resting(now)+r.questions.count())
	if err != nil {
		return fmt.Errorf("list due deliveries: %w", err)
	}
	for _, d := range due {
		if young(d, now) || !r.hands.free(key(d), now) {
			continue
		}
		select {
		case r.slots <- struct{}{}:
		default:
			return nil // the end of one of those under way leads here again
		}
		r.hands.take(key(d))
		r.running.Go(func() { r.retry(ctx, d) })
	}
	return nil
}

// young reports whether the request that brought the delivery may still be at it.
func young(d *cyclone.Delivery, now time.Time) bool {
	if d.SCM == cyclone.SCMPoll {
		return false // nobody's request
	}
	since := d.ReceivedAt
	if d.NextAt != nil {
		since = *d.NextAt
	}
	return d.Attempts == 0 && now.Sub(since) < youth
}

// retry makes one attempt at a due delivery, as it is now.
func (r *rounds) retry(ctx context.Context, due *cyclone.Delivery) {
	defer func() {
		r.hands.give(key(due))
		<-r.slots
	}()
	d, err := r.Deliveries.Find(ctx, due.Project, due.SCM, due.ID)
	if err == nil && waits(d, r.Now()) {
		err = r.Deliver(ctx, d)
	}
	switch {
	case d != nil && (d.HandledAt != nil || d.NextAt != nil || d.ParkedAt != nil):
		r.told(d, err)
		select {
		case r.more <- struct{}{}:
		default: // it is awake already
		}
	case err != nil && ctx.Err() == nil && !errors.Is(err, cyclone.ErrNotFound):
		// Not again at once: what holds for the store holds for all.
		r.Log.Warn("delivery still waits", "project", due.Project, "delivery", due.ID, "error", err)
	}
}

// waits reports whether nobody handled, parked or put the delivery off
// meanwhile.
func waits(d *cyclone.Delivery, now time.Time) bool {
	return d.HandledAt == nil && d.ParkedAt == nil && (d.NextAt == nil || !d.NextAt.After(now))
}

// told logs what came of an attempt.
func (r *rounds) told(d *cyclone.Delivery, err error) {
	switch {
	case d.HandledAt != nil:
		r.Log.Info("delivery handled late", "project", d.Project, "delivery", d.ID, "received", d.ReceivedAt,
			"events", d.Events, "ignored", d.Ignored, "refused", d.Error)
	case err == nil: // somebody else's attempt
	case d.ParkedAt != nil:
		r.Log.Error("delivery parked; redeliver it when the cause is mended", "project", d.Project, "delivery", d.ID, "attempts", d.Attempts, "error", err)
	default:
		r.Log.Warn("delivery failed and is tried again", "project", d.Project, "delivery", d.ID, "attempts", d.Attempts, "next", d.NextAt, "error", err)
	}
}

// complain logs what keeps deliveries from being looked for, once, and that it
// is over.
func (r *rounds) complain(ctx context.Context, err error) {
	text := ""
	if err != nil && ctx.Err() == nil {
		text = err.Error()
	}
	switch text {
	case r.trouble:
		return
	case "":
		r.Log.Info("waiting deliveries are looked for again")
	default:
		r.Log.Warn("cannot look for waiting deliveries", "error", err)
	}
	r.trouble = text
}
