package lab

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Git is a real git server: `git http-backend` behind HTTP.
type Git struct {
	dir      string
	server   *http.Server
	listener net.Listener
	mu       sync.Mutex
	logins   map[string][2]string // repository -> user, password
}

// StartGit serves repositories below dir on any port of the bind address.
func StartGit(bind, dir string) (*Git, error) {
	backend, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		return nil, fmt.Errorf("ask git where its programs are: %w", err)
	}
	g := &Git{dir: dir, logins: map[string][2]string{}}
	handler := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(backend)), "git-http-backend"),
		Env:  []string{"GIT_PROJECT_ROOT=" + dir, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
	}
	g.server = &http.Server{Handler: g.guard(handler), ReadHeaderTimeout: 10 * time.Second}
	if g.listener, err = net.Listen("tcp", bind+":0"); err != nil {
		return nil, fmt.Errorf("listen for git: %w", err)
	}
	go func() { _ = g.server.Serve(g.listener) }() // ends with Stop
	return g, nil
}

// guard asks for a login where the repository has one.
func (g *Git) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), ".git/")
		g.mu.Lock()
		login, closed := g.logins[name+".git"]
		g.mu.Unlock()
		user, password, _ := r.BasicAuth()
		if closed && subtle.ConstantTimeCompare([]byte(user+":"+password), []byte(login[0]+":"+login[1])) != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "login needed", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Handler serves the repositories at somebody else's address, below "/".
func (g *Git) Handler() http.Handler { return g.server.Handler }

// SetRef points a ref of a repository at a commit that is there: a forge's
// refs/pull/7/head, say.
func (g *Git) SetRef(ctx context.Context, name, ref, sha string) error {
	_, err := git(ctx, filepath.Join(g.dir, name+".git"), "update-ref", ref, sha)
	return err
}

// Close asks for this login on a repository from now on.
func (g *Git) Close(name, user, password string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.logins[name+".git"] = [2]string{user, password}
}

// URL is where a repository is cloned from.
func (g *Git) URL(name string) string {
	return "http://" + g.listener.Addr().String() + "/" + name + ".git"
}

// Dir is the folder of the repositories, each name.git.
func (g *Git) Dir() string { return g.dir }

// Stop ends the server.
func (g *Git) Stop() { _ = g.server.Close() }

// Commit writes files (path -> content) as a new commit on a branch of a
// repository, which is made when it is not there, and returns the commit's
// hash. Content nil removes the path.
func (g *Git) Commit(ctx context.Context, name, branch, message string, files map[string][]byte) (string, error) {
	bare := filepath.Join(g.dir, name+".git")
	if _, err := os.Stat(bare); errors.Is(err, os.ErrNotExist) {
		if _, err := git(ctx, g.dir, "init", "-q", "--bare", "-b", "main", bare); err != nil {
			return "", err
		}
		if _, err := git(ctx, bare, "config", "uploadpack.allowAnySHA1InWant", "true"); err != nil {
			return "", err
		}
	}
	tree, err := os.MkdirTemp("", "cyclone-lab-")
	if err != nil {
		return "", fmt.Errorf("make a work tree: %w", err)
	}
	defer os.RemoveAll(tree)
	if err := checkOut(ctx, bare, tree, branch); err != nil {
		return "", err
	}
	for path, content := range files {
		if err := write(filepath.Join(tree, path), content); err != nil {
			return "", err
		}
	}
	for _, args := range [][]string{{"add", "-A"}, {"commit", "-q", "--allow-empty", "-m", message}, {"push", "-q", "origin", "HEAD:refs/heads/" + branch}} {
		if _, err := git(ctx, tree, args...); err != nil {
			return "", err
		}
	}
	return git(ctx, tree, "rev-parse", "HEAD")
}

func checkOut(ctx context.Context, bare, tree, branch string) error {
	if _, err := git(ctx, tree, "clone", "-q", bare, "."); err != nil {
		return err
	}
	if _, err := git(ctx, tree, "checkout", "-q", branch); err == nil {
		return nil
	}
	_, err := git(ctx, tree, "checkout", "-q", "-B", branch)
	return err
}

func write(path string, content []byte) error {
	if content == nil {
		return os.Remove(path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	mode := os.FileMode(0o644)
	if strings.HasPrefix(string(content), "#!") {
		mode = 0o755
	}
	return os.WriteFile(path, content, mode)
}

func git(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", dir}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=Alice", "GIT_AUTHOR_EMAIL=alice@example.com",
		"GIT_COMMITTER_NAME=Alice", "GIT_COMMITTER_EMAIL=alice@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}
