package cyclone

import (
	"context"
	"io"
	"time"
)

// ContainerSpec is a container to be made.
type ContainerSpec struct {
	Name        string // hint for people; made unique by the engine
	Image       string
	Entrypoint  []string // nil keeps the image's
	Command     []string // nil keeps the image's
	Environment []string // KEY=value
	WorkingDir  string
	Mounts      []Mount
	Network     string   // NetworkID
	Aliases     []string // names in the network
	ExtraHosts  []string
	DNS         []string
	Ports       []string
	Privileged  bool
	Devices     []string
	Memory      Size
	CPUs        float64
	CPUSet      string
	Labels      map[string]string
}

// Mount binds a path of the engine's host into a container.
type Mount struct {
	Source, Target string
	ReadOnly       bool
}

// Exit is how a container ended.
type Exit struct {
	Code      int
	Signal    string // "SIGKILL" when one ended it, else empty
	OOMKilled bool
}

// ContainerInfo is a container as the engine sees it now.
type ContainerInfo struct {
	Running bool
	Exit    Exit
	Health  string   // "", starting, healthy or unhealthy
	IP      string   // in its network
	Ports   []string // exposed: "5432/tcp"
}

// Containers runs containers on an engine.
type Containers interface {
	// Create makes a container of an image that is present and returns its id.
	Create(ctx context.Context, spec ContainerSpec) (string, error)
	// Run starts a created container, copies what it prints to out and
	// returns when it has ended and all its output has been written. When ctx
	// ends first, the container gets SIGTERM, after ten seconds SIGKILL, and
	// Run returns the exit together with context.Cause(ctx).
	Run(ctx context.Context, id string, out Output) (Exit, error)
	Inspect(ctx context.Context, id string) (ContainerInfo, error)
	// CopyOut returns a tar of the path inside the container, ended or not.
	// ErrNotFound when there is nothing at the path.
	CopyOut(ctx context.Context, id, path string) (io.ReadCloser, error)
	// Remove kills and removes a container with its anonymous volumes.
	Remove(ctx context.Context, id string) error
}

// ImageInfo is what an image says of itself.
type ImageInfo struct {
	ID           string
	WorkingDir   string
	Entrypoint   []string
	Command      []string
	Healthcheck  bool
	ExposedPorts []string // "5432/tcp"
}

// BuildSpec is an image to be built with BuildKit.
type BuildSpec struct {
	ContextDir string // on the caller's disk; its .dockerignore is honoured
	Dockerfile string // path on the caller's disk
	Image      string // name:tag to give
	Args       map[string]string
	Target     string
	Labels     map[string]string
	Secrets    map[string][]byte
	CacheFrom  []string
	Pull       bool
	Registries map[string]RegistryAuth
}

// Images handles the images of an engine.
type Images interface {
	// Pull fetches an image; progress goes to out. ErrNotFound: no such image;
	// ErrForbidden: login needed; ErrUnavailable: registry out of reach.
	Pull(ctx context.Context, image string, auth *RegistryAuth, out Output) error
	// Inspect returns ErrNotFound when the image is not present.
	Inspect(ctx context.Context, image string) (ImageInfo, error)
	// Build builds an image; what BuildKit prints goes to out. A build that
	// fails because of the Dockerfile is ErrInvalid.
	Build(ctx context.Context, spec BuildSpec, out Output) error
	// Push uploads an image and returns its digest ("sha256:...").
	Push(ctx context.Context, image string, auth *RegistryAuth, out Output) (string, error)
	Tag(ctx context.Context, image, as string) error
}

// Networks handles the networks of an engine.
type Networks interface {
	CreateNetwork(ctx context.Context, name string, labels map[string]string) (string, error)
	RemoveNetwork(ctx context.Context, id string) error
	// Sweep removes every container, network and volume that carries all the labels.
	Sweep(ctx context.Context, labels map[string]string) error
}

// Deployer rolls images out.
type Deployer interface {
	// Deploy gives the target's containers the image (by digest), watches the
	// rollout and, when it fails, rolls it back. Progress goes to out as lines.
	Deploy(ctx context.Context, t Rollout, out io.Writer) (Deployment, error)
}

// Rollout is one deployment with everything resolved.
type Rollout struct {
	Target
	Access   ClusterAccess
	Image    string // name@digest
	Manifest []byte // creates a missing Deployment; nil for none
}

// ClusterAccess is how to reach a Kubernetes API server.
type ClusterAccess struct {
	Host     string `json:"host"` // https://...
	Token    string `json:"token"`
	CA       string `json:"ca"` // PEM or base64 of it; empty for the system's
	Insecure bool   `json:"insecure"`
}

// DefaultRolloutTimeout is how long a rollout may take when the target does
// not say.
const DefaultRolloutTimeout = 5 * time.Minute
