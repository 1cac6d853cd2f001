package git_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cyclone/pkg/cyclone"
)

// history is a repository with a branch that left main some commits ago.
type history struct {
	first, second, main, branch string
}

// makeHistory makes: first - second - ... - main, and from second a branch.
func makeHistory(t *testing.T, s *server, between int) history {
	t.Helper()
	w := s.repository(t, "orders")
	if err := os.MkdirAll(filepath.Join(w.dir, "docs"), 0o750); err != nil {
		t.Fatal(err)
	}
	var h history
	w.commit("kept", "kept", "Zero")
	h.first = w.commit("docs/old name", "text", "First")
	w.git("mv", "docs/old name", "docs/new\tname")
	h.second = w.commit("added", "1", "Second")
	for i := range between {
		w.git("commit", "-q", "--allow-empty", "-m", fmt.Sprint("Empty ", i))
	}
	h.main = w.commit("only-in-main", "1", "Main")
	w.git("checkout", "-q", "-b", "topic", h.second)
	w.git("commit", "-q", "--allow-empty", "-m", "Nothing")
	h.branch = w.commit("only-in-branch", "1", "Branch")
	return h
}

// change clones a commit and asks what it changed.
func change(t *testing.T, s *server, spec cyclone.CloneSpec, base string) ([]string, error) {
	t.Helper()
	spec.URL, spec.Dir = s.url("orders"), t.TempDir()
	c := fast()
	if _, err := c.Clone(t.Context(), spec, &recorder{}); err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, spec.Dir)
	paths, err := c.Changed(t.Context(), spec, spec.Dir, base)
	if after := snapshot(t, spec.Dir); after != before {
		t.Errorf("the clone changed:\n%s\nwas\n%s", after, before)
	}
	slices.Sort(paths)
	return paths, err
}

func snapshot(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			data, readErr := os.ReadFile(p)
			fmt.Fprintf(&b, "%s %x\n", p, sha256.Sum256(data))
			err = readErr
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestChanged(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	h := makeHistory(t, s, 70)
	for _, tt := range []struct {
		name, sha, ref, base string
		filter, old          bool
		want                 string
	}{
		{name: "push", sha: h.second, ref: "refs/heads/main", base: h.first, want: "added|docs/new\tname|docs/old name"},
		{name: "push without files' content", sha: h.second, ref: "refs/heads/main", base: h.first, filter: true, want: "added|docs/new\tname|docs/old name"},
		{name: "push of nothing", sha: h.second, ref: "refs/heads/main", base: h.second, want: ""},
		{name: "forced back", sha: h.first, ref: "refs/heads/main", base: h.second, want: "added|docs/new\tname|docs/old name"},
		{name: "pull request", sha: h.branch, ref: "refs/heads/topic", base: "refs/heads/main", want: "only-in-branch"},
		{name: "pull request without files' content", sha: h.branch, ref: "refs/heads/topic", base: "refs/heads/main", filter: true, want: "only-in-branch"},
		{name: "pull request that is behind", sha: h.second, ref: "refs/heads/main", base: "refs/heads/topic", want: ""},
		{name: "an old server", sha: h.branch, ref: "refs/heads/topic", base: "refs/heads/main", old: true, want: "only-in-branch"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.oldOnly.Store(tt.old)
			s.login.Store(&[2]string{"x-access-token", "hunter2"})
			execute(t, s.dir, "git", "-C", "orders.git", "config", "uploadpack.allowFilter", fmt.Sprint(tt.filter))
			got, err := change(t, s, cyclone.CloneSpec{Ref: tt.ref, SHA: tt.sha, Password: "hunter2"}, tt.base)
			if err != nil || strings.Join(got, "|") != tt.want {
				t.Errorf("%q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

func TestChangedUnknown(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	h := makeHistory(t, s, 0)
	spec := cyclone.CloneSpec{Ref: "refs/heads/main", SHA: h.main}
	for _, tt := range []struct {
		name, base, want string
		kind             error
	}{
		{"a new branch", strings.Repeat("0", 40), "no commit before", cyclone.ErrNotFound},
		{"nobody knows", "", "no commit before", cyclone.ErrNotFound},
		{"gone", strings.Repeat("1", 40), "is not in", cyclone.ErrNotFound},
		{"no such branch", "refs/heads/none", "has no refs/heads/none", cyclone.ErrNotFound},
		{"an option", "--upload-pack=evil", "neither", cyclone.ErrInvalid},
		{"no hash", strings.Repeat("g", 40) + "..", "neither", cyclone.ErrInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := change(t, s, spec, tt.base)
			if !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	spec.URL = s.url("orders")
	if _, err := fast().Changed(ended, spec, t.TempDir(), h.first); err == nil || err.Error() != "enough" {
		t.Errorf("after the end: %v", err)
	}
}

// TestNothingInCommon: the histories of two branches have nothing to do with
// each other.
func TestNothingInCommon(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	h := makeHistory(t, s, 0)
	w := tree{t, t.TempDir()}
	w.git("init", "-q", "-b", "other", ".")
	w.git("remote", "add", "origin", filepath.Join(s.dir, "orders.git"))
	w.commit("x", "x", "Other")
	_, err := change(t, s, cyclone.CloneSpec{Ref: "refs/heads/main", SHA: h.main}, "refs/heads/other")
	if !errors.Is(err, cyclone.ErrNotFound) || !strings.Contains(err.Error(), "more than 5000 commits back") {
		t.Error(err)
	}
}
