//go:build e2e

package docker_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/engine/docker"
)

// recorder is an Output that keeps everything, in order of arrival.
type recorder struct {
	mu     sync.Mutex
	parts  []part
	all    bytes.Buffer
	notify func(all string)
}

type part struct {
	stream cyclone.Stream
	text   string
}

func (r *recorder) Write(stream cyclone.Stream, p []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.parts = append(r.parts, part{stream, string(p)})
	r.all.Write(p)
	if r.notify != nil {
		r.notify(r.all.String())
	}
}

func (r *recorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all.String()
}

// of returns what arrived on one stream.
func (r *recorder) of(stream cyclone.Stream) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	for _, p := range r.parts {
		if p.stream == stream {
			b.WriteString(p.text)
		}
	}
	return b.String()
}

// engine connects to the machine's engine and returns labels of this test
// alone; what carries them is swept when the test ends.
func engine(t *testing.T) (*docker.Engine, map[string]string) {
	t.Helper()
	e, err := docker.New(os.Getenv("DOCKER_HOST"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, done := context.WithTimeout(t.Context(), 5*time.Second)
	defer done()
	if err := e.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{cyclone.LabelRole: "test", cyclone.LabelEvent: unique()}
	t.Cleanup(func() {
		if err := e.Sweep(context.WithoutCancel(ctx), labels); err != nil {
			t.Error(err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e, labels
}

func unique() string { return strings.ToLower(rand.Text()[:12]) }

// busybox is the image that the tests run, made of the machine's own static
// busybox (Debian: busybox-static).
func busybox(t *testing.T, e *docker.Engine) string {
	t.Helper()
	const name = "cyclone-engine-test/busybox:1"
	if _, err := e.Images().Inspect(t.Context(), name); err == nil {
		return name
	}
	binary, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatalf("the tests need a static busybox (Debian: busybox-static): %v", err)
	}
	dir := contextDir(t, map[string]string{
		"busybox":    string(binary),
		"Dockerfile": "FROM scratch\nCOPY --chmod=755 busybox /bin/busybox\nRUN [\"/bin/busybox\",\"--install\",\"-s\",\"/bin\"]\n",
	})
	var out recorder
	if err := e.Images().Build(t.Context(), buildSpec(dir, name), &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	return name
}

// contextDir writes a build context.
func contextDir(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func buildSpec(dir, image string) cyclone.BuildSpec {
	return cyclone.BuildSpec{ContextDir: dir, Dockerfile: filepath.Join(dir, "Dockerfile"), Image: image}
}

// create makes a container that runs a shell script.
func create(t *testing.T, e *docker.Engine, labels map[string]string, script string, change func(*cyclone.ContainerSpec)) string {
	t.Helper()
	spec := cyclone.ContainerSpec{
		Name: "step/" + t.Name(), Image: busybox(t, e), Labels: labels,
		Entrypoint: []string{"/bin/sh", "-e", "-c"}, Command: []string{script},
	}
	if change != nil {
		change(&spec)
	}
	id, err := e.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func wantKind(t *testing.T, err, kind error, texts ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("error %v is not of the kind %q", err, kind)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q does not contain %q", err, text)
		}
	}
}
