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
	mu    sync.Mutex
	lines map[cyclone.ProjectName]*line
}

// line is those who wait for a turn in one project, and the one who has it.
type line struct {
	turn   chan struct{} // holds one value while somebody has the turn
	people int           // guarded by turns.mu
}

// wait returns when it is the caller's turn, with what ends it, or with the
// error of ctx when that ends first.
func (t *turns) wait(ctx context.Context, project cyclone.ProjectName) (func(), error) {
	l := t.join(project)
	select {
	case l.turn <- struct{}{}:
		return func() {
			<-l.turn
			t.leave(project, l)
		}, nil
	case <-ctx.Done():
		t.leave(project, l)
		return nil, ctx.Err()
	}
}

func (t *turns) join(project cyclone.ProjectName) *line {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.lines[project]
	if l == nil {
		l = &line{turn: make(chan struct{}, 1)}
		if t.lines == nil {
			t.lines = map[cyclone.ProjectName]*line{}
		}
		t.lines[project] = l
	}
	l.people++
	return l
}

// leave forgets a line with the last who was in it.
func (t *turns) leave(project cyclone.ProjectName, l *line) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l.people--; l.people == 0 {
		delete(t.lines, project)
	}
}
