package dispatch

import (
	"context"
	"errors"
	"sync"
	"time"

	"cyclone/pkg/cyclone"
)

const (
	// sweepEvery is how often leftovers are looked for.
	sweepEvery = time.Minute
	// sweepTime bounds the removal of what was found.
	sweepTime = 5 * time.Minute
)

// sweeper is a launcher that can find what workers left although they are gone.
type sweeper interface {
	Sweep(ctx context.Context, live func(cyclone.WorkerID) bool) error
}

// sweepNow removes in the background what belongs to no running event: at the
// start and each minute, because another server may have crashed.
func (d *Dispatcher) sweepNow(ctx context.Context) {
	s, can := d.Launcher.(sweeper)
	if !can || d.Capacity == 0 || !d.swept.IsZero() && d.Now().Sub(d.swept) < sweepEvery || !d.beginSweep(true) {
		return
	}
	d.swept = d.Now()
	d.busy.Go(func() {
		defer d.beginSweep(false)
		ctx, stop := context.WithTimeout(ctx, sweepTime)
		defer stop()
		if err := d.sweep(ctx, s); err != nil && ctx.Err() == nil {
			d.Log.Warn("leftovers of workers are not removed; trying again in a minute", "node", d.Node, "error", err)
		}
	})
}

// beginSweep notes that a sweep begins or has ended; false when one is on its
// way already.
func (d *Dispatcher) beginSweep(begins bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if begins && d.sweeping {
		return false
	}
	d.sweeping = begins
	return true
}

// sweep removes what belongs to no running event. The events are read when the
// leftovers are known: a worker is launched after its event was claimed, so one
// that is starting is never taken for a leftover.
func (d *Dispatcher) sweep(ctx context.Context, s sweeper) error {
	if d.Launcher.Ready(ctx) != nil {
		return nil
	}
	var unknown error
	owners := sync.OnceValue(func() map[cyclone.WorkerID]bool {
		running, err := d.Queue.Running(ctx)
		unknown = err
		all := map[cyclone.WorkerID]bool{}
		for _, e := range running {
			all[e.Worker.ID] = true
			if e.Run.Former != nil {
				all[e.Run.Former.ID] = true // progress is at it
			}
		}
		return all
	})
	err := s.Sweep(ctx, func(id cyclone.WorkerID) bool { return owners()[id] || unknown != nil })
	return errors.Join(err, unknown)
}
