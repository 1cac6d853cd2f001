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
	owner   map[string]int // counted only when owners have a limit
	limit   int            // of an owner; 0 for none
}

// load counts what runs.
func (d *Dispatcher) load(ctx context.Context, running []*cyclone.Event) (load, error) {
	l := load{project: map[cyclone.ProjectName]int{}, owner: map[string]int{}, limit: d.UserLimit}
	for _, e := range running {
		l.project[e.Project]++
		if e.Worker.Node == d.Node {
			l.here++
		}
	}
	if l.limit == 0 {
		return l, nil
	}
	for name, n := range l.project {
		p, err := d.Projects.Find(ctx, name)
		if errors.Is(err, cyclone.ErrNotFound) {
			continue // it is being deleted
		}
		if err != nil {
			return l, fmt.Errorf("find project %s: %w", name, err)
		}
		l.owner[p.Owner] += n
	}
	return l, nil
}

func (l *load) add(p *cyclone.Project) {
	l.here++
	l.project[p.Name]++
	l.owner[p.Owner]++
}

// full reports whether a project, or its owner, runs as much as it may.
// Projects that nobody owns share no limit.
func (l *load) full(p *cyclone.Project) bool {
	own := p.Limits.Concurrency
	return own > 0 && l.project[p.Name] >= own ||
		l.limit > 0 && p.Owner != "" && l.owner[p.Owner] >= l.limit
}

// candidate is a project with something pending.
type candidate struct {
	project *cyclone.Project
	drained bool // nothing pending any more
}

// next is the project whose turn it is: of those within their limits the one
// with the fewest running, and among equals the one that waits longest, which
// is the order of the list. Nil when none may run.
func (l *load) next(candidates []*candidate) *candidate {
	var best *candidate
	for _, c := range candidates {
		if c.drained || l.full(c.project) {
			continue
		}
		if best == nil || l.project[c.project.Name] < l.project[best.project.Name] {
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
// long after each further one; those that were on their way together count once.
func (d *Dispatcher) holdBack(p cyclone.ProjectName) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.holds == nil {
		d.holds = map[cyclone.ProjectName]hold{}
	}
	h := d.holds[p]
	if d.Now().Before(h.until) {
		return
	}
	delay := min(time.Second<<min(h.failures, 10), maxHold)
	d.holds[p] = hold{h.failures + 1, d.Now().Add(delay)}
}

func (d *Dispatcher) unhold(p cyclone.ProjectName) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.holds, p)
}
