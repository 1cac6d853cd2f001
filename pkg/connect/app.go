package connect

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/rest"
)

// OAuthApp is an application that was registered at a forge, by which people
// connect their accounts. Its callback address there is
// <ExternalURL>/api/v1/scm/<SCM>/callback.
type OAuthApp struct {
	SCM          string // "github" or "gitlab"
	URL          string // of the forge, without a slash at the end: "https://github.com"
	ClientID     string
	ClientSecret string
	// Scopes are what to ask for; nil means what connecting projects needs.
	Scopes []string
}

// forgeForms is how the forges that have OAuth apps are spoken to.
var forgeForms = map[string]struct {
	title, authorize, token string
	scopes                  []string
	header                  http.Header // of calls of the API
}{
	// The scope repo of GitHub includes statuses and webhooks.
	"github": {"GitHub", "/login/oauth/authorize", "/login/oauth/access_token", []string{"repo"},
		http.Header{"Accept": {"application/vnd.github+json"}, "X-Github-Api-Version": {"2022-11-28"}}},
	"gitlab": {"GitLab", "/oauth/authorize", "/oauth/token", []string{"api"}, nil},
}

// String keeps the secret out of what is printed.
func (a OAuthApp) String() string { return "OAuth app at " + a.URL }

// GoString does so for %#v.
func (a OAuthApp) GoString() string { return a.String() }

func (a OAuthApp) title() string { return forgeForms[a.SCM].title }

// host is the forge's, with a port where it has one.
func (a OAuthApp) host() string { return hostOf(a.URL) }

// api is where the forge's API is.
func (a OAuthApp) api() string {
	switch {
	case a.SCM == "gitlab":
		return a.URL + "/api/v4"
	case a.host() == "github.com":
		return "https://api.github.com"
	}
	return a.URL + "/api/v3"
}

// app finds the app of a forge; an empty host means the first of its kind.
func (c *Connector) app(scm, host string) (OAuthApp, error) {
	for _, a := range c.Apps {
		if _, known := forgeForms[a.SCM]; known && a.SCM == scm && (host == "" || a.host() == host) {
			return a, nil
		}
	}
	if _, known := forgeForms[scm]; !known {
		return OAuthApp{}, cyclone.NotFound("accounts can be connected at github and gitlab only; use a token elsewhere")
	}
	at := scm
	if host != "" {
		at += " at " + host
	}
	return OAuthApp{}, cyclone.NotFound("this server has no OAuth app of %s: the administrator sets one with CYCLONE_%s_OAUTH_CLIENT_ID, or use a token", at, strings.ToUpper(scm))
}

func (c *Connector) config(a OAuthApp) *oauth2.Config {
	form := forgeForms[a.SCM]
	scopes := a.Scopes
	if scopes == nil {
		scopes = form.scopes
	}
	return &oauth2.Config{
		ClientID: a.ClientID, ClientSecret: a.ClientSecret, Scopes: scopes,
		RedirectURL: c.ExternalURL + "/api/v1/scm/" + a.SCM + "/callback",
		Endpoint:    oauth2.Endpoint{AuthURL: a.URL + form.authorize, TokenURL: a.URL + form.token, AuthStyle: oauth2.AuthStyleInParams},
	}
}

// calling is ctx with the client that oauth2 is to use.
func (c *Connector) calling(ctx context.Context) context.Context {
	return context.WithValue(ctx, oauth2.HTTPClient, c.client())
}

// client follows no redirects: what is sent holds the app's secret.
func (c *Connector) client() *http.Client {
	own := http.Client{Timeout: renewTime}
	if c.Client != nil {
		own = *c.Client
	}
	own.Transport = polite{own.Transport}
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &own
}

// polite asks for JSON, without which GitHub answers with a form, and says who
// asks.
type polite struct{ next http.RoundTripper }

// RoundTrip sends a copy of the request with the headers.
func (p polite) RoundTrip(r *http.Request) (*http.Response, error) {
	next := p.next
	if next == nil {
		next = http.DefaultTransport
	}
	r = r.Clone(r.Context())
	if r.Header.Get("Accept") == "" {
		r.Header.Set("Accept", "application/json")
	}
	r.Header.Set("User-Agent", "cyclone")
	return next.RoundTrip(r)
}

// problem tells what a forge said instead of giving a token: never its whole
// answer, and nothing of what it was sent.
func (a OAuthApp) problem(err error, secrets ...string) error {
	var refused *oauth2.RetrieveError
	var unreached *url.Error
	switch {
	case errors.As(err, &refused):
		return a.refusal(refused, secrets)
	case errors.As(err, &unreached) && unreached.Timeout():
		return cyclone.Unavailable("%s at %s does not answer in time", a.title(), a.host())
	case errors.As(err, &unreached):
		return cyclone.Unavailable("%s at %s cannot be reached: %s", a.title(), a.host(), rest.Line(unreached.Err.Error(), 200))
	}
	return cyclone.Unavailable("%s at %s did not answer with a token: is it %s?", a.title(), a.host(), a.title())
}

func (a OAuthApp) refusal(refused *oauth2.RetrieveError, secrets []string) error {
	status := 0
	if refused.Response != nil {
		status = refused.Response.StatusCode
	}
	says := fmt.Sprint(status)
	if refused.ErrorCode != "" {
		says = refused.ErrorCode
	}
	if refused.ErrorDescription != "" {
		says += ": " + refused.ErrorDescription
	}
	for _, secret := range append(secrets, a.ClientSecret) {
		if secret != "" {
			says = strings.ReplaceAll(says, secret, "[hidden]")
		}
	}
	says = rest.Line(says, 200)
	if status == http.StatusTooManyRequests || status >= 500 || refused.ErrorCode == "temporarily_unavailable" {
		return cyclone.UnavailableFor(retryAfter(refused.Response), "%s at %s does not work at the moment (%s)", a.title(), a.host(), says)
	}
	// The app's own fault is nobody else's: a grant must not be given up for it.
	switch refused.ErrorCode {
	case "invalid_client", "incorrect_client_credentials", "redirect_uri_mismatch", "unauthorized_client":
		return cyclone.Unavailable("%s at %s does not accept this server's OAuth app (%s): the administrator must mend its settings", a.title(), a.host(), says)
	}
	return cyclone.Forbidden("%s at %s refuses it (%s)", a.title(), a.host(), says)
}

// retryAfter reads the header of that name in seconds; 0 for none.
func retryAfter(r *http.Response) time.Duration {
	if r == nil {
		return 0
	}
	var seconds int
	if n, err := fmt.Sscanf(r.Header.Get("Retry-After"), "%d", &seconds); err != nil || n != 1 || seconds < 0 {
		return 0
	}
	return min(time.Duration(seconds)*time.Second, time.Hour)
}
