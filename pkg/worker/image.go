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
	tags   []string // to be pushed once integration has passed
}

// byDigest is name@digest.
func (b built) byDigest() string { return b.image.Name + "@" + b.image.Digest }

// builtName reports whether an image field stands for a built image, and for
// which build; empty for the first.
func builtName(image string) (string, bool) {
	if image == cyclone.BuiltImage {
		return "", true
	}
	return strings.CutPrefix(image, cyclone.BuiltImage+".")
}

// find returns the image of a build. When the build stage did not run in this
// event (a rerun from a later stage), it is the image of the event it repeats.
func (r *run) find(name string) (b built, here bool, err error) {
	for i, b := range r.built {
		if b.build == name || (name == "" && i == 0) {
			return b, true, nil
		}
	}
	r.mu.Lock()
	image := r.state.Image
	r.mu.Unlock()
	if image.Digest == "" || r.job.Event.Image.Digest == "" {
		return built{}, false, cyclone.NotFound("%s: the build stage has built no such image in this event",
			strings.TrimSuffix(cyclone.BuiltImage+"."+name, "."))
	}
	if name != "" && len(r.pipeline.Build) > 0 && r.pipeline.Build[0].Name != name {
		return built{}, false, cyclone.NotFound("%s.%s: only the first image of an earlier event is known; start at the build stage",
			cyclone.BuiltImage, name)
	}
	return built{image: image, pushed: true}, false, nil
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
	b, here, err := r.find(name)
	if err != nil || here {
		return b.image.Ref(), err
	}
	ref := b.byDigest()
	return ref, r.pulls.ensure(ctx, ref, cyclone.PullMissing, r.login(ref, nil), s)
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
	if err := r.up.wait(ctx); err != nil {
		return "", engineError(ctx, err)
	}
	return spec.Image, r.Images.Build(ctx, spec, s)
}

// buildSpec is an image build of a context and a Dockerfile in the source
// tree, which neither may leave.
func (r *run) buildSpec(stage cyclone.Stage, step, contextDir, dockerfile string, auth *cyclone.RegistryAuth) (cyclone.BuildSpec, error) {
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
