package cachedir_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"cyclone/pkg/cachedir"
)

// Many users at once always see one content as a whole, and one of them wins.
func TestManyUsersAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var all sync.WaitGroup
	for user := range 8 {
		all.Go(func() {
			s, err := cachedir.Begin(dir, false)
			if err != nil {
				t.Error(err)
				return
			}
			for round := range 10 {
				text := fmt.Sprintf("user %d round %d", user, round)
				folder, err := os.MkdirTemp(s.Work, "x-")
				for _, name := range []string{"file", "twin"} {
					err = errors.Join(err, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600))
				}
				mine, perr := s.Publish("k", folder, cachedir.Info{Path: "k"})
				held, oerr := s.Open("k")
				if err := errors.Join(err, perr, oerr); err != nil || held == nil {
					t.Errorf("%v, held %v", err, held)
					break
				}
				pair := []string{readFile(t, held.Data, "file"), readFile(t, held.Data, "twin")}
				if len(slices.Compact(pair)) != 1 {
					t.Errorf("a mixture: %q", pair)
				}
				mine.Release()
				held.Release()
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	closeSession(t, begin(t, dir)) // which sweeps
	if n := len(under(t, dir, "entries/k/*/data")); n != 1 {
		t.Errorf("%d generations are left", n)
	}
}

func readFile(t *testing.T, dir, name string) string {
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Error(err)
	}
	return string(text)
}
