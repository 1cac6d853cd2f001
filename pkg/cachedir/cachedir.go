// Package cachedir keeps folders between the events of a project: what a path
// held after the last time that it was published, in one folder per project
// that several processes, in containers of their own, use at once.
//
//	lock                        held for a moment by whoever changes the layout
//	entries/<key>/current       symbolic link to the published generation
//	entries/<key>/<generation>  never changed again: info.json, lock, data/
//	sessions/<name>             what one user works with: lock, and what it likes
//	trash/<name>                on its way out
//
// A generation is used under a shared flock and removed under an exclusive one;
// a session is held by an exclusive flock. Such locks end with their process,
// so a crash leaves nothing but sessions that the next user removes.
//
// It mounts nothing, runs nothing and knows neither steps nor containers:
// worker does, and says what is published when.
package cachedir

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"cyclone/pkg/cyclone"
)

const (
	lockName    = "lock"
	entriesName = "entries"
	sessionName = "sessions"
	trashName   = "trash"
	currentName = "current"
	infoName    = "info.json"
	dataName    = "data"

	// lockWait is how long the layout's lock is waited for: who holds it does
	// so for milliseconds, unless it was frozen.
	lockWait = 10 * time.Second
	lockPoll = 5 * time.Millisecond
	// openTries is how often a generation that goes away meanwhile is looked
	// for again.
	openTries = 20
)

// Info is what a generation says of itself.
type Info struct {
	Path  string       `json:"path"`  // what people call it
	Size  cyclone.Size `json:"size"`  // bytes on disk
	Event int64        `json:"event"` // number of the event that made it; 0 for none
	// Boot is the boot of the machine in which it was made, Settled whether
	// it is known to have reached the disk. One that is neither of this boot
	// nor settled may have lost content when the machine stopped: it is not
	// used.
	Boot    string `json:"boot"`
	Settled bool   `json:"settled"`
}

// Session is one user of a folder. Its methods are for one goroutine at a time.
type Session struct {
	// Work is a folder of the session's own on the same file system, which
	// goes with it; empty for one that only reads.
	Work string

	dir  string
	boot string
	lock *os.File
	busy sync.WaitGroup // removals and settling on their way
}

// Begin opens a folder for a user and removes what dead users left. A session
// that only reads changes nothing, and may be on a read-only file system.
// ErrUnavailable when somebody holds the layout's lock for too long.
func Begin(dir string, readOnly bool) (*Session, error) {
	s := &Session{dir: dir, boot: bootID()}
	if readOnly {
		return s, nil
	}
	for _, name := range []string{entriesName, sessionName, trashName} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil { //#nosec G301 -- users of any id get through to their files
			return nil, fmt.Errorf("make cache folder: %w", err)
		}
	}
	err := s.changing(func() error {
		s.sweep()
		s.Work = filepath.Join(dir, sessionName, strings.ToLower(rand.Text()[:16]))
		if err := os.Mkdir(s.Work, 0o755); err != nil { //#nosec G301 -- see above
			return err
		}
		var err error
		s.lock, err = flock(filepath.Join(s.Work, lockName), syscall.LOCK_EX)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("begin to use cache: %w", err)
	}
	s.emptyTrash()
	return s, nil
}

// Close ends the session and returns when what it removes is gone.
func (s *Session) Close() error {
	var err error
	if s.Work != "" {
		err = s.changing(func() error { return s.discard(s.Work) })
		s.emptyTrash()
	}
	s.busy.Wait()
	if s.lock != nil {
		err = errors.Join(err, unlock(s.lock))
	}
	s.Work, s.lock = "", nil
	return err
}

// Held is a generation that nobody removes until it is released.
type Held struct {
	Info
	// Data is the folder with the content, which must not be changed.
	Data string
	lock *os.File
}

// Release lets the generation go.
func (h *Held) Release() {
	if h != nil && h.lock != nil {
		_ = unlock(h.lock) // only ever locked
		h.lock = nil
	}
}

// Key is the key of an entry by its name.
func Key(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:12])
}

// Open holds what is published under a key; nil when nothing is that can be
// relied on.
func (s *Session) Open(key string) (*Held, error) {
	entry := filepath.Join(s.dir, entriesName, key)
	for range openTries {
		name, err := os.Readlink(filepath.Join(entry, currentName))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("open cache: %w", err)
		}
		h, err := s.hold(filepath.Join(entry, filepath.Base(name)))
		if err == nil && h != nil {
			return h, nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errLocked) {
			return nil, fmt.Errorf("open cache: %w", err)
		}
		if err == nil {
			return nil, nil // in doubt
		}
		time.Sleep(lockPoll) // it is being replaced or removed
	}
	return nil, nil
}

// hold takes a generation; nil when its content is in doubt.
func (s *Session) hold(dir string) (*Held, error) {
	lock, err := tryLock(filepath.Join(dir, lockName), os.O_RDONLY, syscall.LOCK_SH)
	if err != nil {
		return nil, err
	}
	h := &Held{Data: filepath.Join(dir, dataName), lock: lock}
	// Looked at under the lock: it may have been moved away before.
	if h.Info, err = readInfo(dir); err == nil {
		_, err = os.Stat(h.Data)
	}
	if err != nil || h.Boot != s.boot && !h.Settled {
		h.Release()
		return nil, err
	}
	if s.Work != "" {
		now := time.Now()
		_ = os.Chtimes(filepath.Join(dir, infoName), now, now) // the order of eviction, nothing more
	}
	return h, nil
}

func readInfo(dir string) (Info, error) {
	var info Info
	text, err := os.ReadFile(filepath.Join(dir, infoName))
	if err != nil {
		return info, err
	}
	return info, json.Unmarshal(text, &info)
}

func writeInfo(dir string, info Info) error {
	text, err := json.Marshal(info)
	if err != nil {
		return err
	}
	next := filepath.Join(dir, infoName+".new")
	if err := os.WriteFile(next, text, 0o644); err != nil { //#nosec G306 -- says nothing that the content does not
		return err
	}
	return os.Rename(next, filepath.Join(dir, infoName))
}

// bootID tells boots of the machine apart; empty where there is no such thing.
func bootID() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

var errLocked = errors.New("it is locked")

// tryLock opens a file and locks it, or returns errLocked.
func tryLock(path string, flags, how int) (*os.File, error) {
	f, err := os.OpenFile(path, flags, 0o644) //#nosec G302 -- readers are other users' processes
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = errLocked
		}
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// unlock gives a lock back. Closing the file alone would leave it with a child
// that is being started at this moment, for as long as that takes.
func unlock(f *os.File) error {
	return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
}

// flock makes a file and locks it, and waits for that for a while.
func flock(path string, how int) (*os.File, error) {
	for deadline := time.Now().Add(lockWait); ; time.Sleep(lockPoll) {
		f, err := tryLock(path, os.O_CREATE|os.O_RDWR, how)
		if !errors.Is(err, errLocked) {
			return f, err
		}
		if time.Now().After(deadline) {
			return nil, cyclone.Unavailable("%s has been locked for more than %s", path, lockWait)
		}
	}
}

// changing runs what changes the layout while nobody else does.
func (s *Session) changing(fn func() error) error {
	f, err := flock(filepath.Join(s.dir, lockName), syscall.LOCK_EX)
	if err != nil {
		return err
	}
	return errors.Join(fn(), unlock(f))
}
