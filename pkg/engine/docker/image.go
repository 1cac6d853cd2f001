package docker

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/registry"

	"cyclone/pkg/cyclone"
)

// Images is an engine seen as a place of images. Engine.Images makes one.
type Images struct{ engine *Engine }

// Pull fetches an image; its progress goes to out as lines. ErrNotFound: no
// such image; ErrForbidden: login needed; ErrUnavailable: registry out of
// reach; ErrInvalid: not the name of an image. Messages name image and
// registry.
func (i *Images) Pull(ctx context.Context, name string, auth *cyclone.RegistryAuth, out cyclone.Output) error {
	ref, err := parse(name)
	if err != nil {
		return err
	}
	header, err := credentials(auth, reference.Domain(ref))
	if err != nil {
		return err
	}
	stream, err := i.engine.api.ImagePull(ctx, ref.String(), image.PullOptions{RegistryAuth: header})
	if err == nil {
		_, err = follow(stream, out)
	}
	return registryFailed(ctx, err, "pull image", ref)
}

// Push uploads an image, with its progress going to out as lines, and returns
// the digest by which the registry now knows it ("sha256:..."). The kinds of
// error are those of Pull.
func (i *Images) Push(ctx context.Context, name string, auth *cyclone.RegistryAuth, out cyclone.Output) (string, error) {
	ref, err := parse(name)
	if err != nil {
		return "", err
	}
	header, err := credentials(auth, reference.Domain(ref))
	if err != nil {
		return "", err
	}
	digest := ""
	stream, err := i.engine.api.ImagePush(ctx, ref.String(), image.PushOptions{RegistryAuth: header})
	if err == nil {
		digest, err = follow(stream, out)
	}
	if err == nil && digest == "" {
		err = fmt.Errorf("the engine did not say which digest was pushed")
	}
	return digest, registryFailed(ctx, err, "push image", ref)
}

// follow writes a stream of progress messages to out until it ends.
func follow(stream io.ReadCloser, out cyclone.Output) (digest string, err error) {
	digest, err = newProgress(out).copy(stream)
	if cerr := stream.Close(); err == nil {
		err = cerr
	}
	return digest, err
}

// Inspect says what an image that is present is like; ErrNotFound when it is not.
func (i *Images) Inspect(ctx context.Context, name string) (cyclone.ImageInfo, error) {
	found, err := i.engine.api.ImageInspect(ctx, name)
	if err != nil {
		return cyclone.ImageInfo{}, failed(ctx, err, "inspect image %s", name)
	}
	info := cyclone.ImageInfo{ID: found.ID}
	if c := found.Config; c != nil {
		info.WorkingDir = c.WorkingDir
		info.Entrypoint = c.Entrypoint
		info.Command = c.Cmd
		info.Healthcheck = c.Healthcheck != nil && len(c.Healthcheck.Test) > 0 && c.Healthcheck.Test[0] != "NONE"
		info.ExposedPorts = slices.Sorted(maps.Keys(c.ExposedPorts))
	}
	return info, nil
}

// Tag gives an image that is present another name.
func (i *Images) Tag(ctx context.Context, name, as string) error {
	return failed(ctx, i.engine.api.ImageTag(ctx, name, as), "tag image %s as %s", name, as)
}

// parse reads an image's name the way docker does: "golang" is
// docker.io/library/golang:latest.
func parse(name string) (reference.Named, error) {
	ref, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return nil, cyclone.Invalid("image", "%q does not name an image: %v", name, err)
	}
	return reference.TagNameOnly(ref), nil
}

// credentials encodes a login for the engine. Without one an empty login is
// sent: engines before API 1.42 refuse a push that has none at all.
func credentials(auth *cyclone.RegistryAuth, host string) (string, error) {
	config := registry.AuthConfig{}
	if auth != nil {
		config = registry.AuthConfig{Username: auth.Username, Password: auth.Password, ServerAddress: host}
	}
	header, err := registry.EncodeAuthConfig(config)
	if err != nil {
		return "", fmt.Errorf("encode login of registry %s: %w", host, err)
	}
	return header, nil
}

// registryFailed gives an error of pull or push its kind and says which image,
// which registry and what to do.
func registryFailed(ctx context.Context, err error, verb string, ref reference.Named) error {
	if err == nil {
		return nil
	}
	what := fmt.Sprintf("%s %s", verb, reference.FamiliarString(ref))
	f, known := faultIn(err.Error())
	if ctx.Err() != nil || !known || disconnected(err) {
		return failed(ctx, err, "%s", what)
	}
	advice := f.advice(reference.Domain(ref))
	return &engineError{f.kind, fmt.Errorf("%s: %s (%w)", what, advice, plain(err))}
}
