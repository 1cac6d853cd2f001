// Package lead lets one of several servers do what must not be done by two at
// once: it keeps a named lease of the store for as long as it is asked for.
//
// It is not a lock: a holder that was paused may act a moment after its lease
// ran out, so what it does must be safe to be done twice.
package lead

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"cyclone/pkg/cyclone"
)

// DefaultTTL is how long a lease outlives the holder's last sign of life.
const DefaultTTL = 10 * time.Second

// Lease is one server's wish to hold a named lease. Its methods are safe for
// concurrent use.
type Lease struct {
	Store cyclone.LeaseStore
	// Name is what is led: "dispatch/local".
	Name string
	// Holder names this server; no two that run at once have the same.
	Holder string
	// TTL is DefaultTTL when zero.
	TTL time.Duration
	Now func() time.Time

	mu    sync.Mutex
	until time.Time // when the lease that was taken last runs out
}

// Held reports whether this server holds the lease, and takes or extends it
// when it can. The store is asked only when a third of the time has passed. A
// nil lease is always held: there is only one server.
func (l *Lease) Held(ctx context.Context) (bool, error) {
	if l == nil {
		return true, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now, ttl := l.Now(), cmp.Or(l.TTL, DefaultTTL)
	if l.until.Sub(now) > ttl*2/3 {
		return true, nil
	}
	held, err := l.Store.Acquire(ctx, l.Name, l.Holder, now, ttl)
	if err != nil {
		// What was taken holds until it runs out, whether or not it could be
		// extended now.
		if now.Before(l.until) {
			return true, nil
		}
		return false, fmt.Errorf("acquire lease %s: %w", l.Name, err)
	}
	l.until = time.Time{}
	if held {
		l.until = now.Add(ttl)
	}
	return held, nil
}

// Release gives the lease back, so that another server need not wait.
func (l *Lease) Release(ctx context.Context) error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.until.IsZero() {
		return nil
	}
	l.until = time.Time{}
	if err := l.Store.Release(ctx, l.Name, l.Holder); err != nil {
		return fmt.Errorf("release lease %s: %w", l.Name, err)
	}
	return nil
}
