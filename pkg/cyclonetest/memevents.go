package cyclonetest

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"cyclone/pkg/cyclone"
)

// MemoryEvents is an EventStore and a Queue.
type MemoryEvents struct {
	logs    *MemoryLogs
	files   *MemoryFiles
	mu      sync.Mutex
	all     map[cyclone.EventID]*cyclone.Event
	numbers map[cyclone.ProjectName]int64
}

func cloneEvent(e *cyclone.Event) *cyclone.Event {
	return clone(e, func(to, from *cyclone.Event) {
		to.Run = *clone(&from.Run, func(_, _ *cyclone.Run) {})
	})
}

// Create is EventStore's.
func (s *MemoryEvents) Create(_ context.Context, e *cyclone.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.ID == "" {
		e.ID = cyclone.EventID(uuid.Must(uuid.NewV7()).String())
	}
	if e.CreatedAt.IsZero() {
		e.CreatedAt = cyclone.Stamp(time.Now())
	}
	if there := s.all[e.ID]; there != nil {
		if there.Project != e.Project || there.Run.Key != e.Run.Key || !there.CreatedAt.Equal(cyclone.Stamp(e.CreatedAt)) {
			return cyclone.Conflict("event %q exists", e.ID)
		}
		e.Number, e.Run.Revision = there.Number, 1
		return nil
	}
	if e.Run.Key != "" && s.byKey(e.Run.Key) != nil {
		return cyclone.Conflict("event key %q is taken", e.Run.Key)
	}
	s.numbers[e.Project]++
	e.Number, e.Run.Revision = s.numbers[e.Project], 1
	s.all[e.ID] = cloneEvent(e)
	return nil
}

func (s *MemoryEvents) byKey(key string) *cyclone.Event {
	for _, e := range s.all {
		if e.Run.Key == key {
			return e
		}
	}
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
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.byKey(key); e != nil && key != "" {
		return cloneEvent(e), nil
	}
	return nil, cyclone.NotFound("no event has the key %q", key)
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
	if e == nil {
		return cyclone.NotFound("event %q does not exist", id)
	}
	if _, open := noticeDue(e); open || !e.Status.Final() {
		return cyclone.Conflict("event %q is not over", id)
	}
	return s.remove(ctx, id)
}

// remove removes an event with its log and its files.
func (s *MemoryEvents) remove(ctx context.Context, id cyclone.EventID) error {
	delete(s.all, id)
	return errors.Join(s.logs.Delete(ctx, id), s.files.Delete(ctx, id))
}

// deleteProject removes a project's events, their logs and files.
func (s *MemoryEvents) deleteProject(ctx context.Context, name cyclone.ProjectName) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, e := range s.all {
		if e.Project != name {
			continue
		}
		if err := s.remove(ctx, id); err != nil {
			return err
		}
	}
	delete(s.numbers, name)
	return nil
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
	return page(found, q.Page, true, func(e *cyclone.Event) string { return timePlace(e.CreatedAt, string(e.ID)) })
}

// selected returns copies of the events that match, oldest first.
func (s *MemoryEvents) selected(match func(*cyclone.Event) bool) []*cyclone.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := []*cyclone.Event{}
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
	pending := s.selected(func(e *cyclone.Event) bool { return e.Status == cyclone.StatusPending })
	names := []cyclone.ProjectName{}
	for _, e := range pending {
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
	oldest.Run.TokenHash, oldest.Run.SessionHash = slices.Clone(c.TokenHash), nil
	oldest.Run.LeaseUntil = cyclone.Stamp(c.Now.Add(c.Lease))
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
	if until := cyclone.Stamp(until); until.After(e.Run.LeaseUntil) {
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
		due, open := noticeDue(e)
		return open && !due.After(now)
	})
	slices.SortStableFunc(found, func(a, b *cyclone.Event) int {
		first, _ := noticeDue(a)
		second, _ := noticeDue(b)
		return first.Compare(second)
	})
	return found[:min(limit, len(found))], nil
}

// noticeDue is when a notice is to be told next; false when all are done.
func noticeDue(e *cyclone.Event) (due time.Time, open bool) {
	for _, n := range e.Run.Notices {
		if !n.Done && (!open || n.NextAt.Before(due)) {
			due, open = n.NextAt, true
		}
	}
	return due, open
}
