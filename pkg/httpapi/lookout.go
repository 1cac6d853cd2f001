package httpapi

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"cyclone/pkg/cyclone"
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
	at   time.Time
	seen glimpse
}

// glimpse is how far an event has come.
type glimpse struct {
	revision int64 // of the event
	final    bool
	last     int64 // stored line
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

// look returns what somebody saw a moment ago, or looks itself. Others wait
// meanwhile and then share what was seen.
func (o *lookout) look(ctx context.Context, s *Server, id cyclone.EventID) (glimpse, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if time.Since(o.at) < lookEvery/2 {
		return o.seen, nil
	}
	e, err := s.Events.Find(ctx, id)
	if errors.Is(err, cyclone.ErrNotFound) {
		o.at, o.seen = time.Now(), glimpse{final: true} // it was deleted, which is an end too
		return o.seen, nil
	}
	if err != nil {
		return glimpse{}, fmt.Errorf("find event: %w", err)
	}
	last, err := s.Logs.Last(ctx, id)
	if err != nil {
		return glimpse{}, fmt.Errorf("find end of log: %w", err)
	}
	o.at, o.seen = time.Now(), glimpse{e.Run.Revision, e.Status.Final(), last}
	return o.seen, nil
}
