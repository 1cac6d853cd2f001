package dispatch

import (
	"context"
	"maps"
	"time"

	"cyclone/pkg/cyclone"
)

// dead says of each worker that has ended how. Those in hand when the list was
// asked for are left out: a container that is made but not started yet looks
// as if it had ended.
func dead(workers []cyclone.WorkerState, inHand map[cyclone.WorkerID]bool) map[cyclone.WorkerID]string {
	found := map[cyclone.WorkerID]string{}
	for _, w := range workers {
		if !w.Running && !inHand[w.ID] {
			found[w.ID] = ended(w)
		}
	}
	return found
}

// reap reports running events whose worker is dead or silent. Events of
// another node are that node's dispatcher's, unless no server serves it any
// more: then everyone's, and progress lets one of them through.
func (d *Dispatcher) reap(ctx context.Context, running []*cyclone.Event, dead map[cyclone.WorkerID]string, gone map[string]bool, deaf time.Time) {
	for _, e := range running {
		if e.Worker.Node != d.Node && !gone[e.Worker.Node] {
			continue
		}
		why, isDead := dead[e.Worker.ID]
		if !isDead && !d.silent(e, deaf) {
			continue
		}
		if !isDead {
			why = "nothing was heard of it for too long"
		}
		d.lost(ctx, e, why)
	}
}

// lostTime bounds the handling of a lost worker, whose removal may have to
// wait for an engine.
const lostTime = time.Minute

// lost hands a lost worker's event to progress, in the background: an engine
// that does not answer must not hold up the others.
func (d *Dispatcher) lost(ctx context.Context, e *cyclone.Event, why string) {
	if !d.take(e.Worker.ID) {
		return
	}
	own := *e
	e = &own // the round goes on with the list
	d.busy.Go(func() {
		defer d.drop(own.Worker.ID)
		ctx, stop := context.WithTimeout(ctx, lostTime)
		defer stop()
		if err := d.Progress.Lost(ctx, e, why); err != nil {
			d.Log.Warn("cannot handle lost worker", "event", e.ID, "worker", e.Worker.ID, "error", err)
		}
	})
}

func ended(w cyclone.WorkerState) string {
	if w.Detail == "" {
		return "it ended without a result"
	}
	return "it ended without a result: " + w.Detail
}

func (d *Dispatcher) silent(e *cyclone.Event, deaf time.Time) bool {
	now := d.Now()
	if e.Run.Former != nil {
		// A server holds it, which says nothing that could be missed.
		return now.After(e.Run.LeaseUntil)
	}
	if now.Sub(d.turned) > pause {
		return false // this server was paused in the middle of the round
	}
	return now.After(e.Run.LeaseUntil) && now.After(deaf.Add(cyclone.LeaseTime))
}

const (
	// missingTime is how long an event may be without its worker on the node.
	missingTime = 3 * time.Second
	// unheard is how long a worker may say nothing, more than the time between
	// two heartbeats, before its absence is believed.
	unheard = cyclone.HeartbeatInterval + 5*time.Second
)

// addMissing adds the workers that are not on the node any more (somebody
// removed them) or never came there (a server died between claim and launch).
func (d *Dispatcher) addMissing(lost map[cyclone.WorkerID]string, running []*cyclone.Event, workers []cyclone.WorkerState, inHand map[cyclone.WorkerID]bool) {
	there := d.taken() // claimed by now, perhaps not yet launched when it was looked
	maps.Copy(there, inHand)
	for _, w := range workers {
		there[w.ID] = true
	}
	seen := map[cyclone.WorkerID]time.Time{}
	for _, e := range running {
		id := e.Worker.ID
		if e.Worker.Node != d.Node || e.Run.Former != nil || there[id] || !d.absent(e) {
			continue
		}
		since, known := d.missing[id]
		if !known {
			since = d.Now()
		}
		seen[id] = since
		if d.Now().Sub(since) >= missingTime {
			lost[id] = "it is not on the node any more"
		}
	}
	d.missing = seen
}

// absent reports whether a worker that is not seen on its node must be gone.
// One that has connected is when it does not speak either. Of one that has not,
// another server may still be at the launch.
func (d *Dispatcher) absent(e *cyclone.Event) bool {
	now := d.Now()
	if e.Run.SessionHash != nil {
		return now.Sub(e.Run.LeaseUntil.Add(-cyclone.LeaseTime)) > unheard
	}
	return d.Lease == nil || e.StartedAt != nil && now.Sub(*e.StartedAt) > launchTime+undoTime
}

// orphanTime is how long a worker may be without an event: one whose event is
// over ends by itself or is released by progress, which is the gentler way.
const orphanTime = 10 * time.Second

// removeOrphans removes workers that no running event owns: of attempts that
// are over, or of a server that ended between claim and release. One that
// belongs to no event waits for one and is left alone.
func (d *Dispatcher) removeOrphans(ctx context.Context, running []*cyclone.Event, workers []cyclone.WorkerState) {
	owned := map[cyclone.WorkerID]bool{}
	for _, e := range running {
		owned[e.Worker.ID] = true
	}
	seen := map[cyclone.WorkerID]time.Time{}
	for _, w := range workers {
		if owned[w.ID] || w.Event == "" {
			continue
		}
		since, known := d.orphans[w.ID]
		if !known {
			since = d.Now()
		}
		seen[w.ID] = since
		if d.Now().Sub(since) >= orphanTime {
			d.remove(ctx, w.ID)
		}
	}
	d.orphans = seen
}

// remove removes a worker in the background, unless that is going on already.
func (d *Dispatcher) remove(ctx context.Context, id cyclone.WorkerID) {
	if !d.take(id) {
		return
	}
	d.busy.Go(func() {
		defer d.drop(id)
		ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
		defer stop()
		if err := d.Launcher.Remove(ctx, id); err != nil {
			d.Log.Warn("cannot remove worker that no event owns", "worker", id, "error", err)
		}
	})
}

// take marks a worker as being launched or removed; false when it is already.
func (d *Dispatcher) take(id cyclone.WorkerID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.inHand == nil {
		d.inHand = map[cyclone.WorkerID]bool{}
	}
	if d.inHand[id] {
		return false
	}
	d.inHand[id] = true
	return true
}

func (d *Dispatcher) drop(id cyclone.WorkerID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.inHand, id)
}

// taken are the workers that are being launched or removed now.
func (d *Dispatcher) taken() map[cyclone.WorkerID]bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := map[cyclone.WorkerID]bool{}
	maps.Copy(all, d.inHand)
	return all
}
