package docker

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"

	"cyclone/pkg/cyclone"
)

// LabelValues lists the values of a label that containers, networks, volumes
// and images carry, each once.
func (e *Engine) LabelValues(ctx context.Context, label string) ([]string, error) {
	filter := filters.NewArgs(filters.Arg("label", label))
	values := map[string]bool{}
	containers, err := e.api.ContainerList(ctx, container.ListOptions{All: true, Filters: filter})
	if err != nil {
		return nil, failed(ctx, err, "list containers")
	}
	for _, c := range containers {
		values[c.Labels[label]] = true
	}
	networks, err := e.api.NetworkList(ctx, network.ListOptions{Filters: filter})
	if err != nil {
		return nil, failed(ctx, err, "list networks")
	}
	for _, n := range networks {
		values[n.Labels[label]] = true
	}
	volumes, err := e.api.VolumeList(ctx, volume.ListOptions{Filters: filter})
	if err != nil {
		return nil, failed(ctx, err, "list volumes")
	}
	for _, v := range volumes.Volumes {
		values[v.Labels[label]] = true
	}
	images, err := e.api.ImageList(ctx, image.ListOptions{Filters: filter})
	if err != nil {
		return nil, failed(ctx, err, "list images")
	}
	for _, i := range images {
		values[i.Labels[label]] = true
	}
	delete(values, "")
	return slices.Sorted(maps.Keys(values)), nil
}

// SweepImages removes every image that carries all the labels; the layers that
// BuildKit keeps of it stay. Without a label it is ErrInvalid.
func (e *Engine) SweepImages(ctx context.Context, labels map[string]string) error {
	if len(labels) == 0 {
		return cyclone.Invalid("labels", "a sweep needs at least one label")
	}
	images, err := e.api.ImageList(ctx, image.ListOptions{Filters: labelFilter(labels)})
	if err != nil {
		return failed(ctx, err, "list images")
	}
	var errs []error
	for _, i := range images {
		if carries(i.Labels, labels) {
			errs = append(errs, e.removeImage(ctx, i.ID))
		}
	}
	return errors.Join(errs...)
}
