package embedded

import (
	"context"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/disk"
)

// Disk is the space of the file system that holds the data folder; its Minimum
// is not set. Free is what this process may use of it.
func (s *Store) Disk(_ context.Context) (cyclone.Disk, error) { return disk.Space(s.db.dir) }
