package docker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/go-connections/nat"

	"cyclone/pkg/cyclone"
)

// Create makes a container of an image that is present and returns its id.
// ErrNotFound when the image is not on the engine, ErrInvalid when the engine
// refuses the specification.
func (e *Engine) Create(ctx context.Context, spec cyclone.ContainerSpec) (string, error) {
	config, host, err := configs(spec)
	if err != nil {
		return "", fmt.Errorf("create container %s: %w", spec.Name, err)
	}
	made, err := e.api.ContainerCreate(ctx, config, host, endpoints(spec), nil, uniqueName(spec.Name))
	if err != nil {
		return "", failed(ctx, err, "create container %s of image %s", spec.Name, spec.Image)
	}
	return made.ID, nil
}

// configs translates a specification into the engine's words.
func configs(spec cyclone.ContainerSpec) (*container.Config, *container.HostConfig, error) {
	ports, bindings, err := nat.ParsePortSpecs(spec.Ports)
	if err != nil {
		return nil, nil, cyclone.Invalid("ports", "%v", err)
	}
	devices, err := devices(spec.Devices)
	if err != nil {
		return nil, nil, err
	}
	config := &container.Config{
		Image:        spec.Image,
		Entrypoint:   spec.Entrypoint,
		Cmd:          spec.Command,
		Env:          spec.Environment,
		WorkingDir:   spec.WorkingDir,
		Labels:       spec.Labels,
		ExposedPorts: ports,
	}
	host := &container.HostConfig{
		Mounts:       mounts(spec.Mounts),
		NetworkMode:  container.NetworkMode(spec.Network),
		PortBindings: bindings,
		ExtraHosts:   spec.ExtraHosts,
		DNS:          spec.DNS,
		Privileged:   spec.Privileged,
		// Run streams the output as it comes and it is stored elsewhere; the
		// engine need not write it to its disk too.
		LogConfig: container.LogConfig{Type: "none"},
		Resources: container.Resources{
			Devices:    devices,
			Memory:     int64(spec.Memory),
			MemorySwap: int64(spec.Memory), // the limit counts swap: without this it would be twice as high
			NanoCPUs:   int64(spec.CPUs * 1e9),
			CpusetCpus: spec.CPUSet,
		},
	}
	return config, host, nil
}

func mounts(ms []cyclone.Mount) []mount.Mount {
	var out []mount.Mount
	for _, m := range ms {
		out = append(out, mount.Mount{Type: mount.TypeBind, Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly})
	}
	return out
}

// devices reads "/dev/fuse", "/dev/fuse:/dev/x" and "/dev/fuse:/dev/x:rw".
func devices(specs []string) ([]container.DeviceMapping, error) {
	var out []container.DeviceMapping
	for _, s := range specs {
		parts := strings.Split(s, ":")
		if len(parts) > 3 || parts[0] == "" {
			return nil, cyclone.Invalid("devices", "%q is not a device; write host[:container[:rwm]]", s)
		}
		d := container.DeviceMapping{PathOnHost: parts[0], PathInContainer: parts[0], CgroupPermissions: "rwm"}
		if len(parts) > 1 && parts[1] != "" {
			d.PathInContainer = parts[1]
		}
		if len(parts) > 2 {
			d.CgroupPermissions = parts[2]
		}
		out = append(out, d)
	}
	return out, nil
}

func endpoints(spec cyclone.ContainerSpec) *network.NetworkingConfig {
	if spec.Network == "" {
		return nil
	}
	return &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{
		spec.Network: {Aliases: spec.Aliases},
	}}
}

// uniqueName makes a hint for people into a name that nothing else has.
func uniqueName(hint string) string {
	clean := strings.Map(func(r rune) rune {
		if r == '.' || r == '-' || r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
			return r
		}
		return '-'
	}, hint)
	// The engine wants a letter or digit first, hence the prefix.
	return "cyclone-" + clean[:min(len(clean), 80)] + "-" + strings.ToLower(rand.Text()[:10])
}

// Inspect says how a container is now; ErrNotFound when there is none.
func (e *Engine) Inspect(ctx context.Context, id string) (cyclone.ContainerInfo, error) {
	c, err := e.api.ContainerInspect(ctx, id)
	if err != nil {
		return cyclone.ContainerInfo{}, failed(ctx, err, "inspect container %s", short(id))
	}
	info := cyclone.ContainerInfo{Running: c.State.Running, Exit: exitOf(c)}
	if h := c.State.Health; h != nil && h.Status != container.NoHealthcheck {
		info.Health = h.Status
	}
	for p := range c.Config.ExposedPorts {
		info.Ports = append(info.Ports, string(p))
	}
	slices.Sort(info.Ports)
	info.IP = address(c)
	return info, nil
}

// address is the container's IP in its network. A container of ours is in one
// network only.
func address(c container.InspectResponse) string {
	if c.NetworkSettings == nil {
		return ""
	}
	for _, name := range slices.Sorted(maps.Keys(c.NetworkSettings.Networks)) {
		if n := c.NetworkSettings.Networks[name]; n != nil && n.IPAddress != "" {
			return n.IPAddress
		}
	}
	return ""
}

// CopyOut returns a tar of the path inside the container, ended or not; its
// entries begin with the path's base name. ErrNotFound when there is nothing
// at the path, or no such container. The caller closes the tar.
func (e *Engine) CopyOut(ctx context.Context, id, path string) (io.ReadCloser, error) {
	tar, _, err := e.api.CopyFromContainer(ctx, id, path)
	if err != nil {
		return nil, failed(ctx, err, "copy %s out of container %s", path, short(id))
	}
	return tar, nil
}

// Remove kills and removes a container with its anonymous volumes and returns
// when it is gone. Removing one that is gone is no error.
func (e *Engine) Remove(ctx context.Context, id string) error {
	options := container.RemoveOptions{Force: true, RemoveVolumes: true}
	err := retry(ctx, func() error { return e.api.ContainerRemove(ctx, id, options) })
	return failed(ctx, err, "remove container %s", short(id))
}

// retry removes something until it is gone. Two answers of the engine are
// worth another try: a conflict, which says that somebody else is removing it
// or that it still ends, and a busy mount, which a process holds for another
// moment. Ten seconds later it is an error like any other.
func retry(ctx context.Context, remove func() error) error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := remove()
		if err == nil || cerrdefs.IsNotFound(err) {
			return nil
		}
		passing := cerrdefs.IsConflict(err) || strings.Contains(err.Error(), "resource busy")
		if !passing || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// short is an id as people see it elsewhere.
func short(id string) string { return id[:min(12, len(id))] }
