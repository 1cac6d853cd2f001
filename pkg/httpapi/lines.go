package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

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

// frameSize is about how large a frame of lines gets.
const frameSize = 64 << 10

// lineFrames packs lines into frames of the stream.
func lineFrames(lines []cyclone.Line) [][]byte {
	var frames [][]byte
	var b []byte
	for i := range lines {
		if b == nil {
			b = append(make([]byte, 0, frameSize+4<<10), `{"type":"lines","lines":[{`...)
		} else {
			b = append(b, `,{`...)
		}
		b = append(appendLine(b, &lines[i]), '}')
		if len(b) >= frameSize || i == len(lines)-1 {
			frames = append(frames, append(b, `]}`...))
			b = nil
		}
	}
	return frames
}

// chunksAtOnce bounds how much of a log is in memory while it is read.
const chunksAtOnce = 4

// eachLines calls fn with the stored lines from..upTo, in order and in parts.
func (s *Server) eachLines(ctx context.Context, id cyclone.EventID, from, upTo int64, fn func([]cyclone.Line) error) error {
	for from <= upTo {
		chunks, err := s.Logs.Chunks(ctx, id, from, chunksAtOnce)
		if err != nil {
			return fmt.Errorf("read log of event %s: %w", id, err)
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
			return nil // there is no more
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
	return lines[first:last], nil
}

// frameCacheSize bounds the bytes of encoded frames that are kept for viewers
// which follow the same log.
const frameCacheSize = 16 << 20

// frameCache keeps the newest live chunks as frames, so that five hundred
// viewers of one log cost one decoding. The zero value is ready to use.
type frameCache struct {
	mu      sync.Mutex
	entries map[frameKey]*frameEntry
	order   []frameKey
	bytes   int
}

type frameKey struct {
	event cyclone.EventID
	first int64
	count int64
}

type frameEntry struct {
	once     sync.Once
	messages []*websocket.PreparedMessage
	size     int
	err      error
}

// frames returns the frames of a whole chunk.
func (f *frameCache) frames(id cyclone.EventID, c cyclone.Chunk) ([]*websocket.PreparedMessage, error) {
	key := frameKey{id, c.First, c.Count}
	f.mu.Lock()
	e := f.entries[key]
	if e == nil {
		e = &frameEntry{}
		if f.entries == nil {
			f.entries = map[frameKey]*frameEntry{}
		}
		f.entries[key] = e
	}
	f.mu.Unlock()
	e.once.Do(func() {
		e.prepare(c)
		f.keep(key, e.size)
	})
	return e.messages, e.err
}

func (e *frameEntry) prepare(c cyclone.Chunk) {
	lines, err := logchunk.Decode(c)
	if err != nil {
		e.err = err
		return
	}
	for _, frame := range lineFrames(lines) {
		m, err := websocket.NewPreparedMessage(websocket.TextMessage, frame)
		if err != nil {
			e.err = err
			return
		}
		e.messages = append(e.messages, m)
		e.size += 2 * len(frame) // the message, and its form on the wire
	}
}

// keep counts a new entry and forgets the oldest beyond the bound.
func (f *frameCache) keep(key frameKey, size int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.order = append(f.order, key)
	f.bytes += size
	for f.bytes > frameCacheSize && len(f.order) > 1 {
		oldest := f.order[0]
		f.order = f.order[1:]
		f.bytes -= f.entries[oldest].size
		delete(f.entries, oldest)
	}
}

// stampOf is a line's time in the text form of a log.
func stampOf(b []byte, t time.Time) []byte {
	return append(t.UTC().AppendFormat(b, timeForm), ' ')
}
