package worker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"strings"

	"cyclone/pkg/cyclone"
)

// built is an image that this event made.
type built struct {
	build  string // name of the build
	image  cyclone.Image
	pushed bool
	taken  bool     // an earlier event made it, and the engine may lack it
	tags   []string // to be pushed once integration has passed
}

// byDigest is name@digest.
func (b built) byDigest() string { return b.image.Name + "@" + b.image.Digest }

// reference is how others find it: by digest, once pushed.
func (b built) reference() string {
	if !b.pushed {
		return b.image.Ref()
	}
	return b.byDigest()
}

// builtName reports whether an image field stands for a built image, and for
// which build; empty for the first.
func builtName(image string) (string, bool) {
	if image == cyclone.BuiltImage {
		return "", true
	}
	return strings.CutPrefix(image, cyclone.BuiltImage+".")
}

// find returns the image of a build; the first one's for no name. When the
// build stage does not run in this event, it is the image of an earlier one.
func (r *run) find(name string) (built, error) {
	first := ""
	if len(r.pipeline.Build) > 0 {
		first = r.pipeline.Build[0].Name
	}
	for _, b := range r.built {
		if b.build == firstOf(name, first) {
			return b, nil
		}
	}
	if b, ok := r.earlierImage(firstOf(name, first)); ok {
		return b, nil
	}
	known := r.job.Event.Image
	if !r.takesOver(cyclone.StageBuild) && len(r.built) == 0 && known.Digest != "" && (name == "" || name == first) {
		return built{build: first, image: known, pushed: true, taken: true}, nil
	}
	what := strings.TrimSuffix(cyclone.BuiltImage+"."+name, ".")
	if r.takesOver(cyclone.StageBuild) {
		return built{}, cyclone.NotFound("%s: the event that this one takes its images over from has built no such image; begin at build", what)
	}
	return built{}, cyclone.NotFound("%s: the build stage has built no such image in this event", what)
}

// imageFor makes the image of a step present and returns its reference.
func (r *run) imageFor(ctx context.Context, s *step, c cyclone.Step) (string, error) {
	if c.Dockerfile != "" {
		return r.stepImage(ctx, s, c)
	}
	name, isBuilt := builtName(c.Image)
	if c.Image == "" {
		isBuilt = true // integration's default
	}
	if !isBuilt {
		return c.Image, r.pulls.ensure(ctx, c.Image, c.Pull, r.login(c.Image, c.Auth), s)
	}
	b, err := r.find(name)
	if err != nil || !b.taken {
		return b.image.Ref(), err
	}
	return b.byDigest(), r.fetchTaken(ctx, s, b)
}

// fetchTaken makes an image of an earlier event present.
func (r *run) fetchTaken(ctx context.Context, s *step, b built) error {
	if !b.pushed {
		return failure(s.stage, s.name, "%s was built by an earlier event and not pushed; begin at build", b.image.Ref())
	}
	return r.pulls.ensure(ctx, b.byDigest(), cyclone.PullMissing, r.login(b.byDigest(), nil), s)
}

// stepImage builds the image that a step brings as a Dockerfile.
func (r *run) stepImage(ctx context.Context, s *step, c cyclone.Step) (string, error) {
	name := strings.ToLower("cyclone-step-" + string(r.job.Event.ID) + "-" + cyclone.DockerTag(s.name))
	spec, err := r.buildSpec(s.stage, s.name, c.ContextDir, c.Dockerfile, c.Auth)
	if err != nil {
		return "", err
	}
	spec.Image = name + ":latest"
	spec.Labels = r.labels("step")
	spec.Pull = c.Pull == cyclone.PullAlways
	if err := r.up.wait(ctx); err != nil {
		return "", engineError(ctx, err)
	}
	return spec.Image, r.Images.Build(ctx, spec, s)
}

// buildSpec is an image build of a context and a Dockerfile in the source
// tree, which neither may leave.
func (r *run) buildSpec(stage cyclone.Stage, step, contextDir, dockerfile string, auth *cyclone.RegistryAuth) (cyclone.BuildSpec, error) {
	if r.dry() && len(r.pipeline.PreBuild) > 0 {
		return r.planBuild(contextDir, dockerfile), nil
	}
	spec := cyclone.BuildSpec{CacheFrom: r.job.CacheFrom, Registries: maps.Clone(r.job.Registries)}
	dockerfile = path.Join(contextDir, dockerfile)
	contextDir = path.Clean(contextDir)
	info, err := r.root.Stat(contextDir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return spec, failure(stage, step, "there is no folder %s (context_dir) in the repository", contextDir)
	case err != nil:
		return spec, failure(stage, step, "context_dir %s: %v", contextDir, pathReason(err))
	case !info.IsDir():
		return spec, failure(stage, step, "context_dir %s is not a folder", contextDir)
	}
	if spec.ContextDir, err = r.inTree(contextDir); err != nil {
		return spec, err
	}
	switch _, err = r.root.Stat(dockerfile); {
	case errors.Is(err, fs.ErrNotExist):
		return spec, failure(stage, step, "there is no Dockerfile %s in the repository", dockerfile)
	case err != nil:
		return spec, failure(stage, step, "Dockerfile %s: %v", dockerfile, pathReason(err))
	}
	spec.Dockerfile = filepath.Join(r.tree, dockerfile)
	if auth != nil {
		if spec.Registries == nil {
			spec.Registries = map[string]cyclone.RegistryAuth{}
		}
		host, err := r.baseRegistry(dockerfile)
		if err != nil {
			return spec, fmt.Errorf("read %s: %w", dockerfile, pathReason(err))
		}
		spec.Registries[host] = *auth
	}
	return spec, nil
}

// baseRegistry is the registry of the first image that a Dockerfile names:
// the one that a login in caicloud.yml is for.
func (r *run) baseRegistry(dockerfile string) (string, error) {
	data, err := r.root.ReadFile(dockerfile)
	if err != nil {
		return "", err
	}
	for line := range strings.SplitSeq(string(data), "\n") {
		words := strings.Fields(line)
		if len(words) < 2 || !strings.EqualFold(words[0], "FROM") {
			continue
		}
		for _, w := range words[1:] {
			if !strings.HasPrefix(w, "--") {
				return registryOf(w), nil
			}
		}
	}
	return "", nil
}
