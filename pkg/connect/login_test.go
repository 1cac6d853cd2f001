package connect_test

import (
	"errors"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"cyclone/pkg/connect"
	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/fakeforge"
)

// byAccount is the forge's project, reached with the account of alice.
func (w *world) byAccount() *cyclone.Project {
	p := w.project("github", w.forge.RepositoryURL("acme/orders"), "")
	p.Repository.Account = "github/alice"
	return p
}

// A login gives an account, whose token connects a project.
func TestLogin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.app(0)
	account := w.login("bob")
	host := strings.TrimPrefix(w.forge.URL, "http://")
	if account.ID != "github/"+host+"/alice" || account.Login != "alice" || account.Owner != "bob" || account.ExpiresAt != nil {
		t.Errorf("got %+v", account)
	}
	made := w.connect(w.byAccount())
	if made.Account != "alice" || made.HookID == "" || len(made.Problems) != 0 {
		t.Errorf("got %+v", made)
	}
	if list, err := w.AccountRepositories(t.Context(), account.ID, "", cyclone.Page{}); err != nil || len(list.Items) != 1 {
		t.Errorf("repositories %+v, %v", list, err)
	}
	again := w.login("carol")
	all, err := w.Accounts(t.Context())
	if err != nil || len(all) != 1 || all[0] != *again || all[0].Owner != "carol" {
		t.Errorf("accounts %+v, %v", all, err)
	}
	for _, mark := range w.marks("") {
		w.clean(string(mark.Value))
	}
	if err := w.Forget(t.Context(), account.ID); err != nil {
		t.Fatal(err)
	}
	w.wantError(w.Forget(t.Context(), account.ID), cyclone.ErrNotFound, "not connected")
	_, err = w.Connect(t.Context(), w.mustFind())
	w.wantError(err, cyclone.ErrNotFound, "not connected", "scm login")
}

func (w *world) marks(prefix string) []*cyclone.Mark {
	w.t.Helper()
	marks, err := w.store.Marks.List(w.t.Context(), "", prefix)
	if err != nil {
		w.t.Fatal(err)
	}
	return marks
}

func (w *world) mustFind() *cyclone.Project {
	w.t.Helper()
	p, err := w.store.Projects.Find(w.t.Context(), "orders")
	if err != nil {
		w.t.Fatal(err)
	}
	p.Repository.Account = "github/alice"
	return p
}

// A state is good for one login at one forge, for ten minutes.
func TestStates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.app(0)
	w.Apps = append(w.Apps, connect.OAuthApp{SCM: "gitlab", URL: "https://gitlab.example.com", ClientID: "x", ClientSecret: "y"})
	address, err := w.Begin(t.Context(), "github", "bob")
	if err != nil {
		t.Fatal(err)
	}
	back := w.authorize(address)
	state, code := back.Get("state"), back.Get("code")
	user, host, err := w.Returned(t.Context(), "github", state)
	if err != nil || user != "bob" || host != strings.TrimPrefix(w.forge.URL, "http://") {
		t.Errorf("returned %q %q, %v", user, host, err)
	}
	tampered := []byte(state)
	tampered[len(tampered)/2] ^= 1
	for _, wrong := range []string{"", "nonsense", "%%%", string(tampered), state[:len(state)-4], strings.Repeat("A", 4000)} {
		_, err := w.Finish(t.Context(), "github", wrong, code)
		w.wantError(err, cyclone.ErrInvalid, "scm login")
	}
	_, err = w.Finish(t.Context(), "gitlab", state, code)
	w.wantError(err, cyclone.ErrInvalid)
	w.clock.move(10*time.Minute - time.Second)
	if _, err := w.Finish(t.Context(), "github", state, code); err != nil {
		t.Fatal(err)
	}
	_, err = w.Finish(t.Context(), "github", state, code)
	w.wantError(err, cyclone.ErrConflict, "over already")
	_, _, err = w.Returned(t.Context(), "github", state)
	w.wantError(err, cyclone.ErrConflict)
	w.clock.move(time.Second)
	_, err = w.Finish(t.Context(), "github", state, code)
	w.wantError(err, cyclone.ErrForbidden, "longer than 10m")
	if got := len(w.marks("login/")); got != 1 {
		t.Errorf("%d states are kept", got)
	}
	if _, err := w.Begin(t.Context(), "github", "bob"); err != nil || len(w.marks("login/")) != 0 {
		t.Errorf("old states are kept: %v", err)
	}
}

// Of many who use one state at once, one logs in.
func TestStateRace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.app(0)
	address, err := w.Begin(t.Context(), "github", "bob")
	if err != nil {
		t.Fatal(err)
	}
	back := w.authorize(address)
	var mu sync.Mutex
	var group sync.WaitGroup
	done, refused := 0, 0
	for range 8 {
		group.Go(func() {
			_, err := w.Finish(t.Context(), "github", back.Get("state"), back.Get("code"))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				done++
			case errors.Is(err, cyclone.ErrConflict):
				refused++
			}
		})
	}
	group.Wait()
	if done != 1 || refused != 7 || w.exchanges() != 1 {
		t.Errorf("%d done, %d refused, %d exchanges", done, refused, w.exchanges())
	}
}

func TestLoginFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.app(0)
	begin := func() (state, code string) {
		address, err := w.Begin(t.Context(), "github", "bob")
		if err != nil {
			t.Fatal(err)
		}
		back := w.authorize(address)
		return back.Get("state"), back.Get("code")
	}
	state, _ := begin()
	_, err := w.Finish(t.Context(), "github", state, "code-of-somebody")
	w.wantError(err, cyclone.ErrForbidden, "bad_verification_code")
	first, _ := begin()
	_, foreign := begin()
	_, err = w.Finish(t.Context(), "github", first, foreign) // another login's code: PKCE
	w.wantError(err, cyclone.ErrForbidden)
	for name, tt := range map[string]struct {
		fault fakeforge.Fault
		kind  error
	}{
		"down":       {fakeforge.Fault{Path: "/access_token", Status: 503}, cyclone.ErrUnavailable},
		"cut":        {fakeforge.Fault{Path: "/access_token", Cut: true}, cyclone.ErrUnavailable},
		"page":       {fakeforge.Fault{Path: "/access_token", Status: 200, Body: "<html>hi</html>"}, cyclone.ErrUnavailable},
		"echo":       {fakeforge.Answer(400, clientSecret), cyclone.ErrForbidden},
		"nobody":     {fakeforge.Answer(401, "Bad credentials"), cyclone.ErrForbidden},
		"no account": {fakeforge.Fault{Path: "/user", Status: 500}, cyclone.ErrUnavailable},
	} {
		state, code := begin()
		w.forge.Inject(tt.fault)
		_, err := w.Finish(t.Context(), "github", state, code)
		w.forge.Heal()
		if !errors.Is(err, tt.kind) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		w.clean(err.Error())
	}
	w.Apps[0].ClientSecret = "wrong"
	state, code := begin()
	_, err = w.Finish(t.Context(), "github", state, code)
	w.wantError(err, cyclone.ErrUnavailable, "administrator")
	for _, scm := range []string{"gitlab", "gitea", "nonsense"} {
		_, err = w.Begin(t.Context(), scm, "bob")
		w.wantError(err, cyclone.ErrNotFound)
	}
	if all, err := w.Accounts(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("accounts %v, %v", all, err)
	}
}

// What is asked for at the forge: the app, PKCE, the scope, and our address.
func TestAuthorizationAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Apps = []connect.OAuthApp{{SCM: "gitlab", URL: "https://gitlab.example.com/git", ClientID: "id", ClientSecret: clientSecret}}
	address, err := w.Begin(t.Context(), "gitlab", "bob")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	if !strings.HasPrefix(address, "https://gitlab.example.com/git/oauth/authorize?") || q.Get("client_id") != "id" || q.Get("scope") != "api" ||
		q.Get("code_challenge_method") != "S256" || q.Get("redirect_uri") != w.ExternalURL+"/api/v1/scm/gitlab/callback" || q.Get("response_type") != "code" {
		t.Errorf("address %s", address)
	}
	w.clean(address)
	if strings.Contains(q.Get("state"), "bob") {
		t.Error("the state is not sealed")
	}
}

// An account's token goes to its own host only.
func TestAccountOfAnotherHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.app(0)
	account := w.login("bob")
	p := w.byAccount()
	for _, tt := range []struct{ account, url, kind, says string }{
		{account.ID, "https://evil.example.com/acme/orders.git", "github", "evil.example.com"},
		{"github/alice", "https://evil.example.com/acme/orders.git", "github", "not connected"},
		{account.ID, p.Repository.URL, "gitlab", "of type gitlab"},
		{"alice", p.Repository.URL, "github", "github/alice"},
		{"a/b/c/d", p.Repository.URL, "github", "github/alice"},
	} {
		asked := *p
		asked.Repository.Account, asked.Repository.URL, asked.Repository.Type = tt.account, tt.url, tt.kind
		_, err := w.Credential(t.Context(), &asked)
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s at %s: %v", tt.account, tt.url, err)
		}
	}
}
