// Package cyclonetest holds what tests of several packages share: stand-ins
// that keep the contracts of cyclone's interfaces, and laboratories of real
// parts. Only tests import it.
package cyclonetest

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"sync"
	"time"

	"cyclone/pkg/cyclone"
)

// Memory is a store in memory that keeps the contracts of cyclone's store
// interfaces. Every value is copied on its way in and out.
type Memory struct {
	Projects   *MemoryProjects
	Events     *MemoryEvents
	Logs       *MemoryLogs
	Deliveries *MemoryDeliveries
	Secrets    *MemorySecrets
	Clusters   *MemoryClusters
	Leases     *MemoryLeases
	Nodes      *MemoryNodes
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	logs := &MemoryLogs{all: map[cyclone.EventID][]cyclone.Chunk{}}
	return &Memory{
		Projects:   &MemoryProjects{all: map[cyclone.ProjectName]*cyclone.Project{}},
		Events:     &MemoryEvents{logs: logs, all: map[cyclone.EventID]*cyclone.Event{}, numbers: map[cyclone.ProjectName]int64{}},
		Logs:       logs,
		Deliveries: &MemoryDeliveries{all: map[string]*cyclone.Delivery{}},
		Secrets:    &MemorySecrets{},
		Clusters:   &MemoryClusters{all: map[cyclone.ClusterName]*cyclone.Cluster{}},
		Leases:     &MemoryLeases{all: map[string]memoryLease{}},
		Nodes:      &MemoryNodes{all: map[string]cyclone.Node{}},
	}
}

// clone copies a value of plain data and then, by keep, what JSON leaves out.
func clone[T any](v *T, keep func(to, from *T)) *T {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // the words are plain data
	}
	c := new(T)
	if err := json.Unmarshal(text, c); err != nil {
		panic(err)
	}
	keep(c, v)
	return c
}

func cloneEvent(e *cyclone.Event) *cyclone.Event {
	return clone(e, func(to, from *cyclone.Event) {
		to.Run = *clone(&from.Run, func(_, _ *cyclone.Run) {})
	})
}

func page[T any](items []T, p cyclone.Page) cyclone.List[T] {
	from, err := strconv.Atoi(p.Cursor)
	if err != nil {
		from = 0
	}
	limit := cmp.Or(p.Limit, 50)
	l := cyclone.List[T]{Total: len(items)}
	l.Items = items[min(from, len(items)):min(from+limit, len(items))]
	if from+limit < len(items) {
		l.Next = strconv.Itoa(from + limit)
	}
	return l
}

// MemoryEvents is an EventStore and a Queue.
type MemoryEvents struct {
	logs    *MemoryLogs
	mu      sync.Mutex
	all     map[cyclone.EventID]*cyclone.Event
	numbers map[cyclone.ProjectName]int64
}

// Create is EventStore's.
func (s *MemoryEvents) Create(_ context.Context, e *cyclone.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, other := range s.all {
		if other.Run.Key == e.Run.Key || other.ID == e.ID {
			return cyclone.Conflict("event key %q is taken", e.Run.Key)
		}
	}
	s.numbers[e.Project]++
	e.Number, e.Run.Revision = s.numbers[e.Project], 1
	s.all[e.ID] = cloneEvent(e)
	return nil
}

// Find is EventStore's.
func (s *MemoryEvents) Find(_ context.Context, id cyclone.EventID) (*cyclone.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.all[id]; e != nil {
		return cloneEvent(e), nil
	}
	return nil, cyclone.NotFound("event %q does not exist", id)
}

// FindByKey is EventStore's.
func (s *MemoryEvents) FindByKey(_ context.Context, key string) (*cyclone.Event, error) {
	found := s.selected(func(e *cyclone.Event) bool { return e.Run.Key == key })
	if len(found) == 0 {
		return nil, cyclone.NotFound("no event has the key %q", key)
	}
	return found[0], nil
}

// Replace is EventStore's.
func (s *MemoryEvents) Replace(_ context.Context, e *cyclone.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.all[e.ID]
	if old == nil {
		return cyclone.NotFound("event %q does not exist", e.ID)
	}
	if old.Run.Revision != e.Run.Revision {
		return cyclone.Conflict("event %q was changed meanwhile", e.ID)
	}
	if old.Status.Final() && old.Status != e.Status {
		return cyclone.Conflict("event %q is over", e.ID)
	}
	e.Run.Revision++
	s.all[e.ID] = cloneEvent(e)
	return nil
}

// Delete is EventStore's.
func (s *MemoryEvents) Delete(ctx context.Context, id cyclone.EventID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.all[id]
	switch {
	case e == nil:
		return cyclone.NotFound("event %q does not exist", id)
	case !e.Status.Final() || !e.NoticeDue().IsZero():
		return cyclone.Conflict("event %q is not over", id)
	}
	delete(s.all, id)
	return s.logs.Delete(ctx, id)
}

// List is EventStore's.
func (s *MemoryEvents) List(_ context.Context, q cyclone.EventQuery) (cyclone.List[*cyclone.Event], error) {
	found := s.selected(func(e *cyclone.Event) bool {
		return (q.Project == "" || e.Project == q.Project) &&
			(len(q.Statuses) == 0 || slices.Contains(q.Statuses, e.Status)) &&
			(q.Branch == "" || e.Branch == q.Branch) && (q.Kind == "" || e.Trigger.Kind == q.Kind) &&
			(q.Since.IsZero() || !e.CreatedAt.Before(q.Since)) && (q.Until.IsZero() || e.CreatedAt.Before(q.Until))
	})
	slices.Reverse(found)
	return page(found, q.Page), nil
}

// selected returns copies of the events that match, oldest first.
func (s *MemoryEvents) selected(match func(*cyclone.Event) bool) []*cyclone.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*cyclone.Event
	for _, e := range s.all {
		if match(e) {
			found = append(found, cloneEvent(e))
		}
	}
	slices.SortFunc(found, func(a, b *cyclone.Event) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return found
}

// Waiting is Queue's.
func (s *MemoryEvents) Waiting(context.Context) ([]cyclone.ProjectName, error) {
	var names []cyclone.ProjectName
	for _, e := range s.selected(func(e *cyclone.Event) bool { return e.Status == cyclone.StatusPending }) {
		if !slices.Contains(names, e.Project) {
			names = append(names, e.Project)
		}
	}
	return names, nil
}

// Claim is Queue's.
func (s *MemoryEvents) Claim(_ context.Context, c cyclone.Claim) (*cyclone.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var oldest *cyclone.Event
	for _, e := range s.all {
		if e.Status == cyclone.StatusPending && e.Project == c.Project && (oldest == nil || e.Number < oldest.Number) {
			oldest = e
		}
	}
	if oldest == nil {
		return nil, cyclone.NotFound("nothing is pending in project %q", c.Project)
	}
	now := cyclone.Stamp(c.Now)
	oldest.Status, oldest.Reason, oldest.StartedAt = cyclone.StatusRunning, "", &now
	oldest.Worker = cyclone.WorkerRef{ID: c.Worker, Node: c.Node, Attempt: oldest.Worker.Attempt + 1}
	oldest.Run.TokenHash, oldest.Run.SessionHash = c.TokenHash, nil
	oldest.Run.LeaseUntil = c.Now.Add(c.Lease)
	oldest.Run.Revision++
	return cloneEvent(oldest), nil
}

// Renew is Queue's.
func (s *MemoryEvents) Renew(_ context.Context, f cyclone.Fence, until time.Time) (*cyclone.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.all[f.Event]
	if e == nil || !f.Holds(e) {
		return nil, cyclone.Conflict("worker %q no longer holds event %q", f.Worker, f.Event)
	}
	if until.After(e.Run.LeaseUntil) {
		e.Run.LeaseUntil = until
	}
	e.Run.Revision++
	return cloneEvent(e), nil
}

// Running is Queue's.
func (s *MemoryEvents) Running(context.Context) ([]*cyclone.Event, error) {
	return s.selected(func(e *cyclone.Event) bool { return e.Status == cyclone.StatusRunning }), nil
}

// NoticesDue is Queue's.
func (s *MemoryEvents) NoticesDue(_ context.Context, now time.Time, limit int) ([]*cyclone.Event, error) {
	found := s.selected(func(e *cyclone.Event) bool {
		due := e.NoticeDue()
		return e.Status.Final() && !due.IsZero() && !due.After(now)
	})
	return found[:min(limit, len(found))], nil
}
