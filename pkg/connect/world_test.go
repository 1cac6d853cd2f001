package connect_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"cyclone/pkg/connect"
	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest"
	"cyclone/pkg/cyclonetest/fakeforge"
	"cyclone/pkg/scm/github"
	"cyclone/pkg/seal"
)

const (
	token         = "ghp_the0token0of0alice"
	webhookSecret = "the-webhook-secret"
	clientSecret  = "the-secret-of-the-app"
)

// world is a Connector on a store in memory, with a GitHub that is strict.
type world struct {
	*connect.Connector
	t     *testing.T
	store *cyclonetest.Memory
	forge *fakeforge.GitHub
	heads *heads
	log   *lockedBuffer
	clock *clock
}

// heads is a HeadReader: it knows one repository, and whom it lets in.
type heads struct {
	mu    sync.Mutex
	found *cyclone.Heads
	err   error
	keys  []string // of the ssh host
	specs []cyclone.CloneSpec
}

func (h *heads) Heads(_ context.Context, s cyclone.CloneSpec) (*cyclone.Heads, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	spec := s
	spec.Learned = nil
	h.specs = append(h.specs, spec)
	if len(s.HostKeys) == 0 && h.keys != nil {
		s.Learned(h.keys)
	}
	return h.found, h.err
}

// clock is a time that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

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
	w := &world{t: t, store: cyclonetest.NewMemory(), forge: fakeforge.NewGitHub(t), log: &lockedBuffer{}, clock: &clock{now: time.Now()},
		heads: &heads{found: &cyclone.Heads{Default: "main", Refs: map[string]string{"refs/heads/main": "c1"}}}}
	w.Connector = &connect.Connector{
		Projects: w.store.Projects, Secrets: w.store.Secrets, Marks: w.store.Marks, Sealer: sealer,
		Drivers: map[string]connect.Driver{"github": &github.API{}},
		Heads:   map[string]cyclone.HeadReader{"git": w.heads, "svn": w.heads}, ExternalURL: "http://127.0.0.1:7099",
		Apps: []connect.OAuthApp{{SCM: "github", URL: w.forge.URL, ClientID: "app", ClientSecret: clientSecret}},
		Now:  w.clock.Now, Log: slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	w.forge.AddUser("alice", token)
	w.forge.AddRepository(fakeforge.Repository{Name: "acme/orders", Private: true, DefaultBranch: "develop",
		Roles: map[string]fakeforge.Role{"alice": fakeforge.Admin, "bob": fakeforge.Write, "carol": fakeforge.Read}})
	t.Cleanup(func() { w.clean(w.log.String()) })
	return w
}

// clean fails when a text holds anything that must not be seen.
func (w *world) clean(text string) {
	w.t.Helper()
	for _, secret := range []string{token, webhookSecret, clientSecret, "oauth-", "refresh-", "hunter2", "PRIVATE KEY"} {
		if strings.Contains(text, secret) {
			w.t.Errorf("%q is shown in: %s", secret, text)
		}
	}
}

// project stores a project, with a secret "repository" when a value is given.
func (w *world) project(kind, address, value string) *cyclone.Project {
	w.t.Helper()
	p := &cyclone.Project{Name: "orders", Repository: cyclone.Repository{Type: kind, URL: address, DefaultBranch: "main"}}
	sealed, err := w.Sealer.Seal(p.WebhookPurpose(), []byte(webhookSecret))
	if err != nil {
		w.t.Fatal(err)
	}
	p.WebhookSecret = sealed
	if value != "" {
		p.Repository.Credential = "repository"
		w.secret("repository", value)
	}
	if err := w.store.Projects.Create(w.t.Context(), p); err != nil {
		w.t.Fatal(err)
	}
	return p
}

func (w *world) secret(name, value string) {
	w.t.Helper()
	s := &cyclone.Secret{Project: "orders", Name: name}
	sealed, err := w.Sealer.Seal(s.Purpose(), []byte(value))
	if err != nil {
		w.t.Fatal(err)
	}
	s.Value = sealed
	if err := w.store.Secrets.Put(w.t.Context(), s); err != nil {
		w.t.Fatal(err)
	}
}

// orders is the project of the forge's repository.
func (w *world) orders() *cyclone.Project {
	return w.project("github", w.forge.RepositoryURL("acme/orders"), token)
}

func (w *world) connect(p *cyclone.Project) *cyclone.Connection {
	w.t.Helper()
	made, err := w.Connect(w.t.Context(), p)
	if err != nil {
		w.t.Fatalf("connect: %v", err)
	}
	w.clean(strings.Join(made.Problems, "\n"))
	return made
}

// wantError checks an error's kind and that it says something.
func (w *world) wantError(err, kind error, says ...string) {
	w.t.Helper()
	if !errors.Is(err, kind) {
		w.t.Fatalf("got %v, want %v", err, kind)
	}
	w.clean(err.Error())
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			w.t.Errorf("%q does not say %q", err, s)
		}
	}
}

// app registers the OAuth app at the forge; its tokens last so long.
func (w *world) app(lasts time.Duration) {
	w.forge.AddApp(fakeforge.App{ClientID: "app", Secret: clientSecret, Login: "alice", Lasts: lasts,
		RedirectURI: w.ExternalURL + "/api/v1/scm/github/callback"})
}

// authorize does what a browser does between Begin and the callback.
func (w *world) authorize(address string) url.Values {
	w.t.Helper()
	browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	request, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, address, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	answer, err := browser.Do(request)
	if err != nil {
		w.t.Fatal(err)
	}
	_ = answer.Body.Close()
	back, err := url.Parse(answer.Header.Get("Location"))
	if err != nil || !strings.HasPrefix(back.String(), w.ExternalURL+"/api/v1/scm/github/callback?") {
		w.t.Fatalf("authorize: %d, back to %q", answer.StatusCode, answer.Header.Get("Location"))
	}
	return back.Query()
}

// login connects the account of alice, for a user of ours.
func (w *world) login(user string) *cyclone.Account {
	w.t.Helper()
	address, err := w.Begin(w.t.Context(), "github", user)
	if err != nil {
		w.t.Fatal(err)
	}
	back := w.authorize(address)
	account, err := w.Finish(w.t.Context(), "github", back.Get("state"), back.Get("code"))
	if err != nil {
		w.t.Fatalf("finish: %v", err)
	}
	return account
}

// exchanges counts the calls of the forge's token endpoint.
func (w *world) exchanges() (n int) {
	for _, call := range w.forge.Calls() {
		if strings.HasSuffix(call.Path, "/access_token") {
			n++
		}
	}
	return n
}

// elsewhere sends calls of public hosts to the fake.
type elsewhere struct{ to string }

func (e elsewhere) RoundTrip(r *http.Request) (*http.Response, error) {
	to, err := url.Parse(e.to)
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", e.to, err)
	}
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host, r.URL.Path = to.Scheme, to.Host, "/api/v3"+r.URL.Path
	r.Host = to.Host
	return http.DefaultTransport.RoundTrip(r)
}
