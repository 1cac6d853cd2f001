package mongo

import (
	"context"
	"errors"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"cyclone/pkg/cyclone"
)

// Clusters keeps clusters.
type Clusters struct{ c *mongo.Collection }

// clusterDoc is a cluster as it is stored.
type clusterDoc struct {
	ID       string          `bson:"_id"`
	Cluster  cyclone.Cluster `bson:",inline"`
	Access   []byte          `bson:"access"`
	Revision int64           `bson:"revision"`
	Write    string          `bson:"write"`
}

func (d clusterDoc) value() *cyclone.Cluster {
	d.Cluster.Access, d.Cluster.Revision = d.Access, d.Revision
	return &d.Cluster
}

// Create stores a new cluster and sets its Revision, or returns ErrConflict
// when the name is taken.
func (s *Clusters) Create(ctx context.Context, c *cyclone.Cluster) error {
	token := newToken()
	err := insert(ctx, s.c, string(c.Name), token, clusterDoc{string(c.Name), *c, c.Access, 1, token})
	if mongo.IsDuplicateKeyError(err) {
		return cyclone.Conflict("cluster %q exists already", c.Name)
	}
	if err != nil {
		return wrap(err, "create cluster %s", c.Name)
	}
	c.Revision = 1
	return nil
}

// Find returns ErrNotFound when there is none.
func (s *Clusters) Find(ctx context.Context, name cyclone.ClusterName) (*cyclone.Cluster, error) {
	c, err := one[clusterDoc](s.c.FindOne(ctx, byID(string(name))))
	if errors.Is(err, mongo.ErrNoDocuments) {
		return nil, cyclone.NotFound("cluster %q does not exist", name)
	}
	return c, wrap(err, "find cluster %s", name)
}

// Replace writes c where the stored Revision equals c.Revision and then
// increments c.Revision; ErrConflict when somebody else wrote meanwhile,
// ErrNotFound when there is none.
func (s *Clusters) Replace(ctx context.Context, c *cyclone.Cluster) error {
	token := newToken()
	err := replace(ctx, s.c, "cluster", string(c.Name), c.Revision, token,
		clusterDoc{string(c.Name), *c, c.Access, c.Revision + 1, token})
	if err != nil {
		return wrap(err, "replace cluster %s", c.Name)
	}
	c.Revision++
	return nil
}

// Delete removes the cluster; ErrNotFound when there is none.
func (s *Clusters) Delete(ctx context.Context, name cyclone.ClusterName) error {
	result, err := s.c.DeleteOne(ctx, byID(string(name)))
	if err == nil && result.DeletedCount == 0 {
		return cyclone.NotFound("cluster %q does not exist", name)
	}
	return wrap(err, "delete cluster %s", name)
}

// List returns clusters by name.
func (s *Clusters) List(ctx context.Context, page cyclone.Page) (cyclone.List[*cyclone.Cluster], error) {
	return listByName[clusterDoc](ctx, s.c, page, func(c *cyclone.Cluster) string { return string(c.Name) })
}
