package httpapi

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/livelog"
)

// lookouts look into the store for viewers that hear nothing: once for all
// viewers of an event, so that hundreds of them cost as much as one. The zero
// value is ready to use.
type lookouts struct {
	mu   sync.Mutex
	open map[cyclone.EventID]*lookout
}

// lookout is shared by the viewers of one event.
type lookout struct {
	viewers int // guarded by lookouts.mu

	mu   sync.Mutex
	at   time.Time // of the last look
	seen glimpse
	err  error // why the last look saw nothing
}

// glimpse is how far an event has come.
type glimpse struct {
	revision int64 // of the event
	final    bool
	last     int64 // stored line
	// told is the first of the lines up to last that viewers heard of by this
	// look, and revisionTold whether they heard of the event's change.
	told         int64
	revisionTold bool
}

// news reports whether there is something that a viewer has neither sent nor
// will hear of: it has the lines before next, and saw the revision.
func (g glimpse) news(next, revision int64) bool {
	if g.last >= next && g.told > next {
		return true
	}
	return g.revision != revision && !g.revisionTold || g.final && g.revision == revision
}

// join returns the lookout of an event, and the function that leaves it.
func (l *lookouts) join(id cyclone.EventID) (*lookout, func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o := l.open[id]
	if o == nil {
		o = &lookout{}
		if l.open == nil {
			l.open = map[cyclone.EventID]*lookout{}
		}
		l.open[id] = o
	}
	o.viewers++
	return o, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		o.viewers--
		if o.viewers == 0 {
			delete(l.open, id)
		}
	}
}

// begin notes how far a viewer came on its own: what is new after that can be
// told to all.
func (o *lookout) begin(revision, last int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.seen.revision == 0 {
		o.seen = glimpse{revision: revision, last: last, told: last + 1}
	}
}

// look returns what somebody saw a moment ago, or looks itself. Others wait
// meanwhile and then share what was seen, also that the store does not answer.
func (o *lookout) look(ctx context.Context, s *Server, id cyclone.EventID) (glimpse, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if time.Since(o.at) < lookEvery/2 {
		return o.seen, o.err
	}
	limited, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	seen, err := o.fresh(limited, s, id)
	if ctx.Err() != nil {
		return o.seen, context.Cause(ctx) // this viewer has left; the next one looks
	}
	if err == nil {
		o.seen = seen
	}
	o.at, o.err = time.Now(), err
	return o.seen, err
}

// fresh looks into the store. What is new since the look before is published,
// as if the worker were connected here: hundreds of viewers then cost one
// reading of the log.
func (o *lookout) fresh(ctx context.Context, s *Server, id cyclone.EventID) (glimpse, error) {
	e, err := s.Events.Find(ctx, id)
	if errors.Is(err, cyclone.ErrNotFound) {
		return glimpse{final: true}, nil // it was deleted, which is an end too
	}
	if err != nil {
		return glimpse{}, fmt.Errorf("find event: %w", err)
	}
	last, err := s.Logs.Last(ctx, id)
	if err != nil {
		return glimpse{}, fmt.Errorf("find end of log: %w", err)
	}
	seen := glimpse{revision: e.Run.Revision, final: e.Status.Final(), last: last, told: last + 1}
	if o.seen.revision == 0 || s.sockets.connected(workerPeer(e.Worker.ID)) {
		return seen, nil
	}
	if seen.told, err = o.spread(ctx, s, id, o.seen.last+1, last); err != nil {
		return glimpse{}, err
	}
	if o.seen.revision != seen.revision {
		seen.revisionTold = true
		s.Live.Publish(string(id), livelog.Message{Value: e})
	}
	return seen, nil
}

// spreadMost bounds what one look reads for all: viewers that are further
// behind each read at their own pace.
const spreadMost = 16

// spread publishes the newest chunks from the line on, and returns the first
// line that it published (the one after the last when there are none).
func (o *lookout) spread(ctx context.Context, s *Server, id cyclone.EventID, from, last int64) (int64, error) {
	if from > last {
		return last + 1, nil
	}
	chunks, err := s.Logs.Chunks(ctx, id, from, spreadMost)
	if err != nil {
		return 0, fmt.Errorf("read log: %w", err)
	}
	if len(chunks) == 0 || chunks[len(chunks)-1].Last() < last {
		return last + 1, nil // too much for one look
	}
	for _, c := range chunks {
		s.Live.Publish(string(id), livelog.Message{Size: len(c.Data), Value: c})
	}
	return chunks[0].First, nil
}
