package mail

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/logchunk"
)

const (
	// plainLimit is the size in bytes up to which a log is attached as it is.
	plainLimit = 1 << 20
	// tailLines is how many of the failing command's last lines are quoted.
	tailLines = 30
	// batch is how many chunks are held in memory at once.
	batch = 4
)

// eventLog is what one pass over an event's log found.
type eventLog struct {
	lines  int64
	size   int64    // bytes of the plain text
	small  []byte   // the whole text, when size is at most plainLimit
	zipped int64    // bytes of the compressed text, else
	tail   []string // of the failing command
}

// readLog goes through a log once, holding at most plainLimit of it.
func readLog(ctx context.Context, logs cyclone.LogStore, e *cyclone.Event) (*eventLog, error) {
	l := &eventLog{}
	var count counter
	zip := gzip.NewWriter(&count)
	write := func(line cyclone.Line) error {
		l.lines++
		l.size += int64(len(line.Text)) + 1
		l.quote(e.Error, line)
		if l.size <= plainLimit {
			l.small = append(append(l.small, line.Text...), '\n')
			return nil
		}
		if l.small != nil {
			// It has just become large: what is compressed begins with it.
			if _, err := zip.Write(l.small); err != nil {
				return err
			}
			l.small = nil
		}
		_, err := io.WriteString(zip, line.Text+"\n")
		return err
	}
	if err := eachLine(ctx, logs, e.ID, write); err != nil {
		return nil, err
	}
	if err := zip.Close(); err != nil {
		return nil, err
	}
	l.zipped = int64(count)
	return l, nil
}

// quote keeps the line when it is one of the last of the failing command.
func (l *eventLog) quote(f *cyclone.Failure, line cyclone.Line) {
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
	l.tail = append(l.tail, clean(line.Text, 300))
}

// eachLine calls f for every line of a log in order.
func eachLine(ctx context.Context, logs cyclone.LogStore, event cyclone.EventID, f func(cyclone.Line) error) error {
	for from := int64(1); ; {
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

// copyLog writes the log as it is attached.
func (l *eventLog) copyLog(ctx context.Context, logs cyclone.LogStore, event cyclone.EventID, w io.Writer) error {
	if l.small != nil {
		_, err := io.Copy(w, bytes.NewReader(l.small))
		return err
	}
	zip := gzip.NewWriter(w)
	write := func(line cyclone.Line) error {
		_, err := io.WriteString(zip, line.Text+"\n")
		return err
	}
	if err := eachLine(ctx, logs, event, write); err != nil {
		return err
	}
	return zip.Close()
}

// attachment is the name of the attached log, or "" when there is nothing to attach.
func (l *eventLog) attachment(e *cyclone.Event) string {
	name := fmt.Sprintf("%s-%d.log", e.Project, e.Number)
	switch {
	case l.lines == 0:
		return ""
	case l.small != nil:
		return name
	}
	return name + ".gz"
}

// encoded is about how many bytes the attachment takes in a message.
func (l *eventLog) encoded() int64 {
	size := l.zipped
	if l.small != nil {
		size = l.size
	}
	return size/57*78 + 78 // base64 in lines of 76 characters
}

// counter counts the bytes that are written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
