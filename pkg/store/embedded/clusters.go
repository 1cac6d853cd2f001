package embedded

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	"cyclone/pkg/cyclone"
)

// Clusters keeps clusters.
type Clusters struct{ db *db }

// Create stores a new cluster and sets its Revision, or returns ErrConflict
// when the name is taken.
func (s *Clusters) Create(ctx context.Context, c *cyclone.Cluster) error {
	body, err := encodeCluster(c)
	if err != nil {
		return wrap(err, "create cluster %s", c.Name)
	}
	err = s.db.write(ctx, func(t *tx) error {
		n, err := t.exec("INSERT INTO clusters (name, revision, body, access) VALUES (?, 1, ?, ?) ON CONFLICT DO NOTHING",
			c.Name, body, c.Access)
		if err == nil && n == 0 {
			return cyclone.Conflict("cluster %q exists already", c.Name)
		}
		return err
	})
	if err != nil {
		return wrap(err, "create cluster %s", c.Name)
	}
	c.Revision = 1
	return nil
}

// Find returns ErrNotFound when there is none.
func (s *Clusters) Find(ctx context.Context, name cyclone.ClusterName) (*cyclone.Cluster, error) {
	c, err := scanCluster(s.db.row(ctx, "SELECT body, revision, access FROM clusters WHERE name = ?", name))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, cyclone.NotFound("cluster %q does not exist", name)
	}
	return c, wrap(err, "find cluster %s", name)
}

// Replace writes c where the stored Revision equals c.Revision and then
// increments c.Revision; ErrConflict when somebody else wrote meanwhile,
// ErrNotFound when there is none.
func (s *Clusters) Replace(ctx context.Context, c *cyclone.Cluster) error {
	body, err := encodeCluster(c)
	if err != nil {
		return wrap(err, "replace cluster %s", c.Name)
	}
	err = s.db.write(ctx, func(t *tx) error {
		n, err := t.exec("UPDATE clusters SET revision = revision + 1, body = ?, access = ? WHERE name = ? AND revision = ?",
			body, c.Access, c.Name, c.Revision)
		if err == nil && n == 0 {
			return t.whyNot("SELECT count(*) FROM clusters WHERE name = ?", "cluster", string(c.Name))
		}
		return err
	})
	if err != nil {
		return wrap(err, "replace cluster %s", c.Name)
	}
	c.Revision++
	return nil
}

// Delete removes the cluster; ErrNotFound when there is none.
func (s *Clusters) Delete(ctx context.Context, name cyclone.ClusterName) error {
	err := s.db.write(ctx, func(t *tx) error {
		n, err := t.exec("DELETE FROM clusters WHERE name = ?", name)
		if err == nil && n == 0 {
			return cyclone.NotFound("cluster %q does not exist", name)
		}
		return err
	})
	return wrap(err, "delete cluster %s", name)
}

// List returns clusters by name.
func (s *Clusters) List(ctx context.Context, page cyclone.Page) (cyclone.List[*cyclone.Cluster], error) {
	return listByName(ctx, s.db, page, scanCluster, func(c *cyclone.Cluster) string { return string(c.Name) },
		"clusters", "body, revision, access")
}

// scanCluster reads the columns body, revision and access.
func scanCluster(row scanner) (*cyclone.Cluster, error) {
	var body, access []byte
	var revision int64
	if err := row.Scan(&body, &revision, &access); err != nil {
		return nil, err
	}
	c := cyclone.Cluster{Access: access, Revision: revision}
	return &c, json.Unmarshal(body, &c)
}

func encodeCluster(c *cyclone.Cluster) (string, error) {
	return text(stamped(c))
}
