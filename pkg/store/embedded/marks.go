package embedded

import (
	"context"
	"database/sql"
	"errors"

	"cyclone/pkg/cyclone"
)

// Marks keeps what the server remembers about projects between its rounds.
type Marks struct{ db *db }

// Put writes m where the stored revision equals m.Revision (0: where none is
// stored) and then increments m.Revision; ErrConflict when somebody else wrote
// meanwhile, or deleted it.
func (s *Marks) Put(ctx context.Context, m *cyclone.Mark) error {
	query := "UPDATE marks SET value = ?, revision = ? WHERE project = ? AND name = ? AND revision = ?"
	args := []any{notNil(m.Value), m.Revision + 1, m.Project, m.Name, m.Revision}
	if m.Revision == 0 {
		query, args = "INSERT INTO marks (value, revision, project, name) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", args[:4]
	}
	err := s.db.write(ctx, func(t *tx) error {
		n, err := t.exec(query, args...)
		if err == nil && n == 0 {
			return cyclone.Conflict("mark %q of project %q was changed by somebody else meanwhile", m.Name, m.Project)
		}
		return err
	})
	if err != nil {
		return wrap(err, "put mark %s of project %s", m.Name, m.Project)
	}
	m.Revision++
	return nil
}

// Find returns ErrNotFound when there is none.
func (s *Marks) Find(ctx context.Context, project cyclone.ProjectName, name string) (*cyclone.Mark, error) {
	m, err := scanMark(s.db.row(ctx, "SELECT project, name, revision, value FROM marks WHERE project = ? AND name = ?", project, name))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, noMark(project, name)
	}
	return m, wrap(err, "find mark %s of project %s", name, project)
}

// Delete removes a mark; ErrNotFound when there is none.
func (s *Marks) Delete(ctx context.Context, project cyclone.ProjectName, name string) error {
	err := s.db.write(ctx, func(t *tx) error {
		n, err := t.exec("DELETE FROM marks WHERE project = ? AND name = ?", project, name)
		if err == nil && n == 0 {
			return noMark(project, name)
		}
		return err
	})
	return wrap(err, "delete mark %s of project %s", name, project)
}

// List returns a project's marks whose names begin with prefix, by name.
func (s *Marks) List(ctx context.Context, project cyclone.ProjectName, prefix string) ([]*cyclone.Mark, error) {
	marks, err := all(ctx, s.db, scanMark, `SELECT project, name, revision, value FROM marks
		WHERE project = ? AND name >= ? AND name < ? ORDER BY name`, project, prefix, prefix+lastText)
	return marks, wrap(err, "list marks of project %s", project)
}

// lastText sorts behind whatever follows a prefix.
const lastText = "\U0010ffff"

func noMark(project cyclone.ProjectName, name string) error {
	return cyclone.NotFound("project %q has no mark %q", project, name)
}

// scanMark reads the columns project, name, revision and value.
func scanMark(row scanner) (*cyclone.Mark, error) {
	var m cyclone.Mark
	err := row.Scan(&m.Project, &m.Name, &m.Revision, &m.Value)
	m.Value = notNil(m.Value)
	return &m, err
}
