package chaos

import (
	"context"
	"errors"
	"sync"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/lab"
)

// viewer follows one event's log over a websocket to its end, through all that
// happens: it comes back after each cut, to one server or another, and goes on
// after the last line it saw.
type viewer struct {
	d *delivery

	mu      sync.Mutex
	lines   []cyclone.Line
	status  cyclone.Status
	ended   bool
	broken  error // a line was missing or came twice
	returns int   // how often it had to come back
}

func newViewer(d *delivery) *viewer { return &viewer{d: d} }

func (v *viewer) follow(ctx context.Context) {
	for turn := 0; ctx.Err() == nil; turn++ {
		n := v.d.site.servers[(int(v.d.at*1000)+turn)%len(v.d.site.servers)]
		status, err := n.FollowFrom(ctx, v.d.eventID(), v.next(), v.see)
		if v.end(status, err) {
			return
		}
		select {
		case <-time.After(300 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func (v *viewer) next() int64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return int64(len(v.lines)) + 1
}

func (v *viewer) see(l cyclone.Line) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.lines = append(v.lines, l)
}

// end notes how a stream ended and reports whether that was the log's end.
func (v *viewer) end(status cyclone.Status, err error) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	var gap *lab.GapError
	switch {
	case errors.As(err, &gap):
		v.broken = err
		return true
	case err != nil:
		v.returns++
		return false
	}
	v.status, v.ended = status, true
	return true
}

// differs says how what was seen differs from the stored log; empty when it
// does not.
func (v *viewer) differs(stored []cyclone.Line, status cyclone.Status) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.broken != nil:
		return "the viewer's stream is broken: " + v.broken.Error()
	case !v.ended:
		return "the viewer's stream did not end"
	case v.status != status:
		return "the viewer's stream ended with " + string(v.status)
	}
	return difference(v.lines, stored)
}
