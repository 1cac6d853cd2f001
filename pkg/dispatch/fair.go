package dispatch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cyclone/pkg/cyclone"
)

// load is what runs now.
type load struct {
	here    int // on this node
	project map[cyclone.ProjectName]int
}

func count(running []*cyclone.Event, node string) load {
	l := load{project: map[cyclone.ProjectName]int{}}
	for _, e := range running {
		l.project[e.Project]++
		if e.Worker.Node == node {
			l.here++
		}
	}
	return l
}

func (l *load) add(p cyclone.ProjectName) {
	l.here++
	l.project[p]++
}

// candidate is a project with something pending.
type candidate struct {
	project *cyclone.Project
	drained bool // nothing pending any more
}

// next is the project whose turn it is: of those within their own limit the
// one with the fewest running, and among equals the one that waits longest,
// which is the order of the list. Nil when none may run.
func (l *load) next(candidates []*candidate) *candidate {
	var best *candidate
	for _, c := range candidates {
		n, limit := l.project[c.project.Name], c.project.Limits.Concurrency
		if c.drained || limit > 0 && n >= limit {
			continue
		}
		if best == nil || n < l.project[best.project.Name] {
			best = c
		}
	}
	return best
}

// candidates reads the waiting projects, but for those held back after failed
// launches.
func (d *Dispatcher) candidates(ctx context.Context, waiting []cyclone.ProjectName) ([]*candidate, error) {
	var list []*candidate
	for _, name := range waiting {
		if d.held(name) {
			continue
		}
		p, err := d.Projects.Find(ctx, name)
		if errors.Is(err, cyclone.ErrNotFound) {
			continue // it is being deleted
		}
		if err != nil {
			return nil, fmt.Errorf("find project %s: %w", name, err)
		}
		list = append(list, &candidate{project: p})
	}
	return list, nil
}

// hold keeps a project from launching for a while.
type hold struct {
	failures int
	until    time.Time
}

// maxHold bounds the growing delay between launches that fail.
const maxHold = time.Minute

func (d *Dispatcher) held(p cyclone.ProjectName) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.Now().Before(d.holds[p].until)
}

// holdBack makes the project wait 1 s after its first failed launch, twice as
// long after each further one.
func (d *Dispatcher) holdBack(p cyclone.ProjectName) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.holds == nil {
		d.holds = map[cyclone.ProjectName]hold{}
	}
	h := d.holds[p]
	delay := min(time.Second<<min(h.failures, 10), maxHold)
	d.holds[p] = hold{h.failures + 1, d.Now().Add(delay)}
}

func (d *Dispatcher) unhold(p cyclone.ProjectName) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.holds, p)
}
