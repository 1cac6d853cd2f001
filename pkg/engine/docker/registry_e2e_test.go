//go:build e2e

package docker_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"cyclone/pkg/cyclone"
)

// registry starts a real registry (Debian: docker-registry) on loopback, which
// engines trust without TLS, and returns its host. With a login it wants one.
func registry(t *testing.T, login *cyclone.RegistryAuth) string {
	t.Helper()
	dir, host := t.TempDir(), freeAddress(t)
	config := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %s}\n", dir, host)
	if login != nil {
		hash, err := bcrypt.GenerateFromPassword([]byte(login.Password), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		users := filepath.Join(dir, "users")
		if err := os.WriteFile(users, fmt.Appendf(nil, "%s:%s\n", login.Username, hash), 0o600); err != nil {
			t.Fatal(err)
		}
		config += fmt.Sprintf("auth: {htpasswd: {realm: test, path: %s}}\n", users)
	}
	file := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	server := exec.Command("docker-registry", "serve", file)
	server.Stdout, server.Stderr = &log, &log
	if err := server.Start(); err != nil {
		t.Fatalf("the tests need a registry (Debian: docker-registry): %v", err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill() // it may have ended by itself
		_ = server.Wait()         // says that it was killed
	})
	waitFor(t, "the registry", func() bool {
		answer, err := http.Get("http://" + host + "/v2/")
		if err != nil {
			return false
		}
		return answer.Body.Close() == nil
	})
	return host
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 15s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// removeImage keeps the engine as it was.
func removeImage(t *testing.T, name string) {
	t.Helper()
	if out, err := exec.Command("docker", "rmi", "-f", name).CombinedOutput(); err != nil {
		t.Errorf("remove image: %s", out)
	}
}

func TestPushAndPull(t *testing.T) {
	e, _ := engine(t)
	image := registry(t, nil) + "/shop/web:ci-1"
	if err := e.Images().Tag(t.Context(), busybox(t, e), image); err != nil {
		t.Fatal(err)
	}
	var out recorder
	digest, err := e.Images().Push(t.Context(), image, nil, &out)
	if err != nil || !regexp.MustCompile(`^sha256:[0-9a-f]{64}$`).MatchString(digest) {
		t.Fatalf("digest %q, error %v", digest, err)
	}
	if !strings.Contains(out.String(), ": Pushed\n") || !strings.Contains(out.String(), "digest: "+digest) {
		t.Errorf("push printed:\n%s", out.String())
	}
	var again recorder
	if second, err := e.Images().Push(t.Context(), image, nil, &again); err != nil || second != digest || !strings.Contains(again.String(), "Layer already exists") {
		t.Errorf("second push: %q, %v:\n%s", second, err, again.String())
	}
	removeImage(t, image)
	var pulled recorder
	if err := e.Images().Pull(t.Context(), image, nil, &pulled); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(pulled.String(), "Digest: "+digest+"\n") {
		t.Errorf("pull printed:\n%s", pulled.String())
	}
	removeImage(t, image)
	byDigest := strings.TrimSuffix(image, ":ci-1") + "@" + digest
	if err := e.Images().Pull(t.Context(), byDigest, nil, &pulled); err != nil {
		t.Error(err)
	}
	removeImage(t, byDigest)
}

func TestRegistryErrors(t *testing.T) {
	e, _ := engine(t)
	login := &cyclone.RegistryAuth{Username: "alice", Password: "right"}
	wrong := &cyclone.RegistryAuth{Username: "alice", Password: "wrong-password"}
	open, closed, down := registry(t, nil), registry(t, login), freeAddress(t)
	tag := func(name string) string {
		if err := e.Images().Tag(t.Context(), busybox(t, e), name); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { removeImage(t, name) })
		return name
	}
	if _, err := e.Images().Push(t.Context(), tag(closed+"/app:1"), login, &recorder{}); err != nil {
		t.Fatalf("push with the right login: %v", err)
	}
	if _, err := e.Images().Push(t.Context(), tag(open+"/app:1"), nil, &recorder{}); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		image string
		auth  *cyclone.RegistryAuth
		push  bool
		kind  error
		texts []string
	}{
		"pull unknown image":     {image: open + "/absent:1", kind: cyclone.ErrNotFound, texts: []string{open + "/absent:1"}},
		"pull unknown tag":       {image: open + "/app:2", kind: cyclone.ErrNotFound, texts: []string{open + "/app:2"}},
		"pull without login":     {image: closed + "/app:1", kind: cyclone.ErrForbidden, texts: []string{closed, "login"}},
		"pull with wrong login":  {image: closed + "/app:1", auth: wrong, kind: cyclone.ErrForbidden, texts: []string{closed}},
		"pull, registry is down": {image: down + "/app:1", kind: cyclone.ErrUnavailable, texts: []string{down, "cannot be reached"}},
		"pull, not a name":       {image: "Not A Name", kind: cyclone.ErrInvalid, texts: []string{"Not A Name"}},
		"push without login":     {image: closed + "/app:1", push: true, kind: cyclone.ErrForbidden, texts: []string{closed}},
		"push with wrong login":  {image: closed + "/app:1", auth: wrong, push: true, kind: cyclone.ErrForbidden},
		"push, registry is down": {image: down + "/app:1", push: true, kind: cyclone.ErrUnavailable, texts: []string{down}},
		"push unknown image":     {image: open + "/never-built:1", push: true, kind: cyclone.ErrNotFound, texts: []string{"never-built"}},
	}
	tag(down + "/app:1")
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var out recorder
			var err error
			if tt.push {
				_, err = e.Images().Push(t.Context(), tt.image, tt.auth, &out)
			} else {
				err = e.Images().Pull(t.Context(), tt.image, tt.auth, &out)
			}
			wantKind(t, err, tt.kind, tt.texts...)
			if strings.Contains(err.Error()+out.String(), "wrong-password") {
				t.Errorf("a password is in the clear: %v", err)
			}
			t.Log(err)
		})
	}
}
