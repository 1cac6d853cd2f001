package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/logchunk"
)

// timeForm writes times with the whole milliseconds that lines carry.
const timeForm = "2006-01-02T15:04:05.000Z"

// appendLine writes a line as JSON, without braces. It is what a million
// lines go through, so it does not use reflection.
func appendLine(b []byte, l *cyclone.Line) []byte {
	b = append(b, `"n":`...)
	b = strconv.AppendInt(b, l.N, 10)
	b = append(b, `,"t":"`...)
	b = l.Time.UTC().AppendFormat(b, timeForm)
	b = append(b, `","stage":`...)
	b = appendString(b, string(l.Stage))
	b = append(b, `,"step":`...)
	b = appendString(b, l.Step)
	b = append(b, `,"stream":`...)
	b = appendString(b, string(l.Stream))
	b = append(b, `,"text":`...)
	return appendString(b, l.Text)
}

// appendString writes a JSON string; what needs escaping goes the long way.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return appendEscaped(b, s)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

func appendEscaped(b []byte, s string) []byte {
	quoted, err := json.Marshal(s)
	if err != nil {
		return append(b, `""`...) // cannot be: every string has a JSON form
	}
	return append(b, quoted...)
}

// chunksAtOnce bounds how much of a log is in memory while it is read: it is
// how many chunks a reader begins with. Of small ones it then takes more at
// once, of large ones fewer.
const (
	chunksAtOnce     = 4
	chunksAtOnceMost = 64
	fewBytes         = 64 << 10
	manyBytes        = 512 << 10
)

// chunkTime bounds the reading of some chunks: a reader whose store does not
// answer is told to come again instead of waiting for ever.
const chunkTime = 30 * time.Second

// chunkReader reads a log's chunks in order.
type chunkReader struct {
	logs   cyclone.LogStore
	event  cyclone.EventID
	atOnce int // 0 before the first reading
}

// read returns some chunks from the one on that holds the line, or none at the
// log's end.
func (c *chunkReader) read(ctx context.Context, from int64) ([]cyclone.Chunk, error) {
	if c.atOnce == 0 {
		c.atOnce = chunksAtOnce
	}
	limited, cancel := context.WithTimeout(ctx, chunkTime)
	defer cancel()
	chunks, err := c.logs.Chunks(limited, c.event, from, c.atOnce)
	if err != nil {
		return nil, fmt.Errorf("read log of event %s: %w", c.event, err)
	}
	size := 0
	for _, chunk := range chunks {
		size += len(chunk.Data)
	}
	switch {
	case size > manyBytes:
		c.atOnce = max(c.atOnce/2, 1)
	case size < fewBytes && len(chunks) == c.atOnce:
		c.atOnce = min(c.atOnce*2, chunksAtOnceMost)
	}
	return chunks, nil
}

// eachLines calls fn with the stored lines from..upTo, in order and in parts.
// It returns an error when the log does not reach that far.
func (s *Server) eachLines(ctx context.Context, id cyclone.EventID, from, upTo int64, fn func([]cyclone.Line) error) error {
	reader := chunkReader{logs: s.Logs, event: id}
	for from <= upTo {
		chunks, err := reader.read(ctx, from)
		if err != nil {
			return err
		}
		before := from
		for _, chunk := range chunks {
			lines, err := linesOf(chunk, from, upTo)
			if err != nil {
				return fmt.Errorf("read log of event %s: %w", id, err)
			}
			if len(lines) == 0 {
				continue
			}
			if err := fn(lines); err != nil {
				return err
			}
			from = lines[len(lines)-1].N + 1
		}
		if from == before {
			return fmt.Errorf("read log of event %s: it ended at line %d, and line %d was there before", id, from-1, upTo)
		}
	}
	return nil
}

// linesOf are the lines from..upTo of a chunk.
func linesOf(chunk cyclone.Chunk, from, upTo int64) ([]cyclone.Line, error) {
	if chunk.Last() < from || chunk.First > upTo {
		return nil, nil
	}
	lines, err := logchunk.Decode(chunk)
	if err != nil {
		return nil, fmt.Errorf("lines %d to %d: %w", chunk.First, chunk.Last(), err)
	}
	first := max(from-chunk.First, 0)
	last := min(upTo-chunk.First+1, int64(len(lines)))
	if first >= last {
		return nil, fmt.Errorf("lines %d to %d: only %d are in the chunk", chunk.First, chunk.Last(), len(lines))
	}
	return lines[first:last], nil
}

// stampOf is a line's time in the text form of a log.
func stampOf(b []byte, t time.Time) []byte {
	return append(t.UTC().AppendFormat(b, timeForm), ' ')
}
