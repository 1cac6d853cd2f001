package cyclonetest

import (
	"context"
	"maps"
	"slices"
	"sync"

	"cyclone/pkg/cyclone"
)

// MemoryProjects is a ProjectStore.
type MemoryProjects struct {
	m   *Memory
	mu  sync.Mutex
	all map[cyclone.ProjectName]*cyclone.Project
}

func cloneProject(p *cyclone.Project) *cyclone.Project {
	return clone(p, func(to, from *cyclone.Project) {
		to.WebhookSecret, to.Revision = slices.Clone(from.WebhookSecret), from.Revision
		to.CacheEpoch = from.CacheEpoch
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
	old := s.all[p.Name]
	if old == nil {
		return cyclone.NotFound("project %q does not exist", p.Name)
	}
	if old.Revision != p.Revision {
		return cyclone.Conflict("project %q was changed meanwhile", p.Name)
	}
	p.Revision++
	s.all[p.Name] = cloneProject(p)
	return nil
}

// Delete is ProjectStore's.
func (s *MemoryProjects) Delete(ctx context.Context, name cyclone.ProjectName) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[name] == nil {
		return cyclone.NotFound("project %q does not exist", name)
	}
	delete(s.all, name)
	s.m.Deliveries.deleteProject(name)
	s.m.Secrets.deleteProject(name)
	s.m.Marks.deleteProject(name)
	return s.m.Events.deleteProject(ctx, name)
}

// List is ProjectStore's.
func (s *MemoryProjects) List(_ context.Context, p cyclone.Page) (cyclone.List[*cyclone.Project], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	items := []*cyclone.Project{}
	for _, name := range slices.Sorted(maps.Keys(s.all)) {
		items = append(items, cloneProject(s.all[name]))
	}
	return page(items, p, false, func(p *cyclone.Project) string { return string(p.Name) })
}

// MemorySecrets is a SecretStore.
type MemorySecrets struct {
	mu  sync.Mutex
	all map[string]*cyclone.Secret // by project and name
}

func secretKey(project cyclone.ProjectName, name string) string { return string(project) + "/" + name }

func cloneSecret(s *cyclone.Secret) *cyclone.Secret {
	return clone(s, func(to, from *cyclone.Secret) {
		to.Project, to.Value = from.Project, slices.Clone(from.Value)
	})
}

// Put is SecretStore's.
func (s *MemorySecrets) Put(_ context.Context, secret *cyclone.Secret) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[secretKey(secret.Project, secret.Name)] = cloneSecret(secret)
	return nil
}

// Find is SecretStore's.
func (s *MemorySecrets) Find(_ context.Context, project cyclone.ProjectName, name string) (*cyclone.Secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if secret := s.all[secretKey(project, name)]; secret != nil {
		return cloneSecret(secret), nil
	}
	return nil, cyclone.NotFound("project %q has no secret %q", project, name)
}

// Delete is SecretStore's.
func (s *MemorySecrets) Delete(_ context.Context, project cyclone.ProjectName, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := secretKey(project, name)
	if s.all[key] == nil {
		return cyclone.NotFound("project %q has no secret %q", project, name)
	}
	delete(s.all, key)
	return nil
}

// List is SecretStore's.
func (s *MemorySecrets) List(_ context.Context, project cyclone.ProjectName) ([]*cyclone.Secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := []*cyclone.Secret{}
	for _, key := range slices.Sorted(maps.Keys(s.all)) {
		if secret := s.all[key]; secret.Project == project {
			found = append(found, cloneSecret(secret))
		}
	}
	return found, nil
}

func (s *MemorySecrets) deleteProject(name cyclone.ProjectName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.all, func(_ string, secret *cyclone.Secret) bool { return secret.Project == name })
}

// MemoryClusters is a ClusterStore.
type MemoryClusters struct {
	mu  sync.Mutex
	all map[cyclone.ClusterName]*cyclone.Cluster
}

func cloneCluster(c *cyclone.Cluster) *cyclone.Cluster {
	return clone(c, func(to, from *cyclone.Cluster) {
		to.Access, to.Revision = slices.Clone(from.Access), from.Revision
	})
}

// Create is ClusterStore's.
func (s *MemoryClusters) Create(_ context.Context, c *cyclone.Cluster) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[c.Name] != nil {
		return cyclone.Conflict("cluster %q exists", c.Name)
	}
	c.Revision = 1
	s.all[c.Name] = cloneCluster(c)
	return nil
}

// Find is ClusterStore's.
func (s *MemoryClusters) Find(_ context.Context, name cyclone.ClusterName) (*cyclone.Cluster, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.all[name]; c != nil {
		return cloneCluster(c), nil
	}
	return nil, cyclone.NotFound("cluster %q does not exist", name)
}

// Replace is ClusterStore's.
func (s *MemoryClusters) Replace(_ context.Context, c *cyclone.Cluster) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.all[c.Name]
	if old == nil {
		return cyclone.NotFound("cluster %q does not exist", c.Name)
	}
	if old.Revision != c.Revision {
		return cyclone.Conflict("cluster %q was changed meanwhile", c.Name)
	}
	c.Revision++
	s.all[c.Name] = cloneCluster(c)
	return nil
}

// Delete is ClusterStore's.
func (s *MemoryClusters) Delete(_ context.Context, name cyclone.ClusterName) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[name] == nil {
		return cyclone.NotFound("cluster %q does not exist", name)
	}
	delete(s.all, name)
	return nil
}

// List is ClusterStore's.
func (s *MemoryClusters) List(_ context.Context, p cyclone.Page) (cyclone.List[*cyclone.Cluster], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	items := []*cyclone.Cluster{}
	for _, name := range slices.Sorted(maps.Keys(s.all)) {
		items = append(items, cloneCluster(s.all[name]))
	}
	return page(items, p, false, func(c *cyclone.Cluster) string { return string(c.Name) })
}
