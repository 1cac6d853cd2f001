package progress

import (
	"context"
	"errors"
	"fmt"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/metrics"
)

// errNodeGone: no server dispatches for the node any more, so nobody can reach
// what runs there.
var errNodeGone = errors.New("no server dispatches for the node any more")

// remove removes a worker from its node. Only the servers of a node can reach
// it: for a worker on another node this is ErrUnavailable, and errNodeGone when
// no server serves that one.
func (p *Progress) remove(ctx context.Context, w cyclone.WorkerRef) error {
	if w.Node == p.Node {
		return p.Launcher.Remove(ctx, w.ID)
	}
	gone, err := p.nodeGone(ctx, w.Node)
	switch {
	case err != nil:
		return err
	case gone:
		return fmt.Errorf("remove worker %s from node %s: %w", w.ID, w.Node, errNodeGone)
	}
	return cyclone.Unavailable("worker %s runs on node %s, which another server serves", w.ID, w.Node)
}

// others reports whether a node is left to other servers. When that cannot be
// found out now it is, and a later round asks again. Known are the answers of
// this round.
func (p *Progress) others(ctx context.Context, node string, known map[string]bool) bool {
	if node == p.Node {
		return false
	}
	left, ok := known[node]
	if !ok {
		gone, err := p.nodeGone(ctx, node)
		left = err != nil || !gone
		known[node] = left
	}
	return left
}

func (p *Progress) nodeGone(ctx context.Context, node string) (bool, error) {
	n, err := p.Nodes.Find(ctx, node)
	if errors.Is(err, cyclone.ErrNotFound) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("find node %s: %w", node, err)
	}
	return n.Gone(p.now()), nil
}

// complain logs what is wrong when it begins, changes or is over, not at every
// round.
func (p *Progress) complain(ctx context.Context, err error) {
	text := ""
	if err != nil && ctx.Err() == nil {
		text = err.Error()
	}
	switch {
	case text == p.trouble:
	case text != "":
		p.Log.Warn("cannot look for what is due", "error", text)
	default:
		p.Log.Info("looking for what is due again")
	}
	p.trouble = text
}

// outcomeOf is an attempt at a notice, for the metrics.
func outcomeOf(told error, gaveUp bool) string {
	switch {
	case told == nil:
		return metrics.NoticeDone
	case gaveUp:
		return metrics.NoticeGaveUp
	}
	return metrics.NoticeFailed
}
