package docker

import (
	"context"
	"os"
	"strings"

	"github.com/docker/docker/client"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/disk"
)

// Disk is the space of the engine's own folder, where workers' volumes are.
// ErrNotFound when the engine is on another machine: its disk cannot be seen
// from here.
func (l *Launcher) Disk(ctx context.Context) (cyclone.Disk, error) {
	root, err := l.root(ctx)
	if err != nil {
		return cyclone.Disk{}, err
	}
	if _, err := os.Stat(root); err != nil {
		return cyclone.Disk{}, cyclone.NotFound("node %s: the engine's folder %s cannot be seen from here", l.Node, root)
	}
	return disk.Space(root)
}

// root is the engine's folder, which is asked for once.
func (l *Launcher) root(ctx context.Context) (string, error) {
	api, err := l.engine()
	if err != nil {
		return "", err
	}
	if l.Host != "" && !strings.HasPrefix(l.Host, "unix:") && l.Host != client.DefaultDockerHost {
		return "", cyclone.NotFound("node %s: the engine is on another machine", l.Node)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.folder == "" {
		info, err := api.Info(ctx)
		if err != nil {
			return "", l.unavailable(err)
		}
		l.folder = info.DockerRootDir
	}
	return l.folder, nil
}
