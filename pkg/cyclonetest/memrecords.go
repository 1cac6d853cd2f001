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

// MemoryProjects is a ProjectStore.
type MemoryProjects struct {
	mu  sync.Mutex
	all map[cyclone.ProjectName]*cyclone.Project
}

func cloneProject(p *cyclone.Project) *cyclone.Project {
	return clone(p, func(to, from *cyclone.Project) {
		to.WebhookSecret, to.Revision = slices.Clone(from.WebhookSecret), from.Revision
	})
}

// Create is ProjectStore's.
func (s *MemoryProjects) Create(_ context.Context, p *cyclone.Project) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[p.Name] != nil {
		return cyclone.Conflict("project %q exists", p.Name)
	}
	p.Revision = 1
	s.all[p.Name] = cloneProject(p)
	return nil
}

// Find is ProjectStore's.
func (s *MemoryProjects) Find(_ context.Context, name cyclone.ProjectName) (*cyclone.Project, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.all[name]; p != nil {
		return cloneProject(p), nil
	}
	return nil, cyclone.NotFound("project %q does not exist", name)
}

// Replace is ProjectStore's.
func (s *MemoryProjects) Replace(_ context.Context, p *cyclone.Project) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.all[p.Name]; old == nil || old.Revision != p.Revision {
		return cyclone.Conflict("project %q was changed meanwhile", p.Name)
	}
	p.Revision++
	s.all[p.Name] = cloneProject(p)
	return nil
}

// Delete is ProjectStore's.
func (s *MemoryProjects) Delete(_ context.Context, name cyclone.ProjectName) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, name)
	return nil
}

// List is ProjectStore's.
func (s *MemoryProjects) List(_ context.Context, p cyclone.Page) (cyclone.List[*cyclone.Project], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var items []*cyclone.Project
	for _, name := range slices.Sorted(maps.Keys(s.all)) {
		items = append(items, cloneProject(s.all[name]))
	}
	return page(items, p), nil
}

// MemoryLogs is a LogStore.
type MemoryLogs struct {
	mu  sync.Mutex
	all map[cyclone.EventID][]cyclone.Chunk
}

func (s *MemoryLogs) last(event cyclone.EventID) int64 {
	chunks := s.all[event]
	if len(chunks) == 0 {
		return 0
	}
	return chunks[len(chunks)-1].Last()
}

// Append is LogStore's.
func (s *MemoryLogs) Append(_ context.Context, event cyclone.EventID, c cyclone.Chunk) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, old := range s.all[event] {
		if old.First == c.First && old.Count == c.Count {
			return nil
		}
	}
	if last := s.last(event); c.First != last+1 {
		return cyclone.Conflict("line %d does not follow line %d", c.First, last)
	}
	c.Data = slices.Clone(c.Data)
	s.all[event] = append(s.all[event], c)
	return nil
}

// Chunks is LogStore's.
func (s *MemoryLogs) Chunks(_ context.Context, event cyclone.EventID, from int64, limit int) ([]cyclone.Chunk, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []cyclone.Chunk
	for _, c := range s.all[event] {
		if c.Last() >= from && len(found) < limit {
			found = append(found, c)
		}
	}
	return found, nil
}

// Last is LogStore's.
func (s *MemoryLogs) Last(_ context.Context, event cyclone.EventID) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last(event), nil
}

// Delete is LogStore's.
func (s *MemoryLogs) Delete(_ context.Context, event cyclone.EventID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, event)
	return nil
}

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
	s.all[deliveryKey(d.Project, d.SCM, d.ID)] = cloneDelivery(d)
	return nil
}

func (s *MemoryDeliveries) sorted() []*cyclone.Delivery {
	return slices.SortedFunc(maps.Values(s.all), func(a, b *cyclone.Delivery) int {
		return cmp.Or(a.ReceivedAt.Compare(b.ReceivedAt), cmp.Compare(a.ID, b.ID))
	})
}

// List is DeliveryStore's.
func (s *MemoryDeliveries) List(_ context.Context, project cyclone.ProjectName, p cyclone.Page) (cyclone.List[*cyclone.Delivery], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var items []*cyclone.Delivery
	for _, d := range s.sorted() {
		if d.Project == project {
			items = append(items, clone(d, func(_, _ *cyclone.Delivery) {}))
		}
	}
	slices.Reverse(items)
	return page(items, p), nil
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
	var items []*cyclone.Delivery
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

// MemorySecrets is a SecretStore.
type MemorySecrets struct {
	mu  sync.Mutex
	all []*cyclone.Secret
}

// Put is SecretStore's.
func (s *MemorySecrets) Put(ctx context.Context, secret *cyclone.Secret) error {
	if err := s.Delete(ctx, secret.Project, secret.Name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := *secret
	s.all = append(s.all, &kept)
	return nil
}

// Find is SecretStore's.
func (s *MemorySecrets) Find(ctx context.Context, project cyclone.ProjectName, name string) (*cyclone.Secret, error) {
	all, err := s.List(ctx, project)
	if err != nil {
		return nil, err
	}
	for _, secret := range all {
		if secret.Name == name {
			return secret, nil
		}
	}
	return nil, cyclone.NotFound("project %q has no secret %q", project, name)
}

// Delete is SecretStore's.
func (s *MemorySecrets) Delete(_ context.Context, project cyclone.ProjectName, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = slices.DeleteFunc(s.all, func(x *cyclone.Secret) bool { return x.Project == project && x.Name == name })
	return nil
}

// List is SecretStore's.
func (s *MemorySecrets) List(_ context.Context, project cyclone.ProjectName) ([]*cyclone.Secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*cyclone.Secret
	for _, x := range s.all {
		if x.Project == project {
			c := *x
			found = append(found, &c)
		}
	}
	slices.SortFunc(found, func(a, b *cyclone.Secret) int { return cmp.Compare(a.Name, b.Name) })
	return found, nil
}

// MemoryClusters is a ClusterStore.
type MemoryClusters struct {
	mu  sync.Mutex
	all map[cyclone.ClusterName]*cyclone.Cluster
}

// Create is ClusterStore's.
func (s *MemoryClusters) Create(_ context.Context, c *cyclone.Cluster) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[c.Name] != nil {
		return cyclone.Conflict("cluster %q exists", c.Name)
	}
	c.Revision = 1
	kept := *c
	s.all[c.Name] = &kept
	return nil
}

// Find is ClusterStore's.
func (s *MemoryClusters) Find(_ context.Context, name cyclone.ClusterName) (*cyclone.Cluster, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.all[name]; c != nil {
		found := *c
		return &found, nil
	}
	return nil, cyclone.NotFound("cluster %q does not exist", name)
}

// Replace is ClusterStore's.
func (s *MemoryClusters) Replace(_ context.Context, c *cyclone.Cluster) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.all[c.Name]; old == nil || old.Revision != c.Revision {
		return cyclone.Conflict("cluster %q was changed meanwhile", c.Name)
	}
	c.Revision++
	kept := *c
	s.all[c.Name] = &kept
	return nil
}

// Delete is ClusterStore's.
func (s *MemoryClusters) Delete(_ context.Context, name cyclone.ClusterName) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, name)
	return nil
}

// List is ClusterStore's.
func (s *MemoryClusters) List(_ context.Context, p cyclone.Page) (cyclone.List[*cyclone.Cluster], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var items []*cyclone.Cluster
	for _, name := range slices.Sorted(maps.Keys(s.all)) {
		c := *s.all[name]
		items = append(items, &c)
	}
	return page(items, p), nil
}
