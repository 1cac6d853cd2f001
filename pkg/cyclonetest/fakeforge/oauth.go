package fakeforge

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// App is an OAuth app. Whoever is sent to the page of authorization is Login,
// agrees, and is sent back at once.
type App struct {
	ClientID, Secret string
	RedirectURI      string // where it may send people back to
	Login            string
	// Lasts is how long access tokens say that they are good for; 0 makes
	// tokens that do not expire and cannot be refreshed, as GitHub's OAuth apps.
	Lasts time.Duration
	// Denies makes the user refuse.
	Denies bool
}

// grant is what was agreed to: a code to be exchanged, or a token to be
// refreshed.
type grant struct {
	app             *App
	code, refresh   string
	redirect, scope string
	challenge       string
	used            bool
	token           *Token
}

// AddApp registers an OAuth app.
func (f *Forge) AddApp(a App) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.user(a.Login)
	f.apps = append(f.apps, &a)
}

func (f *Forge) app(id string) *App {
	for _, a := range f.apps {
		if a.ClientID == id {
			return a
		}
	}
	return nil
}

// serveAuthorize is the page where a user agrees.
func (f *Forge) serveAuthorize(r *Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	q := r.URL.Query()
	a := f.app(q.Get("client_id"))
	back, err := url.Parse(q.Get("redirect_uri"))
	if a == nil || err != nil || q.Get("redirect_uri") != a.RedirectURI {
		r.Violate("client_id or redirect_uri is not of a registered app")
		r.Refuse(http.StatusNotFound, "Not Found")
		return
	}
	if q.Get("state") == "" || q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43 || r.Method != http.MethodGet {
		r.Violate("state or the S256 code_challenge is missing")
	}
	if f.kind.oauthErrors != http.StatusOK && q.Get("response_type") != "code" {
		r.Violate("response_type is %q", q.Get("response_type"))
	}
	answer := url.Values{"state": {q.Get("state")}}
	if a.Denies {
		answer.Set("error", "access_denied")
	} else {
		g := &grant{app: a, code: fmt.Sprintf("code-%d", f.id()), redirect: a.RedirectURI, scope: q.Get("scope"), challenge: q.Get("code_challenge")}
		f.grants = append(f.grants, g)
		answer.Set("code", g.code)
	}
	back.RawQuery = answer.Encode()
	r.SetHeader("Location", back.String())
	r.Answer(http.StatusFound, nil)
}

// serveExchange gives tokens for codes and for refresh tokens, each of which is
// good for once.
func (f *Forge) serveExchange(r *Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	form := f.form(r)
	a := f.app(form.Get("client_id"))
	if a == nil || form.Get("client_secret") != a.Secret {
		f.refuseGrant(r, "incorrect_client_credentials", "invalid_client")
		return
	}
	g := f.grantOf(a, form)
	if g == nil || g.used || g.token == nil && !g.matches(form) {
		word := "bad_verification_code"
		if form.Get("grant_type") == "refresh_token" {
			word = "bad_refresh_token"
		}
		f.refuseGrant(r, word, "invalid_grant")
		return
	}
	g.used = true
	if g.token != nil {
		g.token.Expired = true
	}
	r.Answer(http.StatusOK, f.issue(g))
}

// form reads the body, which may be a form or JSON.
func (f *Forge) form(r *Request) url.Values {
	if r.Method != http.MethodPost {
		r.Violate("is not a POST")
	}
	if r.Header.Get("Accept") != "application/json" {
		r.Violate("Accept is %q, so that the answer may be a form", r.Header.Get("Accept"))
	}
	form, err := url.ParseQuery(string(r.raw))
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		var said map[string]string
		err = json.Unmarshal(r.raw, &said)
		form = url.Values{}
		for name, value := range said {
			form.Set(name, value)
		}
	}
	if err != nil || r.URL.RawQuery != "" {
		r.Violate("the body is no form, or secrets stand in the address")
	}
	return form
}

func (f *Forge) grantOf(a *App, form url.Values) *grant {
	refreshing := form.Get("grant_type") == "refresh_token"
	for _, g := range f.grants {
		if g.app != a {
			continue
		}
		if refreshing && g.refresh != "" && g.refresh == form.Get("refresh_token") || !refreshing && g.code != "" && g.code == form.Get("code") {
			return g
		}
	}
	return nil
}

// matches checks what a code is bound to.
func (g *grant) matches(form url.Values) bool {
	sum := sha256.Sum256([]byte(form.Get("code_verifier")))
	return base64.RawURLEncoding.EncodeToString(sum[:]) == g.challenge && form.Get("redirect_uri") == g.redirect
}

// issue makes a token, and what refreshes it.
func (f *Forge) issue(g *grant) map[string]any {
	t := &Token{Value: fmt.Sprintf("oauth-%d-%s", f.id(), g.app.Login), Login: g.app.Login}
	t.Scopes = strings.FieldsFunc(g.scope, func(r rune) bool { return r == ' ' || r == ',' })
	f.tokens = append(f.tokens, t)
	answer := map[string]any{"access_token": t.Value, "token_type": "bearer", "scope": g.scope}
	if g.app.Lasts > 0 {
		next := &grant{app: g.app, refresh: fmt.Sprintf("refresh-%d", f.id()), scope: g.scope, token: t}
		f.grants = append(f.grants, next)
		answer["refresh_token"], answer["expires_in"] = next.refresh, int(g.app.Lasts/time.Second)
		answer["created_at"] = time.Now().Unix()
	}
	return answer
}

// refuseGrant answers in GitHub's words, or in those of the standard.
func (f *Forge) refuseGrant(r *Request, hubs, standard string) {
	word := standard
	if f.kind.oauthErrors == http.StatusOK {
		word = hubs
	}
	r.Answer(f.kind.oauthErrors, map[string]string{"error": word, "error_description": "The grant is invalid, expired or was used."})
}
