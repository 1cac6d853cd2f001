package fakeforge_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"cyclone/pkg/cyclonetest/fakeforge"
)

// tea is a Gitea with one repository.
func tea(t *testing.T) *fakeforge.Gitea {
	t.Helper()
	f := fakeforge.NewGitea(t)
	f.AddUser("robot", token)
	f.AddUser("alice", "narrow", "read:repository", "write:issue")
	f.AddRepository(fakeforge.Repository{
		Name: "acme/orders", Private: true, Roles: map[string]fakeforge.Role{"robot": fakeforge.Admin, "alice": fakeforge.Write},
		Commits: []string{"abc"}, Tags: []fakeforge.Ref{{Name: "v1", SHA: "abc"}, {Name: "v2", SHA: "abc"}},
		PullRequests: []fakeforge.PullRequest{{Number: 7, Title: "Pay", Source: "pay", Target: "main", SHA: "abc", Author: "alice"}},
	})
	return f
}

// What Gitea's documentation does not know is refused or noted, or both; what a
// token's scopes or its user's role do not allow is refused.
func TestGiteaViolations(t *testing.T) {
	t.Parallel()
	const repo = "/api/v1/repos/acme/orders"
	const statuses, hooks, comments = repo + "/statuses/abc", repo + "/hooks", repo + "/issues/7/comments"
	const good = `{"state":"success","context":"c"}`
	narrow := []string{"Authorization", "token narrow"}
	for _, c := range []struct {
		name, method, path, body string
		headers                  []string
		status                   int
		says                     string
	}{
		{"good", "POST", statuses, good, nil, 201, ""},
		{"warning", "POST", statuses, `{"state":"warning"}`, nil, 201, ""},
		{"unknown state", "POST", statuses, `{"state":"running"}`, nil, 422, "not included"},
		{"unknown path", "GET", repo + "/statuses", "", nil, 404, "path known: false"},
		{"pages of comments", "GET", comments + "?page=2", "", nil, 422, `parameter "page"`},
		{"comments of nothing", "GET", repo + "/issues/99/comments", "", nil, 500, ""},
		{"too large a page", "GET", hooks + "?limit=51", "", nil, 200, "limit is 51"},
		{"another's size", "GET", hooks + "?per_page=5", "", nil, 422, `parameter "per_page"`},
		{"no type", "POST", hooks, `{"config":{"url":"https://a.example.com","content_type":"json"}}`, nil, 422, "type is missing"},
		{"no content type", "POST", hooks, `{"type":"gitea","config":{"url":"https://a.example.com"}}`, nil, 422, "config.content_type is missing"},
		{"insecure", "POST", hooks, `{"type":"gitea","config":{"url":"https://a.example.com","content_type":"json","insecure_ssl":"1"}}`, nil, 422, "insecure_ssl"},
		{"unknown event", "PATCH", hooks + "/1", `{"events":["pushes"]}`, nil, 422, "pushes"},
		{"type of a known one", "PATCH", hooks + "/1", `{"type":"gitea"}`, nil, 422, "type is no documented field"},
		{"unknown webhook", "PATCH", hooks + "/999", `{"active":true}`, nil, 404, ""},
		{"Bearer", "GET", repo, "", []string{"Authorization", "Bearer " + token}, 200, "no documented form"},
		{"accept", "GET", repo, "", []string{"Accept", "*/*"}, 200, "Accept is"},
		{"no token", "GET", repo, "", []string{"Authorization", ""}, 404, ""},
		{"scope", "POST", statuses, good, narrow, 403, ""},
		{"scope of the user", "GET", "/api/v1/user", "", narrow, 403, ""},
		{"the scope that writes reads too", "GET", comments, "", narrow, 200, ""},
		{"role", "GET", hooks, "", narrow, 403, ""},
		{"another's permission", "GET", repo + "/collaborators/robot/permission", "", narrow, 403, ""},
		{"one's own permission", "GET", repo + "/collaborators/alice/permission", "", narrow, 200, ""},
		{"nobody", "GET", repo + "/collaborators/nobody/permission", "", nil, 404, ""},
	} {
		f := tea(t)
		status, _ := ask(t, f.Forge, c.method, c.path, c.body, append([]string{"Authorization", "token " + token, "Accept", "application/json"}, c.headers...)...)
		got := strings.Join(f.Violations(), "\n")
		f.ForgetViolations()
		if status != c.status || (got == "") != (c.says == "") || !strings.Contains(got, c.says) {
			t.Errorf("%s: %d, violations %q; want %d that say %q", c.name, status, got, c.status, c.says)
		}
	}
}

// Gitea's lists of tags and webhooks say how many there are, and no more.
func TestGiteaLinks(t *testing.T) {
	t.Parallel()
	f := tea(t)
	f.Change("acme/orders", func(r *fakeforge.Repository) { r.Branches = slices.Clone(r.Tags) })
	for path, links := range map[string]bool{"/branches": true, "/tags": false} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.URL+"/api/v1/repos/acme/orders"+path+"?limit=1", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "token "+token)
		request.Header.Set("Accept", "application/json")
		answer, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if got := answer.Header.Get("Link") != ""; got != links || answer.Header.Get("X-Total-Count") != "2" {
			t.Errorf("%s: %v", path, answer.Header)
		}
	}
}

// A search goes by the name, and by the owner's only in front of a slash.
func TestGiteaSearch(t *testing.T) {
	t.Parallel()
	f := tea(t)
	f.AddRepository(fakeforge.Repository{Name: "acme/open"})
	f.AddRepository(fakeforge.Repository{Name: "other/hidden", Private: true})
	for q, want := range map[string]int{"": 2, "q=OR": 1, "q=o": 2, "q=acme": 0, "q=acme/or": 1, "q=pen,rders": 2, "q=hidden": 0, "uid=1": 1, "uid=99": 0} {
		status, body := ask(t, f.Forge, "GET", "/api/v1/repos/search?"+q, "", "Authorization", "token "+token, "Accept", "application/json")
		if got := strings.Count(body, `"full_name":`); status != http.StatusOK || got != want {
			t.Errorf("%q: %d, %d repositories in %s; want %d", q, status, got, body, want)
		}
	}
}

// Deliveries go to the webhooks that want them, under the names of Gitea, and
// are signed.
func TestGiteaDeliveries(t *testing.T) {
	t.Parallel()
	var said []string
	here := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		mac := hmac.New(sha256.New, []byte("hook-secret"))
		_, _ = mac.Write(body)
		if got := r.Header.Get("X-Gitea-Signature"); got != hex.EncodeToString(mac.Sum(nil)) {
			t.Errorf("signature %q", got)
		}
		var payload struct {
			Action string `json:"action"`
		}
		if err := json.Unmarshal(body, &payload); err != nil {
			t.Error(err)
		}
		said = append(said, strings.Join([]string{r.Header.Get("X-Gitea-Event"), r.Header.Get("X-Gitea-Event-Type"), payload.Action}, " "))
	}))
	defer here.Close()
	f := tea(t)
	status, _ := ask(t, f.Forge, "POST", "/api/v1/repos/acme/orders/hooks",
		`{"type":"gitea","active":true,"events":["push","pull_request"],"config":{"url":"`+here.URL+`","content_type":"json","secret":"hook-secret"}}`,
		"Authorization", "token "+token, "Accept", "application/json")
	if status != http.StatusCreated {
		t.Fatalf("making the webhook: %d", status)
	}
	f.Push(t, "acme/orders", "main", "old", "abc", "Pay", "pay.go")
	f.PullRequestEvent(t, "acme/orders", 7, "opened")
	f.PullRequestEvent(t, "acme/orders", 7, "synchronize")
	f.Comment(t, "acme/orders", 7, "alice", "/test")
	want := []string{"push push ", "pull_request pull_request opened", "pull_request pull_request_sync synchronized", "issue_comment pull_request_comment created"}
	if !slices.Equal(said, want) {
		t.Errorf("delivered %q", said)
	}
	f.Change("acme/orders", func(r *fakeforge.Repository) { r.Hooks[0].Events = []string{"pull_request"} })
	if all := f.Push(t, "acme/orders", "main", "abc", "def", "Pay"); len(all) != 0 {
		t.Errorf("a webhook that does not want pushes got %+v", all)
	}
}
