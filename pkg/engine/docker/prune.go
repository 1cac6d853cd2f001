package docker

import (
	"context"
	"errors"
	"slices"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/build"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"

	"cyclone/pkg/cyclone"
)

// PutAway readies the engine for somebody who is to find nothing but layers:
// it removes all containers, networks and volumes, whoever made them, gives
// the images in keep the name that stands there, and removes every other name
// but those in before, and every image that has no name left. What BuildKit
// has in its cache stays.
func (e *Engine) PutAway(ctx context.Context, keep map[string]string, before []string) error {
	if err := errors.Join(e.sweepContainers(ctx, nil), e.sweepCustomNetworks(ctx), e.sweepVolumes(ctx, nil)); err != nil {
		return err
	}
	names := slices.Clone(before)
	for from, to := range keep {
		err := e.api.ImageTag(ctx, from, to)
		if cerrdefs.IsNotFound(err) {
			continue // a step has removed it
		}
		if err != nil {
			return failed(ctx, err, "keep image %s", from)
		}
		names = append(names, to)
	}
	images, err := e.api.ImageList(ctx, image.ListOptions{})
	if err != nil {
		return failed(ctx, err, "list images")
	}
	for _, i := range images {
		if err := e.rename(ctx, i, names); err != nil {
			return err
		}
	}
	return nil
}

// rename removes the names of an image but those given; without one left, the
// image goes.
func (e *Engine) rename(ctx context.Context, i image.Summary, keep []string) error {
	if !slices.ContainsFunc(i.RepoTags, func(tag string) bool { return slices.Contains(keep, tag) }) {
		return e.removeImage(ctx, i.ID)
	}
	// Tags first: with the last one of a repository its digests go.
	for _, name := range append(slices.Clone(i.RepoTags), i.RepoDigests...) {
		if slices.Contains(keep, name) || strings.HasPrefix(name, "<none>") {
			continue
		}
		if err := e.removeImage(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) removeImage(ctx context.Context, name string) error {
	_, err := e.api.ImageRemove(ctx, name, image.RemoveOptions{Force: true, PruneChildren: true})
	if cerrdefs.IsNotFound(err) {
		return nil
	}
	return failed(ctx, err, "remove image %s", name)
}

// sweepCustomNetworks removes every network that somebody made.
func (e *Engine) sweepCustomNetworks(ctx context.Context) error {
	list, err := e.api.NetworkList(ctx, network.ListOptions{Filters: filters.NewArgs(filters.Arg("type", "custom"))})
	if err != nil {
		return failed(ctx, err, "list networks")
	}
	var errs []error
	for _, n := range list {
		errs = append(errs, e.RemoveNetwork(ctx, n.ID))
	}
	return errors.Join(errs...)
}

// Shrink removes images in the order given, and then what BuildKit has not
// used for longest, until both together are not larger than limit. While they
// are not, it only asks for their size.
func (e *Engine) Shrink(ctx context.Context, limit cyclone.Size, images []string) error {
	layers, cache, err := e.usage(ctx)
	for _, name := range images {
		if err != nil || layers+cache <= int64(limit) {
			return err
		}
		if err := e.removeImage(ctx, name); err != nil {
			return err
		}
		layers, cache, err = e.usage(ctx)
	}
	if err != nil || layers+cache <= int64(limit) {
		return err
	}
	// Zero would mean that everything may stay.
	room := max(1, int64(limit)-layers)
	_, err = e.api.BuildCachePrune(ctx, build.CachePruneOptions{All: true, KeepStorage: room})
	return failed(ctx, err, "prune the build cache")
}

// usage is the size of images, and of what BuildKit keeps beside them.
func (e *Engine) usage(ctx context.Context) (layers, cache int64, err error) {
	used, err := e.api.DiskUsage(ctx, types.DiskUsageOptions{Types: []types.DiskUsageObject{types.ImageObject, types.BuildCacheObject}})
	if err != nil {
		return 0, 0, failed(ctx, err, "ask the engine what it keeps")
	}
	for _, r := range used.BuildCache {
		if !r.Shared {
			cache += r.Size
		}
	}
	return used.LayersSize, cache, nil
}
