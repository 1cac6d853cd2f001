package progress_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest"
	"cyclone/pkg/livelog"
	"cyclone/pkg/logchunk"
	"cyclone/pkg/progress"
	"cyclone/pkg/seal"
)

// launcher is a node whose workers are only names.
type launcher struct {
	mu      sync.Mutex
	removed []cyclone.WorkerID
	fail    error
}

func (l *launcher) Launch(context.Context, cyclone.WorkerSpec) error { return nil }
func (l *launcher) Ready(context.Context) error                      { return nil }
func (l *launcher) Disk(context.Context) (cyclone.Disk, error) {
	return cyclone.Disk{}, cyclone.NotFound("no disk")
}

func (l *launcher) Workers(context.Context) ([]cyclone.WorkerState, error) { return nil, nil }

func (l *launcher) Remove(_ context.Context, id cyclone.WorkerID) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail == nil {
		l.removed = append(l.removed, id)
	}
	return l.fail
}

func (l *launcher) setFail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail = err
}

func (l *launcher) gone() []cyclone.WorkerID {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]cyclone.WorkerID{}, l.removed...)
}

// mailer counts the mails of each event; the first fail attempts fail.
type mailer struct {
	mu    sync.Mutex
	fail  int
	tries int
	sent  map[cyclone.EventID][]cyclone.Status
}

func (m *mailer) Notify(_ context.Context, _ *cyclone.Project, e *cyclone.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tries++
	if m.tries <= m.fail {
		return errors.New("mail server is down")
	}
	if m.sent == nil {
		m.sent = map[cyclone.EventID][]cyclone.Status{}
	}
	m.sent[e.ID] = append(m.sent[e.ID], e.Status)
	return nil
}

func (m *mailer) of(id cyclone.EventID) []cyclone.Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]cyclone.Status{}, m.sent[id]...)
}

// world is a Progress with everything round it.
type world struct {
	*progress.Progress
	t        *testing.T
	store    *cyclonetest.Memory
	launcher *launcher
	mail     *mailer
	project  *cyclone.Project
}

func newWorld(t *testing.T) *world {
	t.Helper()
	key, err := seal.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := seal.New(key)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, store: cyclonetest.NewMemory(), launcher: &launcher{}, mail: &mailer{}}
	w.Progress = &progress.Progress{
		Events: w.store.Events, Queue: w.store.Events, Projects: w.store.Projects, Secrets: w.store.Secrets,
		Clusters: w.store.Clusters, Logs: w.store.Logs, Files: w.store.Files, Sealer: sealer, Hub: livelog.New(),
		Launcher: w.launcher, Node: "local", Nodes: w.store.Nodes, Mail: w.mail, Now: time.Now,
		Engine:     cyclone.EngineConfig{RegistryMirror: "http://mirror:5000"},
		Registries: map[string]cyclone.RegistryAuth{"registry.example.com": {Username: "u", Password: "p"}},
		EventURL:   func(e *cyclone.Event) string { return "http://ci/events/" + string(e.ID) },
		Log:        slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	w.Credentials = credentials{w}
	w.project = &cyclone.Project{
		Name: "orders", Repository: cyclone.Repository{Type: "github", URL: "https://github.com/acme/orders.git"},
		Variables:     map[string]string{"A": "project", "B": "project"},
		Notifications: cyclone.Notifications{Email: &cyclone.EmailNotification{Recipients: []string{"dev@example.com"}}},
	}
	w.must(w.store.Projects.Create(t.Context(), w.project))
	return w
}

// credentials opens the secret that a project names: "user:password".
type credentials struct{ w *world }

func (c credentials) Credential(ctx context.Context, p *cyclone.Project) (cyclone.Credential, error) {
	s, err := c.w.Secrets.Find(ctx, p.Name, p.Repository.Credential)
	if errors.Is(err, cyclone.ErrNotFound) {
		return cyclone.Credential{}, cyclone.NotFound("project %q has no secret %q", p.Name, p.Repository.Credential)
	}
	if err != nil {
		return cyclone.Credential{}, err
	}
	value, err := c.w.Sealer.Open(s.Purpose(), s.Value)
	if err != nil {
		return cyclone.Credential{}, cyclone.Invalid("repository.credential", "the secret %q cannot be opened: %v", s.Name, err)
	}
	user, password, _ := strings.Cut(string(value), ":")
	return cyclone.Credential{Username: user, Password: password}, nil
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

const sha = "3f2a1b9c3f2a1b9c3f2a1b9c3f2a1b9c3f2a1b9c"

// event stores a pending event after edit had its way with it.
func (w *world) event(id cyclone.EventID, edit func(*cyclone.Event)) *cyclone.Event {
	w.t.Helper()
	e := &cyclone.Event{
		ID: id, Project: "orders", Status: cyclone.StatusPending, Branch: "main", Ref: "refs/heads/main",
		Trigger: cyclone.Trigger{Kind: cyclone.KindPush}, Commit: cyclone.Commit{SHA: sha}, CreatedAt: time.Now().UTC(),
		Image: cyclone.Image{Name: "registry.example.com/acme/orders", Tag: "ci-3f2a1b9"},
	}
	e.Run.Key = string(id)
	if edit != nil {
		edit(e)
	}
	w.must(w.store.Events.Create(w.t.Context(), e))
	return e
}

// claim makes the project's oldest pending event running, as dispatch does.
func (w *world) claim(worker cyclone.WorkerID) cyclone.Fence {
	w.t.Helper()
	e, err := w.store.Events.Claim(w.t.Context(), cyclone.Claim{
		Project: "orders", Worker: worker, Node: "local", TokenHash: progress.HashToken("token"),
		Now: time.Now(), Lease: cyclone.LeaseTime,
	})
	w.must(err)
	return cyclone.Fence{Event: e.ID, Worker: worker, Attempt: e.Worker.Attempt}
}

// running is an event whose worker has connected.
func (w *world) running(id cyclone.EventID) cyclone.Fence {
	w.t.Helper()
	w.event(id, nil)
	f := w.claim(cyclone.WorkerID("w-" + id))
	_, _, err := w.Attach(w.t.Context(), f.Worker, "token", "session")
	w.must(err)
	return f
}

func (w *world) find(id cyclone.EventID) *cyclone.Event {
	w.t.Helper()
	e, err := w.store.Events.Find(context.WithoutCancel(w.t.Context()), id)
	w.must(err)
	return e
}

func (w *world) wantStatus(id cyclone.EventID, want cyclone.Status) *cyclone.Event {
	w.t.Helper()
	e := w.find(id)
	if e.Status != want {
		w.t.Fatalf("status is %q (%s); want %q", e.Status, e.Reason, want)
	}
	return e
}

func chunk(t *testing.T, first int64, texts ...string) cyclone.Chunk {
	t.Helper()
	var lines []cyclone.Line
	for i, text := range texts {
		lines = append(lines, cyclone.Line{N: first + int64(i), Time: time.Now(), Stream: cyclone.Stdout, Text: text})
	}
	c, err := logchunk.Encode(lines)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// opaque is a chunk that nobody decodes. The encoder's own channels do not go
// well with the bubbles of testing/synctest.
func opaque(first, count int64) cyclone.Chunk {
	return cyclone.Chunk{First: first, Count: count, Data: []byte("not decoded")}
}

// text is the whole stored log, and proof that its numbers have no gaps.
func (w *world) text(id cyclone.EventID) []string {
	w.t.Helper()
	return logText(w.t, w.store.Logs, id)
}

func logText(t *testing.T, logs cyclone.LogStore, id cyclone.EventID) []string {
	t.Helper()
	chunks, err := logs.Chunks(context.WithoutCancel(t.Context()), id, 1, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, c := range chunks {
		lines, err := logchunk.Decode(c)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range lines {
			if l.N != int64(len(texts))+1 {
				t.Fatalf("line %d follows line %d", l.N, len(texts))
			}
			texts = append(texts, l.Text)
		}
	}
	return texts
}

func (w *world) secret(name, value string, events ...cyclone.TriggerKind) {
	w.t.Helper()
	s := &cyclone.Secret{Project: "orders", Name: name, Events: events, Masked: true}
	var err error
	s.Value, err = w.Sealer.Seal(s.Purpose(), []byte(value))
	w.must(err)
	w.must(w.store.Secrets.Put(w.t.Context(), s))
}

func (w *world) cluster(name cyclone.ClusterName, projects ...string) {
	w.t.Helper()
	c := &cyclone.Cluster{Name: name, Host: "https://k8s", Projects: projects}
	plain, err := json.Marshal(cyclone.ClusterAccess{Host: "https://k8s", Token: "token of " + string(name)})
	w.must(err)
	c.Access, err = w.Sealer.Seal(c.Purpose(), plain)
	w.must(err)
	w.must(w.store.Clusters.Create(w.t.Context(), c))
}

// start runs the loop until the test, or stop, ends it.
func (w *world) start() (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("Run: %v", err)
		}
	}
}

// clock is a time that stands still until it is set forward.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// rounds tells a test that Run has looked at what is due.
type rounds struct {
	cyclone.Queue
	looked chan struct{}
}

func (r rounds) NoticesDue(ctx context.Context, now time.Time, limit int) ([]*cyclone.Event, error) {
	select {
	case r.looked <- struct{}{}:
	case <-ctx.Done():
	}
	return r.Queue.NoticesDue(ctx, now, limit)
}

// underClock runs the loop under a clock of the test's. The function that it
// returns sets the clock forward and waits until the loop has seen that.
func (w *world) underClock() (forward func(time.Duration)) {
	c := &clock{}
	looked := make(chan struct{})
	w.Now, w.Tick, w.Queue = c.now, time.Millisecond, rounds{w.Queue, looked}
	stop := w.start()
	w.t.Cleanup(stop)
	<-looked // it has begun to listen
	return func(d time.Duration) {
		c.ahead.Add(int64(d))
		for range 3 { // the first may have begun before
			<-looked
		}
	}
}

func wantKind(t *testing.T, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("error is %v; want %v", err, kind)
	}
}

// eventually waits for something that another goroutine does.
func (w *world) eventually(what string, holds func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); {
		if time.Now().After(deadline) {
			w.t.Fatalf("not in time: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
