// Package docker runs containers, builds and pushes images and keeps networks
// on a Docker engine, through the engine's API. Engine is cyclone.Containers
// and cyclone.Networks; Engine.Images is cyclone.Images. Engines from 20.10
// (API 1.41) on are understood; the version is negotiated at the first call.
//
// It is not an engine and starts none: who supervises dockerd lives in worker.
// Nor does it know stages, steps or events: labels are all it sees of them.
package docker

import (
	"context"
	"fmt"
	"time"

	"github.com/docker/docker/client"

	"cyclone/pkg/cyclone"
)

// DefaultHost is where an engine listens that was not told otherwise.
const DefaultHost = client.DefaultDockerHost

// Engine is one Docker engine. It is safe for concurrent use.
type Engine struct {
	api   *client.Client
	host  string
	grace graces
}

var (
	_ cyclone.Containers = (*Engine)(nil)
	_ cyclone.Networks   = (*Engine)(nil)
	_ cyclone.Images     = (*Images)(nil)
)

// New returns the engine at host ("unix:///var/run/docker.sock",
// "tcp://10.0.0.7:2375"; empty means DefaultHost). It does not connect; Ready
// does. An address that cannot be read is ErrInvalid.
func New(host string) (*Engine, error) {
	if host == "" {
		host = DefaultHost
	}
	api, err := client.NewClientWithOpts(client.WithHost(host), client.WithAPIVersionNegotiation())
	if err != nil {
		return nil, cyclone.Invalid("engine host", "%v; write for instance %s", err, DefaultHost)
	}
	return &Engine{api: api, host: host, grace: usualGraces()}, nil
}

// Images is the engine seen as a place of images.
func (e *Engine) Images() *Images { return &Images{engine: e} }

// Close gives up the connections to the engine.
func (e *Engine) Close() error { return e.api.Close() }

// Ready waits until the engine's API answers. When ctx ends first it returns
// ErrUnavailable with what the last attempt said.
func (e *Engine) Ready(ctx context.Context) error {
	const slowest = 250 * time.Millisecond
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, slowest) {
		_, err := e.api.Ping(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return &engineError{cyclone.ErrUnavailable, fmt.Errorf("docker engine at %s does not answer: %w", e.host, err)}
		case <-time.After(pause):
		}
	}
}
