package git_test

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cyclone/pkg/cyclone"
)

// largeFiles is an LFS server, as its API's documentation describes one: the
// batch call and the download.
type largeFiles struct {
	content map[string]string // by object id
	authed  func(r *http.Request)
	login   *[2]string
}

func (l *largeFiles) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "" && l.authed != nil {
		l.authed(r)
	}
	user, password, _ := r.BasicAuth()
	if l.login != nil && [2]string{user, password} != *l.login {
		w.Header().Set("LFS-Authenticate", `Basic realm="lfs"`)
		http.Error(w, `{"message":"login needed"}`, http.StatusUnauthorized)
		return
	}
	if r.Method == http.MethodGet {
		_, _ = w.Write([]byte(l.content[filepath.Base(r.URL.Path)]))
		return
	}
	var asked struct {
		Objects []struct {
			OID  string `json:"oid"`
			Size int64  `json:"size"`
		} `json:"objects"`
	}
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var objects []map[string]any
	for _, o := range asked.Objects {
		answer := map[string]any{"oid": o.OID, "size": o.Size}
		if _, ok := l.content[o.OID]; ok {
			answer["actions"] = map[string]any{"download": map[string]any{"href": "http://" + r.Host + "/lfs/" + o.OID}}
		} else {
			answer["error"] = map[string]any{"code": 404, "message": "Object does not exist"}
		}
		objects = append(objects, answer)
	}
	w.Header().Set("Content-Type", "application/vnd.git-lfs+json")
	_ = json.NewEncoder(w).Encode(map[string]any{"transfer": "basic", "objects": objects})
}

// pointer is what git has of a file that LFS keeps, and its id.
func pointer(content string) (text, id string) {
	id = fmt.Sprintf("%x", sha256.Sum256([]byte(content)))
	return fmt.Sprintf("version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n", id, len(content)), id
}

// commitLarge commits a file that LFS keeps, in a folder with a rule of its own.
func commitLarge(t *testing.T, w tree, content string) (id string) {
	t.Helper()
	text, id := pointer(content)
	if err := os.MkdirAll(filepath.Join(w.dir, "deep", "er"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "deep", ".gitattributes"), []byte("*.bin filter=lfs diff=lfs merge=lfs -text\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.commit("deep/er/a file.bin", text, "Large")
	return id
}

func TestLargeFiles(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.login.Store(&[2]string{"alice", secret})
	w := s.repository(t, "orders")
	id := commitLarge(t, w, "the real content")
	lib := s.repository(t, "lib")
	libID := commitLarge(t, lib, "of the library")
	s.large = &largeFiles{content: map[string]string{id: "the real content", libID: "of the library"}, login: s.login.Load()}
	w.git("submodule", "--quiet", "add", filepath.Join(s.dir, "lib.git"), "lib")
	w.git("config", "-f", ".gitmodules", "submodule.lib.url", "../lib.git")
	w.commit("other", "1", "With a submodule")

	_, dir, out, err := clone(t, cyclone.CloneSpec{URL: s.url("orders"), Username: "alice", Password: secret, Submodules: true})
	if err != nil {
		t.Fatalf("%v\n%s", err, out.all())
	}
	if got := content(t, dir, "deep/er/a file.bin"); got != "the real content" {
		t.Errorf("the file holds %q\n%s", got, out.all())
	}
	if got := content(t, dir, "lib/deep/er/a file.bin"); got != "of the library" {
		t.Errorf("the submodule's file holds %q\n%s", got, out.all())
	}
	if status := execute(t, dir, "git", "-c", "filter.lfs.clean=git-lfs clean -- %f", "status", "--porcelain"); status != "" {
		t.Errorf("the tree is not clean:\n%s", status)
	}
	leaked := strings.Contains(snapshotText(t, dir), secret) || strings.Contains(out.all(), secret)
	if leaked {
		t.Error("the password is left behind")
	}
}

func TestLargeFilesFail(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	login := &[2]string{"alice", secret}
	s.login.Store(login)
	w := s.repository(t, "orders")
	commitLarge(t, w, "lost")
	spec := cyclone.CloneSpec{URL: s.url("orders"), Username: "alice", Password: secret}
	s.large = &largeFiles{login: login}
	if _, _, out, err := clone(t, spec); !errors.Is(err, cyclone.ErrNotFound) || !strings.Contains(err.Error(), "LFS") {
		t.Errorf("a file that is not there: %v\n%s", err, out.all())
	}
	s.large = &largeFiles{login: &[2]string{"somebody", "else"}}
	if _, _, out, err := clone(t, spec); !errors.Is(err, cyclone.ErrForbidden) {
		t.Errorf("another login: %v\n%s", err, out.all())
	}
	// The repository sends to a server on another host, which asks for a login.
	stranger := httptest.NewServer(&largeFiles{login: login, authed: func(r *http.Request) {
		t.Errorf("%s on another host was sent %q", r.URL.Path, r.Header.Get("Authorization"))
	}})
	defer stranger.Close()
	for _, url := range []string{stranger.URL, "file://" + s.dir + "/orders.git"} {
		w.commit(".lfsconfig", "[lfs]\n\turl = "+url+"\n", "Elsewhere")
		_, dir, out, err := clone(t, spec)
		if err == nil {
			t.Errorf("%s: fetched:\n%s", url, out.all())
		}
		if !strings.Contains(content(t, dir, "deep/er/a file.bin"), "oid sha256") {
			t.Errorf("%s: the file is no pointer", url)
		}
	}
}

// Where git-lfs is not installed the pointers stay, and the log says so.
func TestWithoutLFS(t *testing.T) {
	s := newServer(t)
	commitLarge(t, s.repository(t, "orders"), "whatever")
	bin := t.TempDir()
	for _, name := range []string{"git", "sh"} {
		path := strings.TrimSpace(execute(t, ".", "sh", "-c", "command -v "+name))
		if err := os.Symlink(path, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin)
	_, dir, out, err := clone(t, cyclone.CloneSpec{URL: s.url("orders")})
	if err != nil || !strings.Contains(out.all(), "git-lfs is not installed") || !strings.Contains(content(t, dir, "deep/er/a file.bin"), "oid sha256") {
		t.Errorf("%v\n%s", err, out.all())
	}
}

// snapshotText is all that is in the files of a folder.
func snapshotText(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			b.WriteString(content(t, "", p))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
