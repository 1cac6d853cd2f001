package docker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"

	"cyclone/pkg/cyclone"
)

const (
	// removeTimeout is how long a container or a volume may take to go.
	removeTimeout = 30 * time.Second
	// undoTimeout is how long the removal of what did not start may take: the
	// caller tries again.
	undoTimeout = 10 * time.Second
	// detailLines is how much of a dead worker's own log is quoted.
	detailLines = 20
)

// Remove kills a worker's container and removes it with its volume; it returns
// when both are gone. Removing one that is gone is no error.
func (l *Launcher) Remove(ctx context.Context, id cyclone.WorkerID) error {
	api, err := l.engine()
	if err != nil {
		return err
	}
	if err := l.remove(ctx, api, l.mine(cyclone.LabelWorker+"="+string(id))); err != nil {
		return fmt.Errorf("remove worker %s: %w", id, err)
	}
	return nil
}

// mine selects what belongs to this installation, and more narrowly by labels.
func (l *Launcher) mine(labels ...string) filters.Args {
	args := filters.NewArgs(filters.Arg("label", cyclone.LabelRole+"=worker"),
		filters.Arg("label", cyclone.LabelServer+"="+l.ServerID))
	for _, label := range labels {
		args.Add("label", label)
	}
	return args
}

// remove removes all selected containers, and then the selected volumes.
func (l *Launcher) remove(ctx context.Context, api *client.Client, selected filters.Args) error {
	containers, err := api.ContainerList(ctx, container.ListOptions{All: true, Filters: selected})
	if err != nil {
		return l.unavailable(err)
	}
	var errs []error
	for _, c := range containers {
		errs = append(errs, gone(ctx, func() error {
			return api.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true, RemoveVolumes: true})
		}))
	}
	// Volumes go with their containers, but for those of a container that
	// somebody else removed without them.
	volumes, err := api.VolumeList(ctx, volume.ListOptions{Filters: selected})
	if err != nil {
		return errors.Join(errors.Join(errs...), l.unavailable(err))
	}
	for _, v := range volumes.Volumes {
		// Not forced: that would answer yes to a volume that is gone, for ever.
		errs = append(errs, gone(ctx, func() error { return api.VolumeRemove(ctx, v.Name, false) }))
	}
	return errors.Join(errs...)
}

// gone removes something until the engine says that it does not exist. Until
// then it may answer with a conflict (somebody else is removing it too), or
// with a busy device: a killed inner engine leaves mounts in the volume and
// processes in the cgroups that the kernel takes a moment to clear away.
func gone(ctx context.Context, remove func() error) error {
	deadline := time.Now().Add(removeTimeout)
	for {
		err := remove()
		if cerrdefs.IsNotFound(err) {
			return nil
		}
		passing := err == nil || cerrdefs.IsConflict(err) || strings.Contains(err.Error(), "resource busy") ||
			strings.Contains(err.Error(), "directory not empty")
		if !passing || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Workers lists the workers of this installation on the engine.
func (l *Launcher) Workers(ctx context.Context) ([]cyclone.WorkerState, error) {
	api, err := l.engine()
	if err != nil {
		return nil, err
	}
	list, err := api.ContainerList(ctx, container.ListOptions{All: true, Filters: l.mine()})
	if err != nil {
		return nil, fmt.Errorf("list workers: %w", l.unavailable(err))
	}
	var states []cyclone.WorkerState
	for _, c := range list {
		s := cyclone.WorkerState{
			ID:      cyclone.WorkerID(c.Labels[cyclone.LabelWorker]),
			Event:   cyclone.EventID(c.Labels[cyclone.LabelEvent]),
			Running: alive(c),
		}
		if !s.Running {
			s.Detail = detail(ctx, api, c.ID)
		}
		states = append(states, s)
	}
	return states, nil
}

// alive reports whether a container has not ended. One that was made and not
// started yet has not: on a busy engine that may take a while. When nobody will
// start it any more, its event's lease runs out.
func alive(c container.Summary) bool {
	switch c.State {
	case container.StateExited, container.StateDead, container.StateRemoving:
		return false
	}
	return true
}

// detail says how a dead worker ended.
func detail(ctx context.Context, api *client.Client, id string) string {
	c, err := api.ContainerInspect(ctx, id)
	if err != nil {
		return "the worker's container cannot be inspected: " + err.Error()
	}
	text := fmt.Sprintf("the worker's container exited with %d", c.State.ExitCode)
	if c.State.OOMKilled {
		text += " (out of memory)"
	}
	if c.State.Error != "" {
		text += ": " + c.State.Error
	}
	if last := lastLines(ctx, api, id); last != "" {
		text += "; it last said:\n" + last
	}
	return text
}

// lastLines is the end of what a container printed, or empty when that cannot
// be read: the exit code says more.
func lastLines(ctx context.Context, api *client.Client, id string) string {
	logs, err := api.ContainerLogs(ctx, id, container.LogsOptions{ShowStdout: true, ShowStderr: true, Tail: fmt.Sprint(detailLines)})
	if err != nil {
		return ""
	}
	var b bytes.Buffer
	_, err = stdcopy.StdCopy(&b, &b, logs)
	if err := errors.Join(err, logs.Close()); err != nil {
		return ""
	}
	return strings.TrimSpace(b.String())
}

// Sweep removes the containers and volumes of this installation's workers for
// which live says no. Live is asked after they were found, so a worker whose
// event was claimed before it was launched is never swept by mistake.
func (l *Launcher) Sweep(ctx context.Context, live func(cyclone.WorkerID) bool) error {
	api, err := l.engine()
	if err != nil {
		return err
	}
	found, err := l.found(ctx, api)
	if err != nil {
		return fmt.Errorf("sweep workers: %w", err)
	}
	var errs []error
	for id := range found {
		if !live(id) {
			errs = append(errs, l.Remove(ctx, id))
		}
	}
	return errors.Join(errs...)
}

// found is every worker of this installation that left something.
func (l *Launcher) found(ctx context.Context, api *client.Client) (map[cyclone.WorkerID]bool, error) {
	containers, err := api.ContainerList(ctx, container.ListOptions{All: true, Filters: l.mine()})
	if err != nil {
		return nil, l.unavailable(err)
	}
	volumes, err := api.VolumeList(ctx, volume.ListOptions{Filters: l.mine()})
	if err != nil {
		return nil, l.unavailable(err)
	}
	found := map[cyclone.WorkerID]bool{}
	for _, c := range containers {
		found[cyclone.WorkerID(c.Labels[cyclone.LabelWorker])] = true
	}
	for _, v := range volumes.Volumes {
		found[cyclone.WorkerID(v.Labels[cyclone.LabelWorker])] = true
	}
	return found, nil
}

// unavailable gives an engine that is down its kind.
func (l *Launcher) unavailable(err error) error {
	if client.IsErrConnectionFailed(err) {
		return l.down(err)
	}
	return err
}
