package embedded

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/paging"
)

// Waiting returns the projects that have pending events, the one whose oldest
// event waits longest first.
func (s *Events) Waiting(ctx context.Context) ([]cyclone.ProjectName, error) {
	projects, err := all(ctx, s.db, func(row scanner) (cyclone.ProjectName, error) {
		var name cyclone.ProjectName
		return name, row.Scan(&name)
	}, `SELECT w.project FROM (
			SELECT DISTINCT project FROM event_totals INDEXED BY event_totals_status WHERE status = 'pending' AND n > 0
		) w ORDER BY (
			SELECT created FROM events INDEXED BY events_pending
			WHERE project = w.project AND status = 'pending' ORDER BY number LIMIT 1
		), w.project`)
	return projects, wrap(err, "list waiting projects")
}

// Claim atomically turns the oldest pending event of a project into a running
// one: it gets the worker, a lease and the token, Worker.Attempt is
// incremented, StartedAt is c.Now, and what the attempt before left (the
// session, the reason) is cleared. ErrNotFound when nothing is pending.
func (s *Events) Claim(ctx context.Context, c cyclone.Claim) (*cyclone.Event, error) {
	var claimed *cyclone.Event
	err := s.db.write(ctx, func(t *tx) error {
		e, err := t.event(`SELECT event, run FROM events INDEXED BY events_pending
			WHERE project = ? AND status = 'pending' ORDER BY number LIMIT 1`, c.Project)
		if errors.Is(err, sql.ErrNoRows) {
			return cyclone.NotFound("project %s has no pending event", c.Project)
		}
		if err != nil {
			return err
		}
		now := cyclone.Stamp(c.Now)
		e.Status, e.Reason, e.StartedAt = cyclone.StatusRunning, "", &now
		e.Worker = cyclone.WorkerRef{ID: c.Worker, Node: c.Node, Attempt: e.Worker.Attempt + 1}
		e.Run.LeaseUntil = cyclone.Stamp(c.Now.Add(c.Lease))
		e.Run.TokenHash, e.Run.SessionHash = c.TokenHash, nil
		e.Run.Revision++
		claimed = e
		return updateEvent(t, e)
	})
	if err != nil {
		return nil, wrap(err, "claim event of project %s", c.Project)
	}
	return claimed, nil
}

// Renew extends the lease of an attempt and returns the event, or ErrConflict
// when the attempt no longer holds it. A lease never gets shorter.
func (s *Events) Renew(ctx context.Context, f cyclone.Fence, until time.Time) (*cyclone.Event, error) {
	var renewed *cyclone.Event
	err := s.db.write(ctx, func(t *tx) error {
		e, err := t.event("SELECT event, run FROM events WHERE id = ?", f.Event)
		if errors.Is(err, sql.ErrNoRows) || err == nil && !f.Holds(e) {
			return cyclone.Conflict("attempt %d of worker %s no longer holds event %s", f.Attempt, f.Worker, f.Event)
		}
		if err != nil {
			return err
		}
		if until := cyclone.Stamp(until); until.After(e.Run.LeaseUntil) {
			e.Run.LeaseUntil = until
		}
		e.Run.Revision++
		renewed = e
		return updateEvent(t, e)
	})
	if err != nil {
		return nil, wrap(err, "renew lease of event %s", f.Event)
	}
	return renewed, nil
}

// Running returns every running event, the oldest first.
func (s *Events) Running(ctx context.Context) ([]*cyclone.Event, error) {
	events, err := all(ctx, s.db, scanEvent, `SELECT event, run FROM events INDEXED BY events_status
		WHERE status = 'running' ORDER BY created, seq`)
	return events, wrap(err, "list running events")
}

// NoticesDue returns events, also such as are not over, with an undone notice
// whose time has come, the longest due first, at most limit of them.
func (s *Events) NoticesDue(ctx context.Context, now time.Time, limit int) ([]*cyclone.Event, error) {
	events, err := all(ctx, s.db, scanEvent, `SELECT event, run FROM events INDEXED BY events_notice
		WHERE notice_due IS NOT NULL AND notice_due <= ? ORDER BY notice_due, seq LIMIT ?`, now.UnixMilli(), paging.AtMost(limit))
	return events, wrap(err, "list due notices")
}

// event reads an event inside the transaction.
func (t *tx) event(query string, args ...any) (*cyclone.Event, error) {
	s, err := t.stmt(query)
	if err != nil {
		return nil, err
	}
	return scanEvent(s.QueryRowContext(context.Background(), args...))
}
