package cyclonetest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"cyclone/pkg/cyclone"
)

// MemoryFiles is a FileStore.
type MemoryFiles struct {
	mu  sync.Mutex
	all map[memoryFileKey]memoryFile
}

type memoryFileKey struct {
	event cyclone.EventID
	kind  cyclone.FileKind
	path  string
}

// memoryFile is a file and its content, which is never changed.
type memoryFile struct {
	cyclone.File
	content []byte
}

// Put is FileStore's.
func (s *MemoryFiles) Put(ctx context.Context, f cyclone.File, content io.Reader) (cyclone.File, error) {
	var none cyclone.File
	if err := f.Check(); err != nil {
		return none, err
	}
	data, err := io.ReadAll(content)
	if err != nil {
		return none, fmt.Errorf("read content of %s: %w", f.Path, err)
	}
	if ctx.Err() != nil {
		return none, context.Cause(ctx)
	}
	if f.CreatedAt.IsZero() {
		f.CreatedAt = time.Now()
	}
	sum := sha256.Sum256(data)
	f.CreatedAt, f.Size, f.SHA256 = cyclone.Stamp(f.CreatedAt), cyclone.Size(len(data)), hex.EncodeToString(sum[:])
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[memoryFileKey{f.Event, f.Kind, f.Path}] = memoryFile{f, data}
	return f, nil
}

// Open is FileStore's.
func (s *MemoryFiles) Open(_ context.Context, event cyclone.EventID, kind cyclone.FileKind, path string) (cyclone.File, io.ReadSeekCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.all[memoryFileKey{event, kind, path}]
	if !ok {
		return cyclone.File{}, nil, cyclone.NotFound("event %s has no %s %q", event, kind, path)
	}
	return f.File, struct {
		io.ReadSeeker
		io.Closer
	}{bytes.NewReader(f.content), io.NopCloser(nil)}, nil
}

// List is FileStore's.
func (s *MemoryFiles) List(_ context.Context, event cyclone.EventID, kind cyclone.FileKind) ([]cyclone.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := []cyclone.File{}
	for _, f := range s.all {
		if f.Event == event && (kind == "" || f.Kind == kind) {
			found = append(found, f.File)
		}
	}
	slices.SortFunc(found, func(a, b cyclone.File) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Path, b.Path))
	})
	return found, nil
}

// Delete is FileStore's.
func (s *MemoryFiles) Delete(_ context.Context, event cyclone.EventID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.all {
		if key.event == event {
			delete(s.all, key)
		}
	}
	return nil
}
