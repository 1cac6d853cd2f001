// Package embedded is the store for one machine: everything in one SQLite file
// in the data folder, and the contents of events' files in a folder beside it,
// with no server. A write that was acknowledged is on
// the disk: it survives the end of the process at any moment and a power cut.
//
// It is not shared: one server holds the folder at a time. Several servers need
// package mongo.
package embedded

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"
	_ "modernc.org/sqlite" // the database/sql driver

	"cyclone/pkg/cyclone"
)

const (
	fileName = "cyclone.db"
	lockName = "cyclone.lock"
	// readers bounds the reading connections: enough to keep slow readers
	// from holding up fast ones, few enough to keep their page caches small.
	readers = 8
)

// Observer is told how long each call took: "read" or "write", the latter
// including the wait for the disk. failed says that the file could not be read
// or written, not that there was nothing to be found.
type Observer = func(call string, took time.Duration, failed bool)

// Store is an open data folder. All its parts are safe for concurrent use.
type Store struct {
	Projects   *Projects
	Events     *Events // also the queue
	Logs       *Logs
	Files      *Files
	Deliveries *Deliveries
	Clusters   *Clusters
	Secrets    *Secrets
	Settings   *Settings
	Leases     *Leases
	Nodes      *Nodes
	Marks      *Marks

	db   *db
	lock *flock.Flock
}

// Open opens the store in a folder, making both when they are missing, and
// brings older data up to date. It returns ErrConflict when another server
// holds the folder, and ErrInvalid when a newer server wrote the data. The
// observer, of which there is at most one, may be called from any goroutine.
func Open(ctx context.Context, dir string, observe ...Observer) (*Store, error) {
	if err := makeDir(dir); err != nil {
		return nil, fmt.Errorf("make data folder %s: %w", dir, err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	d, err := openDB(ctx, dir, slices.Concat(observe, []Observer{nil})[0])
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open data folder %s: %w", dir, err), lock.Close())
	}
	if err := d.sweep(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open data folder %s: %w", dir, err), d.close(), lock.Close())
	}
	return &Store{
		Projects: &Projects{d}, Events: &Events{d}, Logs: &Logs{d}, Files: &Files{d}, Deliveries: &Deliveries{d},
		Clusters: &Clusters{d}, Secrets: &Secrets{d}, Settings: &Settings{d},
		Leases: &Leases{d}, Nodes: &Nodes{d}, Marks: &Marks{d},
		db: d, lock: lock,
	}, nil
}

// Close waits for running writes and releases the folder. Later calls of the
// store's methods return ErrUnavailable.
func (s *Store) Close() error {
	return errors.Join(s.db.close(), s.lock.Close())
}

// Ping returns ErrUnavailable with the reason when the file cannot be read, or
// cannot be written since a write failed.
func (s *Store) Ping(ctx context.Context) error {
	_, err := s.db.count(ctx, "SELECT count(*) FROM settings WHERE name = ''")
	if err != nil {
		return wrap(err, "read data folder %s", s.db.dir)
	}
	err = s.db.probe(ctx)
	if disk, failed := s.Disk(ctx); full(err) && failed == nil {
		return fmt.Errorf("write to data folder %s: %w: its disk is full (%s of %s are free), make room there",
			s.db.dir, cyclone.ErrUnavailable, megabytes(disk.Free), megabytes(disk.Total))
	}
	return wrap(err, "write to data folder %s", s.db.dir)
}

func megabytes(n cyclone.Size) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

// makeDir makes the folder durably: the new name is on the disk when it
// returns, as the file in it would otherwise be lost with it.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return syncDir(filepath.Dir(filepath.Clean(dir)))
}

// syncDir puts a folder's names on the disk.
func syncDir(dir string) error {
	folder, err := os.Open(dir) //#nosec G304 -- the operator's own folder, or one in it
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// lockDir takes the lock that the operating system drops when the process
// ends, however it ends. The file holds the owner's process id, for people.
func lockDir(dir string) (*flock.Flock, error) {
	path := filepath.Join(dir, lockName)
	lock := flock.New(path, flock.SetFlag(os.O_CREATE|os.O_RDWR), flock.SetPermissions(0o600))
	held, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock data folder %s: %w", dir, err)
	}
	if !held {
		owner, _ := os.ReadFile(path) // only for the message
		return nil, cyclone.Conflict("data folder %s is in use by another server (process %s): stop that one or give this one a folder of its own",
			dir, strings.TrimSpace(string(owner)))
	}
	if err := os.WriteFile(path, fmt.Appendln(nil, os.Getpid()), 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("write %s: %w", path, err), lock.Close())
	}
	return lock, nil
}

// dsn names the file with what every connection needs. FULL makes each commit
// reach the disk; NORMAL would lose the last ones in a power cut.
func dsn(path string, more ...string) string {
	q := url.Values{"_pragma": append([]string{
		"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)",
		"cache_size(-16000)", "temp_store(MEMORY)", "journal_size_limit(67108864)",
	}, more...)}
	return (&url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: q.Encode()}).String()
}

// openDB opens the file, first with the writing connection, which also makes
// and migrates it.
func openDB(ctx context.Context, dir string, observe Observer) (*db, error) {
	path, err := filepath.Abs(filepath.Join(dir, fileName))
	if err != nil {
		return nil, err
	}
	if err := makePrivate(path); err != nil {
		return nil, err
	}
	writing, err := sql.Open("sqlite", dsn(path))
	if err != nil {
		return nil, err
	}
	writing.SetMaxOpenConns(1)
	if err := migrate(ctx, writing, migrations); err != nil {
		return nil, errors.Join(err, writing.Close())
	}
	reading, err := sql.Open("sqlite", dsn(path, "query_only(1)"))
	if err != nil {
		return nil, errors.Join(err, writing.Close())
	}
	reading.SetMaxOpenConns(readers)
	reading.SetMaxIdleConns(readers)
	d, err := newDB(ctx, dir, writing, reading, observe)
	if err != nil {
		return nil, errors.Join(err, reading.Close(), writing.Close())
	}
	return d, nil
}

// makePrivate makes the file, if there is none, before SQLite does: logs and
// variables in it are the owner's alone, also in a folder that others may read.
// SQLite gives its other files the same mode.
func makePrivate(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //#nosec G304 -- the operator's own folder
	if err != nil {
		return err
	}
	return file.Close()
}
