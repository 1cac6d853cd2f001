package cachedir

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"cyclone/pkg/cyclone"
)

// sweep moves away what dead sessions and replaced generations left. The
// layout's lock is held.
func (s *Session) sweep() {
	for _, dead := range subfolders(filepath.Join(s.dir, sessionName)) {
		s.discardUnused(dead)
	}
	for _, e := range subfolders(filepath.Join(s.dir, entriesName)) {
		s.clean(e)
	}
}

// clean moves away the generations of an entry that are not current and that
// nobody uses; an entry without any goes itself.
func (s *Session) clean(entry string) {
	current, err := os.Readlink(filepath.Join(entry, currentName))
	for _, g := range subfolders(entry) {
		if err != nil || filepath.Base(g) != filepath.Base(current) {
			s.discardUnused(g)
		}
	}
	_ = os.Remove(entry) // refused while there is something in it
}

// discardUnused moves a folder away whose lock nobody has; what cannot be
// moved is for the next one to try.
func (s *Session) discardUnused(dir string) {
	lock, err := tryLock(filepath.Join(dir, lockName), os.O_RDONLY, syscall.LOCK_EX)
	switch {
	case errors.Is(err, errLocked):
		return
	case err == nil:
		defer func() { _ = unlock(lock) }() // only ever locked
	}
	_ = s.discard(dir)
}

// discard moves a folder to the trash.
func (s *Session) discard(dir string) error {
	return os.Rename(dir, filepath.Join(s.dir, trashName, rand.Text()))
}

// emptyTrash removes, in the background, what was moved away, also by others.
func (s *Session) emptyTrash() {
	trash := subfolders(filepath.Join(s.dir, trashName))
	if len(trash) == 0 {
		return
	}
	s.busy.Go(func() {
		for _, dir := range trash {
			_ = os.RemoveAll(dir) // what stays is for the next one to try
		}
	})
}

func subfolders(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // nothing to be seen there
	}
	var found []string
	for _, e := range entries {
		if e.IsDir() {
			found = append(found, filepath.Join(dir, e.Name()))
		}
	}
	return found
}

// Usage says how much is published in a folder, when it was last used, and
// whether somebody uses it at this moment. A folder that is not there holds
// nothing.
func Usage(dir string) (size cyclone.Size, used time.Time, inUse bool, err error) {
	entries, err := list(dir)
	if err != nil {
		return 0, used, false, fmt.Errorf("look at cache: %w", err)
	}
	for _, e := range entries {
		size += e.Size
		if e.used.After(used) {
			used = e.used
		}
	}
	return size, used, busy(dir), nil
}

// busy reports whether a folder has a session, or a generation that somebody
// reads.
func busy(dir string) bool {
	places := subfolders(filepath.Join(dir, sessionName))
	for _, e := range subfolders(filepath.Join(dir, entriesName)) {
		places = append(places, subfolders(e)...)
	}
	for _, p := range places {
		lock, err := tryLock(filepath.Join(p, lockName), os.O_RDONLY, syscall.LOCK_EX)
		if errors.Is(err, errLocked) {
			return true
		}
		if err == nil {
			_ = unlock(lock) // only asked
		}
	}
	return false
}

// Remove removes a folder with everything in it. ErrConflict while somebody
// uses it; one that is gone is no error.
func Remove(dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	// Whoever begins to use it waits for this lock, and then makes it anew or
	// finds that it cannot.
	lock, err := flock(filepath.Join(dir, lockName), syscall.LOCK_EX)
	if err != nil {
		return fmt.Errorf("remove cache: %w", err)
	}
	defer func() { _ = unlock(lock) }() // the file is gone by then
	if busy(dir) {
		return cyclone.Conflict("cache %s is in use", filepath.Base(dir))
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove cache: %w", err)
	}
	return nil
}

// syncfs writes what the file's file system still has in memory to its disk.
func syncfs(f *os.File) error { return unix.Syncfs(int(f.Fd())) }
