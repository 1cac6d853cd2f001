package embedded

import (
	"bytes"
	"context"
	"database/sql"
	"errors"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/paging"
)

// Logs keeps the chunks of events' logs.
type Logs struct{ db *db }

const lastLine = "SELECT coalesce((SELECT first + count - 1 FROM chunks WHERE event = ? ORDER BY first DESC LIMIT 1), 0)"

// Append stores a chunk that begins right after the last stored line. A chunk
// that is already there, byte for byte, is accepted and changes nothing; one
// that leaves a gap or overlaps otherwise is ErrConflict.
func (s *Logs) Append(ctx context.Context, event cyclone.EventID, c cyclone.Chunk) error {
	if c.First < 1 || c.Count < 1 || len(c.Data) == 0 {
		return cyclone.Invalid("chunk", "first is %d, count %d, and it has %d bytes; all must be at least 1", c.First, c.Count, len(c.Data))
	}
	err := s.db.write(ctx, func(t *tx) error {
		var last int64
		if err := t.find(lastLine, []any{event}, &last); err != nil {
			return err
		}
		if c.First != last+1 {
			return sameChunk(t, event, c, last)
		}
		_, err := t.exec("INSERT INTO chunks (event, first, count, data) VALUES (?, ?, ?, ?)", event, c.First, c.Count, c.Data)
		return err
	})
	return wrap(err, "append to log of event %s", event)
}

func sameChunk(t *tx, event cyclone.EventID, c cyclone.Chunk, last int64) error {
	var data []byte
	err := t.find("SELECT data FROM chunks WHERE event = ? AND first = ? AND count = ?", []any{event, c.First, c.Count}, &data)
	if err == nil && bytes.Equal(data, c.Data) {
		return nil
	}
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	return cyclone.Conflict("log of event %s ends at line %d; lines %d to %d do not follow it", event, last, c.First, c.Last())
}

// Chunks returns the chunks from the one that holds line from on, in order, at
// most limit of them.
func (s *Logs) Chunks(ctx context.Context, event cyclone.EventID, from int64, limit int) ([]cyclone.Chunk, error) {
	from = max(from, 1)
	chunks, err := all(ctx, s.db, func(row scanner) (cyclone.Chunk, error) {
		var c cyclone.Chunk
		return c, row.Scan(&c.First, &c.Count, &c.Data)
	}, `SELECT first, count, data FROM chunks
		WHERE event = ? AND first >= coalesce((SELECT max(first) FROM chunks WHERE event = ? AND first <= ?), 1)
		AND first + count > ? ORDER BY first LIMIT ?`, event, event, from, from, paging.AtMost(limit))
	return chunks, wrap(err, "read log of event %s", event)
}

// Last is the number of the last stored line, 0 for an empty log.
func (s *Logs) Last(ctx context.Context, event cyclone.EventID) (int64, error) {
	var last int64
	err := s.db.row(ctx, lastLine, event).Scan(&last)
	return last, wrap(err, "read end of log of event %s", event)
}

// Delete removes a log; one that is not there is no error.
func (s *Logs) Delete(ctx context.Context, event cyclone.EventID) error {
	return wrap(deleteLog(ctx, s.db, event), "delete log of event %s", event)
}

// chunkBatch bounds the chunks that go in one transaction: SQLite reads every
// page of what it deletes, and others' writes wait meanwhile.
const chunkBatch = 64

// deleteLog deletes the last chunks first, so that what is left after an
// interruption is still the beginning of the log.
func deleteLog(ctx context.Context, d *db, event cyclone.EventID) error {
	for {
		var n int64
		err := d.write(ctx, func(t *tx) (err error) {
			n, err = t.exec(`DELETE FROM chunks WHERE seq IN
				(SELECT seq FROM chunks WHERE event = ? ORDER BY first DESC LIMIT ?)`, event, chunkBatch)
			return err
		})
		if err != nil || n < chunkBatch {
			return err
		}
	}
}
