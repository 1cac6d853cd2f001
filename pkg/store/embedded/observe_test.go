package embedded_test

import (
	"errors"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/store/embedded"
)

// Whoever observes is told of each read and write, and only of those as failed
// that could not be made.
func TestObserver(t *testing.T) {
	t.Parallel()
	type call struct {
		kind   string
		failed bool
	}
	seen := map[call]int{}
	s, err := embedded.Open(t.Context(), t.TempDir(), func(kind string, took time.Duration, failed bool) {
		if took < 0 || took > time.Minute {
			t.Errorf("a %s took %v", kind, took)
		}
		seen[call{kind, failed}]++ // the calls below come one after the other
	})
	if err != nil {
		t.Fatal(err)
	}
	expect := func(kind string, failed bool, do func() error, want error) {
		t.Helper()
		clear(seen)
		if err := do(); !errors.Is(err, want) {
			t.Errorf("%s: %v; want %v", kind, err, want)
		}
		if len(seen) != 1 || seen[call{kind, failed}] == 0 {
			t.Errorf("seen were %v; want %s, failed %v", seen, kind, failed)
		}
	}
	find := func() error { _, err := s.Events.Find(t.Context(), "none"); return err }
	create := func() error { return s.Projects.Create(t.Context(), &cyclone.Project{Name: "orders"}) }
	expect("read", false, find, cyclone.ErrNotFound)
	expect("write", false, create, nil)
	expect("write", false, create, cyclone.ErrConflict)
	if err := s.LimitPages(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	expect("write", true, func() error { return s.Settings.Set(t.Context(), "large", make([]byte, 1<<20)) }, cyclone.ErrUnavailable)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	expect("write", true, create, cyclone.ErrUnavailable)
	expect("read", true, find, cyclone.ErrUnavailable)
}
