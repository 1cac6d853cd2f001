package embedded

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	"cyclone/pkg/cyclone"
)

// Nodes keeps what servers see of their nodes.
type Nodes struct{ db *db }

// Beat writes what a server sees of its node, whether it is stored already or
// not. It leaves the stored Drain as it is, and sets n.Drain to it.
func (s *Nodes) Beat(ctx context.Context, n *cyclone.Node) error {
	body, err := text(newNodeBody(n))
	if err != nil {
		return wrap(err, "write node %s", n.Name)
	}
	var drain bool
	err = s.db.write(ctx, func(t *tx) error {
		if _, err := t.exec(`INSERT INTO nodes (name, drain, body) VALUES (?, 0, ?)
			ON CONFLICT (name) DO UPDATE SET body = excluded.body`, n.Name, body); err != nil {
			return err
		}
		return t.find("SELECT drain FROM nodes WHERE name = ?", []any{n.Name}, &drain)
	})
	if err != nil {
		return wrap(err, "write node %s", n.Name)
	}
	n.Drain = drain
	return nil
}

// Drain sets whether new work is kept away and returns the node. ErrNotFound
// when there is none.
func (s *Nodes) Drain(ctx context.Context, name string, drain bool) (*cyclone.Node, error) {
	err := s.db.write(ctx, func(t *tx) error {
		n, err := t.exec("UPDATE nodes SET drain = ? WHERE name = ?", drain, name)
		if err == nil && n == 0 {
			return noNode(name)
		}
		return err
	})
	if err != nil {
		return nil, wrap(err, "drain node %s", name)
	}
	return s.Find(ctx, name)
}

// Find returns ErrNotFound when there is none.
func (s *Nodes) Find(ctx context.Context, name string) (*cyclone.Node, error) {
	n, err := scanNode(s.db.row(ctx, "SELECT drain, body FROM nodes WHERE name = ?", name))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, noNode(name)
	}
	return n, wrap(err, "find node %s", name)
}

// List returns all nodes by name.
func (s *Nodes) List(ctx context.Context) ([]*cyclone.Node, error) {
	nodes, err := all(ctx, s.db, scanNode, "SELECT drain, body FROM nodes ORDER BY name")
	return nodes, wrap(err, "list nodes")
}

// Delete forgets a node. ErrNotFound when there is none.
func (s *Nodes) Delete(ctx context.Context, name string) error {
	err := s.db.write(ctx, func(t *tx) error {
		n, err := t.exec("DELETE FROM nodes WHERE name = ?", name)
		if err == nil && n == 0 {
			return noNode(name)
		}
		return err
	})
	return wrap(err, "delete node %s", name)
}

func noNode(name string) error { return cyclone.NotFound("node %q does not exist", name) }

// scanNode reads the columns drain and body.
func scanNode(row scanner) (*cyclone.Node, error) {
	var n cyclone.Node
	var drain bool
	var body []byte
	if err := row.Scan(&drain, &body); err != nil {
		return nil, err
	}
	b := nodeBody{Node: &n}
	err := json.Unmarshal(body, &b)
	for i, epoch := range b.CacheEpochs[:min(len(b.CacheEpochs), len(n.Caches))] {
		n.Caches[i].Epoch = epoch
	}
	n.Drain = drain
	return &n, err
}

// nodeBody is a node with what its caches leave out of JSON.
type nodeBody struct {
	*cyclone.Node
	CacheEpochs []int64 `json:"cacheEpochs,omitempty"`
}

func newNodeBody(n *cyclone.Node) nodeBody {
	b := nodeBody{Node: stamped(n)}
	for _, c := range n.Caches {
		b.CacheEpochs = append(b.CacheEpochs, c.Epoch)
	}
	return b
}
