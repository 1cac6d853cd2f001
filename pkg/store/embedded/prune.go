package embedded

import (
	"context"
	"database/sql"
	"errors"
	"math"

	"cyclone/pkg/cyclone"
)

// pruneBatch bounds the deliveries that go in one transaction, so that others'
// writes wait for no more than a few milliseconds.
const pruneBatch = 200

// place is where a delivery stands in its project's list, which is by the time
// it was received.
type place struct{ received, seq int64 }

func (p place) before(q place) bool {
	return p.received < q.received || p.received == q.received && p.seq < q.seq
}

// Prune removes handled and parked deliveries of a project and returns how
// many; those that still wait are never removed.
func (s *Deliveries) Prune(ctx context.Context, project cyclone.ProjectName, p cyclone.Prune) (int, error) {
	end, err := s.pruneEnd(ctx, project, p)
	if err != nil {
		return 0, wrap(err, "prune deliveries of project %s", project)
	}
	if p.Dry {
		n, err := s.db.count(ctx, "SELECT count(*)"+pruned, project, end.received, end.seq)
		return n, wrap(err, "count deliveries of project %s to be pruned", project)
	}
	removed := 0
	for {
		var n int64
		err := s.db.write(ctx, func(t *tx) (err error) {
			n, err = t.exec("DELETE FROM deliveries WHERE seq IN (SELECT seq"+pruned+" ORDER BY received, seq LIMIT ?)",
				project, end.received, end.seq, pruneBatch)
			return err
		})
		if err != nil {
			return removed, wrap(err, "prune deliveries of project %s", project)
		}
		removed += int(n)
		if n < pruneBatch {
			return removed, nil
		}
	}
}

// pruned selects the deliveries of a project before a place that do not wait.
const pruned = " FROM deliveries INDEXED BY deliveries_received WHERE project = ? AND (received, seq) < (?, ?) AND due IS NULL"

// pruneEnd is the place before which deliveries go. What p selects is always
// the older part of the list, so one place says it all.
func (s *Deliveries) pruneEnd(ctx context.Context, project cyclone.ProjectName, p cyclone.Prune) (place, error) {
	var end place
	if !p.Before.IsZero() {
		end = place{milliCeil(p.Before), math.MinInt64}
	}
	if p.Most > 0 {
		most, err := s.beyond(ctx, project, p.Most)
		if err != nil {
			return end, err
		}
		if end.before(most) {
			end = most
		}
	}
	kept, err := s.beyond(ctx, project, max(p.Minimum, 0))
	if kept.before(end) {
		end = kept
	}
	return end, err
}

// beyond is the place right after the project's delivery that has so many
// newer ones; the zero place when there are no more than that.
func (s *Deliveries) beyond(ctx context.Context, project cyclone.ProjectName, newer int) (place, error) {
	var p place
	err := s.db.row(ctx, `SELECT received, seq FROM deliveries INDEXED BY deliveries_received
		WHERE project = ? ORDER BY received DESC, seq DESC LIMIT 1 OFFSET ?`, project, newer).Scan(&p.received, &p.seq)
	if errors.Is(err, sql.ErrNoRows) {
		return place{}, nil
	}
	p.seq++
	return p, err
}
