package connect_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/connect"
	"cyclone/pkg/cyclone"
)

// gitLab is GitLab's side of OAuth, below a path of its host: one code, and
// refresh tokens that are good for once.
type gitLab struct {
	*httptest.Server
	issued atomic.Int64
}

func newGitLab(t *testing.T) *gitLab {
	t.Helper()
	g := &gitLab{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /git/oauth/token", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		n := g.issued.Load()
		good := r.PostFormValue("client_secret") == clientSecret
		switch r.PostFormValue("grant_type") {
		case "authorization_code":
			good = good && n == 0 && r.PostFormValue("code") == "c" && len(r.PostFormValue("code_verifier")) == 43
		case "refresh_token":
			good = good && r.PostFormValue("refresh_token") == fmt.Sprintf("refresh-%d", n)
		default:
			good = false
		}
		if !good {
			w.WriteHeader(http.StatusBadRequest)
			_ = json.NewEncoder(w).Encode(map[string]string{"error": "invalid_grant"}) // the test sees what lacks
			return
		}
		n = g.issued.Add(1)
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": fmt.Sprintf("oauth-%d", n), "refresh_token": fmt.Sprintf("refresh-%d", n), "expires_in": 7200})
	})
	mux.HandleFunc("GET /git/api/v4/user", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != fmt.Sprintf("Bearer oauth-%d", g.issued.Load()) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"username": "Alice"})
	})
	g.Server = httptest.NewServer(mux)
	t.Cleanup(g.Close)
	return g
}

// GitLab takes a token of OAuth under a name of its own, and its tokens run
// out and are renewed.
func TestGitLabAccount(t *testing.T) {
	t.Parallel()
	w, g := newWorld(t), newGitLab(t)
	w.Apps = []connect.OAuthApp{{SCM: "gitlab", URL: g.URL + "/git", ClientID: "app", ClientSecret: clientSecret}}
	address, err := w.Begin(t.Context(), "gitlab", "bob")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	account, err := w.Finish(t.Context(), "gitlab", u.Query().Get("state"), "c")
	if err != nil || account.Login != "Alice" || account.ExpiresAt == nil || account.ExpiresAt.Sub(w.clock.Now()).Round(time.Minute) != 2*time.Hour {
		t.Fatalf("got %+v, %v", account, err)
	}
	p := w.project("gitlab", g.URL+"/git/acme/shop/orders.git", "")
	p.Repository.Account = "gitlab/alice"
	for want := range 3 {
		got, err := w.Credential(t.Context(), p)
		expected := cyclone.Credential{Username: "oauth2", Password: fmt.Sprintf("oauth-%d", want+1), Holder: "account gitlab/alice"}
		if diff := cmp.Diff(expected, got); err != nil || diff != "" {
			t.Errorf("%v\n%s", err, diff)
		}
		w.clock.move(2*time.Hour - 4*time.Minute)
	}
}
