package process_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"cyclone/pkg/cachedir"
	"cyclone/pkg/cyclone"
	"cyclone/pkg/launch/process"
)

func TestCachedPathsOfProjects(t *testing.T) {
	t.Parallel()
	l := &process.Launcher{Dir: t.TempDir()}
	if found, err := l.Caches(t.Context()); err != nil || len(found) != 0 {
		t.Fatalf("at first: %+v, %v", found, err)
	}
	dir := filepath.Join(l.Dir, ".caches", "orders", "7")
	s, err := cachedir.Begin(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	content := filepath.Join(s.Work, "content")
	if err := os.Mkdir(content, 0o700); err != nil {
		t.Fatal(err)
	}
	held, err := s.Publish("k", content, cachedir.Info{Path: "/x", Size: 12})
	if err != nil {
		t.Fatal(err)
	}
	held.Release()
	found, err := l.Caches(t.Context())
	if err != nil || len(found) != 1 {
		t.Fatalf("%+v, %v", found, err)
	}
	if c := found[0]; c.ID != "orders/7" || c.Project != "orders" || c.Epoch != 7 || c.Size != 12 || !c.InUse || c.UsedAt.IsZero() || c.Kind != cyclone.CachePaths {
		t.Errorf("%+v", c)
	}
	if err := l.RemoveCache(t.Context(), found[0].ID); !errors.Is(err, cyclone.ErrConflict) {
		t.Errorf("removal while it is used: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // one that is gone is no error
		if err := l.RemoveCache(t.Context(), found[0].ID); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", "orders", "../x", "orders/..", "orders/../../x", "orders/7/entries", "/etc"} {
		if err := l.RemoveCache(t.Context(), bad); !errors.Is(err, cyclone.ErrInvalid) {
			t.Errorf("remove %q: %v", bad, err)
		}
	}
	if workers, err := l.Workers(t.Context()); err != nil || len(workers) != 0 {
		t.Errorf("taken for workers: %+v, %v", workers, err)
	}
}
