package cyclone

import (
	"context"
	"time"
)

// LeaseStore hands out named leases, so that periodic work (reaping, sweeping,
// retention, a node's dispatching) runs on one server at a time.
type LeaseStore interface {
	// Acquire takes the lease, or extends the holder's own, until now+ttl. It
	// reports false while another holds it.
	Acquire(ctx context.Context, name, holder string, now time.Time, ttl time.Duration) (bool, error)
	// Release gives the holder's lease back. One that is another's, or
	// nobody's, is left alone.
	Release(ctx context.Context, name, holder string) error
}

// Totals are counts over everything that is stored and not over yet.
type Totals struct {
	Pending, Blocked, Running int // events
	// OldestPending is when the event that waits longest was created; zero
	// when none is pending.
	OldestPending time.Time
	// Notices are events with something still to be told: the outbox.
	Notices int
	// DeliveriesWaiting are neither handled nor parked; DeliveriesParked were
	// given up and wait for somebody to redeliver them.
	DeliveriesWaiting, DeliveriesParked int
}

// Census counts what is stored. Its cost does not grow with what is over.
type Census interface {
	Totals(ctx context.Context) (Totals, error)
}
