package process

import (
	"context"
	"os"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/disk"
)

// Disk is the space of the file system that holds the workers' directories.
func (l *Launcher) Disk(context.Context) (cyclone.Disk, error) {
	if err := os.MkdirAll(l.Dir, 0o700); err != nil {
		return cyclone.Disk{}, cyclone.Unavailable("node %s: the workers' directory cannot be made: %v", l.Node, err)
	}
	return disk.Space(l.Dir)
}
