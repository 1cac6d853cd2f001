// Package embeddedtest opens embedded stores for the tests of what uses one.
//
// It is not for tests of how a store's file comes to be: its files are copies.
package embeddedtest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"cyclone/pkg/store/embedded"
)

// Open returns a new, empty store in a folder of its own. It is closed at the
// end of the test.
func Open(t testing.TB) *embedded.Store {
	t.Helper()
	file, err := empty()
	if err != nil {
		t.Fatalf("make an empty store: %v", err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, fileName), file, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := embedded.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// fileName is what package embedded names its file.
const fileName = "cyclone.db"

// empty is the file that a store leaves which was opened for the first time.
// It is made once: making the tables takes longer than most of what is tested
// on them.
var empty = sync.OnceValues(func() (_ []byte, err error) {
	dir, err := os.MkdirTemp("", "cyclone-empty-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s, err := embedded.Open(context.Background(), dir)
	if err != nil {
		return nil, err
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(dir, fileName)) //#nosec G304 -- a temporary folder
})
