package dispatch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cyclone/pkg/cyclone"
)

const (
	// beatEvery is how often the node's record is written when nothing changes.
	beatEvery = 10 * time.Second
	// examineTime bounds the questions whether the node can take work.
	examineTime = 3 * time.Second
)

// Ready returns ErrUnavailable with the reason, which names the node, when it
// cannot start workers. One that only queues is ready, and so is one that
// somebody drained: that is as it should be.
func (d *Dispatcher) Ready(ctx context.Context) error {
	if d.Capacity == 0 {
		return nil
	}
	n := d.look(ctx)
	if n.Ready {
		return nil
	}
	return cyclone.Unavailable("%s", n.Reason)
}

// look says how the node is.
func (d *Dispatcher) look(ctx context.Context) *cyclone.Node {
	ctx, stop := context.WithTimeout(ctx, examineTime)
	defer stop()
	n := &cyclone.Node{Name: d.Node, Kind: d.Kind, Capacity: d.Capacity, Server: d.Server, SeenAt: cyclone.Stamp(d.Now())}
	disk, known := d.Launcher.Disk(ctx)
	if known == nil {
		disk.Minimum = d.MinFree
		n.Disk = &disk
	}
	switch err := d.Launcher.Ready(ctx); {
	case d.Capacity == 0:
		n.Reason = fmt.Sprintf("node %s only queues: its server has 0 workers", d.Node)
	case err != nil:
		n.Reason = err.Error()
	case known == nil && disk.Free < d.MinFree:
		n.Reason = fmt.Sprintf("node %s has %s of free disk space, less than the limit of %s; events wait until there is more",
			d.Node, inGiB(disk.Free), inGiB(d.MinFree))
	default:
		n.Ready = true
	}
	return n
}

func inGiB(s cyclone.Size) string { return fmt.Sprintf("%.1f GiB", float64(s)/(1<<30)) }

// examine says how the node is, with what people decided about it.
func (d *Dispatcher) examine(ctx context.Context) (*cyclone.Node, error) {
	n := d.look(ctx)
	stored, err := d.Nodes.Find(ctx, d.Node)
	if err != nil && !errors.Is(err, cyclone.ErrNotFound) {
		return nil, fmt.Errorf("find node %s: %w", d.Node, err)
	}
	if err == nil {
		d.recall(stored.Caches)
		if stored.Drain {
			drain(n)
		}
	}
	n.Caches = d.seenCaches()
	return n, nil
}

// drain notes that new work is kept away from a node.
func drain(n *cyclone.Node) {
	n.Drain, n.Ready = true, false
	n.Reason = fmt.Sprintf("node %s is drained: somebody keeps new work away from it", n.Name)
}

// beat writes how the node is, from time to time and whenever that changed.
func (d *Dispatcher) beat(ctx context.Context) error {
	n, err := d.examine(ctx)
	if err != nil {
		return err
	}
	d.Metrics.Node(n)
	same := n.Ready == d.beaten.Ready && n.Drain == d.beaten.Drain && (n.Reason == "") == (d.beaten.Reason == "")
	if same && n.SeenAt.Sub(d.beaten.SeenAt) < beatEvery {
		return nil
	}
	if err := d.Nodes.Beat(ctx, n); err != nil {
		return fmt.Errorf("write state of node %s: %w", d.Node, err)
	}
	d.beaten = *n
	return nil
}

// gone are the nodes, of those on which something runs, that no server
// dispatches for any more.
func (d *Dispatcher) gone(ctx context.Context, running []*cyclone.Event) (map[string]bool, error) {
	var elsewhere map[string]bool
	for _, e := range running {
		if e.Worker.Node == d.Node {
			continue
		}
		if elsewhere == nil {
			elsewhere = map[string]bool{}
		}
		elsewhere[e.Worker.Node] = true
	}
	if elsewhere == nil {
		return nil, nil
	}
	nodes, err := d.Nodes.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	for _, n := range nodes {
		if !n.Gone(d.Now()) {
			delete(elsewhere, n.Name)
		}
	}
	return elsewhere, nil
}
