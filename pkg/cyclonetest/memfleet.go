package cyclonetest

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"cyclone/pkg/cyclone"
)

// MemoryLeases is a LeaseStore.
type MemoryLeases struct {
	mu  sync.Mutex
	all map[string]memoryLease
}

type memoryLease struct {
	holder string
	until  time.Time
}

// Acquire is LeaseStore's.
func (s *MemoryLeases) Acquire(_ context.Context, name, holder string, now time.Time, ttl time.Duration) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l, taken := s.all[name]; taken && l.holder != holder && now.Before(l.until) {
		return false, nil
	}
	s.all[name] = memoryLease{holder, now.Add(ttl)}
	return true, nil
}

// Release is LeaseStore's.
func (s *MemoryLeases) Release(_ context.Context, name, holder string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[name].holder == holder {
		delete(s.all, name)
	}
	return nil
}

// MemoryNodes is a NodeStore.
type MemoryNodes struct {
	mu  sync.Mutex
	all map[string]cyclone.Node
}

// Beat is NodeStore's.
func (s *MemoryNodes) Beat(_ context.Context, n *cyclone.Node) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n.Drain = s.all[n.Name].Drain // false for a new one
	s.all[n.Name] = *clone(n, func(to, from *cyclone.Node) {
		for i, c := range from.Caches {
			to.Caches[i].Epoch = c.Epoch
		}
	})
	return nil
}

// Drain is NodeStore's.
func (s *MemoryNodes) Drain(_ context.Context, name string, drain bool) (*cyclone.Node, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, ok := s.all[name]
	if !ok {
		return nil, cyclone.NotFound("node %q does not exist", name)
	}
	n.Drain = drain
	s.all[name] = n
	return &n, nil
}

// Find is NodeStore's.
func (s *MemoryNodes) Find(_ context.Context, name string) (*cyclone.Node, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n, ok := s.all[name]; ok {
		return &n, nil
	}
	return nil, cyclone.NotFound("node %q does not exist", name)
}

// List is NodeStore's.
func (s *MemoryNodes) List(context.Context) ([]*cyclone.Node, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []*cyclone.Node{}
	for _, name := range slices.Sorted(maps.Keys(s.all)) {
		n := s.all[name]
		list = append(list, &n)
	}
	return list, nil
}

// Delete is NodeStore's.
func (s *MemoryNodes) Delete(_ context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.all[name]; !ok {
		return cyclone.NotFound("node %q does not exist", name)
	}
	delete(s.all, name)
	return nil
}
