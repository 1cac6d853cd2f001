package cachedir

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"cyclone/pkg/cyclone"
)

// Publish makes a folder of the session's Work the content of a key: whoever
// opens it sees the old content or the new one, never a mixture. The folder is
// taken over. Info's Boot and Settled are set here. What was published is
// returned held.
func (s *Session) Publish(key, folder string, info Info) (*Held, error) {
	staged, err := os.MkdirTemp(s.Work, "new-")
	if err != nil {
		return nil, fmt.Errorf("publish cache: %w", err)
	}
	info.Boot, info.Settled = s.boot, false
	held := &Held{Info: info}
	if held.lock, err = s.stage(staged, folder, info); err != nil {
		return nil, fmt.Errorf("publish cache: %w", err)
	}
	entry := filepath.Join(s.dir, entriesName, key)
	generation := filepath.Join(entry, strings.ToLower(rand.Text()[:16]))
	err = s.changing(func() error {
		if err := os.MkdirAll(entry, 0o755); err != nil { //#nosec G301 -- users of any id get through to their files
			return err
		}
		if err := os.Rename(staged, generation); err != nil {
			return err
		}
		if err := point(entry, filepath.Base(generation)); err != nil {
			return err
		}
		s.clean(entry)
		return nil
	})
	if err != nil {
		held.Release()
		return nil, fmt.Errorf("publish cache: %w", err)
	}
	held.Data = filepath.Join(generation, dataName)
	s.settle(generation)
	s.emptyTrash()
	return held, nil
}

// stage makes a generation that nobody sees yet, and holds it.
func (s *Session) stage(staged, folder string, info Info) (*os.File, error) {
	if err := os.Chmod(staged, 0o755); err != nil { //#nosec G302 -- users of any id get through to their files
		return nil, err
	}
	lock, err := tryLock(filepath.Join(staged, lockName), os.O_CREATE|os.O_RDWR, syscall.LOCK_SH)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(writeInfo(staged, info), os.Rename(folder, filepath.Join(staged, dataName))); err != nil {
		return nil, errors.Join(err, unlock(lock))
	}
	return lock, nil
}

// point makes a generation the current one, in one step.
func point(entry, generation string) error {
	next := filepath.Join(entry, currentName+".new")
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(generation, next); err != nil {
		return err
	}
	return os.Rename(next, filepath.Join(entry, currentName))
}

// settle notes, in the background, when a generation is safe on disk.
func (s *Session) settle(generation string) {
	s.busy.Go(func() {
		// It is not held: it may be replaced and removed meanwhile.
		f, err := os.Open(filepath.Join(generation, infoName))
		if err != nil {
			return
		}
		defer func() { _ = f.Close() }() // it only named the file system
		info, err := readInfo(generation)
		if err != nil || syncfs(f) != nil {
			return // not settled, which is no harm while the machine runs
		}
		info.Settled = true
		_ = writeInfo(generation, info) // the same
	})
}

// Evict removes entries, those unused for longest first, until all together
// are not larger than limit (0: no limit), and returns what they were. Entries
// that somebody uses stay.
func (s *Session) Evict(limit cyclone.Size) ([]Info, error) {
	if limit == 0 {
		return nil, nil
	}
	var gone []Info
	err := s.changing(func() error {
		entries, err := list(s.dir)
		if err != nil {
			return err
		}
		var sum cyclone.Size
		for _, e := range entries {
			sum += e.Size
		}
		for _, e := range entries {
			if sum <= limit {
				break
			}
			if s.drop(e.dir) {
				sum -= e.Size
				gone = append(gone, e.Info)
			}
		}
		return nil
	})
	if err != nil {
		return gone, fmt.Errorf("evict from cache: %w", err)
	}
	s.emptyTrash()
	return gone, nil
}

// Drop removes what is published under a key, unless somebody uses it.
func (s *Session) Drop(key string) error {
	err := s.changing(func() error {
		s.drop(filepath.Join(s.dir, entriesName, key))
		return nil
	})
	if err != nil {
		return fmt.Errorf("drop cache: %w", err)
	}
	s.emptyTrash()
	return nil
}

// drop moves an entry away whose current generation nobody uses. Older ones
// that are still in use go when their users are gone.
func (s *Session) drop(entry string) bool {
	name, err := os.Readlink(filepath.Join(entry, currentName))
	if err != nil {
		return false
	}
	lock, err := tryLock(filepath.Join(entry, filepath.Base(name), lockName), os.O_RDONLY, syscall.LOCK_EX)
	if err != nil {
		return false
	}
	defer func() { _ = unlock(lock) }() // only ever locked
	if os.Remove(filepath.Join(entry, currentName)) != nil {
		return false
	}
	return s.discard(filepath.Join(entry, filepath.Base(name))) == nil
}

// entry is a published entry.
type entry struct {
	Info
	dir  string
	used time.Time
}

// list returns what is published, unused for longest first.
func list(dir string) ([]entry, error) {
	found, err := os.ReadDir(filepath.Join(dir, entriesName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []entry
	for _, f := range found {
		e := entry{dir: filepath.Join(dir, entriesName, f.Name())}
		name, err := os.Readlink(filepath.Join(e.dir, currentName))
		if err != nil {
			continue // nothing is published
		}
		generation := filepath.Join(e.dir, filepath.Base(name))
		if e.Info, err = readInfo(generation); err != nil {
			continue // it is being replaced
		}
		if st, err := os.Stat(filepath.Join(generation, infoName)); err == nil {
			e.used = st.ModTime()
		}
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b entry) int { return cmp.Or(a.used.Compare(b.used), strings.Compare(a.dir, b.dir)) })
	return all, nil
}
