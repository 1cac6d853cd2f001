package fakeforge

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// GitHub is a GitHub Enterprise Server; its API is below /api/v3.
type GitHub struct{ *Forge }

// StartGitHub starts a GitHub; Close ends it.
func StartGitHub(o Options) (*GitHub, error) {
	f := &Forge{kind: kind{
		name: "GitHub", prefix: "/api/v3", routes: githubRoutes(),
		check: checkGitHub, token: githubToken, refusal: githubRefusal, links: linkHeader, sign: signGitHub,
		authorize: "/login/oauth/authorize", exchange: "/login/oauth/access_token", oauthErrors: http.StatusOK,
	}}
	return &GitHub{f}, start(f, o)
}

// NewGitHub is a GitHub that ends with the test, which fails when something
// violated the documentation.
func NewGitHub(t testing.TB) *GitHub {
	t.Helper()
	g, err := StartGitHub(Options{})
	if err != nil {
		t.Fatal(err)
	}
	g.CloseWith(t)
	return g
}

// checkGitHub holds a call's headers against what GitHub asks for.
func checkGitHub(r *Request) {
	if accept := r.Header.Get("Accept"); accept != "application/vnd.github+json" {
		r.Violate("Accept is %q, not application/vnd.github+json", accept)
	}
	if version := r.Header.Get("X-GitHub-Api-Version"); version != "2022-11-28" {
		r.Violate("X-GitHub-Api-Version is %q", version)
	}
	if agent := r.Header.Get("User-Agent"); agent == "" || strings.HasPrefix(agent, "Go-http-client") {
		r.Violate("User-Agent is %q: GitHub wants a name", agent)
	}
}

func githubToken(h http.Header) (string, bool) {
	scheme, value, _ := strings.Cut(h.Get("Authorization"), " ")
	return value, scheme == "" || (scheme == "Bearer" || scheme == "token") && value != ""
}

func githubRefusal(status int, message string) any {
	return map[string]any{"message": message, "documentation_url": "https://docs.github.com/rest", "status": fmt.Sprint(status)}
}

// linkHeader leads to the other pages in the header Link, as GitHub and Gitea
// do.
func linkHeader(r *Request, p Paging) {
	var links []string
	add := func(rel string, page int) {
		links = append(links, fmt.Sprintf("<%s>; rel=%q", r.PageURL(page), rel))
	}
	if p.Page > 1 {
		add("prev", p.Page-1)
	}
	if p.Page < p.Pages {
		add("next", p.Page+1)
		add("last", p.Pages)
	}
	if p.Page > 1 {
		add("first", 1)
	}
	if links != nil {
		r.SetHeader("Link", strings.Join(links, ", "))
	}
}

func signGitHub(header http.Header, h Hook, event, id string, body []byte) {
	header.Set("User-Agent", "GitHub-Hookshot/5ba6a3b")
	header.Set("X-GitHub-Event", event)
	header.Set("X-GitHub-Delivery", id)
	header.Set("X-GitHub-Hook-ID", fmt.Sprint(h.ID))
	if h.Secret != "" {
		mac := hmac.New(sha256.New, []byte(h.Secret))
		_, _ = mac.Write(body) // a hash never fails to write
		header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	}
}

// githubScopes are those of a classic token that may do all.
func githubScopes() []string { return []string{"admin:repo_hook", "read:org", "repo"} }

// github finds the repository of a call and checks what the token's user may
// do there and the token itself: with one of the scopes it will do.
func (f *Forge) github(r *Request, need Role, scopes ...string) bool {
	r.Repo = f.find(r.Params["owner"] + "/" + r.Params["repo"])
	if r.Repo == nil {
		r.Refuse(http.StatusNotFound, "Not Found")
		return false
	}
	if !r.Repo.Private && slices.Contains(scopes, "repo") {
		scopes = append(scopes, "public_repo")
	}
	r.Role = Read
	if r.Token != nil {
		r.Role = r.Repo.role(r.Token.Login)
	} else if r.Repo.Private {
		r.Role = None
	}
	switch {
	case r.Role == None, r.Role < need && need == Admin:
		r.Refuse(http.StatusNotFound, "Not Found")
	case r.Role < need:
		r.Refuse(http.StatusForbidden, "Must have push access to repository.")
	case !r.Token.allows(scopes) && r.Token.FineGrained:
		r.Refuse(http.StatusForbidden, "Resource not accessible by personal access token")
	case !r.Token.allows(scopes):
		r.Refuse(http.StatusNotFound, "Not Found")
	default:
		return true
	}
	return false
}

// allows reports whether the token has one of the scopes; none is needed where
// none is named.
func (t *Token) allows(scopes []string) bool {
	return t == nil || t.Scopes == nil || len(scopes) == 0 ||
		slices.ContainsFunc(scopes, func(s string) bool { return slices.Contains(t.Scopes, s) })
}

// tellScopes sets the header in which GitHub tells a classic token's scopes.
func tellScopes(r *Request) {
	if r.Token == nil || r.Token.FineGrained || r.Token.App {
		return
	}
	scopes := r.Token.Scopes
	if scopes == nil {
		scopes = githubScopes()
	}
	r.SetHeader("X-OAuth-Scopes", strings.Join(scopes, ", "))
}

// push moves a branch.
func (r *Repository) push(branch, sha string) {
	if r.Commits != nil {
		r.Commits = append(r.Commits, sha)
	}
	for i := range r.Branches {
		if r.Branches[i].Name == branch {
			r.Branches[i].SHA = sha
			return
		}
	}
	r.Branches = append(r.Branches, Ref{branch, sha})
}

// githubRepository is GitHub's description of r for somebody of that role.
func (f *Forge) githubRepository(r *Repository, role Role) map[string]any {
	owner, name, _ := strings.Cut(r.Name, "/")
	page := f.URL + "/" + r.Name
	return map[string]any{
		"id": r.ID, "name": name, "full_name": r.Name, "private": r.Private, "owner": map[string]any{"login": owner},
		"html_url": page, "clone_url": page + ".git", "ssh_url": "git@" + strings.TrimPrefix(f.URL, "http://") + ":" + r.Name + ".git",
		"url": f.URL + f.kind.prefix + "/repos/" + r.Name, "default_branch": r.DefaultBranch, "fork": false, "archived": false,
		"permissions": map[string]any{
			"admin": role >= Admin, "maintain": role >= Maintain, "push": role >= Write, "triage": role >= Triage, "pull": role >= Read,
		},
	}
}
