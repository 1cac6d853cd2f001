package git

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cyclone/pkg/cyclone"
)

// lateError says that something is not there, perhaps not yet.
type lateError struct {
	what string // "commit 3f2a1b9 is not in https://example.com/orders.git"
	why  string // what may have happened when it stays away
}

// Error implements error.
func (e *lateError) Error() string { return e.what }

// pauseAfter is how long to wait before looking again for the n-th time.
func pauseAfter(n int) time.Duration {
	return min(time.Second<<min(n, 10), 15*time.Second)
}

// fetch brings the wanted commit here and returns its full hash. What is not
// there is looked for again until the patience is over: forges tell of a push
// before all of their servers show it, and compute merges in their own time.
func (r *run) fetch(ctx context.Context) (string, error) {
	var missed time.Time // when it was not there for the first time
	left := r.spec.Patience
	for try := 0; ; try++ {
		sha, err := r.look(ctx, left <= 0)
		var late *lateError
		if !errors.As(err, &late) {
			return sha, err
		}
		if left <= 0 {
			return "", r.gaveUp(late)
		}
		if missed.IsZero() {
			missed = time.Now()
		}
		// The last look comes when the patience ends, not a pause later.
		pause := min(pauseAfter(try), left)
		r.say("%s yet; looking again in %s", late.what, pause.Round(time.Millisecond))
		if err := sleep(ctx, pause); err != nil {
			return "", err
		}
		left = r.spec.Patience - time.Since(missed)
	}
}

func (r *run) gaveUp(late *lateError) error {
	after := ""
	if r.spec.Patience > 0 {
		after = fmt.Sprintf(" after %g s", r.spec.Patience.Seconds())
	}
	return cyclone.NotFound("%s%s; %s", late.what, after, late.why)
}
