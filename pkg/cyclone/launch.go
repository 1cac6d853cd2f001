package cyclone

import "context"

// WorkerSpec is a worker to be started.
type WorkerSpec struct {
	ID      WorkerID
	Event   EventID
	Project ProjectName
	Attempt int
	// Token lets the worker connect; it is good for one session only.
	Token  string
	CPUs   float64 // 0: no limit
	Memory Size    // 0: no limit
	// Cache is what the worker may use of the project's caches on the node;
	// nil for none.
	Cache *CacheUse
}

// WorkerState is a worker as its node sees it.
type WorkerState struct {
	ID    WorkerID
	Event EventID
	// Running is true from the moment the worker is being made until it has
	// ended: one that has not begun yet has not ended.
	Running bool
	// Detail says how a worker that no longer runs ended: exit code and the
	// last lines it printed.
	Detail string
}

// Launcher starts and stops workers on one node.
type Launcher interface {
	// Launch starts a worker and returns as soon as it runs.
	Launch(ctx context.Context, w WorkerSpec) error
	// Remove stops a worker and removes everything it left on the node:
	// container, volumes, processes. Removing one that is gone is no error.
	Remove(ctx context.Context, id WorkerID) error
	// Workers lists the workers of this installation on the node.
	Workers(ctx context.Context) ([]WorkerState, error)
	// Ready returns ErrUnavailable with the reason when no worker can be started.
	Ready(ctx context.Context) error
	// Disk is the space for what workers write. ErrNotFound when it cannot be
	// known from here.
	Disk(ctx context.Context) (Disk, error)
}
