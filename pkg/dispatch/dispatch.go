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
	"cyclone/pkg/lead"
	"cyclone/pkg/metrics"
)

// outcomes is told what became of workers.
type outcomes interface {
	// Lost: the worker of a running event is dead or silent past its lease.
	Lost(ctx context.Context, e *cyclone.Event, why string) error
	// LaunchFailed: the worker of a claimed event never started. ErrConflict
	// when it did, for it has connected.
	LaunchFailed(ctx context.Context, e *cyclone.Event, cause error) error
}

// Dispatcher launches workers on one node. All fields are required unless
// they say otherwise.
type Dispatcher struct {
	Queue    cyclone.Queue
	Projects cyclone.ProjectStore
	Launcher cyclone.Launcher
	Progress outcomes
	Nodes    cyclone.NodeStore
	// Node is the name of the node, Kind what it is (docker, process), Server
	// the name of this server.
	Node, Kind, Server string
	// Lease decides which of several servers dispatches for the node; nil when
	// there is one server only.
	Lease *lead.Lease
	// Capacity is how many workers run on the node at once; 0 only queues.
	Capacity int
	// UserLimit is how many events of one owner's projects run at once; 0 is
	// no limit.
	UserLimit int
	// MinFree is the free space that the node needs to take work; 0 is none.
	MinFree cyclone.Size
	// CPUs and Memory limit workers of projects that name no limits; 0 is none.
	CPUs   float64
	Memory cyclone.Size
	// NoCache launches workers without caches, and removes those there are.
	NoCache bool
	// CacheTotal is how much the node may keep between events; 0 is no limit.
	CacheTotal cyclone.Size
	// Metrics is optional.
	Metrics *metrics.Metrics
	Log     *slog.Logger
	Now     func() time.Time

	// orphans is since when a worker was seen without an event, missing since
	// when an event was seen without its worker, trouble what was last logged
	// as wrong. Only the loop touches them.
	orphans map[cyclone.WorkerID]time.Time
	missing map[cyclone.WorkerID]time.Time
	trouble string
	beaten  cyclone.Node // what the store was last told of the node
	looked  time.Time    // when all was last looked at
	turned  time.Time    // when the loop last came round
	swept   time.Time    // when leftovers were last looked for

	mu     sync.Mutex
	wakeup chan struct{}
	holds  map[cyclone.ProjectName]hold // projects whose launches failed
	// inHand are workers that are being launched or removed at the moment.
	inHand map[cyclone.WorkerID]bool
	// sweeping is set while leftovers are removed.
	sweeping bool
	caches   janitor
	busy     sync.WaitGroup // launches, removals and sweeps on their way
}

const (
	// tick is how often the loop looks at everything without being woken.
	tick = time.Second
	// glance is how often it looks for pending events where other servers
	// create some too, which cannot wake it.
	glance = 250 * time.Millisecond
	// listTime bounds the question which workers there are: an engine that
	// never answers must not stop the loop. With examineTime it stays below
	// the time of the lease.
	listTime = 5 * time.Second
	// fillTime bounds the claims of one round: with a slow store a whole node's
	// would keep the loop from everything else.
	fillTime = 5 * time.Second
	// pause is how late a round may be before the server must have been paused.
	pause = cyclone.LeaseTime / 2
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

// Run dispatches until ctx ends, one round after the other, as long as the
// lease is held. It returns nil once the launches on their way are over: each
// has its worker or is pending again.
func (d *Dispatcher) Run(ctx context.Context) error {
	every := tick
	if d.Lease != nil {
		every = glance
	}
	t := time.NewTicker(every)
	defer t.Stop()
	defer d.leave(ctx)
	// While this server did not listen no worker could be heard, so nobody
	// counts as silent before a whole lease has passed.
	deaf := d.Now()
	d.turned = deaf
	for {
		now := d.Now()
		if now.Sub(d.turned) > pause {
			deaf = now // nobody could be heard meanwhile
		}
		d.turned = now
		err := d.turn(ctx, deaf)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !errors.Is(err, errNotReady) {
			// A store out of reach leaves workers as unheard as no server.
			deaf = d.Now()
			d.turned = deaf
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

// leave waits for what is on its way and lets another server take over.
func (d *Dispatcher) leave(ctx context.Context) {
	d.busy.Wait()
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer stop()
	if err := d.Lease.Release(ctx); err != nil {
		d.Log.Warn("another server has to wait until this one's lease runs out", "node", d.Node, "error", err)
	}
}

// turn is a round, if this server is the one that dispatches for the node:
// a whole one each tick, in between one that only launches.
func (d *Dispatcher) turn(ctx context.Context, deaf time.Time) error {
	held, err := d.Lease.Held(ctx)
	if !held && d.beaten.Name != "" {
		// Another server tells of the node from now on.
		d.Metrics.NodeLeft(d.Node)
		d.beaten = cyclone.Node{}
	}
	if err != nil || !held {
		return err
	}
	if d.Now().Sub(d.looked) < tick {
		return d.launchAll(ctx)
	}
	d.looked = d.Now()
	return d.round(ctx, deaf)
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
	workers, unseen := d.workers(ctx)
	running, err := d.Queue.Running(ctx)
	if err != nil {
		return fmt.Errorf("list running events: %w", err)
	}
	gone, err := d.gone(ctx, running)
	if err != nil {
		return err
	}
	lost := dead(workers, inHand)
	if unseen == nil {
		d.addMissing(lost, running, workers, inHand)
	}
	d.reap(ctx, running, lost, gone, deaf)
	d.removeOrphans(ctx, running, workers)
	d.sweepNow(ctx)
	d.tidyNow(ctx)
	if err := d.beat(ctx); err != nil {
		return err
	}
	if unseen != nil {
		return fmt.Errorf("%w: list workers: %w", errNotReady, unseen)
	}
	return d.launchAll(ctx)
}

func (d *Dispatcher) workers(ctx context.Context) ([]cyclone.WorkerState, error) {
	ctx, stop := context.WithTimeout(ctx, listTime)
	defer stop()
	return d.Launcher.Workers(ctx)
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
	load, err := d.load(ctx, running)
	if err != nil || load.here >= d.Capacity {
		return err
	}
	// A node that takes no work fails no event: they wait for it.
	n, err := d.examine(ctx)
	if err != nil {
		return err
	}
	if !n.Ready {
		return fmt.Errorf("%w: %s", errNotReady, n.Reason)
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
	for begun := d.Now(); load.here < d.Capacity && ctx.Err() == nil; {
		c := load.next(candidates)
		if c == nil {
			return nil
		}
		if d.Now().Sub(begun) > fillTime {
			d.Wake() // go on after a look at the rest
			return nil
		}
		// Two servers that claim at once would overload the node.
		if held, err := d.Lease.Held(ctx); err != nil || !held {
			return err
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
		load.add(c.project)
	}
	return nil
}
