package cachedir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"cyclone/pkg/cyclone"
)

// Copy copies a tree with modes, times and symbolic links, and owners where
// root copies. Only folders, regular files and links are copied. A regular file
// that is the same in the folder base (empty for none) becomes a link to that
// one instead. Neither tree is left, whatever links are in it.
func Copy(from, to *os.Root, base string) error {
	if err := copyFolder(from, to, base, "."); err != nil {
		return fmt.Errorf("copy cache: %w", err)
	}
	return nil
}

func copyFolder(from, to *os.Root, base, dir string) error {
	entries, err := readDir(from, dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		info, err := from.Lstat(name)
		if err != nil {
			return err
		}
		switch info.Mode().Type() {
		case 0:
			err = copyFile(from, to, base, name, info)
		case fs.ModeSymlink:
			err = copyLink(from, to, name, info)
		case fs.ModeDir:
			if err = to.Mkdir(name, 0o700); err == nil {
				err = copyFolder(from, to, base, name)
			}
		}
		if err != nil {
			return err
		}
	}
	info, err := from.Lstat(dir)
	if err != nil {
		return err
	}
	return dress(to, dir, info) // after what is in it, which changes its time
}

func readDir(root *os.Root, dir string) ([]fs.DirEntry, error) {
	f, err := root.Open(dir)
	if err != nil {
		return nil, err
	}
	entries, err := f.ReadDir(-1)
	return entries, errors.Join(err, f.Close())
}

func copyFile(from, to *os.Root, base, name string, info fs.FileInfo) error {
	if base != "" {
		same := filepath.Join(base, name)
		if have, err := os.Lstat(same); err == nil && sameFile(have, info) {
			return os.Link(same, filepath.Join(to.Name(), name))
		}
	}
	// A pipe put in the file's place must not be waited for.
	in, err := from.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // only read
	out, err := to.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Close()); err != nil {
		return err
	}
	return dress(to, name, info)
}

func copyLink(from, to *os.Root, name string, info fs.FileInfo) error {
	target, err := from.Readlink(name)
	if err != nil {
		return err
	}
	if err := to.Symlink(target, name); err != nil {
		return err
	}
	return own(to, name, info)
}

// dress gives a copy the owner, mode and time of the original.
func dress(to *os.Root, name string, info fs.FileInfo) error {
	if err := own(to, name, info); err != nil {
		return err
	}
	if err := to.Chmod(name, info.Mode()); err != nil { // after the owner, whose change clears bits
		return err
	}
	return to.Chtimes(name, info.ModTime(), info.ModTime())
}

func own(to *os.Root, name string, info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 {
		return nil
	}
	return to.Lchown(name, int(st.Uid), int(st.Gid))
}

// sameFile reports whether two files look the same from outside.
func sameFile(a, b fs.FileInfo) bool {
	if a.Mode() != b.Mode() || a.Mode().IsRegular() && (a.Size() != b.Size() || !a.ModTime().Equal(b.ModTime())) {
		return false
	}
	x, ok1 := a.Sys().(*syscall.Stat_t)
	y, ok2 := b.Sys().(*syscall.Stat_t)
	return ok1 && ok2 && (os.Geteuid() != 0 || x.Uid == y.Uid && x.Gid == y.Gid)
}

// Same reports whether two trees look the same from outside: names, kinds,
// modes, sizes and times of files, targets of links.
func Same(a, b *os.Root) (bool, error) { return sameFolder(a, b, ".") }

func sameFolder(a, b *os.Root, dir string) (bool, error) {
	left, err := readDir(a, dir)
	if err != nil {
		return false, err
	}
	right, err := readDir(b, dir)
	if err != nil {
		return false, err
	}
	if len(left) != len(right) {
		return false, nil
	}
	for _, e := range left {
		name := path.Join(dir, e.Name())
		if same, err := sameEntry(a, b, name); err != nil || !same {
			return false, err
		}
	}
	return true, nil
}

func sameEntry(a, b *os.Root, name string) (bool, error) {
	x, err := a.Lstat(name)
	if err != nil {
		return false, err
	}
	y, err := b.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil || !sameFile(x, y) {
		return false, err
	}
	switch x.Mode().Type() {
	case fs.ModeDir:
		return sameFolder(a, b, name)
	case fs.ModeSymlink:
		to, err := a.Readlink(name)
		if err != nil {
			return false, err
		}
		other, err := b.Readlink(name)
		return to == other, err
	}
	return true, nil
}

// Complete makes the upper folder of an overlay, which is not mounted any
// more, the whole of what the overlay showed: with links to the files of lower
// that it does not hide or replace.
func Complete(upper, lower string) error {
	if err := complete(upper, lower); err != nil {
		return fmt.Errorf("complete cache: %w", err)
	}
	return nil
}

func complete(upper, lower string) error {
	for _, odd := range []string{"trusted.overlay.redirect", "trusted.overlay.metacopy"} {
		if _, err := unix.Lgetxattr(upper, odd, nil); err == nil {
			return fmt.Errorf("%s was moved in a way that is not understood (%s)", filepath.Base(upper), odd)
		}
	}
	if opaque(upper) {
		return nil
	}
	before, err := os.Lstat(upper)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(lower)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := graft(filepath.Join(upper, e.Name()), filepath.Join(lower, e.Name()), e); err != nil {
			return err
		}
	}
	return os.Chtimes(upper, before.ModTime(), before.ModTime())
}

// graft decides about one entry of a lower folder.
func graft(upper, lower string, e fs.DirEntry) error {
	have, err := os.Lstat(upper)
	switch {
	case errors.Is(err, fs.ErrNotExist) && e.IsDir():
		if err := os.Mkdir(upper, 0o700); err != nil {
			return err
		}
		if err := complete(upper, lower); err != nil {
			return err
		}
		return Dress(upper, lower)
	case errors.Is(err, fs.ErrNotExist):
		return os.Link(lower, upper)
	case err != nil:
		return err
	case whiteout(have):
		return os.Remove(upper)
	case have.IsDir() && e.IsDir():
		return complete(upper, lower)
	}
	return nil
}

// Dress gives a folder the owner, mode and time of another; the owner only
// where root does it.
func Dress(dir, like string) error {
	info, err := os.Lstat(like)
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
		if err := os.Lchown(dir, int(st.Uid), int(st.Gid)); err != nil {
			return err
		}
	}
	return errors.Join(os.Chmod(dir, info.Mode()), os.Chtimes(dir, info.ModTime(), info.ModTime()))
}

// opaque reports whether a folder of an overlay hides all that is below it.
func opaque(dir string) bool {
	value := make([]byte, 1)
	n, err := unix.Lgetxattr(dir, "trusted.overlay.opaque", value)
	return err == nil && n == 1 && value[0] == 'y'
}

// whiteout reports whether a file says that there is nothing.
func whiteout(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.Mode().Type() == fs.ModeDevice|fs.ModeCharDevice && st.Rdev == 0
}

// Trim removes everything but folders, regular files and links from a tree
// that nobody else changes, and returns what is left in bytes on disk and
// whether there is anything.
func Trim(dir string) (size cyclone.Size, filled bool, err error) {
	err = filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		if t := e.Type(); t != 0 && t != fs.ModeDir && t != fs.ModeSymlink {
			return os.Remove(p) //#nosec G122 -- nobody else changes the tree
		}
		filled = true
		info, err := e.Info()
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			size += cyclone.Size(st.Blocks * 512)
		}
		return nil
	})
	if err != nil {
		return 0, false, fmt.Errorf("look through cache: %w", err)
	}
	return size, filled, nil
}
