package retention

import (
	"cmp"
	"context"
	"errors"
	"time"
)

const (
	// startDelay lets a server that starts do what people wait for first.
	startDelay = time.Minute
	// lookEvery is how often Run asks whether this server leads.
	lookEvery = 3 * time.Second
	// thoroughEvery is how often Run goes through all old events, to find the
	// logs and files of those that ended long after their neighbours.
	thoroughEvery = 24 * time.Hour
	// shortestPause is between two batches of a fast store; of a slow one each
	// batch is followed by a pause as long as itself, up to longestPause.
	shortestPause = 10 * time.Millisecond
	longestPause  = 5 * time.Second
	// partingTime is for giving the lease back.
	partingTime = 5 * time.Second
)

// errNotLeading ends a run whose lease another server has taken.
var errNotLeading = errors.New("another server has taken over")

// Run removes what is no longer kept, for the first time a minute after its
// start and then every Every, while this server holds the lease, until ctx
// ends. It always returns nil.
func (r *Retention) Run(ctx context.Context) error {
	defer func() {
		parting, stop := context.WithTimeout(context.WithoutCancel(ctx), partingTime)
		defer stop()
		if err := r.Lease.Release(parting); err != nil {
			r.Log.Warn("cannot give back the lease of retention; it runs out by itself", "error", err)
		}
	}()
	due := r.Now().Add(startDelay)
	var thorough time.Time // the last thorough run
	for wait(ctx, lookEvery) {
		// Who leads keeps the lease between its runs: otherwise each server
		// would find it free at its own time, and all would do the same work.
		if held, err := r.Lease.Held(ctx); err != nil || !held || r.Now().Before(due) {
			continue // a store that is away is told by whoever needs it now
		}
		p := &run{Retention: r, allowed: r.leads, thorough: r.Now().Sub(thorough) >= thoroughEvery}
		p.quick = !p.thorough
		if r.once(ctx, p) && p.thorough {
			thorough = p.now
		}
		due = r.Now().Add(cmp.Or(r.Every, DefaultEvery))
	}
	return nil
}

// once makes one run and logs what it did; it reports whether all was done.
func (r *Retention) once(ctx context.Context, p *run) bool {
	report, err := r.apply(ctx, p)
	if len(report.Projects) > 0 {
		r.Log.Info("removed what is no longer kept", "events", report.Events, "logs", report.Logs, "artifacts", report.Files,
			"deliveries", report.Deliveries, "projects", len(report.Projects), "took", r.Now().Sub(p.now).Round(time.Millisecond))
	}
	if err != nil && ctx.Err() == nil && !errors.Is(err, errNotLeading) {
		r.Log.Warn("cannot remove all that is no longer kept; the next run goes on", "error", err)
	}
	return err == nil
}

func (r *Retention) leads(ctx context.Context) error {
	held, err := r.Lease.Held(ctx)
	if err == nil && !held {
		err = errNotLeading
	}
	return err
}

// breathe leaves the store to others after a batch, as long as the batch took,
// and asks whether the run may go on. A dry run only reads and does not wait.
func (p *run) breathe(ctx context.Context) error {
	if err := p.allowed(ctx); err != nil {
		return err
	}
	if !p.dry {
		took := p.Now().Sub(p.begun)
		if !wait(ctx, min(max(took, shortestPause), longestPause)) {
			return context.Cause(ctx)
		}
		p.begun = p.Now()
	}
	return ctx.Err()
}

// wait reports false when ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
