package git_test

import (
	"io"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"cyclone/pkg/cyclone"
)

// server is a real git server: git http-backend behind HTTP.
type server struct {
	*httptest.Server
	dir     string
	login   atomic.Pointer[[2]string] // user and password, asked for when set
	oldOnly atomic.Bool               // speaks the protocol that gives advertised commits only
	broken  atomic.Int32              // how many requests to answer with 502
	denied  atomic.Int32              // requests without the right login
	authed  sync.Map                  // path -> Authorization headers that were seen
	large   http.Handler              // what Git LFS is answered
}

func newServer(t *testing.T) *server {
	t.Helper()
	path := strings.TrimSpace(execute(t, ".", "git", "--exec-path"))
	s := &server{dir: t.TempDir()}
	backend := &cgi.Handler{
		Path: filepath.Join(path, "git-http-backend"), Stderr: io.Discard,
		Env: []string{"GIT_PROJECT_ROOT=" + s.dir, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
	}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h := r.Header.Get("Authorization"); h != "" {
			s.authed.Store(r.URL.Path, h)
		}
		if strings.Contains(r.URL.Path, "/lfs/") && s.large != nil {
			s.large.ServeHTTP(w, r)
			return
		}
		if s.broken.Add(-1) >= 0 {
			http.Error(w, "bad gateway", http.StatusBadGateway)
			return
		}
		user, password, _ := r.BasicAuth()
		if login := s.login.Load(); login != nil && [2]string{user, password} != *login {
			s.denied.Add(1)
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "login needed", http.StatusUnauthorized)
			return
		}
		if s.oldOnly.Load() {
			r.Header.Del("Git-Protocol")
		}
		backend.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) url(name string) string { return s.URL + "/" + name + ".git" }

// repository makes name.git and returns a work tree of it.
func (s *server) repository(t *testing.T, name string) tree {
	t.Helper()
	bare := filepath.Join(s.dir, name+".git")
	execute(t, s.dir, "git", "init", "-q", "--bare", "-b", "main", bare)
	work := tree{t, t.TempDir()}
	work.git("init", "-q", "-b", "main", ".")
	work.git("remote", "add", "origin", bare)
	return work
}

// tree is a work tree that commits are made in.
type tree struct {
	t   *testing.T
	dir string
}

func (w tree) git(args ...string) string {
	w.t.Helper()
	return strings.TrimSpace(execute(w.t, w.dir, "git", append([]string{"-c", "protocol.file.allow=always"}, args...)...))
}

// commit writes a file, pushes main and returns the commit.
func (w tree) commit(name, content, message string) string {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.git("add", "-A")
	w.git("commit", "-q", "-m", message)
	w.git("push", "-q", "--force", "origin", "HEAD")
	return w.git("rev-parse", "HEAD")
}

func execute(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Alice", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=Bob", "GIT_COMMITTER_EMAIL=b@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// recorder is a cyclone.Output that keeps everything.
type recorder struct {
	mu   sync.Mutex
	text map[cyclone.Stream]string
}

func (r *recorder) Write(stream cyclone.Stream, p []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.text == nil {
		r.text = map[cyclone.Stream]string{}
	}
	r.text[stream] += string(p)
}

func (r *recorder) all() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text[cyclone.System] + r.text[cyclone.Stderr] + r.text[cyclone.Stdout]
}
