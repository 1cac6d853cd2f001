package embedded

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"

	"cyclone/pkg/cyclone"
)

// Events keeps events and is the queue.
type Events struct{ db *db }

// Create stores a new event and sets its Number and Run.Revision, its ID
// unless it has one, and CreatedAt where that is zero. ErrConflict when
// Run.Key or the ID is taken, but not by this very event: a call whose outcome
// is not known may be repeated.
func (s *Events) Create(ctx context.Context, e *cyclone.Event) error {
	stored := *e
	if stored.ID == "" {
		id, err := uuid.NewV7()
		if err != nil {
			return wrap(err, "make event id")
		}
		stored.ID = cyclone.EventID(id.String())
	}
	if stored.CreatedAt.IsZero() {
		stored.CreatedAt = cyclone.Stamp(time.Now())
	}
	stored.Run.Revision = 1
	// By these a caller who repeats the call knows the event for its own.
	e.ID, e.CreatedAt = stored.ID, stored.CreatedAt
	err := s.db.write(ctx, func(t *tx) error { return insertEvent(t, &stored) })
	if err != nil {
		return wrap(err, "create event of project %s", e.Project)
	}
	e.Number, e.Run.Revision = stored.Number, 1
	return nil
}

// insertEvent gives the event the project's next number. There is one writing
// connection, so nobody else can take the number or the key in between.
func insertEvent(t *tx, e *cyclone.Event) error {
	own, err := t.ownEvent(e)
	if own || err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	var other string
	if errors.Is(err, sql.ErrNoRows) && e.Run.Key != "" {
		err = t.find("SELECT id FROM events WHERE key = ?", []any{e.Run.Key}, &other)
		if err == nil {
			return cyclone.Conflict("event %s exists already for %q", other, e.Run.Key)
		}
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	err = t.find("SELECT coalesce(max(number), 0) + 1 FROM events WHERE project = ?", []any{e.Project}, &e.Number)
	if err != nil {
		return err
	}
	event, run, err := encodeEvent(e)
	if err != nil {
		return err
	}
	key := sql.NullString{String: e.Run.Key, Valid: e.Run.Key != ""}
	_, err = t.exec(`INSERT INTO events
		(id, project, number, status, kind, branch, created, key, revision, notice_due, event, run)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		e.ID, e.Project, e.Number, e.Status, e.Trigger.Kind, e.Branch, e.CreatedAt.UnixMilli(),
		key, e.Run.Revision, noticeDue(e), event, run)
	return err
}

// ownEvent reports whether e is there already, and sets its Number. ErrConflict
// when another event has its id, sql.ErrNoRows when none has.
func (t *tx) ownEvent(e *cyclone.Event) (bool, error) {
	var there cyclone.Event
	var key sql.NullString
	var created int64
	err := t.find("SELECT project, number, key, created FROM events WHERE id = ?", []any{e.ID},
		&there.Project, &there.Number, &key, &created)
	if err != nil {
		return false, err
	}
	if there.Project != e.Project || key.String != e.Run.Key || created != e.CreatedAt.UnixMilli() {
		return false, cyclone.Conflict("event %s exists already", e.ID)
	}
	e.Number = there.Number
	return true, nil
}

// Find returns ErrNotFound when there is none.
func (s *Events) Find(ctx context.Context, id cyclone.EventID) (*cyclone.Event, error) {
	e, err := scanEvent(s.db.row(ctx, "SELECT event, run FROM events WHERE id = ?", id))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, cyclone.NotFound("event %q does not exist", id)
	}
	return e, wrap(err, "find event %s", id)
}

// FindByKey returns the event that was created with the key, or ErrNotFound.
func (s *Events) FindByKey(ctx context.Context, key string) (*cyclone.Event, error) {
	e, err := scanEvent(s.db.row(ctx, "SELECT event, run FROM events WHERE key = ?", key))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, cyclone.NotFound("there is no event for %q", key)
	}
	return e, wrap(err, "find event for %q", key)
}

// Replace writes e where the stored revision equals e.Run.Revision and then
// increments e.Run.Revision; ErrConflict when somebody else wrote meanwhile or
// when it would change a final status, ErrNotFound when there is none.
func (s *Events) Replace(ctx context.Context, e *cyclone.Event) error {
	stored := *e
	stored.Run.Revision++
	err := s.db.write(ctx, func(t *tx) error { return replaceEvent(t, &stored, e.Run.Revision) })
	if err != nil {
		return wrap(err, "replace event %s", e.ID)
	}
	e.Run.Revision = stored.Run.Revision
	return nil
}

func replaceEvent(t *tx, e *cyclone.Event, revision int64) error {
	var at int64
	var status cyclone.Status
	err := t.find("SELECT revision, status FROM events WHERE id = ?", []any{e.ID}, &at, &status)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return cyclone.NotFound("event %q does not exist", e.ID)
	case err != nil:
		return err
	case at != revision:
		return cyclone.Conflict("event %s was changed by somebody else meanwhile", e.ID)
	case status.Final() && e.Status != status:
		return cyclone.Conflict("event %s is over: it stays %s and cannot become %s", e.ID, status, e.Status)
	}
	return updateEvent(t, e)
}

// Delete removes a final event, its log and its files. ErrNotFound when there is none,
// ErrConflict when it is not final or has notices still to be told. The event
// itself goes last: one that was interrupted is called again.
func (s *Events) Delete(ctx context.Context, id cyclone.EventID) error {
	err := s.db.write(ctx, func(t *tx) error { return mayDelete(t, id) })
	if err == nil {
		// A final event gets no more lines or files, so nothing is added meanwhile.
		err = deleteLog(ctx, s.db, id)
	}
	if err == nil {
		err = deleteFiles(ctx, s.db, id)
	}
	if err == nil {
		err = s.db.write(ctx, func(t *tx) error {
			if err := mayDelete(t, id); err != nil {
				return err
			}
			_, err := t.exec("DELETE FROM events WHERE id = ?", id)
			return err
		})
	}
	return wrap(err, "delete event %s", id)
}

func mayDelete(t *tx, id cyclone.EventID) error {
	var status cyclone.Status
	var notice sql.NullInt64
	err := t.find("SELECT status, notice_due FROM events WHERE id = ?", []any{id}, &status, &notice)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return cyclone.NotFound("event %q does not exist", id)
	case err != nil:
		return err
	case !status.Final():
		return cyclone.Conflict("event %s is %s: only one that is over can be deleted", id, status)
	case notice.Valid:
		return cyclone.Conflict("event %s has notices that are still to be told", id)
	}
	return nil
}

// updateEvent writes what may change of an event.
func updateEvent(t *tx, e *cyclone.Event) error {
	event, run, err := encodeEvent(e)
	if err != nil {
		return err
	}
	_, err = t.exec(`UPDATE events SET status = ?, kind = ?, branch = ?, revision = ?, notice_due = ?, event = ?, run = ?
		WHERE id = ?`, e.Status, e.Trigger.Kind, e.Branch, e.Run.Revision, noticeDue(e), event, run, e.ID)
	return err
}

// scanEvent reads the columns event and run.
func scanEvent(row scanner) (*cyclone.Event, error) {
	var event, run []byte
	if err := row.Scan(&event, &run); err != nil {
		return nil, err
	}
	var e cyclone.Event
	if err := json.Unmarshal(event, &e); err != nil {
		return nil, err
	}
	return &e, json.Unmarshal(run, &e.Run)
}

// encodeEvent makes the columns event and run, with all times in whole
// milliseconds.
func encodeEvent(e *cyclone.Event) (event, run string, err error) {
	c := stamped(e)
	if event, err = text(c); err != nil {
		return "", "", err
	}
	run, err = text(&c.Run)
	return event, run, err
}

// noticeDue is when an event's next notice is to be told, in
// milliseconds. Unlike Event.NoticeDue it tells a zero time, which is due at
// once, from no notice.
func noticeDue(e *cyclone.Event) sql.NullInt64 {
	var due sql.NullInt64
	for _, n := range e.Run.Notices {
		if at := n.NextAt.UnixMilli(); !n.Done && (!due.Valid || at < due.Int64) {
			due = sql.NullInt64{Int64: at, Valid: true}
		}
	}
	return due
}
