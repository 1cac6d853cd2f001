package docker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"golang.org/x/sync/errgroup"

	"cyclone/pkg/cyclone"
)

// CreateNetwork makes a bridge network and returns its id. ErrConflict when
// the name is taken, ErrUnavailable when the engine has no address range left.
func (e *Engine) CreateNetwork(ctx context.Context, name string, labels map[string]string) (string, error) {
	made, err := e.api.NetworkCreate(ctx, name, network.CreateOptions{Driver: "bridge", Labels: labels})
	if err != nil && strings.Contains(err.Error(), "address pool") {
		return "", &engineError{cyclone.ErrUnavailable,
			fmt.Errorf("create network %s: the engine has no address range left; remove unused networks (%w)", name, plain(err))}
	}
	if err != nil {
		return "", failed(ctx, err, "create network %s", name)
	}
	return made.ID, nil
}

// RemoveNetwork removes a network and returns when it is gone; containers that
// are still in it are disconnected. Removing one that is gone is no error.
func (e *Engine) RemoveNetwork(ctx context.Context, id string) error {
	err := retry(ctx, func() error {
		err := e.api.NetworkRemove(ctx, id)
		if err != nil && strings.Contains(err.Error(), "active endpoints") {
			// Engines answer so with different codes; empty the network and
			// let retry see what the next try says.
			e.disconnectAll(ctx, id)
			err = e.api.NetworkRemove(ctx, id)
		}
		return err
	})
	return failed(ctx, err, "remove network %s", short(id))
}

// disconnectAll empties a network. What cannot be disconnected shows in the
// removal that follows.
func (e *Engine) disconnectAll(ctx context.Context, id string) {
	found, err := e.api.NetworkInspect(ctx, id, network.InspectOptions{})
	if err != nil {
		return
	}
	for c := range found.Containers {
		_ = e.api.NetworkDisconnect(ctx, id, c, true)
	}
}

// Sweep removes every container, network and volume that carries all the
// labels, in this order, and goes on past what it cannot remove. Without a
// label it is ErrInvalid: everything on the engine carries none of none.
func (e *Engine) Sweep(ctx context.Context, labels map[string]string) error {
	if len(labels) == 0 {
		return cyclone.Invalid("labels", "a sweep needs at least one label")
	}
	return errors.Join(e.sweepContainers(ctx, labels), e.sweepNetworks(ctx, labels), e.sweepVolumes(ctx, labels))
}

func (e *Engine) sweepContainers(ctx context.Context, labels map[string]string) error {
	list, err := e.api.ContainerList(ctx, container.ListOptions{All: true, Filters: labelFilter(labels)})
	if err != nil {
		return failed(ctx, err, "list containers")
	}
	errs := make([]error, len(list))
	var removals errgroup.Group
	removals.SetLimit(4)
	for i, c := range list {
		if !carries(c.Labels, labels) {
			continue
		}
		removals.Go(func() error {
			errs[i] = e.Remove(ctx, c.ID)
			return nil
		})
	}
	return errors.Join(removals.Wait(), errors.Join(errs...))
}

func (e *Engine) sweepNetworks(ctx context.Context, labels map[string]string) error {
	list, err := e.api.NetworkList(ctx, network.ListOptions{Filters: labelFilter(labels)})
	if err != nil {
		return failed(ctx, err, "list networks")
	}
	var errs []error
	for _, n := range list {
		if carries(n.Labels, labels) {
			errs = append(errs, e.RemoveNetwork(ctx, n.ID))
		}
	}
	return errors.Join(errs...)
}

func (e *Engine) sweepVolumes(ctx context.Context, labels map[string]string) error {
	list, err := e.api.VolumeList(ctx, volume.ListOptions{Filters: labelFilter(labels)})
	if err != nil {
		return failed(ctx, err, "list volumes")
	}
	var errs []error
	for _, v := range list.Volumes {
		if !carries(v.Labels, labels) {
			continue
		}
		err := retry(ctx, func() error { return e.api.VolumeRemove(ctx, v.Name, true) })
		errs = append(errs, failed(ctx, err, "remove volume %s", v.Name))
	}
	return errors.Join(errs...)
}

func labelFilter(labels map[string]string) filters.Args {
	args := filters.NewArgs()
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		args.Add("label", k+"="+labels[k])
	}
	return args
}

// carries reports whether all the wanted labels are there. The engine filters
// already; this is the belt to its braces, since what passes here is deleted.
func carries(have, want map[string]string) bool {
	for k, v := range want {
		if got, ok := have[k]; !ok || got != v {
			return false
		}
	}
	return true
}
