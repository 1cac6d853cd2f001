package fakeforge

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// GitLab is a GitLab; its API is below /api/v4. The scopes of its tokens are
// GitLab's: api, read_api, read_user. Role Read is its Reporter, Write its
// Developer.
type GitLab struct{ *Forge }

// gitlabTold is the largest total that GitLab tells.
const gitlabTold = 10_000

// StartGitLab starts a GitLab; Close ends it.
func StartGitLab(o Options) (*GitLab, error) {
	f := &Forge{kind: kind{
		name: "GitLab", prefix: "/api/v4", routes: gitlabRoutes(),
		check: checkGitLab, token: gitlabToken, refusal: gitlabRefusal, links: gitlabLinks, sign: signGitLab,
		authorize: "/oauth/authorize", exchange: "/oauth/token", oauthErrors: http.StatusBadRequest,
	}}
	return &GitLab{f}, start(f, o)
}

// NewGitLab is a GitLab that ends with the test, which fails when something
// violated the documentation.
func NewGitLab(t testing.TB) *GitLab {
	t.Helper()
	g, err := StartGitLab(Options{})
	if err != nil {
		t.Fatal(err)
	}
	g.CloseWith(t)
	return g
}

// checkGitLab holds a call's headers against what GitLab and its proxies take.
func checkGitLab(r *Request) {
	if accept := r.Header.Get("Accept"); accept != "" && accept != "application/json" && accept != "*/*" {
		r.Violate("Accept is %q, not application/json", accept)
	}
	if agent := r.Header.Get("User-Agent"); agent == "" || strings.HasPrefix(agent, "Go-http-client") {
		r.Violate("User-Agent is %q: GitLab's limits are by it", agent)
	}
}

// gitlabToken takes both headers, but one of them only.
func gitlabToken(h http.Header) (string, bool) {
	private := h.Get("PRIVATE-TOKEN")
	scheme, value, _ := strings.Cut(h.Get("Authorization"), " ")
	if scheme == "" {
		return private, true
	}
	return value, scheme == "Bearer" && value != "" && private == ""
}

func gitlabRefusal(status int, message string) any {
	if status == http.StatusUnauthorized {
		message = "401 Unauthorized"
	}
	return map[string]any{"message": message}
}

// gitlabLinks sets all the headers by which GitLab leads through a list. Of very
// long lists it tells no total.
func gitlabLinks(r *Request, p Paging) {
	number := func(page int) string {
		if page < 1 || page > p.Pages {
			return ""
		}
		return fmt.Sprint(page)
	}
	for name, value := range map[string]string{
		"X-Page": fmt.Sprint(p.Page), "X-Per-Page": fmt.Sprint(p.Size), "X-Next-Page": number(p.Page + 1), "X-Prev-Page": number(p.Page - 1),
	} {
		r.SetHeader(name, value)
	}
	if p.Total <= gitlabTold {
		r.SetHeader("X-Total", fmt.Sprint(p.Total))
		r.SetHeader("X-Total-Pages", fmt.Sprint(p.Pages))
	}
	linkHeader(r, p)
}

// gitlabEvents are the fields of a webhook that turn its events on, and what
// deliveries of them are called.
func gitlabEvents() map[string]string {
	return map[string]string{
		"push_events": "Push Hook", "tag_push_events": "Tag Push Hook", "merge_requests_events": "Merge Request Hook",
		"note_events": "Note Hook", "releases_events": "Release Hook", "issues_events": "Issue Hook", "pipeline_events": "Pipeline Hook",
	}
}

// signGitLab does not sign: GitLab sends the secret itself.
func signGitLab(header http.Header, h Hook, event, id string, _ []byte) {
	header.Set("User-Agent", "GitLab/18.4.1")
	header.Set("X-Gitlab-Event", gitlabEvents()[event])
	header.Set("X-Gitlab-Webhook-UUID", fmt.Sprintf("13792a34-cac6-4fda-95a8-%012x", h.ID))
	header.Set("X-Gitlab-Event-UUID", id)
	header.Set("Idempotency-Key", id)
	if h.Secret != "" {
		header.Set("X-Gitlab-Token", h.Secret)
	}
}

// gitlabLevel is GitLab's number of a role.
func gitlabLevel(role Role) int {
	return map[Role]int{Read: 20, Triage: 20, Write: 30, Maintain: 40, Admin: 50}[role]
}

// gitlab finds the project of a call and checks what the token's user may do
// there, and the token itself: calls that only read do with read_api.
func (f *Forge) gitlab(r *Request, need Role) bool {
	if !f.gitlabScope(r) {
		return false
	}
	r.Repo = f.find(r.Params["id"])
	r.Role = None
	if r.Repo != nil && r.Token != nil {
		r.Role = r.Repo.role(r.Token.Login)
	} else if r.Repo != nil && !r.Repo.Private {
		r.Role = Read
	}
	if r.Role == None {
		r.Refuse(http.StatusNotFound, "404 Project Not Found")
		return false
	}
	if gitlabLevel(r.Role) < gitlabLevel(need) {
		r.Refuse(http.StatusForbidden, "403 Forbidden")
		return false
	}
	return true
}

// gitlabScope checks the token's scopes alone.
func (f *Forge) gitlabScope(r *Request) bool {
	scopes := []string{"api"}
	if r.Method == http.MethodGet {
		scopes = append(scopes, "read_api")
	}
	if r.Token.allows(scopes) {
		return true
	}
	r.Answer(http.StatusForbidden, map[string]any{
		"error": "insufficient_scope", "scope": strings.Join(scopes, " "),
		"error_description": "The request requires higher privileges than provided by the access token.",
	})
	return false
}

// gitlabProject is GitLab's description of r. Of a public project nobody's role
// is told who has none.
func (f *Forge) gitlabProject(r *Repository, login string) map[string]any {
	page := f.URL + "/" + r.Name
	visibility := "public"
	if r.Private {
		visibility = "private"
	}
	described := map[string]any{
		"id": r.ID, "name": r.Name[strings.LastIndex(r.Name, "/")+1:], "path_with_namespace": r.Name, "visibility": visibility,
		"default_branch": r.DefaultBranch, "web_url": page, "http_url_to_repo": page + ".git",
		"ssh_url_to_repo": "git@" + strings.TrimPrefix(f.URL, "http://") + ":" + r.Name + ".git", "archived": false,
	}
	if login != "" {
		permissions := map[string]any{"project_access": nil, "group_access": nil}
		if _, member := r.member(login); member {
			permissions["project_access"] = map[string]any{"access_level": gitlabLevel(r.role(login)), "notification_level": 3}
		}
		described["permissions"] = permissions
	}
	return described
}

// member is the role that a user was given in r.
func (r *Repository) member(login string) (Role, bool) {
	for name, role := range r.Roles {
		if strings.EqualFold(name, login) {
			return role, role != None
		}
	}
	return None, false
}

func (f *Forge) gitlabUser(u *User) map[string]any {
	return map[string]any{"id": u.ID, "username": u.Login, "name": u.Login, "state": "active", "bot": u.Bot, "web_url": f.URL + "/" + u.Login}
}

// gitlabSearch narrows a list down to the names that have query in them, in
// upper or lower case.
func gitlabSearch[T any](items []T, query string, name func(T) string) []T {
	query = strings.ToLower(query)
	return slices.DeleteFunc(items, func(item T) bool { return !strings.Contains(strings.ToLower(name(item)), query) })
}
