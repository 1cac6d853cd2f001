package cyclonetest

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"cyclone/pkg/cyclone"
)

// MemoryDeliveries is a DeliveryStore.
type MemoryDeliveries struct {
	mu  sync.Mutex
	all map[string]*cyclone.Delivery
}

func deliveryKey(project cyclone.ProjectName, scm string, id cyclone.DeliveryID) string {
	return strings.Join([]string{string(project), scm, string(id)}, "/")
}

func cloneDelivery(d *cyclone.Delivery) *cyclone.Delivery {
	return clone(d, func(to, from *cyclone.Delivery) {
		to.Header, to.Body = from.Header.Clone(), slices.Clone(from.Body)
	})
}

// Create is DeliveryStore's.
func (s *MemoryDeliveries) Create(_ context.Context, d *cyclone.Delivery) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := deliveryKey(d.Project, d.SCM, d.ID)
	if s.all[key] != nil {
		return cyclone.Conflict("delivery %q is there", d.ID)
	}
	s.all[key] = cloneDelivery(d)
	return nil
}

// Find is DeliveryStore's.
func (s *MemoryDeliveries) Find(_ context.Context, project cyclone.ProjectName, scm string, id cyclone.DeliveryID) (*cyclone.Delivery, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.all[deliveryKey(project, scm, id)]; d != nil {
		return cloneDelivery(d), nil
	}
	return nil, cyclone.NotFound("delivery %q does not exist", id)
}

// Replace is DeliveryStore's.
func (s *MemoryDeliveries) Replace(_ context.Context, d *cyclone.Delivery) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := deliveryKey(d.Project, d.SCM, d.ID)
	old := s.all[key]
	if old == nil {
		return cyclone.NotFound("delivery %q does not exist", d.ID)
	}
	replaced := cloneDelivery(d)
	replaced.Header, replaced.Body = old.Header, old.Body
	s.all[key] = replaced
	return nil
}

// sorted are the deliveries, oldest first.
func (s *MemoryDeliveries) sorted() []*cyclone.Delivery {
	return slices.SortedFunc(maps.Values(s.all), func(a, b *cyclone.Delivery) int {
		return cmp.Or(a.ReceivedAt.Compare(b.ReceivedAt),
			strings.Compare(deliveryKey(a.Project, a.SCM, a.ID), deliveryKey(b.Project, b.SCM, b.ID)))
	})
}

// List is DeliveryStore's.
func (s *MemoryDeliveries) List(_ context.Context, project cyclone.ProjectName, p cyclone.Page) (cyclone.List[*cyclone.Delivery], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	items := []*cyclone.Delivery{}
	for _, d := range s.sorted() {
		if d.Project == project {
			items = append(items, clone(d, func(_, _ *cyclone.Delivery) {}))
		}
	}
	slices.Reverse(items)
	return page(items, p, true, func(d *cyclone.Delivery) string {
		return timePlace(d.ReceivedAt, deliveryKey(d.Project, d.SCM, d.ID))
	})
}

// Due is DeliveryStore's.
func (s *MemoryDeliveries) Due(_ context.Context, now time.Time, limit int) ([]*cyclone.Delivery, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	dueAt := func(d *cyclone.Delivery) time.Time {
		if d.NextAt != nil {
			return *d.NextAt
		}
		return d.ReceivedAt
	}
	items := []*cyclone.Delivery{}
	for _, d := range s.sorted() {
		if d.HandledAt == nil && d.ParkedAt == nil && !dueAt(d).After(now) {
			items = append(items, cloneDelivery(d))
		}
	}
	slices.SortStableFunc(items, func(a, b *cyclone.Delivery) int { return dueAt(a).Compare(dueAt(b)) })
	return items[:min(limit, len(items))], nil
}

// Prune is DeliveryStore's.
func (s *MemoryDeliveries) Prune(_ context.Context, project cyclone.ProjectName, p cyclone.Prune) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.sorted()
	slices.Reverse(all)
	removed, place := 0, 0
	for _, d := range all {
		if d.Project != project {
			continue
		}
		place++
		old := !p.Before.IsZero() && d.ReceivedAt.Before(p.Before) || p.Most > 0 && place > p.Most
		if !old || place <= p.Minimum || d.HandledAt == nil && d.ParkedAt == nil {
			continue
		}
		removed++
		if !p.Dry {
			delete(s.all, deliveryKey(d.Project, d.SCM, d.ID))
		}
	}
	return removed, nil
}

// open counts those that wait and those that were given up.
func (s *MemoryDeliveries) open() (waiting, parked int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.all {
		switch {
		case d.HandledAt != nil:
		case d.ParkedAt != nil:
			parked++
		default:
			waiting++
		}
	}
	return waiting, parked
}

func (s *MemoryDeliveries) deleteProject(name cyclone.ProjectName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.all, func(_ string, d *cyclone.Delivery) bool { return d.Project == name })
}
