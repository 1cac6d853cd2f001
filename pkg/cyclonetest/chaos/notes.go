package chaos

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// notes is what happened, when and to whom.
type notes struct {
	out   io.Writer
	begun time.Time

	mu     sync.Mutex
	faults []Incident
	hits   map[string][]hit // by event
}

// Incident is a fault as it came about.
type Incident struct {
	Kind string
	// At is when it struck, Until when it was over.
	At, Until time.Time
	// Detail says whom it hit; Missed is true when there was nobody to hit.
	Detail string
	Missed bool
	site   string // whose server was killed
}

// hit is a fault that ended an event's worker.
type hit struct {
	kind string
	at   time.Time
}

func newNotes(out io.Writer) *notes {
	return &notes{out: out, begun: time.Now(), hits: map[string][]hit{}}
}

// say writes one line with the time since the beginning.
func (n *notes) say(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	fmt.Fprintf(n.out, "%7.1fs  %s\n", time.Since(n.begun).Seconds(), fmt.Sprintf(format, args...))
}

// fault notes a fault that is over.
func (n *notes) fault(i Incident) {
	i.Until = time.Now()
	n.mu.Lock()
	n.faults = append(n.faults, i)
	n.mu.Unlock()
	verb := "was"
	if i.Missed {
		verb = "missed"
	}
	n.say("%s %s %.1f s: %s", i.Kind, verb, i.Until.Sub(i.At).Seconds(), i.Detail)
}

// hit notes that an event has lost its worker.
func (n *notes) hit(event, kind string, at time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hits[event] = append(n.hits[event], hit{kind, at})
}

// hitsOf are the faults that ended workers of an event.
func (n *notes) hitsOf(event string) []hit {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]hit(nil), n.hits[event]...)
}
