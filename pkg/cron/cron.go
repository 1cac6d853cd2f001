// Package cron starts events at the times that the cron triggers of projects
// say: each slot once, by one of all servers, not before its time and within a
// second of it.
//
// What fired last is kept as a mark of the project, written after the event.
// Whoever dies in between fires the same slot again, which changes nothing: the
// event's key is made of the slot. After a time without any server the latest
// of the missed slots fires, the others are passed over. A trigger that is new,
// or was changed, begins with the slot after that.
//
// It does not know how an event is made, which is package trigger's work, nor
// calendars and clocks, which are package schedule's.
package cron

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/lead"
	"cyclone/pkg/metrics"
)

// DefaultTick is how often the projects are looked through for triggers that
// are new, changed or gone.
const DefaultTick = 5 * time.Second

const (
	// rest is the longest pause of Run: the lease has to be kept, or taken when
	// its holder is gone.
	rest = time.Second
	// shortest keeps Run from spinning when clocks differ by a little.
	shortest = time.Millisecond
	// callTime bounds a look at the projects, and one firing.
	callTime = 20 * time.Second
	// partingTime is for giving the lease back.
	partingTime = 5 * time.Second
)

// starter creates the event of a slot; ErrConflict when it is there already.
type starter interface {
	Fire(ctx context.Context, p *cyclone.Project, c cyclone.CronTrigger, slot time.Time) (*cyclone.Event, error)
}

// Cron fires the cron triggers of all projects. Fill the fields, then call Run.
type Cron struct {
	Projects cyclone.ProjectStore
	Marks    cyclone.MarkStore
	Trigger  starter
	// Lease lets one of several servers do it; nil for the only server.
	Lease *lead.Lease
	// Metrics is optional.
	Metrics *metrics.Metrics
	Log     *slog.Logger
	Now     func() time.Time
	// Tick is DefaultTick when zero.
	Tick time.Duration
}

// Run fires what is due until ctx ends. It always returns nil: what fails is
// logged and tried again.
func (c *Cron) Run(ctx context.Context) error {
	r := &rounds{Cron: c}
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return c.leave(ctx)
		case <-pause.C:
		}
		r.complain(ctx, r.round(ctx))
		pause.Reset(r.pause())
	}
}

// leave gives the lease back, so that another server need not wait for its end.
func (c *Cron) leave(ctx context.Context) error {
	parting, stop := context.WithTimeout(context.WithoutCancel(ctx), partingTime)
	defer stop()
	if err := c.Lease.Release(parting); err != nil {
		c.Log.Warn("cannot give back the lease of cron triggers; it runs out by itself", "error", err)
	}
	return nil
}

// rounds is what Run keeps between its rounds. Of it, all but trouble is worth
// something only while this server leads: others may fire when it does not.
type rounds struct {
	*Cron
	projects map[cyclone.ProjectName]*project
	lookAt   time.Time // when to look through the projects again
	looked   error     // what came of the last look
	trouble  string    // what was last logged as wrong
}

// round does what is due now.
func (r *rounds) round(ctx context.Context) error {
	limited, stop := context.WithTimeout(ctx, callTime)
	defer stop()
	held, err := r.Lease.Held(limited)
	if err != nil || !held {
		r.projects, r.lookAt = nil, time.Time{}
		return err
	}
	if now := r.Now(); !now.Before(r.lookAt) || r.lookAt.Sub(now) > r.tick() { // a clock was set back
		r.lookAt = now.Add(r.tick())
		r.looked = r.look(limited)
	}
	r.fireDue(ctx)
	return r.looked
}

func (r *rounds) tick() time.Duration { return cmp.Or(r.Tick, DefaultTick) }

// pause is how long nothing will be due.
func (r *rounds) pause() time.Duration {
	now := r.Now()
	wait := rest
	if !r.lookAt.IsZero() {
		wait = min(wait, r.lookAt.Sub(now))
	}
	for _, p := range r.projects {
		for _, w := range p.watches {
			if !w.stale {
				wait = min(wait, w.next.Sub(now))
			}
		}
	}
	return max(wait, shortest)
}

// look goes through all projects. What it cannot do for one it does for the
// others, and again at the next look.
func (r *rounds) look(ctx context.Context) error {
	if r.projects == nil {
		r.projects = map[cyclone.ProjectName]*project{}
	}
	there := map[cyclone.ProjectName]bool{}
	var failed error
	for page := (cyclone.Page{Limit: 200}); ; {
		list, err := r.Projects.List(ctx, page)
		if err != nil {
			return errors.Join(failed, fmt.Errorf("list projects: %w", err))
		}
		for _, p := range list.Items {
			known, err := r.know(ctx, p)
			if err != nil && failed == nil {
				failed = fmt.Errorf("read what fired of project %s: %w", p.Name, err)
			}
			r.projects[p.Name], there[p.Name] = known, true
		}
		if ctx.Err() != nil {
			return errors.Join(failed, ctx.Err()) // the next look comes further
		}
		if page.Cursor = list.Next; list.Next == "" {
			break
		}
	}
	maps.DeleteFunc(r.projects, func(name cyclone.ProjectName, _ *project) bool { return !there[name] })
	return failed
}

// complain logs what keeps triggers from being looked for, once, and that it
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
		r.Log.Info("cron triggers are looked for again")
	default:
		r.Log.Warn("cannot look for cron triggers", "error", err)
	}
	r.trouble = text
}
