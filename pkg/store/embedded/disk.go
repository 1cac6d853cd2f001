package embedded

import (
	"context"
	"path/filepath"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/disk"
)

// Disk is the space of the file system that holds the data folder; its Minimum
// is not set. Free is what this process may use of it. Where the contents of
// files are on a disk of their own, it is the one of both that has less room.
func (s *Store) Disk(_ context.Context) (cyclone.Disk, error) {
	data, err := disk.Space(s.db.dir)
	if err != nil {
		return data, err
	}
	contents, err := disk.Space(filepath.Join(s.db.dir, contentDir))
	if err == nil && data.Free < contents.Free {
		return data, nil
	}
	return contents, err
}
