package cron

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/metrics"
)

const (
	// atOnce bounds what fires at the same time: midnight is everybody's.
	atOnce = 8
	// longestWait is between two attempts at a slot that does not fire.
	longestWait = time.Minute
	// late is when it is worth a line that a slot fired after its time.
	late = time.Minute
)

// errGone says that a trigger is no longer its project's.
var errGone = errors.New("the trigger is gone")

// fireDue fires what is due, for as long as this server leads.
func (r *rounds) fireDue(ctx context.Context) {
	var all errgroup.Group
	all.SetLimit(atOnce)
	now := r.Now()
	for _, p := range r.projects {
		for _, w := range p.watches {
			if !w.stale && !w.next.After(now) {
				all.Go(func() error {
					r.attempt(ctx, w)
					return nil
				})
			}
		}
	}
	_ = all.Wait() // each tells of its own failure
}

// attempt fires a trigger's latest slot and says when to come back.
func (r *rounds) attempt(ctx context.Context, w *watch) {
	limited, stop := context.WithTimeout(ctx, callTime)
	defer stop()
	err := r.fire(limited, w)
	switch {
	case errors.Is(err, errGone):
		w.stale = true // the next look forgets it, or finds it again
	case err == nil:
		w.failures, w.trouble = 0, ""
		w.next = w.schedule.Next(w.done)
	case ctx.Err() != nil:
	default:
		w.next = r.Now().Add(min(time.Second<<min(w.failures, 10), longestWait))
		w.failures++
		r.Metrics.CronSlot(metrics.SlotFailed, 1)
		if text := err.Error(); text != w.trouble {
			w.trouble = text
			r.Log.Warn("cron trigger failed and is tried again", "project", w.project, "schedule", w.trigger.Schedule, "error", err)
		}
	}
}

// fire fires the latest slot that is due. The event comes before the mark: to
// make it twice is refused, to forget it would not be noticed.
func (r *rounds) fire(ctx context.Context, w *watch) error {
	now := r.Now()
	slot, missed := w.schedule.Last(w.done, now)
	if slot.IsZero() {
		return nil
	}
	if held, err := r.Lease.Held(ctx); err != nil || !held {
		return err // another server's; the next round forgets all
	}
	p, err := r.Projects.Find(ctx, w.project)
	if errors.Is(err, cyclone.ErrNotFound) || err == nil && !w.among(p.Triggers.Cron) {
		return errGone
	}
	if err != nil {
		return fmt.Errorf("find project %s: %w", w.project, err)
	}
	e, err := r.Trigger.Fire(ctx, p, w.trigger, slot)
	if err != nil && !errors.Is(err, cyclone.ErrConflict) {
		return fmt.Errorf("fire slot %s: %w", slot.Format(time.RFC3339), err)
	}
	fired := err == nil
	if err := r.save(ctx, w, slot); err != nil {
		return r.overtaken(ctx, w, err)
	}
	r.told(w, e, fired, slot, missed)
	return nil
}

// among reports whether a project still has the trigger.
func (w *watch) among(all []cyclone.CronTrigger) bool {
	return slices.ContainsFunc(all, func(t cyclone.CronTrigger) bool { return markName(t) == w.mark.Name })
}

// overtaken reads a mark that somebody else has written meanwhile.
func (r *rounds) overtaken(ctx context.Context, w *watch, cause error) error {
	if !errors.Is(cause, cyclone.ErrConflict) {
		return cause
	}
	m, err := r.Marks.Find(ctx, w.project, w.mark.Name)
	if errors.Is(err, cyclone.ErrNotFound) {
		return errGone
	}
	if err != nil {
		return fmt.Errorf("read mark %s: %w", w.mark.Name, err)
	}
	done, err := time.Parse(time.RFC3339Nano, string(m.Value))
	if err != nil {
		return fmt.Errorf("read mark %s: %w", w.mark.Name, err)
	}
	w.mark, w.done = m, done
	return nil
}

// told counts a slot and logs it when people may wonder.
func (r *rounds) told(w *watch, e *cyclone.Event, fired bool, slot time.Time, missed int) {
	if fired {
		r.Metrics.CronSlot(metrics.SlotFired, 1)
	}
	r.Metrics.CronSlot(metrics.SlotMissed, missed)
	if !fired || missed == 0 && r.Now().Sub(slot) < late {
		return
	}
	r.Log.Info("cron trigger fired late", "project", w.project, "schedule", w.trigger.Schedule, "timezone", w.trigger.Timezone,
		"event", e.ID, "slot", slot, "passed_over", missed)
}
