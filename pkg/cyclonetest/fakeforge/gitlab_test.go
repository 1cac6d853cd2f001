package fakeforge_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"cyclone/pkg/cyclonetest/fakeforge"
)

// lab is a GitLab with one project.
func lab(t *testing.T) *fakeforge.GitLab {
	t.Helper()
	f := fakeforge.NewGitLab(t)
	f.AddUser("robot", token)
	f.AddUser("reader", "glpat-read", "read_api")
	f.AddRepository(fakeforge.Repository{
		Name: "acme/back/orders", Private: true, Roles: map[string]fakeforge.Role{"robot": fakeforge.Maintain, "reader": fakeforge.Admin},
		Commits: []string{"abc"}, Branches: []fakeforge.Ref{{Name: "main", SHA: "abc"}},
	})
	return f
}

// What GitLab's documentation does not know is refused or noted, or both.
func TestGitLabViolations(t *testing.T) {
	t.Parallel()
	const project = "/api/v4/projects/acme%2Fback%2Forders"
	const statuses, hooks = project + "/statuses/abc", project + "/hooks"
	const good = `{"state":"success","name":"c","ref":"main"}`
	accept := []string{"Accept", "application/json"}
	for _, c := range []struct {
		name, method, path, body string
		headers                  []string
		status                   int
		says                     string
	}{
		{"good", "POST", statuses, good, nil, 201, ""},
		{"the other header", "POST", statuses, good, []string{"Authorization", "", "PRIVATE-TOKEN", token}, 201, ""},
		{"both headers", "POST", statuses, good, []string{"PRIVATE-TOKEN", token}, 201, "no documented form"},
		{"another scheme", "POST", statuses, good, []string{"Authorization", "token " + token}, 201, "no documented form"},
		{"path that is not escaped", "GET", "/api/v4/projects/acme/back/orders", "", nil, 404, "not in the documentation"},
		{"unknown method", "PATCH", hooks, "", nil, 404, "path known: true"},
		{"unknown parameter", "GET", hooks + "?limit=3", "", nil, 422, `parameter "limit"`},
		{"too large a page", "GET", hooks + "?per_page=101", "", nil, 200, "per_page is 101"},
		{"all users", "GET", "/api/v4/users?username=", "", nil, 200, "lists all users"},
		{"unknown field", "POST", statuses, `{"state":"success","colour":"red"}`, nil, 422, "colour is no documented field"},
		{"GitHub's word", "POST", statuses, `{"state":"failure"}`, nil, 422, "not included"},
		{"full ref", "POST", statuses, `{"state":"failed","ref":"refs/heads/main"}`, nil, 201, "not the name of a branch or tag"},
		{"no ref", "POST", statuses, `{"state":"failed"}`, nil, 201, ""},
		{"too long", "POST", statuses, `{"state":"failed","description":"` + strings.Repeat("é", 256) + `"}`, nil, 422, "maximum is 255"},
		{"script", "POST", statuses, `{"state":"failed","target_url":"javascript:x"}`, nil, 400, ""},
		{"a hook without an address", "POST", hooks, `{"token":"x"}`, nil, 422, "url is missing"},
		{"a flag that is none", "POST", hooks, `{"url":"https://a.example.com","push_events":"1"}`, nil, 422, "not a bool"},
		{"not an address", "POST", hooks, `{"url":"a.example.com"}`, nil, 422, ""},
		{"unknown commit", "POST", statuses + "d", good, nil, 404, ""},
		{"unknown project", "GET", "/api/v4/projects/acme%2Fnone", "", nil, 404, ""},
		{"nobody", "GET", project, "", []string{"Authorization", ""}, 404, ""},
		{"nobody writes", "POST", statuses, good, []string{"Authorization", ""}, 401, ""},
		{"scope", "POST", statuses, good, []string{"Authorization", "Bearer glpat-read"}, 403, ""},
		{"scope that reads", "GET", hooks, "", []string{"Authorization", "Bearer glpat-read"}, 200, ""},
		{"accept", "GET", hooks, "", []string{"Accept", "text/html"}, 200, "Accept is"},
		{"agent", "GET", hooks, "", []string{"User-Agent", ""}, 200, "User-Agent"},
	} {
		f := lab(t)
		status, _ := ask(t, f.Forge, c.method, c.path, c.body, append(accept, c.headers...)...)
		got := strings.Join(f.Violations(), "\n")
		f.ForgetViolations()
		if status != c.status || (got == "") != (c.says == "") || !strings.Contains(got, c.says) {
			t.Errorf("%s: %d, violations %q; want %d that say %q", c.name, status, got, c.status, c.says)
		}
	}
}

// GitLab's tokens of OAuth run out, and what renews them is good for once.
func TestGitLabOAuth(t *testing.T) {
	t.Parallel()
	f := lab(t)
	const back = "https://ci.example.com/back"
	f.AddApp(fakeforge.App{ClientID: "id", Secret: "secret", RedirectURI: back, Login: "alice", Lasts: 2 * time.Hour})
	verifier := strings.Repeat("v", 50)
	sum := sha256.Sum256([]byte(verifier))
	status, location := ask(t, f.Forge, "GET", "/oauth/authorize?"+url.Values{
		"client_id": {"id"}, "redirect_uri": {back}, "response_type": {"code"}, "state": {"s"}, "scope": {"api"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}.Encode(), "")
	u, err := url.Parse(location)
	if status != http.StatusFound || err != nil || u.Query().Get("code") == "" {
		t.Fatalf("authorize: %d %s", status, location)
	}
	exchange := func(values url.Values) (int, map[string]any) {
		values.Set("client_id", "id")
		values.Set("client_secret", "secret")
		status, body := ask(t, f.Forge, "POST", "/oauth/token", values.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Accept", "application/json")
		var said map[string]any
		if err := json.Unmarshal([]byte(body), &said); err != nil {
			t.Fatal(err)
		}
		return status, said
	}
	code := url.Values{"grant_type": {"authorization_code"}, "code": {u.Query().Get("code")}, "redirect_uri": {back}, "code_verifier": {verifier}}
	status, first := exchange(code)
	if status != 200 || first["access_token"] == nil || first["expires_in"] != 7200.0 {
		t.Fatalf("exchange: %d %v", status, first)
	}
	if status, said := exchange(code); status != 400 || said["error"] != "invalid_grant" {
		t.Errorf("the same code again: %d %v", status, said)
	}
	refresh, _ := first["refresh_token"].(string)
	renew := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}}
	status, second := exchange(renew)
	if status != 200 || second["access_token"] == first["access_token"] {
		t.Errorf("refresh: %d %v", status, second)
	}
	if status, said := exchange(renew); status != 400 || said["error"] != "invalid_grant" {
		t.Errorf("the same refresh token again: %d %v", status, said)
	}
	for token, want := range map[any]int{first["access_token"]: 401, second["access_token"]: 200} {
		bearer, _ := token.(string)
		if status, body := ask(t, f.Forge, "GET", "/api/v4/user", "", "Accept", "application/json", "Authorization", "Bearer "+bearer); status != want || want == 200 && !strings.Contains(body, `"username":"alice"`) {
			t.Errorf("user: %d %s, want %d", status, body, want)
		}
	}
}
