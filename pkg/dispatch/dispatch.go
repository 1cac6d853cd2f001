// Package dispatch turns pending events into launched workers: within the
// node's capacity, fairly between projects, and with an eye on workers that
// died. One loop does it, woken by a hint or a tick; the store is the queue,
// so what is pending survives everything.
//
// It changes no status itself but by claiming: what becomes of an event whose
// worker is lost or never started is progress's decision. It does not talk to
// workers: a worker learns what to do when it connects, so one that was
// started ahead of time would not be told anything else.
package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"cyclone/pkg/cyclone"
)

// outcomes is told what became of workers.
type outcomes interface {
	// Lost: the worker of a running event is dead or silent past its lease.
	Lost(ctx context.Context, e *cyclone.Event, why string) error
	// LaunchFailed: the worker of a claimed event never started.
	LaunchFailed(ctx context.Context, e *cyclone.Event, cause error) error
}

// Dispatcher launches workers on one node. All fields are required unless
// they say otherwise.
type Dispatcher struct {
	Queue    cyclone.Queue
	Projects cyclone.ProjectStore
	Launcher cyclone.Launcher
	Progress outcomes
	Node     string
	// Capacity is how many workers run on the node at once; 0 only queues.
	Capacity int
	// CPUs and Memory limit workers of projects that name no limits; 0 is none.
	CPUs   float64
	Memory cyclone.Size
	Log    *slog.Logger
	Now    func() time.Time

	// orphans is since when a worker was seen without an event, trouble what
	// was last logged as wrong. Only the loop touches them.
	orphans map[cyclone.WorkerID]time.Time
	trouble string

	mu     sync.Mutex
	wakeup chan struct{}
	holds  map[cyclone.ProjectName]hold // projects whose launches failed
	// inHand are workers that are being launched or removed at the moment.
	inHand map[cyclone.WorkerID]bool
	busy   sync.WaitGroup // launches and removals on their way
}

const (
	// tick is how often the loop looks without being woken.
	tick = time.Second
	// launchTime bounds one launch; until it is over the lease holds.
	launchTime = 2 * time.Minute
	// undoTime bounds what is done after a failed launch or the end of ctx.
	undoTime = 30 * time.Second
)

// Wake makes the loop look for pending events at once. It never waits.
func (d *Dispatcher) Wake() {
	select {
	case d.wake() <- struct{}{}:
	default: // it is awake already
	}
}

func (d *Dispatcher) wake() chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.wakeup == nil {
		d.wakeup = make(chan struct{}, 1)
	}
	return d.wakeup
}

// Ready returns ErrUnavailable with the reason, which names the node, when it
// cannot start workers. One that only queues is ready.
func (d *Dispatcher) Ready(ctx context.Context) error {
	if d.Capacity == 0 {
		return nil
	}
	return d.Launcher.Ready(ctx)
}

// Run dispatches until ctx ends, one round after the other. It returns nil
// once the launches on their way are over: each has its worker or is pending
// again.
func (d *Dispatcher) Run(ctx context.Context) error {
	t := time.NewTicker(tick)
	defer t.Stop()
	defer d.busy.Wait()
	// While this server did not listen no worker could be heard, so nobody
	// counts as silent before a whole lease has passed.
	deaf := d.Now()
	for {
		err := d.round(ctx, deaf)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !errors.Is(err, errNotReady) {
			// A store out of reach leaves workers as unheard as no server.
			deaf = d.Now()
		}
		d.complain(err)
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		case <-d.wake():
		}
	}
}

// errNotReady is why nothing is launched although something is pending.
var errNotReady = errors.New("the node cannot start workers; events wait for it")

// complain logs what is wrong when it begins, changes or is over, not every
// second.
func (d *Dispatcher) complain(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	switch {
	case text == d.trouble:
	case err != nil:
		d.Log.Warn("cannot dispatch", "node", d.Node, "error", err)
	default:
		d.Log.Info("dispatching again", "node", d.Node)
	}
	d.trouble = text
}

// round looks at all that runs and launches what may run now.
func (d *Dispatcher) round(ctx context.Context, deaf time.Time) error {
	// Workers first: one that is in this list had its event claimed before,
	// so the list of running events that follows has it, or it is an orphan.
	inHand := d.taken()
	workers, unseen := d.Launcher.Workers(ctx)
	running, err := d.Queue.Running(ctx)
	if err != nil {
		return fmt.Errorf("list running events: %w", err)
	}
	d.reap(ctx, running, dead(workers, inHand), deaf)
	d.removeOrphans(ctx, running, workers)
	if unseen != nil {
		return fmt.Errorf("%w: list workers: %w", errNotReady, unseen)
	}
	return d.launchAll(ctx)
}

// launchAll claims and launches until the node is full or nothing may run.
func (d *Dispatcher) launchAll(ctx context.Context) error {
	if d.Capacity == 0 {
		return nil
	}
	waiting, err := d.Queue.Waiting(ctx)
	if err != nil {
		return fmt.Errorf("list waiting projects: %w", err)
	}
	if len(waiting) == 0 {
		return nil
	}
	// Looked at again: reaping may have put events back, or ended them.
	running, err := d.Queue.Running(ctx)
	if err != nil {
		return fmt.Errorf("list running events: %w", err)
	}
	load := count(running, d.Node)
	if load.here >= d.Capacity {
		return nil
	}
	// A node that cannot start workers fails no event: they wait for it.
	if err := d.Launcher.Ready(ctx); err != nil {
		return fmt.Errorf("%w: %w", errNotReady, err)
	}
	return d.fill(ctx, waiting, load)
}

// fill launches one event after the other, each of the project that has the
// fewest running.
func (d *Dispatcher) fill(ctx context.Context, waiting []cyclone.ProjectName, load load) error {
	candidates, err := d.candidates(ctx, waiting)
	if err != nil {
		return err
	}
	for load.here < d.Capacity && ctx.Err() == nil {
		c := load.next(candidates)
		if c == nil {
			return nil
		}
		if d.held(c.project.Name) {
			// A launch of this round has failed already, and its event is back.
			c.drained = true
			continue
		}
		err := d.launchNext(ctx, c)
		if errors.Is(err, cyclone.ErrNotFound) {
			c.drained = true
			continue
		}
		if err != nil {
			return err
		}
		load.add(c.project.Name)
	}
	return nil
}
