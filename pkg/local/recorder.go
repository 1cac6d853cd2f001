package local

import (
	"context"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"cyclone/pkg/cyclone"
)

// The engine and the cluster of a dry run: everything succeeds and is noted.
var (
	_ cyclone.Containers = (*Planner)(nil)
	_ cyclone.Networks   = (*Planner)(nil)
	_ cyclone.Deployer   = (*Planner)(nil)
	_ cyclone.Images     = plannedImages{}
)

// Create implements cyclone.Containers. A worker in a dry run makes none.
func (p *Planner) Create(context.Context, cyclone.ContainerSpec) (string, error) {
	return "", errDry
}

var errDry = cyclone.Invalid("dry run", "no container is made")

// Run implements cyclone.Containers.
func (p *Planner) Run(context.Context, string, cyclone.Output) (cyclone.Exit, error) {
	return cyclone.Exit{}, errDry
}

// Inspect implements cyclone.Containers.
func (p *Planner) Inspect(context.Context, string) (cyclone.ContainerInfo, error) {
	return cyclone.ContainerInfo{}, errDry
}

// CopyOut implements cyclone.Containers.
func (p *Planner) CopyOut(context.Context, string, string) (io.ReadCloser, error) { return nil, errDry }

// Remove implements cyclone.Containers.
func (p *Planner) Remove(context.Context, string) error { return nil }

// CreateNetwork implements cyclone.Networks.
func (p *Planner) CreateNetwork(_ context.Context, _ string, _ map[string]string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	const name = "a network of the run's own"
	s := p.stage(cyclone.StageIntegration)
	if s == nil {
		s = &PlanStage{Name: cyclone.StageIntegration}
		p.stages = append(p.stages, s)
	}
	s.Network = name
	return name, nil
}

// RemoveNetwork implements cyclone.Networks.
func (p *Planner) RemoveNetwork(context.Context, string) error { return nil }

// Sweep implements cyclone.Networks.
func (p *Planner) Sweep(context.Context, map[string]string) error { return nil }

// Images is the planner seen as a place of images.
func (p *Planner) Images() cyclone.Images { return plannedImages{p} }

type plannedImages struct{ p *Planner }

// Pull implements cyclone.Images.
func (plannedImages) Pull(context.Context, string, *cyclone.RegistryAuth, cyclone.Output) error {
	return nil
}

// Inspect implements cyclone.Images: every image is there.
func (plannedImages) Inspect(context.Context, string) (cyclone.ImageInfo, error) {
	return cyclone.ImageInfo{}, nil
}

// Build implements cyclone.Images.
func (i plannedImages) Build(_ context.Context, spec cyclone.BuildSpec, _ cyclone.Output) error {
	p := i.p
	p.mu.Lock()
	defer p.mu.Unlock()
	b := &PlanBuild{
		Image: spec.Image, Context: p.inTree(spec.ContextDir), Dockerfile: p.inTree(spec.Dockerfile), Target: spec.Target,
		Args: p.maskValues(spec.Args), Labels: p.maskValues(spec.Labels), Secrets: slices.Sorted(maps.Keys(spec.Secrets)),
	}
	if p.running.stage != cyclone.StageBuild {
		b.Labels = nil // of Cyclone's own alone
	}
	if p.run.Pipeline != nil {
		for _, known := range p.run.Pipeline.Build {
			if known.Name == p.running.step {
				b.Tags = known.Tags
			}
		}
	}
	p.add(p.running.stage, p.running.step).Build = b
	return nil
}

// inTree is a path of the copy of the source as people write it.
func (p *Planner) inTree(path string) string {
	if rel, err := filepath.Rel(p.tree, path); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return path
}

// plannedDigest stands for the digest of an image that is pushed one day.
const plannedDigest = "sha256:0000000000000000000000000000000000000000000000000000000000000000"

// Push implements cyclone.Images.
func (i plannedImages) Push(_ context.Context, image string, _ *cyclone.RegistryAuth, _ cyclone.Output) (string, error) {
	p := i.p
	p.mu.Lock()
	defer p.mu.Unlock()
	step := p.add(p.running.stage, p.running.step)
	step.Push = append(step.Push, image)
	return plannedDigest, nil
}

// Tag implements cyclone.Images.
func (plannedImages) Tag(context.Context, string, string) error { return nil }

// Deploy implements cyclone.Deployer.
func (p *Planner) Deploy(_ context.Context, t cyclone.Rollout, _ io.Writer) (cyclone.Deployment, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.add(cyclone.StageDeploy, p.running.step).Rollout = &PlanRollout{
		Cluster: firstOf(t.Cluster, t.Host), Namespace: firstOf(t.Namespace, "default"), Deployment: t.Deployment,
		Containers: t.Containers, Image: strings.Replace(t.Image, "@"+plannedDigest, " (by the digest that is pushed)", 1),
	}
	return cyclone.Deployment{Status: cyclone.StatusSuccess}, nil
}
