package retention

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cyclone/pkg/cyclone"
)

// part is something that is kept with events and may go before them.
type part struct {
	name string
	// removedAt is where an event says that its part is gone.
	removedAt func(*cyclone.Event) **time.Time
	// had reports whether an event says that it had the part. Of one that does
	// not, it may be there all the same.
	had func(*cyclone.Event) bool
	// few is set when most events never have the part.
	few bool
	// there reports whether the part is still stored.
	there  func(context.Context, cyclone.EventID) (bool, error)
	remove func(context.Context, cyclone.EventID) error
}

func (r *Retention) logs() part {
	return part{
		name:      "log",
		removedAt: func(e *cyclone.Event) **time.Time { return &e.LogRemovedAt },
		had:       func(e *cyclone.Event) bool { return e.LogLines > 0 },
		there: func(ctx context.Context, id cyclone.EventID) (bool, error) {
			last, err := r.Logs.Last(ctx, id)
			return last > 0, err
		},
		remove: func(ctx context.Context, id cyclone.EventID) error { return r.Logs.Delete(ctx, id) },
	}
}

func (r *Retention) files() part {
	return part{
		name:      "files",
		removedAt: func(e *cyclone.Event) **time.Time { return &e.FilesRemovedAt },
		had:       func(e *cyclone.Event) bool { return e.Files > 0 || e.Tests != nil },
		few:       true,
		there: func(ctx context.Context, id cyclone.EventID) (bool, error) {
			files, err := r.Files.List(ctx, id, "")
			return len(files) > 0, err
		},
		remove: func(ctx context.Context, id cyclone.EventID) error { return r.Files.Delete(ctx, id) },
	}
}

// removeParts removes the parts that go before their events; those of events
// that go themselves went, or would go, with them.
//
// Since the oldest go first, a page of events all of whose parts were removed
// says that all older ones were too, and the search ends there. What ended
// long after its neighbours can stand behind such a page: a thorough run finds
// it.
func (p *run) removeParts(ctx context.Context, part part, o, events *old, done *int) error {
	if !o.rule.any() {
		return nil
	}
	goes := func(e *cyclone.Event) bool { return o.goes(e) && !events.goes(e) }
	q, cursors, err := p.reach(ctx, o, func(items []*cyclone.Event) (bool, error) {
		if p.dry {
			n, err := p.countParts(ctx, part, items, goes)
			if *done += n; err != nil {
				return true, err
			}
		}
		return !p.thorough && len(items) == pageSize && p.allRemoved(part, items), nil
	})
	if err != nil || p.dry {
		return err
	}
	return p.back(ctx, q, cursors, o, func(e *cyclone.Event) error {
		removed, err := p.removePart(ctx, part, e)
		if removed {
			*done++
		}
		return err
	})
}

// allRemoved reports whether no event has the part any more and retention has
// been here: events that never had it say nothing. Only of what few have, a
// quick run takes their silence for enough, or it would go through all events
// of all projects that never have it.
func (p *run) allRemoved(part part, items []*cyclone.Event) bool {
	marked := 0
	for _, e := range items {
		if *part.removedAt(e) != nil {
			marked++
		} else if part.had(e) {
			return false
		}
	}
	return marked > 0 || p.quick && part.few
}

func (p *run) countParts(ctx context.Context, part part, items []*cyclone.Event, goes func(*cyclone.Event) bool) (int, error) {
	n := 0
	for _, e := range items {
		if !goes(e) {
			continue
		}
		there, err := part.has(ctx, e)
		if err != nil {
			return n, err
		}
		if there {
			n++
		}
	}
	return n, nil
}

// has reports whether the event's part is there.
func (t part) has(ctx context.Context, e *cyclone.Event) (bool, error) {
	if t.few && e.StartedAt == nil && !t.had(e) {
		return false, nil // nobody ever worked on it
	}
	there, err := t.there(ctx, e.ID)
	if err != nil {
		return false, fmt.Errorf("look for %s of event %s: %w", t.name, e.ID, err)
	}
	return there, nil
}

// removePart marks the event and then removes its part, in this order: when
// the second is missing, readers are told that it is gone, and the next run
// finds an event that is marked and has it.
func (p *run) removePart(ctx context.Context, part part, e *cyclone.Event) (bool, error) {
	there, err := part.has(ctx, e)
	if err != nil || !there {
		return false, err
	}
	if marked, err := p.mark(ctx, e, part); err != nil || !marked {
		return false, err
	}
	if err := part.remove(ctx, e.ID); err != nil {
		return false, fmt.Errorf("delete %s of event %s: %w", part.name, e.ID, err)
	}
	return true, nil
}

// mark says in the event that its parts are gone. It reports false when
// somebody else writes the event at this moment: the next run comes again.
func (p *run) mark(ctx context.Context, e *cyclone.Event, parts ...part) (bool, error) {
	now, news := cyclone.Stamp(p.Now()), false
	for _, part := range parts {
		if at := part.removedAt(e); *at == nil {
			*at, news = &now, true
		}
	}
	if !news {
		return true, nil
	}
	switch err := p.Events.Replace(ctx, e); {
	case errors.Is(err, cyclone.ErrConflict), errors.Is(err, cyclone.ErrNotFound):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("mark event %s: %w", e.ID, err)
	}
	return true, nil
}
