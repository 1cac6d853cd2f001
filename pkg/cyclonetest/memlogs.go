package cyclonetest

import (
	"bytes"
	"context"
	"slices"
	"sync"

	"cyclone/pkg/cyclone"
)

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
	if c.First < 1 || c.Count < 1 || len(c.Data) == 0 {
		return cyclone.Invalid("chunk", "is empty")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, old := range s.all[event] {
		if old.First == c.First && old.Count == c.Count && bytes.Equal(old.Data, c.Data) {
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
	found := []cyclone.Chunk{}
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
