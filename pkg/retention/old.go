package retention

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cyclone/pkg/cyclone"
)

const (
	// pageSize is how many events are held in memory at once.
	pageSize = 200
	// batch is how many removals are made between two pauses.
	batch = 20
)

// old finds the events of a project that a rule lets go. They stand at the old
// end of the project's list, so what is found is always the rest of the list
// from somewhere on, and nothing before that is read but where the rule counts.
type old struct {
	project cyclone.ProjectName
	rule    rule
	// newest is the number of the newest event that may go, 0 while none is
	// known. Events that are created meanwhile cannot push others over it.
	newest int64
	// sparing leaves alone what reruns need that are not over yet: the events
	// in spared.
	sparing bool
	spared  map[cyclone.EventID]bool
}

// goes reports whether the rule lets e go, and e is over in every respect: an
// event with something still to be told needs all it has.
func (o *old) goes(e *cyclone.Event) bool {
	if e.Number > o.newest || o.spared[e.ID] || !e.Status.Final() || !e.NoticeDue().IsZero() {
		return false
	}
	// Age counts from the end: an event that waited long for an approval is
	// not old when it is over.
	before := o.rule.before
	return e.FinishedAt == nil || e.FinishedAt.Before(before) || !e.CreatedAt.Before(before)
}

// lookAround finds out which events are to be spared. A rerun that is created
// afterwards finds out itself what of its base is gone: it is marked before.
func (o *old) lookAround(ctx context.Context, events cyclone.EventStore) error {
	if !o.sparing {
		return nil
	}
	spared := map[cyclone.EventID]bool{}
	q := cyclone.EventQuery{
		Project: o.project, Page: cyclone.Page{Limit: pageSize},
		Statuses: []cyclone.Status{cyclone.StatusPending, cyclone.StatusBlocked, cyclone.StatusRunning},
	}
	for {
		l, err := events.List(ctx, q)
		if err != nil {
			return fmt.Errorf("look for reruns: %w", err)
		}
		for _, e := range l.Items {
			if e.Run.Base != "" {
				spared[e.Run.Base] = true
			}
		}
		if q.Cursor = l.Next; l.Next == "" {
			o.spared = spared
			return nil
		}
	}
}

// begin finds where the list of what may go begins: the query and how many of
// its first events to leave alone. It reports false when there is nothing.
func (o *old) begin(ctx context.Context, events cyclone.EventStore) (q cyclone.EventQuery, skip int, some bool, err error) {
	q = cyclone.EventQuery{Project: o.project, Page: cyclone.Page{Limit: 1}}
	all, err := events.List(ctx, q)
	if err != nil {
		return q, 0, false, fmt.Errorf("count events: %w", err)
	}
	kept := all.Total // so many newest are not let go
	if o.rule.most > 0 {
		kept = min(kept, o.rule.most)
	}
	newer := all.Total
	if !o.rule.before.IsZero() {
		q.Since = o.rule.before
		young, err := events.List(ctx, q)
		if err != nil {
			return q, 0, false, fmt.Errorf("count events: %w", err)
		}
		newer, kept, q.Since = young.Total, min(kept, young.Total), time.Time{}
	}
	kept = max(kept, o.rule.minimum)
	q.Limit = pageSize
	if kept < newer || o.rule.before.IsZero() {
		return q, kept, kept < all.Total, nil // counted from the newest
	}
	q.Until = o.rule.before
	return q, kept - newer, kept < all.Total, nil
}

// reach reads what may go, newest first, hands each page to see until that
// has seen enough, and returns the cursors of the pages.
func (p *run) reach(ctx context.Context, o *old, see func([]*cyclone.Event) (enough bool, err error)) (cyclone.EventQuery, []string, error) {
	q, skip, some, err := o.begin(ctx, p.Events)
	if err != nil || !some {
		return q, nil, err
	}
	if err := o.lookAround(ctx, p.Events); err != nil {
		return q, nil, err
	}
	var cursors []string
	for {
		if err := p.breathe(ctx); err != nil {
			return q, nil, err
		}
		l, err := p.Events.List(ctx, q)
		if err != nil {
			return q, nil, fmt.Errorf("list events: %w", err)
		}
		items := l.Items[min(skip, len(l.Items)):]
		skip -= len(l.Items) - len(items)
		if len(items) > 0 {
			if o.newest == 0 {
				o.newest = items[0].Number
			}
			cursors = append(cursors, q.Cursor)
			enough, err := see(items)
			if err != nil || enough {
				return q, cursors, err
			}
		}
		if q.Cursor = l.Next; l.Next == "" {
			return q, cursors, nil
		}
	}
}

// back goes through what reach found, the oldest first.
func (p *run) back(ctx context.Context, q cyclone.EventQuery, cursors []string, o *old, work func(*cyclone.Event) error) error {
	for _, cursor := range slices.Backward(cursors) {
		if err := p.pause(ctx, o); err != nil {
			return err
		}
		q.Cursor = cursor
		l, err := p.Events.List(ctx, q)
		if err != nil {
			return fmt.Errorf("list events: %w", err)
		}
		worked := 0
		for _, e := range slices.Backward(l.Items) {
			if !o.goes(e) {
				continue
			}
			if worked++; worked%batch == 0 {
				if err := p.pause(ctx, o); err != nil {
					return err
				}
				if !o.goes(e) {
					continue // a rerun needs it by now
				}
			}
			if err := work(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// pause is made between two batches.
func (p *run) pause(ctx context.Context, o *old) error {
	if err := p.breathe(ctx); err != nil {
		return err
	}
	return o.lookAround(ctx, p.Events)
}

// removeEvents removes the events that are no longer kept, with their logs and
// files.
func (p *run) removeEvents(ctx context.Context, o *old, done *int) error {
	if !o.rule.any() {
		return nil
	}
	q, cursors, err := p.reach(ctx, o, func(items []*cyclone.Event) (bool, error) {
		if p.dry {
			*done += count(items, o.goes)
		}
		return false, nil
	})
	if err != nil || p.dry {
		return err
	}
	return p.back(ctx, q, cursors, o, func(e *cyclone.Event) error {
		removed, err := p.removeEvent(ctx, e)
		if removed {
			*done++
		}
		return err
	})
}

// removeEvent removes an event with its log and files. A store may take these
// first, one after the other, so they are marked before.
func (p *run) removeEvent(ctx context.Context, e *cyclone.Event) (bool, error) {
	var parts []part
	for _, part := range []part{p.logs(), p.files()} {
		if part.had(e) {
			parts = append(parts, part)
		}
	}
	if marked, err := p.mark(ctx, e, parts...); err != nil || !marked {
		return false, err
	}
	err := p.Events.Delete(ctx, e.ID)
	switch {
	case errors.Is(err, cyclone.ErrNotFound), errors.Is(err, cyclone.ErrConflict):
		return false, nil // gone already, or there is something to be told again
	case err != nil:
		return false, fmt.Errorf("delete event %s: %w", e.ID, err)
	}
	return true, nil
}

func count(items []*cyclone.Event, wanted func(*cyclone.Event) bool) int {
	n := 0
	for _, e := range items {
		if wanted(e) {
			n++
		}
	}
	return n
}
