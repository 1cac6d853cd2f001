package worker

import "syscall"

// fullBelow is how little free space counts as none, in bytes.
const fullBelow = 1 << 20

// full reports whether the disk of the source tree has no space left: then a
// command's failure is hardly its own.
func (r *run) full() bool {
	var st syscall.Statfs_t
	if err := syscall.Statfs(r.tree, &st); err != nil {
		return false
	}
	return st.Bavail*uint64(st.Bsize) < fullBelow //#nosec G115
}
