package cyclone

import (
	"context"
	"time"
)

// Cluster is a registered deployment target.
type Cluster struct {
	Name        ClusterName `json:"name"`
	Description string      `json:"description"`
	Host        string      `json:"host"`
	Namespaces  []string    `json:"namespaces"` // that may be deployed to; empty for all
	Projects    []string    `json:"projects"`   // that may use it; empty for all
	Insecure    bool        `json:"insecure"`
	CreatedAt   time.Time   `json:"createdAt"`
	UpdatedAt   time.Time   `json:"updatedAt"`

	// Access is the sealed JSON of ClusterAccess. It never leaves through the API.
	Access   []byte `json:"-"`
	Revision int64  `json:"-"`
}

// Purpose is what Access is sealed for.
func (c *Cluster) Purpose() string { return "cluster/" + string(c.Name) }

// ClusterStore keeps clusters; the methods are those of ProjectStore.
type ClusterStore interface {
	Create(ctx context.Context, c *Cluster) error
	Find(ctx context.Context, name ClusterName) (*Cluster, error)
	Replace(ctx context.Context, c *Cluster) error
	Delete(ctx context.Context, name ClusterName) error
	List(ctx context.Context, page Page) (List[*Cluster], error)
}

// SettingStore keeps the installation's own values: its id, the hash of the
// administrator's token.
type SettingStore interface {
	// Setting returns ErrNotFound when the value was never set.
	Setting(ctx context.Context, name string) ([]byte, error)
	// SetOnce stores a value unless there is one, and returns the one that holds.
	SetOnce(ctx context.Context, name string, value []byte) ([]byte, error)
	// Set stores a value.
	Set(ctx context.Context, name string, value []byte) error
}

// Sealer encrypts what must not stand in the store in clear.
type Sealer interface {
	// Seal encrypts; the purpose ("cluster/prod") must be given again to Open,
	// so that a sealed value cannot be moved to another place.
	Seal(purpose string, plain []byte) ([]byte, error)
	Open(purpose string, sealed []byte) ([]byte, error)
}
