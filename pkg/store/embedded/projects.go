package embedded

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/paging"
)

// Projects keeps projects.
type Projects struct{ db *db }

// Create stores a new project and sets its Revision, or returns ErrConflict
// when the name is taken.
func (s *Projects) Create(ctx context.Context, p *cyclone.Project) error {
	body, err := encodeProject(p)
	if err != nil {
		return wrap(err, "create project %s", p.Name)
	}
	err = s.db.write(ctx, func(t *tx) error {
		n, err := t.exec("INSERT INTO projects (name, revision, body, webhook_secret, cache_epoch) VALUES (?, 1, ?, ?, ?) ON CONFLICT DO NOTHING",
			p.Name, body, p.WebhookSecret, p.CacheEpoch)
		if err == nil && n == 0 {
			return cyclone.Conflict("project %q exists already", p.Name)
		}
		return err
	})
	if err != nil {
		return wrap(err, "create project %s", p.Name)
	}
	p.Revision = 1
	return nil
}

// Find returns ErrNotFound when there is none.
func (s *Projects) Find(ctx context.Context, name cyclone.ProjectName) (*cyclone.Project, error) {
	p, err := scanProject(s.db.row(ctx, "SELECT "+projectColumns+" FROM projects WHERE name = ?", name))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, cyclone.NotFound("project %q does not exist", name)
	}
	return p, wrap(err, "find project %s", name)
}

// Replace writes p where the stored Revision equals p.Revision and then
// increments p.Revision; ErrConflict when somebody else wrote meanwhile,
// ErrNotFound when there is none.
func (s *Projects) Replace(ctx context.Context, p *cyclone.Project) error {
	body, err := encodeProject(p)
	if err != nil {
		return wrap(err, "replace project %s", p.Name)
	}
	err = s.db.write(ctx, func(t *tx) error {
		n, err := t.exec("UPDATE projects SET revision = revision + 1, body = ?, webhook_secret = ?, cache_epoch = ? WHERE name = ? AND revision = ?",
			body, p.WebhookSecret, p.CacheEpoch, p.Name, p.Revision)
		if err == nil && n == 0 {
			return t.whyNot("SELECT count(*) FROM projects WHERE name = ?", "project", string(p.Name))
		}
		return err
	})
	if err != nil {
		return wrap(err, "replace project %s", p.Name)
	}
	p.Revision++
	return nil
}

// whyNot says why a write that compares revisions changed nothing.
func (t *tx) whyNot(count, noun, name string) error {
	var n int
	if err := t.find(count, []any{name}, &n); err != nil {
		return err
	}
	if n == 0 {
		return cyclone.NotFound("%s %q does not exist", noun, name)
	}
	return cyclone.Conflict("%s %q was changed by somebody else meanwhile", noun, name)
}

// deleteBatch bounds the events that go in one transaction, so that deleting a
// large project does not hold up everybody's writes.
const deleteBatch = 200

// Delete removes the project with its events, logs, files, deliveries, secrets
// and marks; ErrNotFound when there is none. The project itself goes last: one
// that was interrupted is called again.
func (s *Projects) Delete(ctx context.Context, name cyclone.ProjectName) error {
	if _, err := s.Find(ctx, name); err != nil {
		return err
	}
	for {
		var more bool
		var contents []string
		err := s.db.write(ctx, func(t *tx) (err error) {
			more, contents, err = deletePart(t, name)
			return err
		})
		if err == nil {
			err = s.db.unlink(contents...)
		}
		if err != nil || !more {
			return wrap(err, "delete project %s", name)
		}
	}
}

// deletePart deletes a batch of files, or when none are left one of log chunks
// and then of events, and when that was the last, the project. It reports
// whether there is more, and the contents that are to be unlinked.
func deletePart(t *tx, name cyclone.ProjectName) (more bool, contents []string, err error) {
	const batch = " (SELECT id FROM events WHERE project = ? ORDER BY number LIMIT ?)"
	contents, err = t.forget("name IN (SELECT name FROM files WHERE event IN"+batch+" LIMIT ?)", name, deleteBatch, fileBatch)
	if err != nil || len(contents) > 0 {
		return true, contents, err
	}
	n, err := t.exec("DELETE FROM chunks WHERE seq IN (SELECT seq FROM chunks WHERE event IN"+batch+" LIMIT ?)", name, deleteBatch, chunkBatch)
	if err != nil || n == chunkBatch {
		return true, nil, err
	}
	n, err = t.exec("DELETE FROM events WHERE id IN"+batch, name, deleteBatch)
	if err != nil || n == deleteBatch {
		return true, nil, err
	}
	for _, query := range []string{
		"DELETE FROM deliveries WHERE project = ?",
		"DELETE FROM delivery_totals WHERE project = ?",
		"DELETE FROM event_totals WHERE project = ?",
		"DELETE FROM branch_totals WHERE project = ?",
		"DELETE FROM secrets WHERE project = ?",
		"DELETE FROM marks WHERE project = ?",
		"DELETE FROM projects WHERE name = ?",
	} {
		if _, err := t.exec(query, name); err != nil {
			return false, nil, err
		}
	}
	return false, nil, nil
}

// List returns projects by name.
func (s *Projects) List(ctx context.Context, page cyclone.Page) (cyclone.List[*cyclone.Project], error) {
	return listByName(ctx, s.db, page, scanProject, func(p *cyclone.Project) string { return string(p.Name) },
		"projects", projectColumns)
}

// listByName is a page of a table whose order is the name. Table and columns
// are constants of this package.
func listByName[T any](ctx context.Context, d *db, page cyclone.Page, scan func(scanner) (T, error), name func(T) string, table, columns string) (cyclone.List[T], error) {
	var none cyclone.List[T]
	after, err := paging.Parse(page.Cursor, 1)
	if err != nil {
		return none, err
	}
	if after == nil {
		after = []string{""}
	}
	total, err := d.count(ctx, "SELECT count(*) FROM "+table)
	if err != nil {
		return none, wrap(err, "count %s", table)
	}
	n := paging.Limit(page)
	items, err := all(ctx, d, scan, "SELECT "+columns+" FROM "+table+" WHERE name > ? ORDER BY name LIMIT ?", after[0], n+1)
	if err != nil {
		return none, wrap(err, "list %s", table)
	}
	return paging.Cut(items, n, total, func(item T) string { return paging.Cursor(name(item)) }), nil
}

const projectColumns = "body, revision, webhook_secret, cache_epoch"

// scanProject reads the columns of projectColumns.
func scanProject(row scanner) (*cyclone.Project, error) {
	var p cyclone.Project
	var body []byte
	if err := row.Scan(&body, &p.Revision, &p.WebhookSecret, &p.CacheEpoch); err != nil {
		return nil, err
	}
	return &p, json.Unmarshal(body, &p)
}

func encodeProject(p *cyclone.Project) (string, error) {
	return text(stamped(p))
}
