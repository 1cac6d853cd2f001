package cyclone

import (
	"context"
	"time"
)

// Stream says where a line came from.
type Stream string

// The streams. System lines are Cyclone's own words.
const (
	Stdout Stream = "stdout"
	Stderr Stream = "stderr"
	System Stream = "system"
)

// Line is one line of an event's log. N counts from 1 across the event, with
// no gaps and no repeats; it is the resume point of every reader.
type Line struct {
	N      int64     `json:"n"`
	Time   time.Time `json:"t"` // whole milliseconds, UTC
	Stage  Stage     `json:"stage"`
	Step   string    `json:"step"`
	Stream Stream    `json:"stream"`
	Text   string    `json:"text"` // without the line end
}

// Chunk is a run of consecutive lines, encoded by logchunk. It is written
// once and never changed.
type Chunk struct {
	First int64 // number of the first line
	Count int64 // at least 1
	Data  []byte
}

// Last is the number of the chunk's last line.
func (c Chunk) Last() int64 { return c.First + c.Count - 1 }

// LogStore keeps the chunks of events' logs.
type LogStore interface {
	// Append stores a chunk that begins right after the last stored line.
	// A chunk that is already there is accepted and changes nothing; one that
	// leaves a gap or overlaps in part is ErrConflict.
	Append(ctx context.Context, event EventID, c Chunk) error
	// Chunks returns the chunks from the one that holds line from on, in
	// order, at most limit of them.
	Chunks(ctx context.Context, event EventID, from int64, limit int) ([]Chunk, error)
	// Last is the number of the last stored line, 0 for an empty log.
	Last(ctx context.Context, event EventID) (int64, error)
	// Delete removes a log.
	Delete(ctx context.Context, event EventID) error
}

// Output receives what a step prints, in order of arrival. Bytes may end
// anywhere; the receiver splits lines. Implementations are safe for
// concurrent use and do not keep p.
type Output interface {
	Write(stream Stream, p []byte)
}
