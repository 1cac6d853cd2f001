package svn_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/lab"
	"cyclone/pkg/scm/svn"
)

// world is a real svnserve with the repositories of a test.
type world struct {
	*lab.Svn
	t   *testing.T
	dir string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	s, err := lab.StartSvn(t.Context(), "127.0.0.1", dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return &world{s, t, dir}
}

func (w *world) create(name string) {
	w.t.Helper()
	if err := w.Create(w.t.Context(), name); err != nil {
		w.t.Fatal(err)
	}
}

// commit writes files as a revision; the content "-" removes one.
func (w *world) commit(name, message string, files map[string]string) int {
	w.t.Helper()
	content := map[string][]byte{}
	for path, text := range files {
		if content[path] = []byte(text); text == "-" {
			content[path] = nil
		}
	}
	return w.did(w.Commit(w.t.Context(), name, message, content))
}

func (w *world) did(revision int, err error) int {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	return revision
}

// fast tries again at once.
func fast() *svn.Cloner {
	return &svn.Cloner{Pauses: []time.Duration{time.Millisecond, time.Millisecond}}
}

// clone runs one checkout and returns the folder too.
func clone(t *testing.T, s cyclone.CloneSpec) (cyclone.Commit, string, *recorder, error) {
	t.Helper()
	s.Dir = t.TempDir()
	out := &recorder{}
	c, err := fast().Clone(t.Context(), s, out)
	return c, s.Dir, out, err
}

func content(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

// recorder is a cyclone.Output that keeps everything.
type recorder struct {
	mu   sync.Mutex
	text strings.Builder
	do   func(line string) // may be nil
}

func (r *recorder) Write(_ cyclone.Stream, p []byte) {
	r.mu.Lock()
	r.text.Write(p)
	r.mu.Unlock()
	if r.do != nil {
		r.do(string(p))
	}
}

func (r *recorder) all() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}
