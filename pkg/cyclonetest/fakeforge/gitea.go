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

// Gitea is a Gitea, or a Forgejo: its API is below /api/v1.
type Gitea struct{ *Forge }

// giteaPage is how many items a page of Gitea has at most.
const giteaPage = 50

// StartGitea starts a Gitea; Close ends it.
func StartGitea(o Options) (*Gitea, error) {
	f := &Forge{kind: kind{
		name: "Gitea", prefix: "/api/v1", routes: giteaRoutes(),
		check: checkGitea, token: giteaToken, refusal: giteaRefusal, links: giteaLinks, sign: signGitea,
		authorize: "/login/oauth/authorize", exchange: "/login/oauth/access_token", oauthErrors: http.StatusBadRequest,
	}}
	return &Gitea{f}, start(f, o)
}

// NewGitea is a Gitea that ends with the test, which fails when something
// violated the documentation.
func NewGitea(t testing.TB) *Gitea {
	t.Helper()
	g, err := StartGitea(Options{})
	if err != nil {
		t.Fatal(err)
	}
	g.CloseWith(t)
	return g
}

// checkGitea holds a call's headers against what a client of Gitea's says.
func checkGitea(r *Request) {
	if accept := r.Header.Get("Accept"); accept != "application/json" {
		r.Violate("Accept is %q, not application/json", accept)
	}
}

// giteaToken is the form of the header that all versions know.
func giteaToken(h http.Header) (string, bool) {
	scheme, value, _ := strings.Cut(h.Get("Authorization"), " ")
	return value, scheme == "" || scheme == "token" && value != ""
}

func giteaRefusal(_ int, message string) any {
	return map[string]any{"message": message, "url": "https://gitea.example.com/api/swagger"}
}

// giteaLinks tells how many items there are on all pages; the lists of tags and
// webhooks tell no more than that.
func giteaLinks(r *Request, p Paging) {
	r.SetHeader("X-Total-Count", fmt.Sprint(p.Total))
	if !strings.HasSuffix(r.path, "/tags") && !strings.HasSuffix(r.path, "/hooks") {
		linkHeader(r, p)
	}
}

// giteaKind is the event that a header names: several of Gitea's events are
// told under one name.
func giteaKind(event string) string {
	switch event {
	case "pull_request_sync":
		return "pull_request"
	case "pull_request_comment":
		return "issue_comment"
	}
	return event
}

func signGitea(header http.Header, h Hook, event, id string, body []byte) {
	for _, like := range []string{"X-GitHub", "X-Gogs", "X-Gitea"} {
		header.Set(like+"-Delivery", id)
		header.Set(like+"-Event", giteaKind(event))
		header.Set(like+"-Event-Type", event)
	}
	mac := hmac.New(sha256.New, []byte(h.Secret))
	_, _ = mac.Write(body) // a hash never fails to write
	sum := hex.EncodeToString(mac.Sum(nil))
	if h.Secret == "" {
		sum = ""
	}
	header.Set("X-Gitea-Signature", sum)
	header.Set("X-Gogs-Signature", sum)
	header.Set("X-Hub-Signature-256", "sha256="+sum)
}

// gitea finds the repository of a call and checks the token, which one of the
// scopes will do for, and what its user may do there.
func (f *Forge) gitea(r *Request, need Role, scopes ...string) bool {
	if !r.giteaScope(scopes...) {
		return false
	}
	r.Repo = f.find(r.Params["owner"] + "/" + r.Params["repo"])
	if r.Repo != nil {
		r.Role = Read
		if r.Token != nil {
			r.Role = r.Repo.role(r.Token.Login)
		} else if r.Repo.Private {
			r.Role = None
		}
	}
	switch {
	case r.Repo == nil, r.Role == None:
		r.Refuse(http.StatusNotFound, "The target couldn't be found.")
	case r.Role < need && need == Admin:
		r.Refuse(http.StatusForbidden, "user should be an owner or a collaborator with admin write of a repository")
	case r.Role < need:
		r.Refuse(http.StatusForbidden, "user should have a permission to write to a repo")
	default:
		return true
	}
	return false
}

// giteaScope refuses a token that has none of the scopes.
func (r *Request) giteaScope(scopes ...string) bool {
	if r.Token.allows(append(slices.Clone(scopes), "all")) {
		return true
	}
	r.Refuse(http.StatusForbidden, fmt.Sprintf("token does not have at least one of required scope(s), required=[%s], token scope=%s", scopes[0], strings.Join(r.Token.Scopes, ",")))
	return false
}

// giteaUser is Gitea's description of a user.
func (f *Forge) giteaUser(login string) map[string]any {
	u := f.user(login)
	return map[string]any{"id": u.ID, "login": u.Login, "username": u.Login, "full_name": "", "email": u.Login + "@noreply.example.com", "html_url": f.URL + "/" + u.Login}
}

// giteaRepository is Gitea's description of r for somebody of that role.
func (f *Forge) giteaRepository(r *Repository, role Role) map[string]any {
	owner, name, _ := strings.Cut(r.Name, "/")
	page := f.URL + "/" + r.Name
	return map[string]any{
		"id": r.ID, "name": name, "full_name": r.Name, "private": r.Private, "owner": map[string]any{"login": owner, "username": owner},
		"html_url": page, "clone_url": page + ".git", "ssh_url": "ssh://git@" + strings.TrimPrefix(f.URL, "http://") + "/" + r.Name + ".git",
		"url": f.URL + f.kind.prefix + "/repos/" + r.Name, "default_branch": r.DefaultBranch, "fork": false, "archived": false, "empty": false,
		"permissions": map[string]any{"admin": role >= Admin, "push": role >= Write, "pull": role >= Read},
	}
}
