package cyclonetest

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"cyclone/pkg/cyclone"
)

// MemoryMarks is a MarkStore.
type MemoryMarks struct {
	mu  sync.Mutex
	all map[memoryMarkKey]*cyclone.Mark
}

type memoryMarkKey struct {
	project cyclone.ProjectName
	name    string
}

func cloneMark(m *cyclone.Mark) *cyclone.Mark {
	c := *m
	c.Value = append([]byte{}, m.Value...)
	return &c
}

// Put is MarkStore's.
func (s *MemoryMarks) Put(_ context.Context, m *cyclone.Mark) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := memoryMarkKey{m.Project, m.Name}
	stored := int64(0)
	if there := s.all[key]; there != nil {
		stored = there.Revision
	}
	if stored != m.Revision {
		return cyclone.Conflict("mark %q of project %q was changed meanwhile", m.Name, m.Project)
	}
	m.Revision++
	s.all[key] = cloneMark(m)
	return nil
}

// Find is MarkStore's.
func (s *MemoryMarks) Find(_ context.Context, project cyclone.ProjectName, name string) (*cyclone.Mark, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.all[memoryMarkKey{project, name}]; m != nil {
		return cloneMark(m), nil
	}
	return nil, cyclone.NotFound("project %q has no mark %q", project, name)
}

// Delete is MarkStore's.
func (s *MemoryMarks) Delete(_ context.Context, project cyclone.ProjectName, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := memoryMarkKey{project, name}
	if s.all[key] == nil {
		return cyclone.NotFound("project %q has no mark %q", project, name)
	}
	delete(s.all, key)
	return nil
}

// List is MarkStore's.
func (s *MemoryMarks) List(_ context.Context, project cyclone.ProjectName, prefix string) ([]*cyclone.Mark, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := []*cyclone.Mark{}
	for key, m := range s.all {
		if key.project == project && strings.HasPrefix(key.name, prefix) {
			found = append(found, cloneMark(m))
		}
	}
	slices.SortFunc(found, func(a, b *cyclone.Mark) int { return strings.Compare(a.Name, b.Name) })
	return found, nil
}

func (s *MemoryMarks) deleteProject(name cyclone.ProjectName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.all, func(key memoryMarkKey, _ *cyclone.Mark) bool { return key.project == name })
}
