package cyclonetest

import (
	"context"

	"cyclone/pkg/cyclone"
)

// Images returns the engine's images.
func (e *Engine) Images() *Images { return &Images{e} }

// Images is the images of an Engine.
type Images struct{ e *Engine }

var (
	_ cyclone.Images     = (*Images)(nil)
	_ cyclone.Containers = (*Engine)(nil)
	_ cyclone.Networks   = (*Engine)(nil)
)

// Digest is the digest of every pushed image.
const Digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// Pull implements cyclone.Images.
func (i *Images) Pull(_ context.Context, image string, _ *cyclone.RegistryAuth, out cyclone.Output) error {
	i.e.mu.Lock()
	defer i.e.mu.Unlock()
	if err := i.e.call("pull %s", image); err != nil {
		return err
	}
	info, ok := i.e.Remote[image]
	if !ok {
		return cyclone.NotFound("there is no image %s", image)
	}
	out.Write(cyclone.System, []byte("Pulling "+image+"\n"))
	i.have(image, info)
	return nil
}

func (i *Images) have(image string, info cyclone.ImageInfo) {
	if i.e.Present == nil {
		i.e.Present = map[string]cyclone.ImageInfo{}
	}
	i.e.Present[image] = info
}

// Inspect implements cyclone.Images.
func (i *Images) Inspect(_ context.Context, image string) (cyclone.ImageInfo, error) {
	i.e.mu.Lock()
	defer i.e.mu.Unlock()
	info, ok := i.e.Present[image]
	if !ok {
		return info, cyclone.NotFound("no image %s on the engine", image)
	}
	return info, nil
}

// Build implements cyclone.Images.
func (i *Images) Build(_ context.Context, spec cyclone.BuildSpec, out cyclone.Output) error {
	i.e.mu.Lock()
	defer i.e.mu.Unlock()
	if err := i.e.call("build %s", spec.Image); err != nil {
		return err
	}
	if i.e.Built != nil {
		i.e.Built(spec)
	}
	out.Write(cyclone.Stdout, []byte("#1 built "+spec.Image+"\n"))
	i.have(spec.Image, cyclone.ImageInfo{ID: spec.Image})
	return nil
}

// Push implements cyclone.Images.
func (i *Images) Push(_ context.Context, image string, _ *cyclone.RegistryAuth, out cyclone.Output) (string, error) {
	i.e.mu.Lock()
	defer i.e.mu.Unlock()
	if err := i.e.call("push %s", image); err != nil {
		return "", err
	}
	out.Write(cyclone.System, []byte("Pushing "+image+"\n"))
	return Digest, nil
}

// Tag implements cyclone.Images.
func (i *Images) Tag(_ context.Context, image, as string) error {
	i.e.mu.Lock()
	defer i.e.mu.Unlock()
	if err := i.e.call("tag %s %s", image, as); err != nil {
		return err
	}
	i.have(as, i.e.Present[image])
	return nil
}
