package cyclone

import (
	"context"
	"time"
)

// Node is a place where workers can be started, as the server that dispatches
// for it last saw it.
type Node struct {
	Name string `json:"name"`
	Kind string `json:"kind"` // docker, kubernetes or process
	// Capacity is how many workers run on it at once; 0 only queues.
	Capacity int `json:"capacity"`
	// Ready is false while the node takes no work; Reason says why.
	Ready  bool   `json:"ready"`
	Reason string `json:"reason"`
	// Drain keeps new work away; what runs goes on. Only people change it.
	Drain bool `json:"drain"`
	// Disk is the space for what workers write; nil when it is not known.
	Disk *Disk `json:"disk,omitempty"`
	// Caches is what the node keeps between the events of projects, as of the
	// last time that somebody looked.
	Caches []Cache `json:"caches,omitempty"`
	// Server names the server that dispatches for the node, SeenAt when it
	// last did.
	Server string    `json:"server"`
	SeenAt time.Time `json:"seenAt"`
}

// NodeTimeout is how long a node may go without a server that dispatches for
// it before it counts as gone.
const NodeTimeout = 60 * time.Second

// Gone reports whether no server dispatches for the node any more.
func (n *Node) Gone(now time.Time) bool { return now.Sub(n.SeenAt) > NodeTimeout }

// Disk is the space of a file system, in bytes.
type Disk struct {
	Free  Size `json:"free"`
	Total Size `json:"total"`
	// Minimum is the limit of free space below which the node takes no work.
	Minimum Size `json:"minimum"`
}

// NodeStore keeps what servers see of their nodes.
type NodeStore interface {
	// Beat writes what a server sees of its node, whether it is stored already
	// or not. It leaves the stored Drain as it is, and sets n.Drain to it.
	Beat(ctx context.Context, n *Node) error
	// Drain sets whether new work is kept away. ErrNotFound when there is none.
	Drain(ctx context.Context, name string, drain bool) (*Node, error)
	// Find returns ErrNotFound when there is none.
	Find(ctx context.Context, name string) (*Node, error)
	// List returns all nodes by name.
	List(ctx context.Context) ([]*Node, error)
	// Delete forgets a node. ErrNotFound when there is none.
	Delete(ctx context.Context, name string) error
}
