package mongo

import (
	"context"
	"sync"

	"cyclone/pkg/cyclone"
)

// turns lets this process's creators of events in one project go one after the
// other: each takes the project's next number, and all but one of those who try
// at once would have to try again. Between servers the unique index decides.
type turns struct {
	mu   sync.Mutex
	last map[cyclone.ProjectName]chan struct{} // closed when the last in the line is done
}

// wait returns when it is the caller's turn, with what ends it.
func (t *turns) wait(ctx context.Context, project cyclone.ProjectName) (end func(), err error) {
	mine := make(chan struct{})
	t.mu.Lock()
	before := t.last[project]
	if t.last == nil {
		t.last = map[cyclone.ProjectName]chan struct{}{}
	}
	t.last[project] = mine
	t.mu.Unlock()
	end = func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		close(mine)
		if t.last[project] == mine {
			delete(t.last, project)
		}
	}
	if before == nil {
		return end, nil
	}
	select {
	case <-before:
		return end, nil
	case <-ctx.Done():
		// Whoever is behind must still wait for whoever is before.
		go func() { <-before; end() }()
		return nil, ctx.Err()
	}
}
