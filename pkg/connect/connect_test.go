package connect_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/connect"
	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/fakeforge"
	"cyclone/pkg/scm/github"
)

const key = "-----BEGIN OPENSSH PRIVATE KEY-----\naaaa:bbbb\n-----END OPENSSH PRIVATE KEY-----"

func TestParse(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]cyclone.Credential{
		"abc":               {Username: "x-access-token", Password: "abc"},
		" abc\n":            {Username: "x-access-token", Password: "abc"},
		"alice:abc":         {Username: "alice", Password: "abc"},
		"alice: a b:c \r\n": {Username: "alice", Password: "a b:c"},
		key:                 {Password: key + "\n"},
		"\n" + key + "\n\n": {Password: key + "\n"},
	} {
		want.Holder = `secret "s"`
		got, err := connect.Parse(value, `secret "s"`)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%q: %v\n%s", value, err, diff)
		}
	}
	for _, value := range []string{"", " \n", "alice:", "a\nb", "alice:a\nhost=evil.example.com", "a\x00b", "x\ry"} {
		if got, err := connect.Parse(value, ""); err == nil || strings.Contains(err.Error(), "evil") {
			t.Errorf("%q: got %v, %v", value, got, err)
		}
	}
}

func TestCredential(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.orders()
	want := cyclone.Credential{Username: "x-access-token", Password: token, Holder: `secret "repository"`}
	if got, err := w.Credential(t.Context(), p); err != nil || got != want {
		t.Errorf("got %v, %v", got, err)
	}
	p.Repository.Credential = "gone"
	_, err := w.Credential(t.Context(), p)
	w.wantError(err, cyclone.ErrNotFound, `"orders"`, `"gone"`)
	stored := &cyclone.Secret{Project: "orders", Name: "moved", Value: []byte("sealed for something else")}
	if err := w.store.Secrets.Put(t.Context(), stored); err != nil {
		t.Fatal(err)
	}
	p.Repository.Credential = "moved"
	_, err = w.Credential(t.Context(), p)
	w.wantError(err, cyclone.ErrInvalid, "cannot be opened")
	p.Repository.Credential = ""
	if got, err := w.Credential(t.Context(), p); err != nil || !got.None() {
		t.Errorf("none named: got %v, %v", got, err)
	}
}

// A project is connected, repaired and disconnected.
func TestConnect(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.orders()
	if _, err := w.Connection(t.Context(), p); err == nil {
		t.Error("connected before it was")
	}
	made := w.connect(p)
	hook := w.ExternalURL + "/api/v1/hooks/github/orders"
	if made.Account != "alice" || made.HookURL != hook || made.HookID == "" || len(made.Problems) != 0 {
		t.Errorf("got %+v", made)
	}
	hooks := w.forge.Repository("acme/orders").Hooks
	if len(hooks) != 1 || hooks[0].URL != hook || hooks[0].Secret != webhookSecret || !hooks[0].Active {
		t.Errorf("hooks: %+v", hooks)
	}
	w.forge.Change("acme/orders", func(r *fakeforge.Repository) { r.Hooks[0].Active, r.Hooks[0].Secret = false, "other" })
	again := w.connect(p)
	hooks = w.forge.Repository("acme/orders").Hooks
	if again.HookID != made.HookID || len(hooks) != 1 || hooks[0].Secret != webhookSecret || !hooks[0].Active {
		t.Errorf("repaired: %+v, %+v", again, hooks)
	}
	w.ExternalURL = "http://127.0.0.2:80"
	moved := w.connect(p)
	if hooks = w.forge.Repository("acme/orders").Hooks; len(hooks) != 1 || hooks[0].URL != moved.HookURL {
		t.Errorf("after our address changed: %+v", hooks)
	}
	if stored, err := w.Connection(t.Context(), p); err != nil || cmp.Diff(moved, stored) != "" {
		t.Errorf("stored: %+v, %v", stored, err)
	}
	if err := w.Disconnect(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if hooks = w.forge.Repository("acme/orders").Hooks; len(hooks) != 0 {
		t.Errorf("hooks left: %+v", hooks)
	}
	w.wantError(w.Disconnect(t.Context(), p), cyclone.ErrNotFound, "not connected")
}

func TestWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.forge.AddToken(fakeforge.Token{Value: "ghp_stranger", Login: "mallory"})
	p := w.orders()
	for _, tt := range []struct {
		name, secret string
		url          string
		fault        fakeforge.Fault
		kind         error
		says         string
	}{
		{"wrong token", "ghp_wrong", "", fakeforge.Fault{}, cyclone.ErrForbidden, "does not accept"},
		{"another's token", "ghp_stranger", "", fakeforge.Fault{}, cyclone.ErrNotFound, "acme/orders"},
		{"no such repository", token, w.forge.RepositoryURL("acme/other"), fakeforge.Fault{}, cyclone.ErrNotFound, "acme/other"},
		{"no repository", token, w.forge.URL + "/acme", fakeforge.Fault{}, cyclone.ErrInvalid, "owner/name"},
		{"down", token, "", fakeforge.Fault{Status: 502}, cyclone.ErrUnavailable, "502"},
		{"cut off", token, "", fakeforge.Fault{Cut: true}, cyclone.ErrUnavailable, "broke off"},
		{"limited", token, "", fakeforge.Answer(429, "slow down", "Retry-After", "7"), cyclone.ErrUnavailable, "7s"},
		{"key over https", key, "", fakeforge.Fault{}, cyclone.ErrForbidden, "ssh URL"},
		{"token over ssh", token, "git@example.com:acme/orders.git", fakeforge.Fault{}, cyclone.ErrForbidden, "https URL"},
	} {
		w.forge.Heal()
		if tt.fault.Status != 0 || tt.fault.Cut {
			w.forge.Inject(tt.fault)
		}
		w.secret("repository", tt.secret)
		asked := *p
		if tt.url != "" {
			asked.Repository.URL = tt.url
		}
		w.Drivers["github"] = &github.API{} // forgets limits
		_, err := w.Connect(t.Context(), &asked)
		w.wantError(err, tt.kind, tt.says)
		if tt.name == "limited" && cyclone.RetryAfter(err) != 7*time.Second {
			t.Errorf("retry after %s", cyclone.RetryAfter(err))
		}
	}
	if hooks := w.forge.Repository("acme/orders").Hooks; len(hooks) != 0 {
		t.Errorf("hooks: %+v", hooks)
	}
}

// What works but for some of it says exactly what is missing.
func TestProblems(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.forge.AddToken(fakeforge.Token{Value: "ghp_bob", Login: "bob"})
	w.forge.AddToken(fakeforge.Token{Value: "ghp_carol", Login: "carol"})
	w.forge.AddToken(fakeforge.Token{Value: "ghp_scope", Login: "alice", Scopes: []string{"repo:status"}})
	w.forge.Change("acme/orders", func(r *fakeforge.Repository) { r.Private = false })
	p := w.orders()
	for _, tt := range []struct {
		name, secret string
		fault        *fakeforge.Fault
		says         [][]string // a problem each
	}{
		{"may push only", "ghp_bob", nil, [][]string{{"webhook could not be made", `"Webhooks: read and write"`, "admin:repo_hook", "project connect orders", "poll"}}},
		{"may read only", "ghp_carol", nil, [][]string{{"next to commits", "carol", "repo:status"}, {"webhook could not be made"}}},
		{"lacks a scope", "ghp_scope", nil, [][]string{{"webhook could not be made", "admin:repo_hook"}}},
		{"down for hooks", token, &fakeforge.Fault{Path: "/hooks", Status: 503}, [][]string{{"webhook could not be made", "try again later"}}},
		{"refused", token, &fakeforge.Fault{Method: "POST", Path: "/hooks", Status: 422, Body: `{"message":"Validation Failed","errors":[{"field":"url","code":"custom","message":"url is not supported"}]}`},
			[][]string{{"url is not supported", "/api/v1/hooks/github/orders"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.forge.Heal()
			if tt.fault != nil {
				w.forge.Inject(*tt.fault)
			}
			w.secret("repository", tt.secret)
			made := w.connect(p)
			wantProblems(t, made, tt.says)
			if made.HookURL != "" {
				t.Errorf("hook %q", made.HookURL)
			}
		})
	}
}

func wantProblems(t *testing.T, made *cyclone.Connection, says [][]string) {
	t.Helper()
	if len(made.Problems) != len(says) {
		t.Fatalf("problems: %q, want %d", made.Problems, len(says))
	}
	for i, words := range says {
		for _, word := range words {
			if !strings.Contains(made.Problems[i], word) {
				t.Errorf("%q does not say %q", made.Problems[i], word)
			}
		}
	}
}

// An address of ours that a public forge cannot reach is told.
func TestUnreachableAddress(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		external, forge, says string
	}{
		{"http://localhost:7099", "https://github.com", "no other machine"},
		{"http://127.0.0.1:7099", "https://github.example.com", "no other machine"},
		{"http://[::1]:7099", "https://10.0.0.7", "no other machine"},
		{"http://10.0.0.3:7099", "https://github.com", "private network"},
		{"http://ci:7099", "https://github.com", "private network"},
		{"http://ci.office.internal", "https://github.com", "private network"},
		{"http://ci.office.internal", "https://git.office.internal", ""},
		{"http://10.0.0.3:7099", "https://10.0.0.7:3000", ""},
		{"https://ci.example.com", "https://github.com", ""},
		{"https://ci.example.com", "https://10.0.0.7", ""},
	} {
		w := newWorld(t)
		w.ExternalURL = tt.external
		w.Drivers["github"] = &github.API{Client: &http.Client{Transport: elsewhere{w.forge.URL}}}
		if !strings.Contains(tt.forge, "github.com") {
			w.Drivers["github"] = &github.API{Client: &http.Client{Transport: trimmed{elsewhere{w.forge.URL}}}}
		}
		made := w.connect(w.project("github", tt.forge+"/acme/orders.git", token))
		if got := strings.Join(made.Problems, "\n"); (tt.says == "") != (got == "") || !strings.Contains(got, tt.says) {
			t.Errorf("%s for %s: %q", tt.external, tt.forge, made.Problems)
		}
		if made.HookURL == "" {
			t.Errorf("%s for %s: no hook was tried", tt.external, tt.forge)
		}
	}
}

// trimmed is elsewhere for addresses whose path has the API's prefix already.
type trimmed struct{ elsewhere }

func (e trimmed) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Path = strings.TrimPrefix(r.URL.Path, "/api/v3")
	return e.elsewhere.RoundTrip(r)
}

// Where no hook can be made, the connection says how else to be told.
func TestWithoutAPI(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, kind, url, secret, branch string
		poll                            time.Duration
		says                            [][]string
	}{
		{"git", "git", "https://git.example.com/a.git", "alice:hunter2", "main", 0, [][]string{{"plain git", "/api/v1/hooks/github/orders", "poll"}}},
		{"git, polled", "git", "https://git.example.com/a.git", "alice:hunter2", "main", 5 * time.Minute, nil},
		{"svn", "svn", "svn://svn.example.com/a", "alice:hunter2", "main", 0, [][]string{{"Subversion", "/api/v1/hooks/svn/orders", "post-commit"}}},
		{"no such branch", "git", "https://git.example.com/a.git", "", "next", time.Minute, [][]string{{"no branch next"}}},
		{"github by ssh", "github", "git@github.com:acme/orders.git", key, "main", 0, [][]string{{"key for ssh", "poll"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			p := w.project(tt.kind, tt.url, tt.secret)
			p.Poll, p.Repository.DefaultBranch = cyclone.Duration(tt.poll), tt.branch
			made := w.connect(p)
			wantProblems(t, made, tt.says)
			if made.HookURL != "" || len(w.forge.Calls()) != 0 {
				t.Errorf("a forge was asked: %+v", made)
			}
			if err := w.Disconnect(t.Context(), p); err != nil {
				t.Errorf("disconnect: %v", err)
			}
		})
	}
}

// A public repository needs no token to be read, but for a hook.
func TestPublicWithoutToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.forge.Change("acme/orders", func(r *fakeforge.Repository) { r.Private = false })
	made := w.connect(w.project("github", w.forge.RepositoryURL("acme/orders"), ""))
	wantProblems(t, made, [][]string{{"no token", "/api/v1/hooks/github/orders"}})
}

// The first host keys that are seen are kept in the project, and those that
// are pinned stay.
func TestHostKeysAreKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.heads.keys = []string{"ssh-ed25519 AAAA"}
	p := w.project("git", "ssh://git@git.example.com:2222/a.git", key)
	w.connect(p)
	stored, err := w.store.Projects.Find(t.Context(), "orders")
	if err != nil || cmp.Diff(w.heads.keys, stored.Repository.HostKeys) != "" || stored.Revision != p.Revision {
		t.Errorf("stored %v, revision %d and %d, %v", stored.Repository.HostKeys, stored.Revision, p.Revision, err)
	}
	w.heads.keys = []string{"ssh-ed25519 BBBB"}
	w.connect(p)
	if diff := cmp.Diff([]string{"ssh-ed25519 AAAA"}, w.heads.specs[1].HostKeys); diff != "" {
		t.Error(diff)
	}
	w.heads.err = cyclone.Forbidden("the host key of git.example.com is not the one that the project trusts")
	_, err = w.Connect(t.Context(), p)
	w.wantError(err, cyclone.ErrForbidden, "host key")
}

func TestCheckStoresNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := &cyclone.Project{Name: "new", Repository: cyclone.Repository{Type: "github", URL: w.forge.RepositoryURL("acme/orders"), Credential: "repository"}}
	info, err := w.Check(t.Context(), p, token)
	if err != nil || info.DefaultBranch != "develop" || info.Account != "alice" || !info.MayAdmin {
		t.Errorf("got %+v, %v", info, err)
	}
	_, err = w.Check(t.Context(), p, "ghp_wrong")
	w.wantError(err, cyclone.ErrForbidden, "the token")
	if marks, err := w.store.Marks.List(t.Context(), "new", ""); err != nil || len(marks) != 0 {
		t.Errorf("marks %v, %v", marks, err)
	}
	w.heads.keys = []string{"ssh-ed25519 AAAA"}
	p.Repository.URL = "git@github.com:acme/orders.git"
	if _, err := w.Check(t.Context(), p, key); err != nil || len(p.Repository.HostKeys) != 1 {
		t.Errorf("host keys %v, %v", p.Repository.HostKeys, err)
	}
}
