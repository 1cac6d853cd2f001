package cyclone

import (
	"context"
	"time"
)

// Secret is a project's secret. Its value goes to the steps that name it, or
// clones the repository that names it as its credential; it never leaves
// through the API.
type Secret struct {
	Project   ProjectName   `json:"-"`
	Name      string        `json:"name"`
	Events    []TriggerKind `json:"events"` // that may see it; empty for all but pull requests of forks
	Masked    bool          `json:"masked"` // hidden in logs
	CreatedAt time.Time     `json:"createdAt"`
	UpdatedAt time.Time     `json:"updatedAt"`

	Value []byte `json:"-"` // sealed
}

// Purpose is what Value is sealed for.
func (s *Secret) Purpose() string { return "secret/" + string(s.Project) + "/" + s.Name }

// SecretStore keeps secrets.
type SecretStore interface {
	// Put stores a secret, over one of the same name.
	Put(ctx context.Context, s *Secret) error
	// Find returns ErrNotFound when there is none.
	Find(ctx context.Context, project ProjectName, name string) (*Secret, error)
	Delete(ctx context.Context, project ProjectName, name string) error
	// List returns all of a project's secrets by name.
	List(ctx context.Context, project ProjectName) ([]*Secret, error)
}
