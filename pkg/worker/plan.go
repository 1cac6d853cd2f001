package worker

import (
	"maps"
	"path"
	"path/filepath"

	"cyclone/pkg/cyclone"
)

// Local is what differs for a worker on the machine of the person who wrote the
// file: the engine is that person's own and keeps its images, steps need not be
// kept apart from those of other events, and what the run has made stays until
// the caller of Run removes it.
type Local struct {
	// Labels are put on everything that the run makes, beside the usual ones.
	Labels map[string]string
	// NoPush is why nothing is pushed.
	NoPush string
	// Plan, when set, makes a dry run: it is called in place of each container,
	// and nothing is looked for that only a container could have made.
	Plan func(stage cyclone.Stage, step cyclone.Step, spec cyclone.ContainerSpec)
}

// dry reports whether the run only says what it would do.
func (r *run) dry() bool { return r.Local != nil && r.Local.Plan != nil }

// plan passes the container of a step on in a dry run.
func (r *run) plan(s *step, c cyclone.Step, spec cyclone.ContainerSpec) {
	r.Local.Plan(s.stage, c, spec)
}

// earlierImage finds an image of an earlier local run, which the engine still
// has.
func (r *run) earlierImage(build string) (built, bool) {
	if r.Local == nil {
		return built{}, false
	}
	for _, b := range r.job.Images {
		if b.Build == build {
			return built{build: build, image: b.Image, pushed: b.Digest != ""}, true
		}
	}
	return built{}, false
}

// unpushed is why an image is not pushed although the file does not say so.
func (r *run) unpushed() string {
	if r.Local != nil {
		return r.Local.NoPush
	}
	return ""
}

// label adds the labels of a local run.
func (l *Local) label(labels map[string]string) map[string]string {
	if l != nil {
		maps.Copy(labels, l.Labels)
	}
	return labels
}

// planBuild is an image build of a dry run, whose files pre_build may only make.
func (r *run) planBuild(contextDir, dockerfile string) cyclone.BuildSpec {
	return cyclone.BuildSpec{
		ContextDir: filepath.Join(r.tree, path.Clean(contextDir)),
		Dockerfile: filepath.Join(r.tree, path.Join(contextDir, dockerfile)),
	}
}
