package cyclonetest

import (
	"context"
	"slices"
	"sync"

	"cyclone/pkg/cyclone"
)

// MemorySettings is a SettingStore.
type MemorySettings struct {
	mu  sync.Mutex
	all map[string][]byte
}

// Setting is SettingStore's.
func (s *MemorySettings) Setting(_ context.Context, name string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	value, ok := s.all[name]
	if !ok {
		return nil, cyclone.NotFound("setting %q was never set", name)
	}
	return append([]byte{}, value...), nil
}

// SetOnce is SettingStore's.
func (s *MemorySettings) SetOnce(_ context.Context, name string, value []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.all[name]; !ok {
		s.all[name] = slices.Clone(value)
	}
	return append([]byte{}, s.all[name]...), nil
}

// Set is SettingStore's.
func (s *MemorySettings) Set(_ context.Context, name string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[name] = slices.Clone(value)
	return nil
}
