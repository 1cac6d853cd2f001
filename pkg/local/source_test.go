package local_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/local"
	"cyclone/pkg/scm/git"
)

// repository makes a git repository with files, committed.
func repository(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "Orders App")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, dir, files)
	runGit(t, dir, "init", "--quiet", "--initial-branch=main")
	commit(t, dir, "First\n\nBecause.")
	return dir
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

func commit(t *testing.T, dir, message string) {
	t.Helper()
	runGit(t, dir, "add", "--all")
	runGit(t, dir, "commit", "--quiet", "--message", message)
}

func runGit(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=Alice", "-c", "user.email=a@example.com", "-c", "protocol.file.allow=always"}, args...)...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// printed is a cyclone.Output that keeps what it gets.
type printed struct {
	mu  sync.Mutex
	all strings.Builder
}

func (p *printed) Write(_ cyclone.Stream, data []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all.Write(data)
}

// listing is what is below a folder, as "path mode content".
func listing(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		rel, _ := filepath.Rel(dir, p) // both are absolute
		if rel == ".git" && d.IsDir() {
			return fs.SkipDir
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text := info.Mode().String() + " " + rel
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(p)
			out = append(out, text+" -> "+target)
			return err
		case info.Mode().IsRegular():
			content, err := os.ReadFile(p)
			out = append(out, text+" "+string(content))
			return err
		}
		out = append(out, text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

func openSource(t *testing.T, dir, ref string) *local.Source {
	t.Helper()
	s, err := local.OpenSource(t.Context(), dir, ref)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSourceOfAWorkingTree(t *testing.T) {
	t.Parallel()
	dir := repository(t, map[string]string{"a": "1", "sub/b": "2"})
	sha := runGit(t, dir, "rev-parse", "HEAD")
	s := openSource(t, filepath.Join(dir, "sub"), "")
	if s.Root != dir || !s.Git || s.Branch() != "main" || s.Tag() != "" || s.Changes != 0 || s.Name() != "orders-app" {
		t.Errorf("source is %+v, branch %q, name %q", s, s.Branch(), s.Name())
	}
	want := cyclone.Commit{SHA: sha, Author: "Alice <a@example.com>", Message: "First\n\nBecause."}
	if diff := cmp.Diff(want, s.Commit); diff != "" {
		t.Error(diff)
	}
	write(t, dir, map[string]string{"a": "2", "new": "x"})
	runGit(t, dir, "remote", "add", "origin", "git@git.test:acme/Shop.git")
	s = openSource(t, dir, "")
	if s.Changes != 2 || s.Name() != "shop" || s.String() != "working tree at "+sha[:7]+" with 2 changes" {
		t.Errorf("%q has %d changes, its project is %q", s, s.Changes, s.Name())
	}
	runGit(t, dir, "update-ref", "refs/remotes/origin/main", "HEAD")
	changed, err := s.Changed(t.Context())
	if diff := cmp.Diff([]string{"a", "new"}, changed); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

func TestSourceOfARef(t *testing.T) {
	t.Parallel()
	dir := repository(t, map[string]string{"a": "1"})
	sha := runGit(t, dir, "rev-parse", "HEAD")
	runGit(t, dir, "tag", "v1")
	write(t, dir, map[string]string{"a": "2"})
	commit(t, dir, "Second")
	for ref, want := range map[string][2]string{"main": {"main", ""}, "v1": {"", "v1"}, sha[:8]: {"", ""}, "HEAD~1": {"", ""}} {
		s := openSource(t, dir, ref)
		if s.Branch() != want[0] || s.Tag() != want[1] || ref != "main" && s.Commit.SHA != sha {
			t.Errorf("%s is branch %q, tag %q, commit %s", ref, s.Branch(), s.Tag(), s.Commit.SHA)
		}
	}
	if data, err := openSource(t, dir, "v1").Read(t.Context(), "a"); err != nil || string(data) != "1" {
		t.Errorf("read %q, %v", data, err)
	}
	for _, ref := range []string{"nothing", "--output=x", "v1:a"} {
		if s, err := local.OpenSource(t.Context(), dir, ref); !errors.Is(err, cyclone.ErrNotFound) {
			t.Errorf("%s: %v, %v; want ErrNotFound", ref, s, err)
		}
	}
}

func TestSourceOfNoRepository(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if s := openSource(t, dir, ""); s.Git || s.Branch() != "" || s.Commit.SHA != "" {
		t.Errorf("source is %+v", s)
	}
	if _, err := local.OpenSource(t.Context(), dir, "main"); !errors.Is(err, cyclone.ErrNotFound) {
		t.Errorf("a ref of no repository: %v", err)
	}
	write(t, dir, map[string]string{".git/HEAD": "nonsense"})
	if _, err := local.OpenSource(t.Context(), dir, ""); err == nil || !strings.Contains(err.Error(), "read the repository") {
		t.Errorf("a broken repository: %v", err)
	}
	empty := t.TempDir()
	runGit(t, empty, "init", "--quiet")
	if s := openSource(t, empty, ""); !s.Git || s.Commit.SHA != "" || s.String() != "working tree without a commit" {
		t.Errorf("source is %+v", s)
	}
}

func TestTreeIsCopiedAsItIsOnTheDisk(t *testing.T) {
	t.Parallel()
	inner := repository(t, map[string]string{"in": "inner", ".gitignore": "skip"})
	dir := repository(t, map[string]string{".gitignore": "*.log\nbuild/\n", "a": "1", "deleted": "x", "run.sh": "#!/bin/sh", "deep/er/file": "3"})
	runGit(t, dir, "submodule", "--quiet", "add", inner, "lib")
	commit(t, dir, "Second")
	write(t, dir, map[string]string{"a": "changed", "new": "untracked", "x.log": "ignored", "build/out": "ignored", "lib/own": "untracked in lib", "lib/skip": "ignored"})
	if err := errors.Join(os.Remove(filepath.Join(dir, "deleted")), os.Chmod(filepath.Join(dir, "run.sh"), 0o751), //#nosec G302 -- a program
		os.Chmod(filepath.Join(dir, "deep"), 0o750), os.Symlink("../nowhere", filepath.Join(dir, "link")),
		os.Chtimes(filepath.Join(dir, "new"), noon, noon)); err != nil {
		t.Fatal(err)
	}
	before := listing(t, dir)
	to := t.TempDir()
	var out printed
	got, err := local.Tree{Source: openSource(t, dir, "")}.Clone(t.Context(), cyclone.CloneSpec{Dir: to}, &out)
	if err != nil {
		t.Fatal(err)
	}
	if got.SHA != runGit(t, dir, "rev-parse", "HEAD") || !strings.HasPrefix(out.all.String(), "Copied the working tree at") {
		t.Errorf("commit %s; printed %q", got.SHA, out.all.String())
	}
	want := []string{}
	for _, line := range before {
		if !strings.Contains(line, "ignored") && !strings.Contains(line, " build") && !strings.Contains(line, "lib/.git ") {
			want = append(want, line)
		}
	}
	if diff := cmp.Diff(want, listing(t, to)); diff != "" {
		t.Error(diff)
	}
	if info, err := os.Stat(filepath.Join(to, "new")); err != nil || !info.ModTime().Equal(noon) {
		t.Errorf("the copy's time is %v, %v", info.ModTime(), err)
	}
	write(t, to, map[string]string{"a": "of the copy"})
	if diff := cmp.Diff(before, listing(t, dir)); diff != "" {
		t.Errorf("the original has changed: %s", diff)
	}
}

func TestTreeWithoutGit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, map[string]string{"a": "1", ".gitignore": "a", "sub/.hg/x": "left out", "sub/b": "2"})
	if err := os.Mkdir(filepath.Join(dir, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	if _, err := (local.Tree{Source: openSource(t, dir, "")}).Clone(t.Context(), cyclone.CloneSpec{Dir: to}, &printed{}); err != nil {
		t.Fatal(err)
	}
	want := []string{"-rw------- .gitignore a", "-rw------- a 1", "-rw------- sub/b 2", "drwxr-xr-x empty", "drwxr-xr-x sub"}
	if diff := cmp.Diff(want, listing(t, to)); diff != "" {
		t.Error(diff)
	}
}

func TestRefWithSubmodules(t *testing.T) {
	t.Parallel()
	inner := repository(t, map[string]string{"in": "inner"})
	dir := repository(t, map[string]string{"a": "1"})
	runGit(t, dir, "submodule", "--quiet", "add", inner, "lib")
	commit(t, dir, "Second")
	write(t, dir, map[string]string{"a": "2", "lib/own": "x"})
	clone := func(s *local.Source) (string, error) {
		to := t.TempDir()
		_, err := local.Ref{Source: s, Git: &git.Cloner{Files: true, Pauses: []time.Duration{}}}.Clone(t.Context(), cyclone.CloneSpec{Dir: to}, &printed{})
		return to, err
	}
	to, err := clone(openSource(t, dir, "HEAD"))
	if err != nil {
		t.Fatal(err)
	}
	if a, err := os.ReadFile(filepath.Join(to, "a")); err != nil || string(a) != "1" {
		t.Errorf("a is %q, %v", a, err)
	}
	if in, err := os.ReadFile(filepath.Join(to, "lib/in")); err != nil || string(in) != "inner" {
		t.Errorf("lib/in is %q, %v", in, err)
	}
	runGit(t, dir, "submodule", "--quiet", "deinit", "--force", "lib")
	if _, err := clone(openSource(t, dir, "HEAD")); !errors.Is(err, cyclone.ErrNotFound) || !strings.Contains(err.Error(), "git submodule update --init") {
		t.Errorf("a submodule that is not there: %v", err)
	}
}
