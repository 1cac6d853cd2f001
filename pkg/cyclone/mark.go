package cyclone

import "context"

// Mark is a small fact that the server must remember about a project between
// its rounds: when a cron trigger fired last, which heads polling saw, which
// webhook was made. Marks of the empty project are the server's own.
type Mark struct {
	Project ProjectName
	Name    string // "cron/<id>", "heads", "connection"
	Value   []byte
	// Revision counts the writes; MarkStore.Put compares it.
	Revision int64
}

// MarkStore keeps marks. They go with their project.
type MarkStore interface {
	// Put writes m where the stored revision equals m.Revision (0: where none
	// is stored) and then increments m.Revision; ErrConflict when somebody
	// else wrote meanwhile.
	Put(ctx context.Context, m *Mark) error
	// Find returns ErrNotFound when there is none.
	Find(ctx context.Context, project ProjectName, name string) (*Mark, error)
	// Delete removes a mark; ErrNotFound when there is none.
	Delete(ctx context.Context, project ProjectName, name string) error
	// List returns a project's marks whose names begin with prefix, by name.
	List(ctx context.Context, project ProjectName, prefix string) ([]*Mark, error)
}
