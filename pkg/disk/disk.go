// Package disk tells how much space a file system has.
//
// It watches nothing and decides nothing: what is too little is the caller's
// matter.
package disk

import (
	"fmt"
	"syscall"

	"cyclone/pkg/cyclone"
)

// Space is the space of the file system that holds a path; its Minimum is not
// set. Free is what this process may use of it.
func Space(path string) (cyclone.Disk, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(path, &st); err != nil {
		return cyclone.Disk{}, fmt.Errorf("read free space of %s: %w", path, err)
	}
	// Sizes of file systems are far below 2^63 bytes.
	return cyclone.Disk{
		Free:  cyclone.Size(st.Bavail) * cyclone.Size(st.Bsize), //#nosec G115
		Total: cyclone.Size(st.Blocks) * cyclone.Size(st.Bsize), //#nosec G115
	}, nil
}
