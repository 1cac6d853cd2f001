package embedded

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	"cyclone/pkg/cyclone"
)

// Secrets keeps projects' secrets.
type Secrets struct{ db *db }

// Put stores a secret, over one of the same name.
func (s *Secrets) Put(ctx context.Context, secret *cyclone.Secret) error {
	c := stamped(secret)
	body, err := text(c)
	if err != nil {
		return wrap(err, "put secret %s", c.Name)
	}
	err = s.db.write(ctx, func(t *tx) error {
		_, err := t.exec(`INSERT INTO secrets (project, name, body, value) VALUES (?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET body = excluded.body, value = excluded.value`, c.Project, c.Name, body, c.Value)
		return err
	})
	return wrap(err, "put secret %s", c.Name)
}

// Find returns ErrNotFound when there is none.
func (s *Secrets) Find(ctx context.Context, project cyclone.ProjectName, name string) (*cyclone.Secret, error) {
	found, err := scanSecret(s.db.row(ctx,
		"SELECT project, body, value FROM secrets WHERE project = ? AND name = ?", project, name))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, cyclone.NotFound("project %s has no secret %q", project, name)
	}
	return found, wrap(err, "find secret %s", name)
}

// Delete removes a secret; ErrNotFound when there is none.
func (s *Secrets) Delete(ctx context.Context, project cyclone.ProjectName, name string) error {
	err := s.db.write(ctx, func(t *tx) error {
		n, err := t.exec("DELETE FROM secrets WHERE project = ? AND name = ?", project, name)
		if err == nil && n == 0 {
			return cyclone.NotFound("project %s has no secret %q", project, name)
		}
		return err
	})
	return wrap(err, "delete secret %s", name)
}

// List returns all of a project's secrets by name.
func (s *Secrets) List(ctx context.Context, project cyclone.ProjectName) ([]*cyclone.Secret, error) {
	found, err := all(ctx, s.db, scanSecret, "SELECT project, body, value FROM secrets WHERE project = ? ORDER BY name", project)
	return found, wrap(err, "list secrets of project %s", project)
}

// scanSecret reads the columns project, body and value.
func scanSecret(row scanner) (*cyclone.Secret, error) {
	var s cyclone.Secret
	var body []byte
	if err := row.Scan(&s.Project, &body, &s.Value); err != nil {
		return nil, err
	}
	return &s, json.Unmarshal(body, &s)
}

// Settings keeps the installation's own values.
type Settings struct{ db *db }

// Setting returns ErrNotFound when the value was never set.
func (s *Settings) Setting(ctx context.Context, name string) ([]byte, error) {
	var value []byte
	err := s.db.row(ctx, "SELECT value FROM settings WHERE name = ?", name).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, cyclone.NotFound("setting %q was never set", name)
	}
	if err != nil {
		return nil, wrap(err, "read setting %s", name)
	}
	return notNil(value), nil
}

// SetOnce stores a value unless there is one, and returns the one that holds.
func (s *Settings) SetOnce(ctx context.Context, name string, value []byte) ([]byte, error) {
	var holds []byte
	err := s.db.write(ctx, func(t *tx) error {
		if _, err := t.exec("INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING", name, notNil(value)); err != nil {
			return err
		}
		return t.find("SELECT value FROM settings WHERE name = ?", []any{name}, &holds)
	})
	if err != nil {
		return nil, wrap(err, "set %s once", name)
	}
	return notNil(holds), nil
}

// Set stores a value.
func (s *Settings) Set(ctx context.Context, name string, value []byte) error {
	err := s.db.write(ctx, func(t *tx) error {
		_, err := t.exec("INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", name, notNil(value))
		return err
	})
	return wrap(err, "set %s", name)
}

// notNil is the value with nil as empty: a value that was set is not NULL, and
// the driver returns empty ones as nil.
func notNil(value []byte) []byte {
	if value == nil {
		return []byte{}
	}
	return value
}
