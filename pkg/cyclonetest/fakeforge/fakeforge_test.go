package fakeforge_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"cyclone/pkg/cyclonetest/fakeforge"
)

const token = "ghp_tok"

// hub is a GitHub with one repository.
func hub(t *testing.T) *fakeforge.GitHub {
	t.Helper()
	f := fakeforge.NewGitHub(t)
	f.AddUser("robot", token)
	f.AddRepository(fakeforge.Repository{Name: "acme/orders", Private: true, Roles: map[string]fakeforge.Role{"robot": fakeforge.Admin}, Commits: []string{"abc"}})
	return f
}

// ask makes a call with the headers that GitHub wants, changed by pairs.
func ask(t *testing.T, f *fakeforge.Forge, method, path, body string, headers ...string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, f.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	all := append([]string{
		"Authorization", "Bearer " + token, "Accept", "application/vnd.github+json", "X-GitHub-Api-Version", "2022-11-28",
		"User-Agent", "test", "Content-Type", "application/json",
	}, headers...)
	for i := 0; i < len(all); i += 2 {
		request.Header.Set(all[i], all[i+1])
	}
	answer, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text) + answer.Header.Get("Location")
}

// What the documentation does not know is refused or noted, or both.
func TestViolations(t *testing.T) {
	t.Parallel()
	const statuses, hooks = "/api/v3/repos/acme/orders/statuses/abc", "/api/v3/repos/acme/orders/hooks"
	const good = `{"state":"success","context":"c"}`
	for _, c := range []struct {
		name, method, path, body string
		headers                  []string
		status                   int
		says                     string
	}{
		{"good", "POST", statuses, good, nil, 201, ""},
		{"unknown path", "GET", "/api/v3/repos/acme/orders/status", "", nil, 404, "path known: false"},
		{"unknown method", "DELETE", statuses, "", nil, 404, "path known: true"},
		{"unescaped name", "GET", "/api/v3/repos/acme/orders/collaborators/a/b/permission", "", nil, 404, "not in the documentation"},
		{"unknown parameter", "GET", hooks + "?limit=3", "", nil, 422, `parameter "limit"`},
		{"too large a page", "GET", hooks + "?per_page=101", "", nil, 200, "per_page is 101"},
		{"unknown field", "POST", statuses, `{"state":"success","colour":"red"}`, nil, 422, "colour is no documented field"},
		{"missing field", "POST", statuses, `{"context":"c"}`, nil, 422, "state is missing"},
		{"wrong type", "POST", statuses, `{"state":1}`, nil, 422, "state is 1, not a string"},
		{"wrong word", "POST", statuses, `{"state":"running"}`, nil, 422, "not included"},
		{"too long", "POST", statuses, `{"state":"error","description":"` + strings.Repeat("é", 141) + `"}`, nil, 422, "maximum is 140"},
		{"deep field", "POST", hooks, `{"config":{"url":"https://a.example.com","insecure_ssl":true}}`, nil, 422, "config.insecure_ssl"},
		{"unknown event", "POST", hooks, `{"config":{"url":"https://a.example.com"},"events":["push","pushes"]}`, nil, 422, "pushes"},
		{"no JSON", "POST", statuses, `state=success`, nil, 400, "no JSON"},
		{"body of a GET", "GET", hooks, `{}`, nil, 200, "has a body"},
		{"no address", "POST", statuses, `{"state":"success","target_url":"javascript:x"}`, nil, 201, "no address"},
		{"content type", "POST", statuses, good, []string{"Content-Type", "text/plain"}, 201, "Content-Type"},
		{"accept", "POST", statuses, good, []string{"Accept", "*/*"}, 201, "Accept is"},
		{"version", "POST", statuses, good, []string{"X-GitHub-Api-Version", ""}, 201, "X-GitHub-Api-Version"},
		{"agent", "POST", statuses, good, []string{"User-Agent", ""}, 201, "User-Agent"},
		{"scheme", "POST", statuses, good, []string{"Authorization", "Basic eDp5"}, 401, "no documented form"},
		{"bad token", "POST", statuses, good, []string{"Authorization", "Bearer other"}, 401, ""},
		{"no token", "POST", statuses, good, []string{"Authorization", ""}, 401, ""},
		{"unknown commit", "POST", statuses + "d", good, nil, 422, ""},
		{"unknown repository", "GET", "/api/v3/repos/acme/none", "", nil, 404, ""},
	} {
		f := hub(t)
		status, _ := ask(t, f.Forge, c.method, c.path, c.body, c.headers...)
		got := strings.Join(f.Violations(), "\n")
		f.ForgetViolations()
		if status != c.status || (got == "") != (c.says == "") || !strings.Contains(got, c.says) {
			t.Errorf("%s: %d, violations %q; want %d that say %q", c.name, status, got, c.status, c.says)
		}
		if calls := f.Calls(); len(calls) != 1 || calls[0].Status != c.status || calls[0].Method != c.method || calls[0].Body != c.body {
			t.Errorf("%s: calls %+v", c.name, calls)
		}
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	f := hub(t)
	const path = "/api/v3/repos/acme/orders"
	f.Inject(
		fakeforge.Fault{Method: "POST", Status: 500},
		fakeforge.Fault{Path: "/hooks", Times: 2, Status: 503},
		fakeforge.HTML(200),
	)
	for _, want := range []int{503, 503, 200, 200} {
		if status, _ := ask(t, f.Forge, "GET", path+"/hooks", ""); status != want {
			t.Errorf("%d, want %d", status, want)
		}
	}
	if status, body := ask(t, f.Forge, "GET", path, ""); status != 200 || !strings.Contains(body, "<html>") {
		t.Errorf("%d %s", status, body)
	}
	f.Heal()
	hold, reached := make(chan struct{}), make(chan struct{}, 1)
	f.Inject(fakeforge.Fault{Wait: hold, Reached: reached})
	go func() {
		<-reached
		close(hold)
	}()
	if status, body := ask(t, f.Forge, "GET", path, ""); status != 200 || !strings.Contains(body, `"full_name":"acme/orders"`) {
		t.Errorf("after the wait: %d %s", status, body)
	}
}

// The OAuth flow as a client does it, with what must not work in between.
func TestOAuth(t *testing.T) {
	t.Parallel()
	f := hub(t)
	const back = "https://ci.example.com/back"
	f.AddApp(fakeforge.App{ClientID: "id", Secret: "secret", RedirectURI: back, Login: "alice", Lasts: time.Hour})
	verifier := strings.Repeat("v", 50)
	sum := sha256.Sum256([]byte(verifier))
	authorize := url.Values{
		"client_id": {"id"}, "redirect_uri": {back}, "state": {"st&te"}, "scope": {"repo admin:repo_hook"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	code := func() string {
		status, location := ask(t, f.Forge, "GET", "/login/oauth/authorize?"+authorize.Encode(), "")
		u, err := url.Parse(location)
		if status != http.StatusFound || err != nil || !strings.HasPrefix(location, back) || u.Query().Get("state") != "st&te" || u.Query().Get("code") == "" {
			t.Fatalf("authorize: %d %s", status, location)
		}
		return u.Query().Get("code")
	}
	exchange := func(values url.Values) map[string]any {
		_, body := ask(t, f.Forge, "POST", "/login/oauth/access_token", values.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Accept", "application/json")
		var said map[string]any
		if err := json.Unmarshal([]byte(body), &said); err != nil {
			t.Fatal(err)
		}
		return said
	}
	form := func(change ...string) url.Values {
		v := url.Values{"client_id": {"id"}, "client_secret": {"secret"}, "redirect_uri": {back}, "code_verifier": {verifier}}
		for i := 0; i < len(change); i += 2 {
			v.Set(change[i], change[i+1])
		}
		return v
	}
	first := code()
	for _, wrong := range []url.Values{form("code", "other"), form("code", first, "code_verifier", "x"), form("code", first, "client_secret", "x"), form("code", first, "redirect_uri", "x")} {
		if said := exchange(wrong); said["error"] == nil || said["access_token"] != nil {
			t.Errorf("%v: %v", wrong, said)
		}
	}
	said := exchange(form("code", first))
	access, _ := said["access_token"].(string)
	refresh, _ := said["refresh_token"].(string)
	if access == "" || refresh == "" || said["expires_in"] != 3600.0 || said["token_type"] != "bearer" {
		t.Fatalf("exchange: %v", said)
	}
	if again := exchange(form("code", first)); again["error"] != "bad_verification_code" {
		t.Errorf("the same code again: %v", again)
	}
	if status, body := ask(t, f.Forge, "GET", "/api/v3/user", "", "Authorization", "Bearer "+access); status != 200 || !strings.Contains(body, `"login":"alice"`) {
		t.Errorf("user: %d %s", status, body)
	}
	next := exchange(form("grant_type", "refresh_token", "refresh_token", refresh))
	if next["access_token"] == nil || next["access_token"] == access || next["refresh_token"] == refresh {
		t.Errorf("refresh: %v", next)
	}
	if again := exchange(form("grant_type", "refresh_token", "refresh_token", refresh)); again["error"] != "bad_refresh_token" {
		t.Errorf("the same refresh token again: %v", again)
	}
	if status, _ := ask(t, f.Forge, "GET", "/api/v3/user", "", "Authorization", "Bearer "+access); status != 401 {
		t.Errorf("the refreshed token still works: %d", status)
	}
	if got := f.Violations(); len(got) != 0 {
		t.Errorf("violations: %v", got)
	}
	authorize.Set("redirect_uri", "https://evil.example.com/")
	if status, _ := ask(t, f.Forge, "GET", "/login/oauth/authorize?"+authorize.Encode(), ""); status != 404 || len(f.Violations()) != 1 {
		t.Errorf("another address to go back to: %d, %v", status, f.Violations())
	}
	f.ForgetViolations()
}

// What is not of the API is the git server's.
func TestGitAtTheSameAddress(t *testing.T) {
	t.Parallel()
	f, err := fakeforge.StartGitHub(fakeforge.Options{Git: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "git "+r.URL.RequestURI())
	})})
	if err != nil {
		t.Fatal(err)
	}
	f.CloseWith(t)
	if status, body := ask(t, f.Forge, "GET", "/acme/orders.git/info/refs?service=git-upload-pack", ""); status != 200 || body != "git /acme/orders.git/info/refs?service=git-upload-pack" {
		t.Errorf("%d %s", status, body)
	}
	if status, _ := ask(t, f.Forge, "GET", "/api/v3/repos/acme/orders", "", "Authorization", ""); status != 404 {
		t.Errorf("the API: %d", status)
	}
}
