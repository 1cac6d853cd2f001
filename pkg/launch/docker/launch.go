// Package docker starts workers as containers on a Docker engine: one
// single-use container per worker, with a volume for its inner engine, limits
// and labels, removed completely at the end. Launcher is cyclone.Launcher.
//
// It is not what runs inside: the inner engine and the stages belong to
// worker. It decides nothing about when and how many; dispatch does.
package docker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"

	"cyclone/pkg/cyclone"
)

// Privileged says how worker containers get the rights that an inner engine
// needs.
type Privileged string

// The values of Privileged. Auto tries --privileged at the first launch, falls
// back to the explicit set of rights when the host refuses it, and remembers.
const (
	PrivilegedAuto  Privileged = "auto"
	PrivilegedTrue  Privileged = "true"
	PrivilegedFalse Privileged = "false"
)

// Launcher starts workers on one Docker engine. Set the fields before the
// first call; it is then safe for concurrent use.
type Launcher struct {
	// Host is the engine's address; empty for the local socket.
	Host string
	// Image is the worker's image, which must be on the engine.
	Image string
	// ServerID is the id of the installation. Only containers and volumes
	// that carry it are ever touched.
	ServerID string
	// ServerURL is how workers reach the server. Unused with SocketPath.
	ServerURL string
	// SocketPath is the server's unix socket on the engine's host. It must be
	// alone in its directory: that directory is bound into the workers, so
	// that they find the socket of a server that was started again.
	SocketPath string
	// Privileged is PrivilegedAuto when empty.
	Privileged Privileged
	// Network is the network of the workers; empty for the engine's default.
	Network string
	// ExtraHosts are additional names for the workers: "host:address".
	ExtraHosts []string
	// Node is the name of this place, for messages.
	Node string
	// Log may be nil.
	Log *slog.Logger

	once    sync.Once
	api     *client.Client
	apiErr  error
	mu      sync.Mutex
	decided Privileged // what PrivilegedAuto turned out to be
	cpus    float64    // of the host; 0 while unknown
	folder  string     // of the engine; empty while unknown

	used     map[string]time.Time // when caches were last used
	reserved map[string]bool      // engines' volumes of containers that are being made
}

var _ cyclone.Launcher = (*Launcher)(nil)

// engine returns the engine's client. It does not connect.
func (l *Launcher) engine() (*client.Client, error) {
	l.once.Do(func() {
		host := l.Host
		if host == "" {
			host = client.DefaultDockerHost
		}
		l.api, l.apiErr = client.NewClientWithOpts(client.WithHost(host), client.WithAPIVersionNegotiation())
	})
	if l.ServerID == "" {
		// Two installations without an id would sweep each other's workers.
		return nil, cyclone.Invalid("server id", "a launcher needs the id of its installation")
	}
	if l.apiErr != nil {
		return nil, cyclone.Invalid("engine host", "%v; write for instance %s", l.apiErr, client.DefaultDockerHost)
	}
	return l.api, nil
}

// Launch starts a worker container and returns as soon as it runs. ErrConflict
// when there is a worker of this id already, ErrUnavailable when the engine or
// the image is missing. Nothing is left behind when it fails.
func (l *Launcher) Launch(ctx context.Context, w cyclone.WorkerSpec) error {
	api, err := l.engine()
	if err != nil {
		return err
	}
	if err := l.socketAlone(); err != nil {
		return err
	}
	if err := l.limit(ctx, api, &w); err != nil {
		return l.failed(err, w.ID)
	}
	c, release, err := l.caches(ctx, api, w)
	defer release()
	if err != nil {
		return l.failed(err, w.ID)
	}
	switch l.mode() {
	case PrivilegedTrue:
		err = l.start(ctx, api, w, c, privileged)
	case PrivilegedFalse:
		err = l.start(ctx, api, w, c, explicit)
	default:
		err = l.find(ctx, api, w, c)
	}
	return l.failed(err, w.ID)
}

// mode is how rights are to be given, as far as that is known.
func (l *Launcher) mode() Privileged {
	if l.Privileged == PrivilegedTrue || l.Privileged == PrivilegedFalse {
		return l.Privileged
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.decided
}

// find launches a worker while it is unknown whether the host allows
// privileged containers, and remembers what it learns. The failed attempt does
// no harm: its container never ran.
func (l *Launcher) find(ctx context.Context, api *client.Client, w cyclone.WorkerSpec, c caches) error {
	err := l.start(ctx, api, w, c, privileged)
	if err == nil {
		l.decide(PrivilegedTrue)
		return nil
	}
	if !refused(err) {
		return err
	}
	if eerr := l.start(ctx, api, w, c, explicit); eerr != nil {
		return fmt.Errorf("%w; and privileged: %w", eerr, err)
	}
	l.decide(PrivilegedFalse)
	if l.Log != nil {
		l.Log.Info("this host refuses privileged containers; workers get the explicit set of rights", "node", l.Node, "reason", err)
	}
	return nil
}

func (l *Launcher) decide(p Privileged) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.decided = p
}

// refused reports whether the host said no to a privileged container: runc
// (capabilities outside of its own), an authorization plugin, or an engine
// with user namespaces, which does not combine with it.
func refused(err error) bool {
	text := err.Error()
	return cerrdefs.IsPermissionDenied(err) || strings.Contains(text, "operation not permitted") ||
		strings.Contains(text, "unable to apply caps") || strings.Contains(text, "rivileged mode is incompatible")
}

// start makes and starts the container of a worker.
func (l *Launcher) start(ctx context.Context, api *client.Client, w cyclone.WorkerSpec, c caches, rights func(*container.HostConfig)) error {
	config, host := l.configs(w, c)
	rights(host)
	made, err := api.ContainerCreate(ctx, config, host, nil, nil, "cyclone-worker-"+string(w.ID))
	if err != nil {
		return err
	}
	err = api.ContainerStart(ctx, made.ID, container.StartOptions{})
	if err == nil {
		return nil
	}
	// The container must not outlive a start that failed, even when what
	// failed is ctx itself.
	undo, stop := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer stop()
	return errors.Join(err, l.Remove(undo, w.ID))
}

// limit cuts a worker's CPUs down to those of the host: engines refuse more,
// and a project's limit is a ceiling, not a demand.
func (l *Launcher) limit(ctx context.Context, api *client.Client, w *cyclone.WorkerSpec) error {
	if w.CPUs == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cpus == 0 {
		info, err := api.Info(ctx)
		if err != nil {
			return err
		}
		l.cpus = float64(info.NCPU)
	}
	w.CPUs = min(w.CPUs, l.cpus)
	return nil
}

// failed gives an error of the engine its kind and says what to do.
func (l *Launcher) failed(err error, id cyclone.WorkerID) error {
	switch {
	case err == nil:
		return nil
	case client.IsErrConnectionFailed(err):
		return l.down(err)
	case cerrdefs.IsNotFound(err) && strings.Contains(strings.ToLower(err.Error()), "no such image"):
		return l.imageMissing()
	case cerrdefs.IsConflict(err):
		return fmt.Errorf("launch worker %s: %w: %w", id, cyclone.ErrConflict, err)
	}
	return fmt.Errorf("launch worker %s on node %s: %w", id, l.Node, err)
}

func (l *Launcher) down(err error) error {
	return cyclone.Unavailable("node %s: the Docker engine does not answer: %v; start it, or set the node's engine address", l.Node, err)
}

func (l *Launcher) imageMissing() error {
	return cyclone.Unavailable("node %s: the worker image %s is not on its Docker engine; make it with `make images` or fetch it with `docker pull %s`",
		l.Node, l.Image, l.Image)
}

// Ready returns ErrUnavailable with the reason, and what to do about it, when
// no worker can be started: the engine is down, the worker's image is missing,
// the socket cannot be bound.
func (l *Launcher) Ready(ctx context.Context) error {
	api, err := l.engine()
	if err != nil {
		return err
	}
	if _, err := api.Ping(ctx); err != nil {
		return l.down(err)
	}
	if _, err := api.ImageInspect(ctx, l.Image); cerrdefs.IsNotFound(err) {
		return l.imageMissing()
	} else if err != nil {
		return cyclone.Unavailable("node %s: look for the worker image %s: %v", l.Node, l.Image, err)
	}
	return l.socketAlone()
}
