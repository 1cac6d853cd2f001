package mongo

import (
	"context"
	"errors"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"cyclone/pkg/cyclone"
)

// Nodes keeps what servers see of their nodes.
type Nodes struct{ c *mongo.Collection }

// nodeDoc is a node as it is stored.
type nodeDoc struct {
	ID   string       `bson:"_id"`
	Node cyclone.Node `bson:",inline"`
	// CacheEpochs are what the caches leave out of the API.
	CacheEpochs []int64 `bson:"cacheEpochs"`
}

func (d nodeDoc) value() *cyclone.Node {
	for i, epoch := range d.CacheEpochs[:min(len(d.CacheEpochs), len(d.Node.Caches))] {
		d.Node.Caches[i].Epoch = epoch
	}
	return &d.Node
}

// Beat writes what a server sees of its node, whether it is stored already or
// not. It leaves the stored Drain as it is, and sets n.Drain to it.
func (s *Nodes) Beat(ctx context.Context, n *cyclone.Node) error {
	epochs := make([]int64, len(n.Caches))
	for i, c := range n.Caches {
		epochs[i] = c.Epoch
	}
	update := bson.D{
		{Key: "$set", Value: bson.D{
			{Key: "name", Value: n.Name}, {Key: "kind", Value: n.Kind}, {Key: "capacity", Value: n.Capacity},
			{Key: "ready", Value: n.Ready}, {Key: "reason", Value: n.Reason}, {Key: "disk", Value: n.Disk},
			{Key: "caches", Value: n.Caches}, {Key: "cacheEpochs", Value: epochs},
			{Key: "server", Value: n.Server}, {Key: "seenAt", Value: n.SeenAt},
		}},
		{Key: "$setOnInsert", Value: bson.D{{Key: "drain", Value: false}}},
	}
	var stored *cyclone.Node
	err := again(ctx, func(ctx context.Context) (err error) {
		stored, err = one[nodeDoc](s.c.FindOneAndUpdate(ctx, byID(n.Name), update,
			options.FindOneAndUpdate().SetUpsert(true).SetReturnDocument(options.After)))
		return err
	})
	if err != nil {
		return wrap(err, "write node %s", n.Name)
	}
	n.Drain = stored.Drain
	return nil
}

// Drain sets whether new work is kept away and returns the node. ErrNotFound
// when there is none.
func (s *Nodes) Drain(ctx context.Context, name string, drain bool) (*cyclone.Node, error) {
	n, err := one[nodeDoc](s.c.FindOneAndUpdate(ctx, byID(name),
		bson.D{{Key: "$set", Value: bson.D{{Key: "drain", Value: drain}}}},
		options.FindOneAndUpdate().SetReturnDocument(options.After)))
	if errors.Is(err, mongo.ErrNoDocuments) {
		return nil, noNode(name)
	}
	return n, wrap(err, "drain node %s", name)
}

// Find returns ErrNotFound when there is none.
func (s *Nodes) Find(ctx context.Context, name string) (*cyclone.Node, error) {
	n, err := one[nodeDoc](s.c.FindOne(ctx, byID(name)))
	if errors.Is(err, mongo.ErrNoDocuments) {
		return nil, noNode(name)
	}
	return n, wrap(err, "find node %s", name)
}

// List returns all nodes by name.
func (s *Nodes) List(ctx context.Context) ([]*cyclone.Node, error) {
	nodes, err := all[nodeDoc](ctx, s.c, bson.D{}, options.Find().SetSort(byOne("_id")))
	return nodes, wrap(err, "list nodes")
}

// Delete forgets a node. ErrNotFound when there is none.
func (s *Nodes) Delete(ctx context.Context, name string) error {
	result, err := s.c.DeleteOne(ctx, byID(name))
	if err == nil && result.DeletedCount == 0 {
		return noNode(name)
	}
	return wrap(err, "delete node %s", name)
}

func noNode(name string) error { return cyclone.NotFound("node %q does not exist", name) }
