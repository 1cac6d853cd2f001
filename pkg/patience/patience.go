// Package patience looks again for what a forge does not show yet: it tells of
// a push before all of its servers have it.
//
// It tries nothing again that failed for another reason.
package patience

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cyclone/pkg/cyclone"
)

// Late is the error of a look for something that is not there, perhaps not yet.
type Late struct {
	What string // "commit 3f2a1b9 is not in https://example.com/orders.git"
	Why  string // what may have happened when it stays away
}

// Error implements error.
func (e *Late) Error() string { return e.What }

// pauseAfter is how long to wait before looking again for the n-th time: 1, 2,
// 4, 8 and then 15 seconds.
func pauseAfter(n int) time.Duration {
	return min(time.Second<<min(n, 10), 15*time.Second)
}

// Look calls look until it returns no Late or the patience, counted from the
// first one, is over: then it is ErrNotFound. The last look is told that it is;
// say gets a line before each pause. When ctx ends, its cause is returned.
func Look[T any](ctx context.Context, patience time.Duration, say func(format string, args ...any), look func(ctx context.Context, last bool) (T, error)) (T, error) {
	var missed time.Time
	left := patience
	for try := 0; ; try++ {
		found, err := look(ctx, left <= 0)
		var late *Late
		if !errors.As(err, &late) {
			return found, err
		}
		if left <= 0 {
			return found, gaveUp(late, patience)
		}
		if missed.IsZero() {
			missed = time.Now()
		}
		// The last look comes when the patience ends, not a pause later.
		pause := min(pauseAfter(try), left)
		say("%s yet; looking again in %s", late.What, pause.Round(time.Millisecond))
		if err := Sleep(ctx, pause); err != nil {
			return found, err
		}
		left = patience - time.Since(missed)
	}
}

func gaveUp(late *Late, patience time.Duration) error {
	after := ""
	if patience > 0 {
		after = fmt.Sprintf(" after %g s", patience.Seconds())
	}
	return cyclone.NotFound("%s%s; %s", late.What, after, late.Why)
}

// Sleep waits, or returns the cause for which ctx ended before.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
