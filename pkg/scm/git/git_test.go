package git_test

import (
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/scm/git"
)

// fast tries again at once.
func fast() *git.Cloner {
	return &git.Cloner{Pauses: []time.Duration{time.Millisecond, time.Millisecond}}
}

// clone runs one clone and returns the directory too.
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
		t.Fatal(err)
	}
	return string(b)
}

func TestCloneCommit(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	w := s.repository(t, "orders")
	first := w.commit("file", "one", "Fix the thing\n\nBecause.")
	w.commit("file", "two", "Second")
	w.git("tag", "v1", first)
	w.git("push", "-q", "origin", "v1")

	want := cyclone.Commit{SHA: first, Author: "Alice <a@example.com>", Committer: "b@example.com", Message: "Fix the thing\n\nBecause."}
	for name, spec := range map[string]cyclone.CloneSpec{
		"by hash":         {SHA: first},
		"hash and ref":    {SHA: first, Ref: "refs/heads/main"},
		"short hash":      {SHA: first[:9], Ref: "main"},
		"short, no ref":   {SHA: first[:9]},
		"tag":             {Ref: "v1"},
		"whole ref":       {Ref: "refs/tags/v1"},
		"hash, wrong ref": {SHA: first, Ref: "refs/heads/gone"},
	} {
		t.Run(name, func(t *testing.T) {
			spec.URL = s.url("orders")
			got, dir, out, err := clone(t, spec)
			if err != nil {
				t.Fatalf("%v\n%s", err, out.all())
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("commit (-want +got):\n%s", diff)
			}
			if c := content(t, dir, "file"); c != "one" {
				t.Errorf("the file holds %q", c)
			}
			if !strings.Contains(out.text[cyclone.System], "Cloning "+s.url("orders")) {
				t.Errorf("the log does not say what is cloned: %q", out.all())
			}
		})
	}
	t.Run("default branch", func(t *testing.T) {
		_, dir, _, err := clone(t, cyclone.CloneSpec{URL: s.url("orders")})
		if err != nil || content(t, dir, "file") != "two" {
			t.Errorf("%v", err)
		}
		if n := strings.TrimSpace(execute(t, dir, "git", "rev-list", "--count", "HEAD")); n != "1" {
			t.Errorf("%s commits were fetched, want 1", n)
		}
	})
}

// A server that gives no commit by its hash: the ref is searched ever deeper.
func TestServerWithoutCommitsByHash(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.oldOnly.Store(true)
	w := s.repository(t, "orders")
	old := w.commit("file", "one", "First")
	w.commit("file", "two", "Second")
	w.git("checkout", "-q", "-b", "side", old)
	side := w.commit("file", "three", "Aside")
	w.git("checkout", "-q", "main")
	w.commit("file", "four", "Third")

	for name, spec := range map[string]cyclone.CloneSpec{
		"deep in its branch":  {SHA: old, Ref: "refs/heads/main"},
		"in no branch named":  {SHA: old},
		"in another branch":   {SHA: side, Ref: "refs/heads/main"},
		"the branch is gone":  {SHA: old, Ref: "refs/heads/gone"},
		"abbreviated, by ref": {SHA: old[:10], Ref: "main"},
	} {
		t.Run(name, func(t *testing.T) {
			spec.URL = s.url("orders")
			got, _, out, err := clone(t, spec)
			if err != nil {
				t.Fatalf("%v\n%s", err, out.all())
			}
			if !strings.HasPrefix(got.SHA, spec.SHA) {
				t.Errorf("got commit %s, want %s", got.SHA, spec.SHA)
			}
		})
	}
}

func TestNotThere(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	w := s.repository(t, "orders")
	w.commit("file", "one", "First")
	nowhere := strings.Repeat("ab", 20)
	for _, old := range []bool{false, true} {
		s.oldOnly.Store(old)
		for name, tt := range map[string]struct {
			spec cyclone.CloneSpec
			says string
		}{
			"commit":        {cyclone.CloneSpec{URL: s.url("orders"), SHA: nowhere}, nowhere},
			"commit in ref": {cyclone.CloneSpec{URL: s.url("orders"), SHA: nowhere, Ref: "main"}, "main of"},
			"ref":           {cyclone.CloneSpec{URL: s.url("orders"), Ref: "refs/heads/gone"}, "refs/heads/gone is not in"},
			"repository":    {cyclone.CloneSpec{URL: s.url("gone"), SHA: nowhere}, "no git repository"},
		} {
			_, _, _, err := clone(t, tt.spec)
			if !errors.Is(err, cyclone.ErrNotFound) || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), tt.spec.URL) {
				t.Errorf("%s (old server: %v): %v", name, old, err)
			}
		}
	}
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }))
	defer page.Close()
	if _, _, _, err := clone(t, cyclone.CloneSpec{URL: page.URL + "/x.git"}); !errors.Is(err, cyclone.ErrNotFound) {
		t.Errorf("a web page: %v", err)
	}
}

const secret = "s3cret pass:w%rd'\"$HOME`\\"

func TestCredentials(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.login.Store(&[2]string{"alice", secret})
	w := s.repository(t, "orders")
	sha := w.commit("file", "one", "First")

	_, dir, out, err := clone(t, cyclone.CloneSpec{URL: s.url("orders"), SHA: sha, Username: "alice", Password: secret})
	if err != nil {
		t.Fatalf("%v\n%s", err, out.all())
	}
	if strings.Contains(out.all(), secret) {
		t.Error("the password is in the log")
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if strings.Contains(content(t, "", path), secret) {
			t.Errorf("the password stands in %s", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, password := range map[string]string{"wrong": "nope", "missing": ""} {
		spec := cyclone.CloneSpec{URL: s.url("orders"), SHA: sha, Password: password}
		if password != "" {
			spec.Username = "alice"
		}
		_, _, _, err := clone(t, spec)
		if !errors.Is(err, cyclone.ErrForbidden) || !strings.Contains(err.Error(), s.url("orders")) {
			t.Errorf("%s password: %v", name, err)
		}
	}
}

// What the helper gives git must be neither an argument nor in an environment.
func TestCredentialsStayInside(t *testing.T) {
	dir := t.TempDir()
	seen := filepath.Join(dir, "seen")
	spy := filepath.Join(dir, "git")
	script := "#!/bin/sh\n(tr '\\0' '\\n' < /proc/$$/cmdline; env) >> " + seen + "\nexec git \"$@\"\n"
	if err := os.WriteFile(spy, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	s := newServer(t)
	s.login.Store(&[2]string{"alice", secret})
	w := s.repository(t, "orders")
	w.commit("file", "one", "First")
	t.Setenv("CYCLONE_WORKER_TOKEN", "worker-token")
	c := fast()
	c.Command = spy
	spec := cyclone.CloneSpec{URL: s.url("orders"), Dir: t.TempDir(), Username: "alice", Password: secret}
	if _, err := c.Clone(t.Context(), spec, &recorder{}); err != nil {
		t.Fatal(err)
	}
	text := content(t, dir, "seen")
	if !strings.Contains(text, "fetch") {
		t.Fatalf("the spy saw no fetch: %s", text)
	}
	for _, hidden := range []string{secret, "worker-token"} {
		if strings.Contains(text, hidden) {
			t.Errorf("%q is visible to other processes", hidden)
		}
	}
}

func TestSubmodules(t *testing.T) {
	t.Parallel()
	s, other := newServer(t), newServer(t)
	s.login.Store(&[2]string{"alice", secret})
	lib := s.repository(t, "lib")
	lib.commit("lib", "one", "First")
	pinned := lib.commit("lib", "two", "Second")
	lib.commit("lib", "three", "Third")
	free := other.repository(t, "free")
	free.commit("free", "yes", "First")

	w := s.repository(t, "orders")
	w.git("submodule", "--quiet", "add", filepath.Join(s.dir, "lib.git"), "lib")
	w.git("-C", "lib", "checkout", "-q", pinned)
	w.git("submodule", "--quiet", "add", filepath.Join(other.dir, "free.git"), "free")
	w.git("config", "-f", ".gitmodules", "submodule.lib.url", "../lib.git")
	w.git("config", "-f", ".gitmodules", "submodule.free.url", other.url("free"))
	w.commit("file", "one", "With submodules")

	for _, old := range []bool{false, true} {
		s.oldOnly.Store(old)
		_, dir, out, err := clone(t, cyclone.CloneSpec{URL: s.url("orders"), Username: "alice", Password: secret, Submodules: true})
		if err != nil {
			t.Fatalf("%v\n%s", err, out.all())
		}
		if got := content(t, dir, "lib/lib"); got != "two" {
			t.Errorf("the submodule holds %q", got)
		}
		if got := content(t, dir, "free/free"); got != "yes" {
			t.Errorf("the submodule on another host holds %q", got)
		}
	}
	_, dir, _, err := clone(t, cyclone.CloneSpec{URL: s.url("orders"), Username: "alice", Password: secret})
	if _, statErr := os.Stat(filepath.Join(dir, "lib", "lib")); err != nil || statErr == nil {
		t.Errorf("submodules came though nobody asked: %v", err)
	}
	// The other host asks for a login now; ours is not for it.
	other.login.Store(&[2]string{"alice", secret})
	_, _, _, err = clone(t, cyclone.CloneSpec{URL: s.url("orders"), Username: "alice", Password: secret, Submodules: true})
	if !errors.Is(err, cyclone.ErrForbidden) {
		t.Errorf("a submodule behind a login of its own: %v", err)
	}
	other.authed.Range(func(path, header any) bool {
		t.Errorf("%v on another host was sent %v", path, header)
		return true
	})
}

// A submodule's URL comes from the repository, so it is as hostile as one can be.
func TestHostileSubmodule(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	victim := filepath.Join(t.TempDir(), "victim")
	for name, url := range map[string]string{
		"ext": "ext::touch " + victim, "file": "file://" + s.dir + "/lib.git", "path": s.dir + "/lib.git", "dash": "--upload-pack=touch " + victim,
	} {
		t.Run(name, func(t *testing.T) {
			lib := s.repository(t, "lib-"+name)
			lib.commit("lib", "one", "First")
			w := s.repository(t, name)
			w.git("submodule", "--quiet", "add", filepath.Join(s.dir, "lib-"+name+".git"), "lib")
			w.git("config", "-f", ".gitmodules", "submodule.lib.url", url)
			w.commit("file", "one", "Hostile")
			_, dir, _, err := clone(t, cyclone.CloneSpec{URL: s.url(name), Submodules: true})
			if err == nil {
				t.Error("was cloned")
			}
			for _, path := range []string{victim, filepath.Join(dir, "lib", "lib")} {
				if _, err := os.Stat(path); err == nil {
					t.Errorf("%s was made", path)
				}
			}
		})
	}
}

func TestRedirectKeepsCredentials(t *testing.T) {
	t.Parallel()
	target := newServer(t)
	target.login.Store(&[2]string{"alice", secret})
	target.repository(t, "orders").commit("file", "one", "First")
	front := httptest.NewServer(http.RedirectHandler(target.URL, http.StatusFound))
	defer front.Close()
	front.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, target.URL+r.URL.RequestURI(), http.StatusFound)
	})
	_, _, _, err := clone(t, cyclone.CloneSpec{URL: front.URL + "/orders.git", Username: "alice", Password: secret})
	if !errors.Is(err, cyclone.ErrForbidden) {
		t.Errorf("a redirect to another host: %v", err)
	}
	target.authed.Range(func(path, _ any) bool {
		t.Errorf("the credential followed a redirect to another host: %v", path)
		return true
	})
}
