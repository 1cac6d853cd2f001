package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest"
	"cyclone/pkg/httpapi"
	"cyclone/pkg/livelog"
	"cyclone/pkg/logchunk"
	"cyclone/pkg/metrics"
	"cyclone/pkg/seal"
	"cyclone/pkg/store/embedded"
	"cyclone/pkg/store/embeddedtest"
)

const adminToken = "the-administrators-token"

// fixture is a server on a real listener with the embedded store; trigger,
// progress and the forge are fakes.
type fixture struct {
	*httpapi.Server
	t        testing.TB
	url      string
	store    *embedded.Store
	trigger  *fakeTrigger
	progress *fakeProgress
	log      *lockedBuffer
	records  records       // the store's, unless inMemory
	kept     cyclone.Chunk // see sample
}

// newFixture starts a server; tweaks change it before it listens.
func newFixture(t testing.TB, tweaks ...func(*httpapi.Server)) *fixture {
	t.Helper()
	store := embeddedtest.Open(t)
	key, err := seal.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := seal.New(key)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, store: store, log: &lockedBuffer{}}
	live := livelog.New()
	f.trigger = &fakeTrigger{store: store}
	f.records = records{store.Events, store.Logs}
	f.progress = &fakeProgress{store: f.records, live: live, tokens: map[cyclone.WorkerID]attempt{}, cancels: make(chan cyclone.Cancellation, 1)}
	f.Server = &httpapi.Server{
		Projects: store.Projects, Secrets: store.Secrets, Clusters: store.Clusters, Events: store.Events,
		Queue: store.Events, Deliveries: store.Deliveries, Logs: store.Logs, Files: store.Files, Sealer: sealer, Live: live,
		Trigger: f.trigger, Progress: f.progress, Forges: map[string]cyclone.Forge{"github": fakeForge{}, "gitlab": fakeForge{}},
		Nodes: store.Nodes, Metrics: metrics.New(), Census: store,
		Auth:        testAuth{httpapi.HashToken(adminToken)},
		Version:     httpapi.Version{Version: "1.2.3", Commit: "abc", Go: "go1"},
		Log:         slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		ExternalURL: "https://cyclone.example.com", Registry: "registry.example.com", Origins: []string{"https://ui.example.com"},
	}
	for _, tweak := range tweaks {
		tweak(f.Server)
	}
	listener := httptest.NewServer(f.Handler())
	f.url = listener.URL
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := f.Drain(ctx); err != nil {
			t.Errorf("drain: %v", err)
		}
		listener.Close()
	})
	return f
}

// inMemory keeps events and logs in memory: where there are hundreds of them
// the disk is not what a test is about.
func (f *fixture) inMemory() {
	m := cyclonetest.NewMemory()
	f.records = records{m.Events, m.Logs}
	f.Events, f.Queue, f.Logs, f.progress.store = m.Events, m.Events, m.Logs, f.records
}

// testAuth knows the administrator and two users.
type testAuth struct{ httpapi.AdminToken }

func (a testAuth) Authenticate(ctx context.Context, token string) (httpapi.Identity, error) {
	if token == "a-users-token" {
		return httpapi.Identity{Name: "bob", Role: httpapi.RoleUser}, nil
	}
	if token == "another-users-token" {
		return httpapi.Identity{Name: "eve", Role: httpapi.RoleUser}, nil
	}
	return a.AdminToken.Authenticate(ctx, token)
}

// lockedBuffer collects the log.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// answer is what the server said.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) decode(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), v); err != nil {
		t.Fatalf("decode %q: %v", a.body, err)
	}
}

// fields are the fields that an error names.
func (a answer) fields(t testing.TB) []string {
	t.Helper()
	var e struct {
		Error struct {
			Code, Message, RequestID string
			Details                  []cyclone.FieldProblem
		}
	}
	a.decode(t, &e)
	if e.Error.Code == "" || e.Error.Message == "" || e.Error.RequestID == "" {
		t.Errorf("error is not complete: %s", a.body)
	}
	var names []string
	for _, d := range e.Error.Details {
		names = append(names, d.Field)
	}
	return names
}

// header is one request header.
type header struct{ name, value string }

// do sends a request as the administrator. A body is sent as JSON unless a
// header says otherwise.
func (f *fixture) do(method, path, body string, headers ...header) answer {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), method, f.url+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		req.Header.Set(h.name, h.value)
		if h.value == "" {
			req.Header.Del(h.name)
		}
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		f.t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer{res.StatusCode, res.Header, string(data)}
}

// want sends a request and checks the status.
func (f *fixture) want(status int, method, path, body string, headers ...header) answer {
	f.t.Helper()
	a := f.do(method, path, body, headers...)
	if a.status != status {
		f.t.Fatalf("%s %s: status %d, want %d: %s", method, path, a.status, status, a.body)
	}
	return a
}

// project creates a project through the API.
func (f *fixture) project(name string) {
	f.t.Helper()
	f.want(201, "POST", "/api/v1/projects",
		`{"name":"`+name+`","repository":{"type":"github","url":"https://github.com/acme/`+name+`.git"},"webhookSecret":"good"}`)
}

// event stores an event.
func (f *fixture) event(project string, status cyclone.Status) *cyclone.Event {
	f.t.Helper()
	id := cyclone.EventID(fmt.Sprintf("e%020d", f.trigger.next()))
	e := &cyclone.Event{ID: id, Project: cyclone.ProjectName(project), Status: status, Branch: "main",
		Trigger: cyclone.Trigger{Kind: cyclone.KindPush}, CreatedAt: cyclone.Stamp(time.Now()), Run: cyclone.Run{Key: string(id)}}
	if status == cyclone.StatusRunning {
		e.Worker = cyclone.WorkerRef{ID: "w-" + cyclone.WorkerID(id), Node: "local", Attempt: 1}
	}
	if err := f.records.Events.Create(f.t.Context(), e); err != nil {
		f.t.Fatal(err)
	}
	return e
}

// lines makes consecutive lines.
func lines(from, to int64) []cyclone.Line {
	var all []cyclone.Line
	for n := from; n <= to; n++ {
		stage, step := cyclone.StagePreBuild, "pre_build"
		if n%2 == 0 {
			stage, step = cyclone.StageIntegration, "integration/postgres"
		}
		all = append(all, cyclone.Line{N: n, Time: time.UnixMilli(1767225600000 + n).UTC(), Stage: stage, Step: step,
			Stream: cyclone.Stdout, Text: fmt.Sprintf("line %d", n)})
	}
	return all
}

func chunk(t testing.TB, all []cyclone.Line) cyclone.Chunk {
	t.Helper()
	c, err := logchunk.Encode(all)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// append stores lines as one chunk, and publishes it as progress does.
func (f *fixture) append(e *cyclone.Event, from, to int64) {
	f.t.Helper()
	c := chunk(f.t, lines(from, to))
	if err := f.records.Logs.Append(f.t.Context(), e.ID, c); err != nil {
		f.t.Fatal(err)
	}
	f.Live.Publish(string(e.ID), livelog.Message{Size: len(c.Data), Value: c})
}

// finish makes an event final, and publishes that.
func (f *fixture) finish(e *cyclone.Event, logLines int64) {
	f.t.Helper()
	e.Status, e.LogLines = cyclone.StatusSuccess, logLines
	if err := f.records.Events.Replace(f.t.Context(), e); err != nil {
		f.t.Fatal(err)
	}
	shown := *e
	f.Live.Publish(string(e.ID), livelog.Message{Value: &shown})
}

// readAll reads an answer that may break off.
func (f *fixture) readAll(path string) (string, error) {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), "GET", f.url+path, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(res.Body)
	return string(data), err
}
