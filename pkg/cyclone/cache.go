package cyclone

import (
	"context"
	"time"
)

// CacheKind says what a cache on a node holds.
type CacheKind string

// The kinds of caches: the paths that steps name with `cache`, which all events
// of a project share, and the data of an inner engine (images and layers),
// which one event at a time has.
const (
	CachePaths  CacheKind = "paths"
	CacheEngine CacheKind = "engine"
)

// CacheUse says what a worker may use of its project's caches.
type CacheUse struct {
	// Epoch is the project's CacheEpoch: caches of another are not used.
	Epoch int64
	// ReadOnly is set for events of forks: they read, and never write.
	ReadOnly bool
}

// Cache is something that a node keeps between the events of a project.
type Cache struct {
	ID      string      `json:"id"` // opaque, of the node
	Project ProjectName `json:"project"`
	Kind    CacheKind   `json:"kind"`
	Epoch   int64       `json:"-"`
	Size    Size        `json:"size"` // bytes
	UsedAt  time.Time   `json:"usedAt"`
	InUse   bool        `json:"inUse"` // by a worker, at this moment
}

// CacheKeeper is a Launcher whose node keeps caches.
type CacheKeeper interface {
	// Caches lists what the node keeps of this installation.
	Caches(ctx context.Context) ([]Cache, error)
	// RemoveCache removes a cache. ErrConflict while a worker uses it; one
	// that is gone is no error.
	RemoveCache(ctx context.Context, id string) error
}
