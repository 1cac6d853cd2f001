package embedded

import (
	"context"
	"fmt"
	"syscall"

	"cyclone/pkg/cyclone"
)

// Disk is the space of the file system that holds the data folder; its Minimum
// is not set. Free is what this process may use of it.
func (s *Store) Disk(_ context.Context) (cyclone.Disk, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(s.db.dir, &st); err != nil {
		return cyclone.Disk{}, fmt.Errorf("read free space of data folder %s: %w", s.db.dir, err)
	}
	// Sizes of file systems are far below 2^63 bytes.
	return cyclone.Disk{
		Free:  cyclone.Size(st.Bavail) * cyclone.Size(st.Bsize), //#nosec G115
		Total: cyclone.Size(st.Blocks) * cyclone.Size(st.Bsize), //#nosec G115
	}, nil
}
