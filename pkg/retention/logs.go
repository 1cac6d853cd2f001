package retention

import (
	"context"
	"errors"
	"fmt"

	"cyclone/pkg/cyclone"
)

// removeLogs removes the logs that go before their events; those of events
// that go themselves went, or would go, with them.
//
// Since the oldest go first, a page of events all of whose logs were removed
// says that all older ones were too, and the search ends there. What ended
// long after its neighbours can stand behind such a page: a thorough run finds
// it.
func (p *run) removeLogs(ctx context.Context, o, events *old, done *int) error {
	if !o.rule.any() {
		return nil
	}
	goes := func(e *cyclone.Event) bool { return o.goes(e) && !events.goes(e) }
	q, cursors, err := p.reach(ctx, o, func(items []*cyclone.Event) (bool, error) {
		if p.dry {
			n, err := p.countLogs(ctx, items, goes)
			if *done += n; err != nil {
				return true, err
			}
		}
		return !p.thorough && len(items) == pageSize && allRemoved(items), nil
	})
	if err != nil || p.dry {
		return err
	}
	return p.back(ctx, q, cursors, o, func(e *cyclone.Event) error {
		removed, err := p.removeLog(ctx, e)
		if removed {
			*done++
		}
		return err
	})
}

// allRemoved reports whether no event has a log any more and retention has
// been here: events that never had a log say nothing.
func allRemoved(items []*cyclone.Event) bool {
	marked := 0
	for _, e := range items {
		if e.LogRemovedAt != nil {
			marked++
		} else if e.LogLines > 0 {
			return false
		}
	}
	return marked > 0
}

func (p *run) countLogs(ctx context.Context, items []*cyclone.Event, goes func(*cyclone.Event) bool) (int, error) {
	n := 0
	for _, e := range items {
		if !goes(e) {
			continue
		}
		there, err := p.hasLog(ctx, e)
		if err != nil {
			return n, err
		}
		if there {
			n++
		}
	}
	return n, nil
}

func (p *run) hasLog(ctx context.Context, e *cyclone.Event) (bool, error) {
	last, err := p.Logs.Last(ctx, e.ID)
	if err != nil {
		return false, fmt.Errorf("look for log of event %s: %w", e.ID, err)
	}
	return last > 0, nil
}

// removeLog marks the event and then removes its log, in this order: when the
// second is missing, readers are told that the log is gone, and the next run
// finds an event that is marked and has a log.
func (p *run) removeLog(ctx context.Context, e *cyclone.Event) (bool, error) {
	there, err := p.hasLog(ctx, e)
	if err != nil || !there {
		return false, err
	}
	if marked, err := p.mark(ctx, e); err != nil || !marked {
		return false, err
	}
	if err := p.Logs.Delete(ctx, e.ID); err != nil {
		return false, fmt.Errorf("delete log of event %s: %w", e.ID, err)
	}
	return true, nil
}

// mark says in the event that its log is gone. It reports false when somebody
// else writes the event at this moment: the next run comes again.
func (p *run) mark(ctx context.Context, e *cyclone.Event) (bool, error) {
	if e.LogRemovedAt != nil {
		return true, nil
	}
	now := cyclone.Stamp(p.Now())
	e.LogRemovedAt = &now
	switch err := p.Events.Replace(ctx, e); {
	case errors.Is(err, cyclone.ErrConflict), errors.Is(err, cyclone.ErrNotFound):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("mark event %s: %w", e.ID, err)
	}
	return true, nil
}
