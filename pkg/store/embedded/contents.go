package embedded

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"syscall"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/disk"
)

const (
	// contentDir holds the contents of files. Their names are random: nothing
	// that a user wrote becomes a name on the disk. Each stands in one of 16
	// folders, named by its first character, so that none gets too large to be
	// read at once.
	contentDir  = "files"
	contentDirs = "0123456789abcdef"
	// copyBuffer is what a content in transit takes in memory.
	copyBuffer = 256 << 10
	// lookEvery is how many bytes are written between two looks at the room
	// that is left.
	lookEvery = 8 << 20
	// reserve is the room that contents leave on the disk, at most: without
	// any, one large file would stop everybody's events. On a small disk it is
	// a sixteenth.
	reserve = 64 << 20
)

// contentName is what names of contents look like. What does not was put there
// by somebody else and is left alone.
var contentName = regexp.MustCompile(`^[0-9a-f]{32}$`)

func (d *db) contentPath(name string) string {
	return filepath.Join(d.dir, contentDir, name[:1], name)
}

// makeContentDirs makes the folders for contents durably.
func (d *db) makeContentDirs() error {
	root := filepath.Join(d.dir, contentDir)
	for _, c := range contentDirs {
		if err := os.MkdirAll(filepath.Join(root, string(c)), 0o700); err != nil {
			return err
		}
	}
	return errors.Join(syncDir(root), syncDir(d.dir))
}

// source reads a content until ctx ends, and remembers why it failed: that is
// the sender's matter, while all else that fails is the disk's.
type source struct {
	ctx  context.Context
	from io.Reader
	err  error
}

func (s *source) Read(p []byte) (int, error) {
	if s.ctx.Err() != nil {
		s.err = context.Cause(s.ctx)
		return 0, s.err
	}
	n, err := s.from.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// save writes a content under a new name, sets the file's size and sum, and
// returns once it is on the disk. When it fails there is nothing left of it.
func (d *db) save(f *cyclone.File, from io.Reader) (string, error) {
	name, file, err := d.create()
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	to := &roomy{file: file, path: filepath.Join(d.dir, contentDir), look: true}
	size, err := io.CopyBuffer(io.MultiWriter(to, sum), onlyReader{from}, make([]byte, copyBuffer))
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = syncDir(filepath.Dir(d.contentPath(name)))
	}
	if err != nil {
		return "", errors.Join(err, d.unlink(name))
	}
	f.Size, f.SHA256 = cyclone.Size(size), hex.EncodeToString(sum.Sum(nil))
	return name, nil
}

// onlyReader hides what else a reader can do, so that the buffer is used.
type onlyReader struct{ io.Reader }

// create makes an empty content with a new name.
func (d *db) create() (string, *os.File, error) {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	name := hex.EncodeToString(id[:])
	file, err := os.OpenFile(d.contentPath(name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) //#nosec G304 -- a name that was just made
	return name, file, err
}

// roomy writes to a file as long as the disk keeps some room.
type roomy struct {
	file    *os.File
	path    string
	look    bool // before the next write
	written int64
}

func (r *roomy) Write(p []byte) (int, error) {
	if r.look {
		if err := leaveRoom(r.path); err != nil {
			return 0, err
		}
	}
	n, err := r.file.Write(p)
	before := r.written / lookEvery
	r.written += int64(n)
	r.look = r.written/lookEvery > before
	return n, err
}

func leaveRoom(path string) error {
	space, err := disk.Space(path)
	if err != nil {
		return err
	}
	if least := min(reserve, space.Total/16); space.Free < least {
		return fmt.Errorf("%s of %s are free, files leave %s of them: %w",
			megabytes(space.Free), megabytes(space.Total), megabytes(least), syscall.ENOSPC)
	}
	return nil
}

// unlink removes contents; one that is gone is no error.
func (d *db) unlink(names ...string) error {
	var failed error
	for _, name := range names {
		if err := os.Remove(d.contentPath(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// sweep makes the store ready for files. It removes those of events that are
// gone, and the contents that no file has: those that a process left behind
// which ended before they were entered, or after they were replaced or deleted.
// Nobody else may be at work.
func (d *db) sweep(ctx context.Context) error {
	if err := d.makeContentDirs(); err != nil {
		return wrap(err, "make folders for contents of files")
	}
	err := d.write(ctx, func(t *tx) error {
		_, err := t.forget("event NOT IN (SELECT id FROM events)")
		return err
	})
	if err != nil && !full(err) { // a full disk is no reason not to start
		return wrap(err, "remove files without an event")
	}
	for _, c := range contentDirs {
		if err := d.sweepDir(ctx, string(c)); err != nil {
			return wrap(err, "sweep contents of files")
		}
	}
	return nil
}

func (d *db) sweepDir(ctx context.Context, prefix string) error {
	there, err := os.ReadDir(filepath.Join(d.dir, contentDir, prefix))
	if err != nil || len(there) == 0 {
		return err
	}
	names, err := all(ctx, d, func(row scanner) (name string, err error) {
		return name, row.Scan(&name)
	}, "SELECT name FROM files WHERE name >= ? AND name < ?", prefix, prefix+"g")
	if err != nil {
		return err
	}
	kept := make(map[string]bool, len(names))
	for _, name := range names {
		kept[name] = true
	}
	for _, entry := range there {
		if name := entry.Name(); contentName.MatchString(name) && name[:1] == prefix && !kept[name] {
			err = errors.Join(err, d.unlink(name))
		}
	}
	return err
}
