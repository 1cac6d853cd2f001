package embedded

import (
	"context"
	"database/sql"
	"time"

	"cyclone/pkg/cyclone"
)

// Totals counts what is not over yet, all of it at one moment. It reads the
// kept totals and indexes that hold nothing else, so that what is over costs
// nothing.
func (s *Store) Totals(ctx context.Context) (cyclone.Totals, error) {
	var t cyclone.Totals
	var oldest sql.NullInt64
	const ofStatus = "(SELECT coalesce(sum(n), 0) FROM event_totals INDEXED BY event_totals_status WHERE status = ?)"
	err := s.db.row(ctx, "SELECT "+ofStatus+", "+ofStatus+", "+ofStatus+`,
		(SELECT min(created) FROM events INDEXED BY events_status WHERE status = ?),
		(SELECT count(*) FROM events INDEXED BY events_notice WHERE notice_due IS NOT NULL),
		(SELECT count(*) FROM deliveries INDEXED BY deliveries_due WHERE due IS NOT NULL),
		(SELECT count(*) FROM deliveries INDEXED BY deliveries_parked WHERE parked IS NOT NULL)`,
		cyclone.StatusPending, cyclone.StatusBlocked, cyclone.StatusRunning, cyclone.StatusPending,
	).Scan(&t.Pending, &t.Blocked, &t.Running, &oldest, &t.Notices, &t.DeliveriesWaiting, &t.DeliveriesParked)
	if oldest.Valid {
		t.OldestPending = time.UnixMilli(oldest.Int64).UTC()
	}
	return t, wrap(err, "count what is not over")
}
