package embedded

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"cyclone/pkg/cyclone"
)

// Files keeps files with events: what is known of them in the database, what
// is in them in a folder beside it.
type Files struct{ db *db }

// Put stores the content, over a file of the same event, kind and path, and
// returns the file with size and sum, and CreatedAt where that was zero. Nobody
// sees it before it is complete and on the disk. When content fails, nothing
// has changed. ErrInvalid when f.Check fails, ErrUnavailable when the disk is
// full, or would be.
func (s *Files) Put(ctx context.Context, f cyclone.File, content io.Reader) (cyclone.File, error) {
	var none cyclone.File
	if err := f.Check(); err != nil {
		return none, err
	}
	if f.CreatedAt.IsZero() {
		f.CreatedAt = time.Now()
	}
	src := &source{ctx: ctx, from: content}
	name, err := s.db.save(&f, src)
	if src.err != nil {
		return none, fmt.Errorf("keep %s %s of event %s: read its content: %w", f.Kind, f.Path, f.Event, src.err)
	}
	if err != nil {
		return none, wrap(err, "keep %s %s of event %s", f.Kind, f.Path, f.Event)
	}
	kept := stamped(&f)
	old, err := s.enter(ctx, kept, name)
	if err != nil {
		if !broken(err) { // else it may have been entered after all
			_ = s.db.unlink(name) // the next Open sweeps it away
		}
		return none, wrap(err, "keep %s %s of event %s", f.Kind, f.Path, f.Event)
	}
	_ = s.db.unlink(old...) // as above
	return *kept, nil
}

// enter makes content the file's, and returns the names of what it was before.
func (s *Files) enter(ctx context.Context, f *cyclone.File, name string) (old []string, err error) {
	body, err := text(f)
	if err != nil {
		return nil, err
	}
	err = s.db.write(ctx, func(t *tx) (err error) {
		old, err = t.forget(ofFile, f.Event, f.Kind, f.Path)
		if err != nil {
			return err
		}
		_, err = t.exec("INSERT INTO files (event, kind, path, name, body) VALUES (?, ?, ?, ?, ?)",
			f.Event, f.Kind, f.Path, name, body)
		return err
	})
	return old, err
}

const ofFile = "event = ? AND kind = ? AND path = ?"

// Open returns a file and its content, which stays readable when the file is
// replaced or deleted meanwhile; ErrNotFound when there is none.
func (s *Files) Open(ctx context.Context, event cyclone.EventID, kind cyclone.FileKind, path string) (cyclone.File, io.ReadSeekCloser, error) {
	var none cyclone.File
	for last := ""; ; {
		var name string
		f, err := scanFile(withName{s.db.row(ctx, "SELECT event, body, name FROM files WHERE "+ofFile, event, kind, path), &name})
		if errors.Is(err, sql.ErrNoRows) {
			return none, nil, cyclone.NotFound("event %s has no %s %q", event, kind, path)
		}
		if err != nil {
			return none, nil, wrap(err, "find %s %s of event %s", kind, path, event)
		}
		content, err := os.Open(s.db.contentPath(name)) //#nosec G304 -- a name that this package made
		if err == nil {
			return f, content, nil
		}
		// It may have been replaced since its name was read; then it has
		// another now.
		if !errors.Is(err, fs.ErrNotExist) {
			return none, nil, wrap(err, "open content of %s %s of event %s", kind, path, event)
		}
		if name == last {
			return none, nil, fmt.Errorf("%s %s of event %s has lost its content: %s is missing", kind, path, event, s.db.contentPath(name))
		}
		last = name
	}
}

// List returns the event's files of a kind by path; of all kinds, by kind and
// then by path, when it is empty.
func (s *Files) List(ctx context.Context, event cyclone.EventID, kind cyclone.FileKind) ([]cyclone.File, error) {
	files, err := all(ctx, s.db, scanFile,
		"SELECT event, body FROM files WHERE event = ? AND (kind = ? OR ? = '') ORDER BY kind, path", event, kind, kind)
	return files, wrap(err, "list files of event %s", event)
}

// Delete removes all files of an event; none is no error.
func (s *Files) Delete(ctx context.Context, event cyclone.EventID) error {
	return wrap(deleteFiles(ctx, s.db, event), "delete files of event %s", event)
}

// fileBatch bounds the files that go in one transaction.
const fileBatch = 200

func deleteFiles(ctx context.Context, d *db, event cyclone.EventID) error {
	for {
		var names []string
		err := d.write(ctx, func(t *tx) (err error) {
			names, err = t.forget("name IN (SELECT name FROM files WHERE event = ? LIMIT ?)", event, fileBatch)
			return err
		})
		if err == nil {
			err = d.unlink(names...)
		}
		if err != nil || len(names) < fileBatch {
			return err
		}
	}
}

// forget deletes rows and returns the names of their contents, which are to be
// unlinked once the transaction is on the disk. The condition is a constant of
// this package.
func (t *tx) forget(condition string, args ...any) (names []string, err error) {
	s, err := t.stmt("DELETE FROM files WHERE " + condition + " RETURNING name")
	if err != nil {
		return nil, err
	}
	rows, err := s.QueryContext(context.Background(), args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // rows.Err says what went wrong
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, rows.Err()
}

// withName scans the name of the content behind the columns of a file.
type withName struct {
	row  scanner
	name *string
}

func (w withName) Scan(dest ...any) error { return w.row.Scan(append(dest, w.name)...) }

// scanFile reads the columns event and body.
func scanFile(row scanner) (cyclone.File, error) {
	var f cyclone.File
	var event cyclone.EventID
	var body []byte
	if err := row.Scan(&event, &body); err != nil {
		return f, err
	}
	err := json.Unmarshal(body, &f)
	f.Event = event
	return f, err
}
