package local

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

var errNotFolder error = syscall.ENOTDIR

// copyFile copies a regular file with its mode and time. Where the file system
// can, both share their blocks until one of them changes.
func copyFile(from, to string, info fs.FileInfo) (int64, error) {
	in, err := os.OpenFile(from, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return 0, err
	}
	defer func() { _ = in.Close() }() // it was only read
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	size := info.Size()
	if unix.IoctlFileClone(int(out.Fd()), int(in.Fd())) != nil {
		size, err = io.Copy(out, in) // by copy_file_range, where there is one
	}
	mode := info.Mode() & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
	if err := errors.Join(err, out.Chmod(mode), out.Close()); err != nil {
		return size, err
	}
	return size, os.Chtimes(to, info.ModTime(), info.ModTime())
}
