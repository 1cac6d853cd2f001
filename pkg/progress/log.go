package progress

import (
	"context"
	"errors"
	"fmt"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/livelog"
	"cyclone/pkg/logchunk"
)

// Append stores a chunk of the log and then shows it to viewers. A chunk that
// is stored already, because the worker sent it again after a lost connection,
// changes nothing. ErrConflict when the attempt is over, or the chunk leaves a
// gap or overlaps in part.
//
// Invariant: a line that a viewer saw is in the stored log, under the same
// number; so nothing is published before it is stored, and the order of both
// is one and the same.
func (p *Progress) Append(ctx context.Context, f cyclone.Fence, c cyclone.Chunk) error {
	defer p.lock(f.Event)()
	if _, err := p.check(ctx, f); err != nil {
		return fmt.Errorf("append log of event %s: %w", f.Event, err)
	}
	if err := p.Logs.Append(ctx, f.Event, c); err != nil {
		return fmt.Errorf("append log of event %s: %w", f.Event, err)
	}
	if p.advance(f.Event, c.Last()) {
		p.Metrics.LogStored(c)
		p.Hub.Publish(string(f.Event), livelog.Message{Size: len(c.Data), Value: c})
	}
	return nil
}

// advance remembers the last line stored and reports whether it is new here.
func (p *Progress) advance(id cyclone.EventID, last int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tails == nil {
		p.tails = map[cyclone.EventID]int64{}
	}
	if last <= p.tails[id] {
		return false
	}
	p.tails[id] = last
	return true
}

// Partial shows an unfinished line to those who watch. It is not stored; its
// finished form follows under the same number.
func (p *Progress) Partial(f cyclone.Fence, l cyclone.Line) {
	p.mu.Lock()
	tail, known := p.tails[f.Event]
	p.mu.Unlock()
	if known && l.N <= tail {
		return // came late: its finished form is there already
	}
	p.Hub.Publish(string(f.Event), livelog.Message{Size: len(l.Text), Value: l})
}

// say appends a line of the server's own to the log, through the same path as
// a worker's and only for an attempt that no worker holds. A chunk that the
// former worker sent through another server may still arrive in between; then
// the line goes behind it.
func (p *Progress) say(ctx context.Context, f cyclone.Fence, text string) error {
	var err error
	for range maxTries {
		err = p.sayNow(ctx, f, text)
		if !errors.Is(err, cyclone.ErrConflict) {
			return err
		}
		if _, held := p.check(ctx, f); held != nil {
			return held
		}
	}
	return err
}

func (p *Progress) sayNow(ctx context.Context, f cyclone.Fence, text string) error {
	last, err := p.Logs.Last(ctx, f.Event)
	if err != nil {
		return fmt.Errorf("append to log of event %s: %w", f.Event, err)
	}
	c, err := logchunk.Encode([]cyclone.Line{{N: last + 1, Time: p.now(), Stream: cyclone.System, Text: text}})
	if err != nil {
		return err
	}
	return p.Append(ctx, f, c)
}

// forget drops what is kept in memory about an event.
func (p *Progress) forget(id cyclone.EventID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.tails, id)
}
