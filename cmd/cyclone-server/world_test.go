package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/lab"
	launchprocess "cyclone/pkg/launch/process"
)

// patience is how long a test waits for what has to come.
const patience = 20 * time.Second

// world is what is around the servers of a test and outlives them.
type world struct {
	t      *testing.T
	ctx    context.Context
	data   string // data folder
	engine *engine
	mail   *lab.Mailbox
	token  string // of the administrator, once a server printed it
	env    map[string]string
}

// newWorld makes a world whose servers start workers as processes.
func newWorld(t *testing.T) *world {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 2*patience)
	t.Cleanup(stop)
	mail, err := lab.StartMailbox()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(mail.Stop)
	w := &world{t: t, ctx: ctx, data: filepath.Join(t.TempDir(), "data"), engine: startEngine(t), mail: mail}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w.env = map[string]string{
		"CYCLONE_LISTEN": "127.0.0.1:0", "CYCLONE_STORE": "embedded:" + w.data, "CYCLONE_EXTERNAL_URL": "https://ci.example.com",
		"CYCLONE_NODE": "process", "CYCLONE_WORKER_BINARY": self, "CYCLONE_DOCKER_HOST": w.engine.host,
		"CYCLONE_REGISTRY": "registry.example.com/team", "CYCLONE_SMTP_HOST": "127.0.0.1", "CYCLONE_SMTP_PORT": fmt.Sprint(mail.Port()),
		"CYCLONE_SMTP_TLS": "none", "CYCLONE_SMTP_FROM": "Cyclone <ci@example.com>",
	}
	t.Cleanup(w.endWorkers)
	return w
}

// endWorkers ends the workers that a test which failed left running, and shows
// what they said.
func (w *world) endWorkers() {
	l := &launchprocess.Launcher{Dir: filepath.Join(w.data, "workers"), Engine: nobody{}}
	left, err := l.Workers(context.Background())
	if err != nil {
		w.t.Error(err)
	}
	for _, worker := range left {
		log, _ := os.ReadFile(filepath.Join(l.Dir, string(worker.ID), "worker.log")) // only to be shown
		w.t.Logf("worker %s was left:\n%s", worker.ID, log)
		if err := l.Remove(context.Background(), worker.ID); err != nil {
			w.t.Error(err)
		}
	}
}

// nobody is an engine without anything on it.
type nobody struct{}

func (nobody) Ready(context.Context) error                    { return nil }
func (nobody) Sweep(context.Context, map[string]string) error { return nil }

// commit writes a file of the repository that workers clone.
func (w *world) commit(name, text string) {
	w.t.Helper()
	path := filepath.Join(w.engine.dir, "repository", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// program is a server with the world's settings and further ones ("NAME=value")
// that is not running yet.
func (w *world) program(out *output, more ...string) *program {
	env := map[string]string{}
	for name, value := range w.env {
		env[name] = value
	}
	for _, m := range more {
		name, value, _ := strings.Cut(m, "=")
		env["CYCLONE_"+name] = value
	}
	lookup := func(name string) (string, bool) { value, ok := env[name]; return value, ok }
	return &program{lookup: lookup, stdout: &out.stdout, stderr: &out.stderr}
}

// refused runs a server that must not start and returns why.
func (w *world) refused(more ...string) error {
	w.t.Helper()
	ctx, stop := context.WithTimeout(w.ctx, patience)
	defer stop()
	p := w.program(&output{}, more...)
	p.listening = func(net.Addr) { w.t.Error("the server listens"); stop() }
	err := p.run(ctx)
	if err == nil {
		w.t.Fatal("the server ended without an error")
	}
	return err
}

// server is a running server.
type server struct {
	lab.Server
	output
	t     *testing.T
	end   context.CancelFunc
	ended chan error
}

// output is what a server prints.
type output struct{ stdout, stderr buffer }

// start starts a server and waits until it listens.
func (w *world) start(more ...string) *server {
	w.t.Helper()
	ctx, end := context.WithCancel(w.ctx)
	s := &server{t: w.t, end: end, ended: make(chan error, 1)}
	p := w.program(&s.output, more...)
	address := make(chan net.Addr, 1)
	p.listening = func(a net.Addr) { address <- a }
	go func() { s.ended <- p.run(ctx) }()
	w.t.Cleanup(s.stop)
	select {
	case a := <-address:
		s.URL = "http://" + a.String()
	case err := <-s.ended:
		s.ended <- err
		w.t.Fatalf("the server does not start: %v\n%s", err, s.stderr.String())
	case <-time.After(patience):
		w.t.Fatal("the server does not listen")
	}
	if printed := tokenPattern.FindStringSubmatch(s.stdout.String()); printed != nil {
		w.token = printed[1]
	}
	s.Token = w.token
	return s
}

var tokenPattern = regexp.MustCompile(`token, shown only now: (cyc_\S+)\n`)

// stop ends the server as a signal would and waits for it; the second time it
// does nothing.
func (s *server) stop() {
	s.t.Helper()
	s.end()
	select {
	case err, running := <-s.ended:
		if running {
			close(s.ended)
		}
		if err != nil {
			s.t.Errorf("the server ended with: %v", err)
		}
	case <-time.After(patience):
		s.t.Fatalf("the server does not end:\n%s", s.stderr.String())
	}
	if s.t.Failed() {
		s.t.Logf("the server logged:\n%s", s.stderr.String())
	}
}

// call is lab.Server.Call that ends the test on an error.
func (s *server) call(method, path string, in, out any) {
	s.t.Helper()
	if err := s.Call(s.t.Context(), method, path, in, out); err != nil {
		s.t.Fatal(err)
	}
}

// push delivers the push of GitHub's documentation and returns the event.
func (s *server) push(project, secret string) string {
	s.t.Helper()
	body, err := os.ReadFile("../../pkg/scm/github/testdata/push_branch.body")
	if err != nil {
		s.t.Fatal(err)
	}
	a, err := s.Deliver(s.t.Context(), project, secret, "push", json.RawMessage(body))
	if err != nil || len(a.Events) != 1 {
		s.t.Fatalf("answer %+v, %v", a, err)
	}
	return a.Events[0]
}

func (s *server) event(id string) cyclone.Event {
	s.t.Helper()
	var e cyclone.Event
	s.call("GET", "/api/v1/events/"+id, nil, &e)
	return e
}

// hookSecret signs the deliveries of the projects that create makes.
const hookSecret = "It's a Secret to Everybody"

// create makes a project of the repository that push is about.
func (s *server) create(name string) {
	s.t.Helper()
	s.call("POST", "/api/v1/projects", map[string]any{
		"name":          name,
		"repository":    map[string]any{"type": "github", "url": "https://github.com/Codertocat/Hello-World.git", "defaultBranch": "master"},
		"notifications": map[string]any{"email": map[string]any{"recipients": []string{"dev@example.com", "ops@example.com"}}},
		"webhookSecret": hookSecret,
	}, nil)
}

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// engine answers what the server asks of the Docker engine that process
// workers share: whether it is there, and what is left of an event. It has
// nothing; the workers' own engine is in worker_test.go.
type engine struct {
	host, dir string // the repository is in dir, where workers find it by host
	mu        sync.Mutex
	swept     map[string]int
}

func startEngine(t *testing.T) *engine {
	t.Helper()
	// Not t.TempDir, whose path is too long for a socket when a test's name is.
	dir, err := os.MkdirTemp("", "engine-")
	if err != nil {
		t.Fatal(err)
	}
	e := &engine{host: "unix://" + filepath.Join(dir, "docker.sock"), dir: dir, swept: map[string]int{}}
	l, err := net.Listen("unix", filepath.Join(dir, "docker.sock"))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(e)
	s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(func() {
		s.Close()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return e
}

// ServeHTTP implements http.Handler.
func (e *engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Api-Version", "1.41")
	w.Header().Set("Content-Type", "application/json")
	switch _, what, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/"); {
	case r.URL.Path == "/_ping":
		fmt.Fprint(w, "OK")
	case what == "containers/json", what == "networks":
		e.note(r.URL.Query().Get("filters"))
		fmt.Fprint(w, "[]")
	case what == "volumes":
		fmt.Fprint(w, `{"Volumes":[]}`)
	default:
		http.Error(w, `{"message":"this engine only looks for leftovers"}`, http.StatusNotImplemented)
	}
}

// note counts the labels that were looked for.
func (e *engine) note(filters string) {
	var f struct{ Label map[string]bool }
	if json.Unmarshal([]byte(filters), &f) != nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for label := range f.Label {
		e.swept[label]++
	}
}

// looked says whether a label was looked for.
func (e *engine) looked(label string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.swept[label] > 0
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}
