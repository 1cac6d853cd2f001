package mail

import (
	"context"
	"fmt"
	"io"
)

// attachment is what of the log goes with a message.
type attachment struct {
	name string // empty: nothing does
	kind string // its media type
	size int64  // in bytes, before it is encoded for mail
	// says, in the text of the message, what is missing; empty when the log
	// is complete.
	says string
	// more is true when the event's page shows more of the log.
	more  bool
	write func(context.Context, io.Writer) error
}

// encoded is about how many bytes the attachment takes in a message.
func (a *attachment) encoded() int64 { return a.size/57*78 + 78 } // base64 in lines of 76 characters

// whole is the complete log; nil when there is none, or it is too large.
func (l *eventLog) whole(context.Context) (*attachment, error) {
	if !l.complete || l.lines == 0 {
		return nil, nil
	}
	name := fmt.Sprintf("%s-%d.log", l.event.Project, l.event.Number)
	if l.lines == l.headLines {
		return &attachment{name: name, kind: "text/plain; charset=UTF-8", size: l.size, write: bytesOf(l.head)}, nil
	}
	return &attachment{name: name + ".gz", kind: "application/gzip", size: l.zipped, write: l.copyZipped}, nil
}

// excerpt is the beginning and the end of a log that cannot be attached as a
// whole, made when it is first asked for; nil when they are all there is.
func (l *eventLog) excerpt(ctx context.Context) (*attachment, error) {
	if l.part != nil || l.lines == 0 {
		return l.part, nil
	}
	end, last, err := l.readEnd(ctx)
	if err != nil {
		return nil, err
	}
	l.lines = max(l.lines, last)
	shown := int64(len(end.lines))
	out := last - l.headLines - shown
	if out <= 0 {
		return nil, nil
	}
	mark := fmt.Sprintf("[cyclone] %d lines are left out here, from line %d to %d", out, l.headLines+1, last-shown)
	zipped, err := zipExcerpt(l.head, mark, end)
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("%s-%d-excerpt.log.gz", l.event.Project, l.event.Number)
	l.part = &attachment{
		name: name, kind: "application/gzip", size: int64(len(zipped)), more: true, write: bytesOf(zipped),
		says: fmt.Sprintf("The log has %d lines, which is too much for a mail: its first %d and last %d are attached as %s.", last, l.headLines, shown, name),
	}
	return l.part, nil
}

// nothing is no attachment, and says why.
func (l *eventLog) nothing(context.Context) (*attachment, error) {
	if l.lines == 0 {
		return &attachment{says: "The event has no log."}, nil
	}
	return &attachment{more: true, says: fmt.Sprintf("The complete log (%d lines) is larger than the mail server takes.", l.lines)}, nil
}

func bytesOf(b []byte) func(context.Context, io.Writer) error {
	return func(_ context.Context, w io.Writer) error {
		_, err := w.Write(b)
		return err
	}
}
