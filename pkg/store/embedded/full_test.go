package embedded_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/store/embedded"
)

// A full disk is said to be one, to whoever writes and by Ping; what was
// stored before stays readable, and all is well again when there is room.
func TestFullDisk(t *testing.T) {
	s, err := embedded.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Settings.Set(t.Context(), "kept", []byte("yes")); err != nil {
		t.Fatal(err)
	}
	if err := s.LimitPages(t.Context(), 1); err != nil { // no less than it has
		t.Fatal(err)
	}
	err = s.Settings.Set(t.Context(), "large", make([]byte, 1<<20))
	if !errors.Is(err, cyclone.ErrUnavailable) || !strings.Contains(err.Error(), "disk that holds the store is full") {
		t.Errorf("write: %v, want that the disk is full", err)
	}
	if err := s.Ping(t.Context()); !errors.Is(err, cyclone.ErrUnavailable) {
		t.Errorf("ping: %v, want ErrUnavailable", err)
	}
	if value, err := s.Settings.Setting(t.Context(), "kept"); err != nil || string(value) != "yes" {
		t.Errorf("kept: %q %v", value, err)
	}
	if err := s.LimitPages(t.Context(), 1<<20); err != nil {
		t.Fatal(err)
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("ping with room: %v", err)
	}
	if err := s.Settings.Set(t.Context(), "large", make([]byte, 1<<20)); err != nil {
		t.Errorf("write with room: %v", err)
	}
}

func TestFileIsTheOwnersAlone(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s, err := embedded.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	files, err := filepath.Glob(filepath.Join(dir, "cyclone.db*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("files: %v %v", files, err)
	}
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o", filepath.Base(file), info.Mode().Perm())
		}
	}
}
