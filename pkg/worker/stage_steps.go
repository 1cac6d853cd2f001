package worker

import (
	"context"

	"cyclone/pkg/cyclone"
)

// preBuild compiles; its outputs go into the source tree.
func (r *run) preBuild(ctx context.Context) error {
	return r.containers(ctx, cyclone.StagePreBuild, r.pipeline.PreBuild)
}

// postBuild runs what is to be done once the image is out.
func (r *run) postBuild(ctx context.Context) error {
	return r.containers(ctx, cyclone.StagePostBuild, r.pipeline.PostBuild)
}
