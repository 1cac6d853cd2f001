package dispatch

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"cyclone/pkg/cyclone"
)

// tokenSize is the length of a worker's one-time token in bytes.
const tokenSize = 32

// launchNext claims the oldest pending event of a project and starts its
// worker in the background. ErrNotFound when nothing is pending.
func (d *Dispatcher) launchNext(ctx context.Context, c *candidate) error {
	id, token, err := credentials()
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(token))
	e, err := d.Queue.Claim(ctx, cyclone.Claim{
		Project: c.project.Name, Worker: id, Node: d.Node, TokenHash: sum[:],
		Now: d.Now(), Lease: launchTime + cyclone.LeaseTime,
	})
	if err != nil {
		return fmt.Errorf("claim event of project %s: %w", c.project.Name, err)
	}
	d.Metrics.Claimed(d.Node, d.Now().Sub(pendingSince(e)))
	limits := c.project.Limits
	spec := cyclone.WorkerSpec{
		ID: id, Event: e.ID, Project: e.Project, Attempt: e.Worker.Attempt, Token: token,
		CPUs: cmp.Or(limits.CPUs, d.CPUs), Memory: cmp.Or(limits.Memory, d.Memory),
	}
	if !d.NoCache {
		spec.Cache = &cyclone.CacheUse{Epoch: cacheEpoch(c.project), ReadOnly: e.FromFork()}
	}
	d.take(id)
	d.busy.Go(func() {
		defer d.drop(id)
		d.launch(ctx, e, spec)
	})
	return nil
}

// pendingSince is when an event began to wait for this claim.
func pendingSince(e *cyclone.Event) time.Time {
	if e.Run.PendingSince != nil {
		return *e.Run.PendingSince
	}
	return e.CreatedAt
}

// credentials makes a new worker's id and token. The token is kept nowhere
// but in the worker; the store has its hash.
func credentials() (id cyclone.WorkerID, token string, err error) {
	b := make([]byte, 8+tokenSize)
	if _, err := rand.Read(b); err != nil {
		return "", "", fmt.Errorf("make worker token: %w", err)
	}
	return cyclone.WorkerID("w-" + hex.EncodeToString(b[:8])), hex.EncodeToString(b[8:]), nil
}

// launch starts the worker of a claimed event. When that fails, or ctx ends
// meanwhile, the claim is undone: it must not outlive a worker that never
// started.
func (d *Dispatcher) launch(ctx context.Context, e *cyclone.Event, spec cyclone.WorkerSpec) {
	started, stop := context.WithTimeout(ctx, launchTime)
	defer stop()
	err := d.Launcher.Launch(started, spec)
	if err == nil {
		d.unhold(e.Project)
		d.Log.Info("worker launched", "event", e.ID, "project", e.Project, "worker", spec.ID, "node", d.Node, "attempt", spec.Attempt)
		return
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("the server ended: %w", context.Canceled)
	} else {
		d.holdBack(e.Project)
		err = d.blame(ctx, err)
	}
	d.Metrics.LaunchFailed(d.Node)
	d.Log.Warn("cannot launch worker", "event", e.ID, "worker", spec.ID, "node", d.Node, "error", err)
	d.undo(ctx, e, spec, err)
}

// blame finds out whether a launch failed because the node cannot start any
// worker now. Then the error says so, and it is no fault of the event's.
func (d *Dispatcher) blame(ctx context.Context, err error) error {
	ctx, stop := context.WithTimeout(ctx, examineTime)
	defer stop()
	if node := d.Launcher.Ready(ctx); node != nil {
		return fmt.Errorf("%w: %w", node, err)
	}
	return err
}

// undo gives the event back and removes what there is of its worker. The event
// comes first: from then on a worker that starts late is not let in, so nothing
// depends on an engine that may not answer. What cannot be removed now is an
// orphan that a later round removes.
func (d *Dispatcher) undo(ctx context.Context, e *cyclone.Event, spec cyclone.WorkerSpec, cause error) {
	ctx = context.WithoutCancel(ctx)
	release, stopRelease := context.WithTimeout(ctx, undoTime)
	defer stopRelease()
	switch err := d.Progress.LaunchFailed(release, e, cause); {
	case errors.Is(err, cyclone.ErrConflict):
		d.Log.Info("worker started after all", "event", e.ID, "worker", spec.ID)
		return
	case err != nil:
		// The lease runs out and the event counts as lost.
		d.Log.Error("cannot release event whose worker did not start", "event", e.ID, "error", err)
		return
	}
	remove, stopRemove := context.WithTimeout(ctx, undoTime)
	defer stopRemove()
	if err := d.Launcher.Remove(remove, spec.ID); err != nil {
		d.Log.Warn("cannot remove worker that did not start", "worker", spec.ID, "error", err)
	}
}
