package mail

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/logchunk"
)

const (
	// plainLimit is the size in bytes up to which a log is attached as it is.
	plainLimit = 1 << 20
	// textFactor times the limit of the attachment is how much text of a log
	// is compressed to find out whether it fits.
	textFactor = 12
	// endLines and endLimit (bytes) bound the end of an excerpt; its beginning
	// is bounded by plainLimit.
	endLines = 20_000
	endLimit = 4 << 20
	// tailLines is how many of the failing command's last lines are quoted.
	tailLines = 30
	// batch is how many chunks are held in memory at once.
	batch = 4
)

// errEnough ends the reading of a log that is too large to be attached.
var errEnough = errors.New("the log is too large for a mail")

// eventLog is what one pass over an event's log found. The pass ends early
// when the log turns out too large to be attached.
type eventLog struct {
	logs  cyclone.LogStore
	event *cyclone.Event

	complete  bool   // the pass came to the end
	lines     int64  // that were read
	size      int64  // bytes of their text
	zipped    int64  // bytes of their compressed text
	head      []byte // the first lines' text, at most plainLimit
	headLines int64
	tail      []string // last lines of the failing command, as they are
	part      *attachment
}

// readLog goes through a log once, holding at most plainLimit of it. One whose
// compressed text is larger than limit is not to be attached as a whole.
func readLog(ctx context.Context, logs cyclone.LogStore, e *cyclone.Event, limit int64) (*eventLog, error) {
	l := &eventLog{logs: logs, event: e}
	var zipped counter
	zip := compressor(&zipped)
	err := eachLine(ctx, logs, e.ID, 1, func(line cyclone.Line) error {
		l.note(line)
		if _, err := io.WriteString(zip, line.Text+"\n"); err != nil {
			return err
		}
		if int64(zipped) > limit || l.size > textFactor*limit {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		_, err = l.excerpt(ctx) // and with it the failing command's last lines
		return l, err
	}
	if err != nil {
		return nil, err
	}
	if err := zip.Close(); err != nil {
		return nil, err
	}
	l.complete, l.zipped = true, int64(zipped)
	return l, nil
}

// note counts a line of the first pass.
func (l *eventLog) note(line cyclone.Line) {
	l.lines++
	l.size += int64(len(line.Text)) + 1
	l.quote(line)
	if l.size <= plainLimit {
		l.head = append(append(l.head, line.Text...), '\n')
		l.headLines++
	}
}

// quote keeps the line when it is one of the last of the failing command.
func (l *eventLog) quote(line cyclone.Line) {
	f := l.event.Error
	if f == nil || f.Stage != "" && line.Stage != f.Stage || f.Step != "" && line.Step != f.Step {
		return
	}
	if line.Stream == cyclone.System && len(line.Text) > 2 && line.Text[:2] == "$ " {
		l.tail = l.tail[:0]
		return
	}
	if len(l.tail) == tailLines {
		l.tail = append(l.tail[:0], l.tail[1:]...)
	}
	l.tail = append(l.tail, line.Text)
}

// eachLine calls f for every line of a log from one on, in order.
func eachLine(ctx context.Context, logs cyclone.LogStore, event cyclone.EventID, from int64, f func(cyclone.Line) error) error {
	for {
		chunks, err := logs.Chunks(ctx, event, from, batch)
		if err != nil {
			return fmt.Errorf("read log of event %s from line %d: %w", event, from, err)
		}
		if len(chunks) == 0 {
			return nil
		}
		for _, c := range chunks {
			lines, err := logchunk.Decode(c)
			if err != nil {
				return fmt.Errorf("read log of event %s from line %d: %w", event, c.First, err)
			}
			for _, line := range lines {
				if line.N < from {
					continue
				}
				if err := f(line); err != nil {
					return err
				}
			}
			from = max(from, c.Last()+1)
		}
	}
}

// copyZipped writes the whole log compressed, reading it once more: it is not
// held in memory for as long as slow mail servers take.
func (l *eventLog) copyZipped(ctx context.Context, w io.Writer) error {
	zip := compressor(w)
	err := eachLine(ctx, l.logs, l.event.ID, 1, func(line cyclone.Line) error {
		_, err := io.WriteString(zip, line.Text+"\n")
		return err
	})
	if err != nil {
		return err
	}
	return zip.Close()
}

// compressor is for large logs: what the last tenth of size costs in time is
// not worth it.
func compressor(w io.Writer) *gzip.Writer {
	zip, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return gzip.NewWriter(w) // there is such a level
	}
	return zip
}

// ending is the end of a log under construction.
type ending struct {
	lines []string
	size  int
}

func (e *ending) add(text string) {
	e.lines = append(e.lines, text)
	for e.size += len(text) + 1; e.size > endLimit && len(e.lines) > 1; {
		e.size -= len(e.lines[0]) + 1
		e.lines = e.lines[1:]
	}
}

// readEnd reads the last lines of a log whose first ones are in head.
func (l *eventLog) readEnd(ctx context.Context) (*ending, int64, error) {
	last, err := l.logs.Last(ctx, l.event.ID)
	if err != nil {
		return nil, 0, fmt.Errorf("find end of log of event %s: %w", l.event.ID, err)
	}
	end := &ending{}
	// Lines can be long: of such a log fewer are read, twice as many as are
	// likely to fit.
	wanted := min(endLines, 2*endLimit*l.lines/max(l.size, 1)+1)
	from := max(l.headLines, last-wanted) + 1
	err = eachLine(ctx, l.logs, l.event.ID, from, func(line cyclone.Line) error {
		end.add(line.Text)
		if !l.complete {
			l.quote(line)
		}
		return nil
	})
	return end, last, err
}

// counter counts the bytes that are written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// zipExcerpt compresses beginning and end with a mark between.
func zipExcerpt(head []byte, mark string, end *ending) ([]byte, error) {
	var out bytes.Buffer
	zip := compressor(&out)
	if _, err := zip.Write(head); err != nil {
		return nil, err
	}
	if _, err := io.WriteString(zip, mark+"\n"); err != nil {
		return nil, err
	}
	for _, line := range end.lines {
		if _, err := io.WriteString(zip, line+"\n"); err != nil {
			return nil, err
		}
	}
	if err := zip.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
