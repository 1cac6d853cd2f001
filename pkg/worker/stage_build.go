package worker

import (
	"context"
	"errors"
	"path"
	"time"

	"cyclone/pkg/cyclone"
)

// build builds the images, and pushes them once all are built.
func (r *run) build(ctx context.Context) error {
	for i, b := range r.pipeline.Build {
		if err := r.buildImage(ctx, i, b); err != nil {
			return err
		}
	}
	for i, b := range r.pipeline.Build {
		if err := r.pushImage(ctx, &r.built[i], b); err != nil {
			return err
		}
	}
	if r.pipeline.Integration == nil || !r.allowed(cyclone.StageIntegration) {
		return r.pushTags(ctx, cyclone.StageBuild)
	}
	return nil
}

// imageOf is what a build's image is called.
func (r *run) imageOf(i int, b cyclone.Build) cyclone.Image {
	r.mu.Lock()
	image := cyclone.Image{Name: r.state.Image.Name, Tag: r.state.Version}
	r.mu.Unlock()
	if i > 0 {
		image.Name += "-" + b.Name
	}
	image.Name = firstOf(b.ImageName, image.Name)
	return image
}

// buildImage builds one image on the inner engine.
func (r *run) buildImage(ctx context.Context, i int, b cyclone.Build) error {
	return r.step(ctx, cyclone.StageBuild, b.Name, func(s *step) error {
		image := r.imageOf(i, b)
		spec, err := r.buildSpec(cyclone.StageBuild, b.Name, b.ContextDir, b.Dockerfile, b.Auth)
		if err != nil {
			return err
		}
		spec.Image, spec.Args, spec.Target, spec.Labels = image.Ref(), b.Args, b.Target, b.Labels
		spec.Pull = b.Pull == cyclone.PullAlways
		secrets := map[string]string{}
		if err := r.addSecrets(cyclone.StageBuild, b.Name, secrets, b.Secrets); err != nil {
			return err
		}
		spec.Secrets = map[string][]byte{}
		for id, value := range secrets {
			spec.Secrets[id] = []byte(value)
		}
		s.set(func(st *cyclone.StepState) { st.Image = image.Ref() })
		if err := r.up.wait(ctx); err != nil {
			return engineError(ctx, err)
		}
		s.say("Building %s from %s", image.Ref(), path.Join(b.ContextDir, b.Dockerfile))
		if err := r.tryBuild(ctx, s, b, spec); err != nil {
			return err
		}
		r.built = append(r.built, built{build: b.Name, image: image, tags: b.Tags})
		r.noteImages()
		return nil
	})
}

// tryBuild builds within the build's timeout, as often as it may.
func (r *run) tryBuild(ctx context.Context, s *step, b cyclone.Build, spec cyclone.BuildSpec) error {
	for try := 0; ; try++ {
		err := r.buildOnce(ctx, s, b, spec)
		if err == nil || try >= b.Retries || ctx.Err() != nil || !errors.Is(err, cyclone.ErrInvalid) {
			return err
		}
		s.say("%v; trying again (%d of %d)", err, try+1, b.Retries)
	}
}

func (r *run) buildOnce(ctx context.Context, s *step, b cyclone.Build, spec cyclone.BuildSpec) error {
	if b.Timeout == 0 {
		return r.Images.Build(ctx, spec, s)
	}
	late := &verdict{
		status: cyclone.StatusTimeout, stage: s.stage, step: s.name,
		message: label(s.stage, s.name) + " timed out after " + b.Timeout.String(),
	}
	limited, cancel := context.WithTimeoutCause(ctx, time.Duration(b.Timeout), late)
	defer cancel()
	if err := r.Images.Build(limited, spec, s); err != nil {
		if context.Cause(limited) != nil {
			return context.Cause(limited)
		}
		return err
	}
	return nil
}

// pushImage pushes a built image and notes its digest.
func (r *run) pushImage(ctx context.Context, done *built, b cyclone.Build) error {
	ref := done.image.Ref()
	if b.NoPush || !r.job.Push {
		o := r.log.output(cyclone.StageBuild, b.Name)
		defer o.close()
		why := "caicloud.yml says push: false"
		if !r.job.Push {
			why = firstOf(r.unpushed(), "events of this kind push nothing")
		}
		o.say("%s is not pushed: %s.", ref, why)
		return nil
	}
	return r.step(ctx, cyclone.StageBuild, pushStep(b.Name), func(s *step) error {
		s.set(func(st *cyclone.StepState) { st.Image = ref })
		s.say("Pushing %s", ref)
		digest, err := r.Images.Push(ctx, ref, r.pushLogin(ref, b.Name), systemOnly{s})
		if err != nil {
			return err
		}
		done.image.Digest, done.pushed = digest, true
		s.say("Pushed %s", done.byDigest())
		r.noteImages()
		return nil
	})
}

// pushLogin is the login to push a build's image with. The one that the build
// itself names is for the registry of its base image, and goes to no other.
func (r *run) pushLogin(ref, build string) *cyclone.RegistryAuth {
	for _, b := range r.pipeline.Build {
		if b.Name != build || b.Auth == nil {
			continue
		}
		base, err := r.baseRegistry(path.Join(b.ContextDir, b.Dockerfile))
		if err == nil && base == registryOf(ref) {
			return b.Auth
		}
	}
	return r.login(ref, nil)
}

func pushStep(build string) string {
	if build == string(cyclone.StageBuild) {
		return "push"
	}
	return "push/" + build
}

// pushTags pushes the further tags of the built images; what is called latest
// has passed its tests.
func (r *run) pushTags(ctx context.Context, stage cyclone.Stage) error {
	for _, b := range r.built {
		if len(b.tags) == 0 || !b.pushed || !r.job.Push {
			continue
		}
		err := r.step(ctx, stage, "tags/"+b.build, func(s *step) error {
			from := b.image.Ref()
			if b.taken {
				from = b.byDigest()
				if err := r.fetchTaken(ctx, s, b); err != nil {
					return err
				}
			}
			for _, tag := range b.tags {
				as := b.image.Name + ":" + cyclone.DockerTag(tag)
				if err := r.Images.Tag(ctx, from, as); err != nil {
					return err
				}
				s.say("Pushing %s", as)
				if _, err := r.Images.Push(ctx, as, r.pushLogin(as, b.build), systemOnly{s}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
