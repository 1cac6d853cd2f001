package embedded_test

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/store/embedded"
)

// raw opens the file beside the store.
func raw(t testing.TB, dir string) *sql.DB {
	t.Helper()
	file, err := sql.Open("sqlite", filepath.Join(dir, "cyclone.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() }) // it was only read or made ready
	return file
}

func TestOpenMakesFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	open(t, dir)
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v, %v; want one that only its owner reads", info, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(t *testing.T, dir string)
		kind    error
		says    string
	}{
		"a folder in use": {
			func(t *testing.T, dir string) { open(t, dir) },
			cyclone.ErrConflict, fmt.Sprintf("in use by another server (process %d)", os.Getpid()),
		},
		"newer data": {
			func(t *testing.T, dir string) { pragma(t, dir, "user_version = 999") },
			cyclone.ErrInvalid, "newer server (schema 999",
		},
		"another program's file": {
			func(t *testing.T, dir string) { pragma(t, dir, "application_id = 5") },
			cyclone.ErrInvalid, "another program's database",
		},
		"a file that is no database": {
			func(t *testing.T, dir string) {
				if err := os.WriteFile(filepath.Join(dir, "cyclone.db"), []byte(strings.Repeat("text", 100)), 0o600); err != nil {
					t.Fatal(err)
				}
			},
			nil, "not a database",
		},
		"a folder that is a file": {
			func(t *testing.T, dir string) {
				if err := errors.Join(os.Remove(dir), os.WriteFile(dir, nil, 0o600)); err != nil {
					t.Fatal(err)
				}
			},
			nil, "not a directory",
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			c.prepare(t, dir)
			_, err := embedded.Open(t.Context(), dir)
			if err == nil || c.kind != nil && !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), dir) {
				t.Errorf("the error is %v; want the kind %v, %q and the folder", err, c.kind, c.says)
			}
		})
	}
}

// pragma makes an empty store and changes its file.
func pragma(t *testing.T, dir, setting string) {
	t.Helper()
	s, err := embedded.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := raw(t, dir).Exec("PRAGMA " + setting); err != nil {
		t.Fatal(err)
	}
}

func TestClosedStoreIsUnavailable(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("ping of an open store: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"ping":  s.Ping(t.Context()),
		"write": s.Settings.Set(t.Context(), "a", nil),
		"read":  second(s.Events.Find(t.Context(), "a")),
		"list":  second(s.Events.List(t.Context(), cyclone.EventQuery{})),
	} {
		if !errors.Is(err, cyclone.ErrUnavailable) {
			t.Errorf("%s: the error is %v; want the kind unavailable", name, err)
		}
	}
	open(t, dir) // the lock is free
}

func second[T any](_ T, err error) error { return err }

func TestDataOutlivesTheStore(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	e := &cyclone.Event{Project: "orders", Status: cyclone.StatusPending}
	if err := s.Events.Create(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	found, err := open(t, dir).Events.Find(t.Context(), e.ID)
	if err != nil || found.Number != 1 {
		t.Errorf("after opening again: %+v, %v", found, err)
	}
}
