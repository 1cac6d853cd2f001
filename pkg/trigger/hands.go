package trigger

import (
	"sync"
	"time"

	"cyclone/pkg/cyclone"
)

// key names a delivery.
func key(d *cyclone.Delivery) string {
	return d.SCM + "/" + string(d.Project) + "/" + string(d.ID)
}

// firstKey is the key of the event that a delivery starts.
func firstKey(d *cyclone.Delivery) string { return key(d) + "/0" }

// restTime is for how long a delivery is left alone after an attempt of which
// nothing could be written down.
const restTime = 2 * time.Second

// mostResting bounds how many resting deliveries are read only to be passed
// over.
const mostResting = 200

// hands are the deliveries that this process is at, and those that it leaves
// alone for a moment. It spares work; that nothing is done twice does not
// depend on it.
type hands struct {
	mu   sync.Mutex
	full map[string]int       // how many are at it
	idle map[string]time.Time // until when it rests
}

func (h *hands) take(k string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.full == nil {
		h.full = map[string]int{}
	}
	h.full[k]++
}

func (h *hands) give(k string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.full[k]--; h.full[k] <= 0 {
		delete(h.full, k)
	}
}

// rest leaves a delivery alone for restTime.
func (h *hands) rest(k string, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.idle == nil {
		h.idle = map[string]time.Time{}
	}
	h.idle[k] = now.Add(restTime)
}

// free reports whether nobody here is at a delivery, and it does not rest.
func (h *hands) free(k string, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.full[k] == 0 && !h.idle[k].After(now)
}

// resting counts the deliveries that rest, at most mostResting.
func (h *hands) resting(now time.Time) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	for k, until := range h.idle {
		if !until.After(now) {
			delete(h.idle, k)
		}
	}
	return min(len(h.idle), mostResting)
}
