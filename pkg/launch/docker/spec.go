package docker

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"

	"cyclone/pkg/cyclone"
)

const (
	// socketDir is where the directory of the server's socket is bound.
	socketDir = "/run/cyclone"
	// storageDir is where the inner engine keeps images and containers: on a
	// volume, since an overlay on an overlay does not work.
	storageDir = "/var/lib/docker"
)

// configs translates a worker into the engine's words, but for its rights.
func (l *Launcher) configs(w cyclone.WorkerSpec, c caches) (*container.Config, *container.HostConfig) {
	labels := l.labels(w)
	mounts, env := c.mounts(labels)
	config := &container.Config{
		Image:  l.Image,
		Labels: labels,
		Env: append([]string{
			"CYCLONE_SERVER_URL=" + l.serverURL(),
			"CYCLONE_WORKER_ID=" + string(w.ID),
			"CYCLONE_WORKER_TOKEN=" + w.Token,
		}, env...),
	}
	host := &container.HostConfig{
		NetworkMode: container.NetworkMode(l.Network),
		ExtraHosts:  l.ExtraHosts,
		Mounts:      mounts,
		// The worker's own few lines, for Detail; a run's output never comes
		// here. Set explicitly, since only this driver can be read back.
		LogConfig:     container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "5m"}},
		RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyDisabled},
		Resources: container.Resources{
			Memory:     int64(w.Memory),
			MemorySwap: int64(w.Memory), // the limit counts swap
			NanoCPUs:   int64(w.CPUs * 1e9),
		},
	}
	if l.SocketPath != "" {
		host.Mounts = append(host.Mounts, mount.Mount{
			Type: mount.TypeBind, Source: filepath.Dir(l.SocketPath), Target: socketDir, ReadOnly: true,
		})
	}
	return config, host
}

func (l *Launcher) labels(w cyclone.WorkerSpec) map[string]string {
	return map[string]string{
		cyclone.LabelRole:    "worker",
		cyclone.LabelEvent:   string(w.Event),
		cyclone.LabelProject: string(w.Project),
		cyclone.LabelServer:  l.ServerID,
		cyclone.LabelWorker:  string(w.ID),
	}
}

// anonymous is a volume that the engine removes with its container, and which
// carries our labels in case it ever does not.
func anonymous(target string, labels map[string]string) mount.Mount {
	return mount.Mount{Type: mount.TypeVolume, Target: target, VolumeOptions: &mount.VolumeOptions{Labels: labels}}
}

// serverURL is what the worker is told.
func (l *Launcher) serverURL() string {
	if l.SocketPath == "" {
		return l.ServerURL
	}
	return "unix://" + socketDir + "/" + filepath.Base(l.SocketPath)
}

// privileged gives a container everything.
func privileged(h *container.HostConfig) { h.Privileged = true }

// explicit gives a container what an inner engine needs and a hardened host
// can give: such a host keeps CAP_SYS_RESOURCE to itself, and with it refuses
// --privileged as a whole.
func explicit(h *container.HostConfig) {
	h.CapAdd = []string{"ALL"}
	h.CapDrop = []string{"SYS_RESOURCE"}
	h.SecurityOpt = []string{"seccomp=unconfined", "apparmor=unconfined"}
	// Empty is not nil: it is what docker makes of systempaths=unconfined.
	h.MaskedPaths, h.ReadonlyPaths = []string{}, []string{}
	h.Mounts = append(h.Mounts, mount.Mount{Type: mount.TypeBind, Source: "/sys/fs/cgroup", Target: "/sys/fs/cgroup"})
}

// socketAlone refuses a socket that shares its directory with anything else:
// workers run what projects wrote, and get to see the whole directory.
func (l *Launcher) socketAlone() error {
	if l.SocketPath == "" {
		return nil
	}
	dir, name := filepath.Split(l.SocketPath)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return cyclone.Unavailable("node %s: the directory %s of the server's socket does not exist", l.Node, dir)
	}
	if err != nil {
		return cyclone.Unavailable("node %s: read the directory of the server's socket: %v", l.Node, err)
	}
	for _, e := range entries {
		if e.Name() != name {
			return cyclone.Invalid("socket path", "%s must be alone in its directory, which workers get to see, but %s is there too",
				l.SocketPath, e.Name())
		}
	}
	return nil
}
