package httpapi_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"cyclone/pkg/connect"
	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest"
	"cyclone/pkg/cyclonetest/fakeforge"
	"cyclone/pkg/httpapi"
	"cyclone/pkg/scm/github"
)

const (
	forgeToken = "ghp_the0token0of0alice"
	appSecret  = "the-secret-of-the-app"
	userToken  = "a-users-token"
)

// forgeFixture is a server that is connected to a GitHub, which is strict.
type forgeFixture struct {
	*fixture
	forge *fakeforge.GitHub
	seen  []string // every body that was answered
}

func newForgeFixture(t *testing.T) *forgeFixture {
	t.Helper()
	f := &forgeFixture{forge: fakeforge.NewGitHub(t)}
	f.forge.AddUser("alice", forgeToken)
	f.forge.AddRepository(fakeforge.Repository{Name: "acme/orders", Private: true, DefaultBranch: "develop",
		Branches: []fakeforge.Ref{{Name: "develop", SHA: strings.Repeat("a", 40)}}, Roles: map[string]fakeforge.Role{"alice": fakeforge.Admin}})
	f.forge.AddRepository(fakeforge.Repository{Name: "acme/moved", Private: true, Roles: map[string]fakeforge.Role{"alice": fakeforge.Admin}})
	f.fixture = newFixture(t, func(s *httpapi.Server) {
		s.ExternalURL = "http://127.0.0.1:7099"
		s.Connector = &connect.Connector{
			Projects: s.Projects, Secrets: s.Secrets, Marks: cyclonetest.NewMemory().Marks, Sealer: s.Sealer,
			Drivers: map[string]connect.Driver{"github": &github.API{}}, ExternalURL: s.ExternalURL,
			Apps: []connect.OAuthApp{{SCM: "github", URL: f.forge.URL, ClientID: "app", ClientSecret: appSecret}},
			Now:  time.Now, Log: s.Log,
		}
	})
	f.forge.AddApp(fakeforge.App{ClientID: "app", Secret: appSecret, Login: "alice", RedirectURI: f.ExternalURL + "/api/v1/scm/github/callback"})
	t.Cleanup(func() {
		for _, text := range append(f.seen, f.log.String()) {
			for _, secret := range []string{forgeToken, appSecret, "oauth-"} {
				if strings.Contains(text, secret) {
					t.Errorf("%s is shown in: %s", secret, text)
				}
			}
		}
	})
	return f
}

func (f *forgeFixture) want(status int, method, path, body string, headers ...header) answer {
	f.t.Helper()
	a := f.fixture.want(status, method, path, body, headers...)
	f.seen = append(f.seen, a.body)
	return a
}

// body is a project "orders" with more in its repository, and more beside it.
func (f *forgeFixture) body(repository, more string) string {
	return `{"name":"orders","repository":{"type":"github","url":"` + f.forge.RepositoryURL("acme/orders") + `"` + repository + `}` + more + `}`
}

func (f *forgeFixture) hooks(name string) []fakeforge.Hook { return f.forge.Repository(name).Hooks }

// create creates the project with the token.
func (f *forgeFixture) create() projectAnswer {
	f.t.Helper()
	var p projectAnswer
	f.want(201, "POST", "/api/v1/projects", f.body(`,"token":"`+forgeToken+`"`, "")).decode(f.t, &p)
	return p
}

// A project with a token is checked, stored and connected in one call.
func TestCreateWithToken(t *testing.T) {
	f := newForgeFixture(t)
	p := f.create()
	if p.Repository.DefaultBranch != "develop" || p.Repository.Credential != "repository" || p.WebhookSecret == "" {
		t.Errorf("got %+v", p)
	}
	if p.Connection == nil || p.Connection.Account != "alice" || p.Connection.HookID == "" || len(p.Connection.Problems) != 0 {
		t.Errorf("connection %+v", p.Connection)
	}
	hooks := f.hooks("acme/orders")
	if len(hooks) != 1 || hooks[0].Secret != p.WebhookSecret || hooks[0].URL != p.WebhookURLs["github"] {
		t.Errorf("hooks %+v", hooks)
	}
	f.want(200, "GET", "/api/v1/projects/orders/secrets/repository", "")
	var shown cyclone.Connection
	f.want(200, "GET", "/api/v1/projects/orders/connection", "").decode(t, &shown)
	if shown.HookID != p.Connection.HookID {
		t.Errorf("shown %+v", shown)
	}
	f.want(409, "POST", "/api/v1/projects", f.body(`,"token":"`+forgeToken+`"`, ""))
	answer := f.want(200, "GET", "/api/v1/projects/orders", "")
	f.want(200, "PUT", "/api/v1/projects/orders", answer.body) // what is shown can be sent back
	if len(f.hooks("acme/orders")) != 1 {
		t.Errorf("hooks %+v", f.hooks("acme/orders"))
	}
}

// What is wrong with the repository or its token is found before anything is
// stored, and told with its field.
func TestCreateIsRefused(t *testing.T) {
	f := newForgeFixture(t)
	f.forge.AddToken(fakeforge.Token{Value: "ghp_stranger", Login: "mallory"})
	for _, tt := range []struct {
		name   string
		body   string
		fault  *fakeforge.Fault
		status int
		field  string
	}{
		{"wrong token", f.body(`,"token":"ghp_wrong"`, ""), nil, 422, "repository.token"},
		{"line ends", f.body(`,"token":"a\nhost=evil"`, ""), nil, 422, "repository.token"},
		{"a key", f.body(`,"token":"-----BEGIN OPENSSH PRIVATE KEY-----"`, ""), nil, 422, "repository.token"},
		{"not visible", f.body(`,"token":"ghp_stranger"`, ""), nil, 422, "repository.url"},
		{"not there", strings.Replace(f.body(`,"token":"`+forgeToken+`"`, ""), "acme/orders", "acme/nothing", 1), nil, 422, "repository.url"},
		{"forge down", f.body(`,"token":"`+forgeToken+`"`, ""), &fakeforge.Fault{Status: 502}, 503, ""},
		{"limited", f.body(`,"token":"`+forgeToken+`"`, ""), ptr(fakeforge.Answer(429, "slow down", "Retry-After", "17")), 503, ""},
		{"wrong fields first", f.body(`,"token":"`+forgeToken+`","hostKeys":["x"]`, `,"poll":"1s"`), nil, 400, "repository.hostKeys[0]"},
		{"too long", f.body(`,"token":"`+strings.Repeat("x", 70000)+`"`, ""), nil, 400, "repository.token"},
		{"not a text", f.body(`,"token":7`, ""), nil, 400, "repository.token"},
		{"an account", f.body(`,"account":"github/alice"`, ""), nil, 400, "repository.account"},
		{"no account", f.body(`,"account":"../../x"`, ""), nil, 400, "repository.account"},
		{"no such secret", f.body(`,"credential":"GONE"`, `,"connect":true`), nil, 422, "repository.credential"},
		{"connect without access", f.body("", `,"connect":true`), nil, 422, "repository.url"},
	} {
		f.Connector = fresh(f)
		if tt.fault != nil {
			f.forge.Inject(*tt.fault)
		}
		a := f.want(tt.status, "POST", "/api/v1/projects", tt.body)
		if fields := a.fields(t); tt.field != "" && (len(fields) == 0 || fields[0] != tt.field) {
			t.Errorf("%s: fields %v in %s", tt.name, fields, a.body)
		}
		if tt.name == "limited" && a.header.Get("Retry-After") != "17" {
			t.Errorf("Retry-After is %q", a.header.Get("Retry-After"))
		}
		f.forge.Heal()
		f.want(404, "GET", "/api/v1/projects/orders", "")
	}
	if len(f.hooks("acme/orders")) != 0 {
		t.Errorf("hooks %+v", f.hooks("acme/orders"))
	}
}

func ptr[T any](v T) *T { return &v }

// fresh is the fixture's connector without what its driver remembers of limits.
func fresh(f *forgeFixture) *connect.Connector {
	old, _ := f.Connector.(*connect.Connector)
	return &connect.Connector{Projects: old.Projects, Secrets: old.Secrets, Marks: old.Marks, Sealer: old.Sealer,
		Drivers: map[string]connect.Driver{"github": &github.API{}}, ExternalURL: old.ExternalURL, Apps: old.Apps, Now: old.Now, Log: old.Log}
}

// Without a token no forge is called; with connect set to false none is told.
func TestCreateWithoutConnecting(t *testing.T) {
	f := newForgeFixture(t)
	var p projectAnswer
	f.want(201, "POST", "/api/v1/projects", f.body("", "")).decode(t, &p)
	if p.Connection != nil || p.Repository.DefaultBranch != "main" || len(f.forge.Calls()) != 0 {
		t.Errorf("got %+v, %d calls", p.Connection, len(f.forge.Calls()))
	}
	f.want(404, "GET", "/api/v1/projects/orders/connection", "")
	f.want(404, "DELETE", "/api/v1/projects/orders/connection", "")
	f.want(204, "DELETE", "/api/v1/projects/orders", "")
	if len(f.forge.Calls()) != 0 {
		t.Errorf("%d calls", len(f.forge.Calls()))
	}
	f.want(201, "POST", "/api/v1/projects", f.body(`,"token":"`+forgeToken+`","credential":"FORGE"`, `,"connect":false`)).decode(t, &p)
	if p.Connection != nil || p.Repository.DefaultBranch != "develop" || len(f.hooks("acme/orders")) != 0 {
		t.Errorf("got %+v", p)
	}
	f.want(200, "GET", "/api/v1/projects/orders/secrets/FORGE", "")
}

// A hook that cannot be made does not keep the project from being created; the
// answer says what is missing.
func TestCreateWithProblems(t *testing.T) {
	f := newForgeFixture(t)
	f.forge.AddToken(fakeforge.Token{Value: "ghp_weak", Login: "alice", Scopes: []string{"repo:status", "repo_deployment"}})
	f.forge.Change("acme/orders", func(r *fakeforge.Repository) { r.Private = false })
	var p projectAnswer
	f.want(201, "POST", "/api/v1/projects", f.body(`,"token":"ghp_weak"`, "")).decode(t, &p)
	if p.Connection == nil || len(p.Connection.Problems) != 1 || !strings.Contains(p.Connection.Problems[0], "admin:repo_hook") {
		t.Fatalf("connection %+v", p.Connection)
	}
	var c cyclone.Connection
	f.want(200, "POST", "/api/v1/projects/orders/connection", `{"token":"`+forgeToken+`"}`).decode(t, &c)
	if len(c.Problems) != 0 || len(f.hooks("acme/orders")) != 1 {
		t.Errorf("repaired: %+v", c)
	}
}

func TestRepairAndDisconnect(t *testing.T) {
	f := newForgeFixture(t)
	f.create()
	f.forge.Change("acme/orders", func(r *fakeforge.Repository) { r.Hooks = nil })
	for _, body := range []string{"", "{}", `{"token":""}`} {
		f.want(200, "POST", "/api/v1/projects/orders/connection", body)
		if len(f.hooks("acme/orders")) != 1 {
			t.Errorf("%q: hooks %+v", body, f.hooks("acme/orders"))
		}
	}
	if fields := f.want(422, "POST", "/api/v1/projects/orders/connection", `{"token":"ghp_wrong"}`).fields(t); !slices.Equal(fields, []string{"repository.token"}) {
		t.Errorf("fields %v", fields)
	}
	f.want(400, "POST", "/api/v1/projects/orders/connection", `{"tokken":"x"}`)
	f.forge.Inject(fakeforge.Answer(403, "Resource not accessible by personal access token"))
	f.want(422, "POST", "/api/v1/projects/orders/connection", "")
	f.want(422, "DELETE", "/api/v1/projects/orders/connection", "")
	f.forge.Heal()
	f.want(200, "GET", "/api/v1/projects/orders/connection", "")
	f.want(204, "DELETE", "/api/v1/projects/orders/connection", "")
	f.want(404, "GET", "/api/v1/projects/orders/connection", "")
	if len(f.hooks("acme/orders")) != 0 {
		t.Errorf("hooks %+v", f.hooks("acme/orders"))
	}
	f.want(404, "POST", "/api/v1/projects/nothing/connection", "")
}

// The webhook follows what it was made of: a new secret, a new repository, a
// new token.
func TestChangesReachTheHook(t *testing.T) {
	f := newForgeFixture(t)
	f.create()
	var p projectAnswer
	f.want(200, "PATCH", "/api/v1/projects/orders", `{"webhookSecret":"another"}`).decode(t, &p)
	if hooks := f.hooks("acme/orders"); p.Connection == nil || hooks[0].Secret != "another" {
		t.Errorf("hooks %+v", hooks)
	}
	f.want(200, "PATCH", "/api/v1/projects/orders", `{"repository":{"url":"`+f.forge.RepositoryURL("acme/moved")+`"}}`).decode(t, &p)
	if len(f.hooks("acme/orders")) != 0 || len(f.hooks("acme/moved")) != 1 {
		t.Errorf("moved: %+v, %+v", f.hooks("acme/orders"), f.hooks("acme/moved"))
	}
	f.forge.AddUser("alice", "ghp_second")
	f.want(200, "PATCH", "/api/v1/projects/orders", `{"repository":{"token":"ghp_second"}}`).decode(t, &p)
	calls := f.forge.Calls()
	if last := calls[len(calls)-1]; p.Connection == nil || last.Token != "ghp_second" {
		t.Errorf("the last call was %+v", last)
	}
	before := len(calls)
	var plain projectAnswer
	f.want(200, "PATCH", "/api/v1/projects/orders", `{"description":"Takes orders"}`).decode(t, &plain)
	if plain.Connection != nil || len(f.forge.Calls()) != before {
		t.Error("a change that has nothing to do with the forge called it")
	}
	if fields := f.want(422, "PATCH", "/api/v1/projects/orders", `{"description":"no","repository":{"token":"ghp_wrong"}}`).fields(t); !slices.Equal(fields, []string{"repository.token"}) {
		t.Errorf("fields %v", fields)
	}
	f.want(200, "GET", "/api/v1/projects/orders", "").decode(t, &p)
	if p.Description != "Takes orders" {
		t.Errorf("a refused change was made: %q", p.Description)
	}
}

// Deleting a project removes its hook, and a forge that is gone keeps no
// project from going.
func TestDeletionRemovesTheHook(t *testing.T) {
	f := newForgeFixture(t)
	f.create()
	f.want(204, "DELETE", "/api/v1/projects/orders", "")
	if len(f.hooks("acme/orders")) != 0 {
		t.Errorf("hooks %+v", f.hooks("acme/orders"))
	}
	f.Connector = fresh(f)
	f.want(201, "POST", "/api/v1/projects", strings.Replace(f.body(`,"token":"`+forgeToken+`"`, ""), `"orders"`, `"other"`, 1))
	f.forge.Inject(fakeforge.Fault{Status: 503})
	f.want(204, "DELETE", "/api/v1/projects/other", "")
	if !strings.Contains(f.log.String(), "webhook could not be removed") {
		t.Error("nothing is logged of the hook that stays")
	}
}

func TestListsOfForges(t *testing.T) {
	f := newForgeFixture(t)
	f.create()
	for path, want := range map[string]string{
		"repositories?project=orders":             `"name":"acme/orders"`,
		"repositories?project=orders&query=MOVED": `"name":"acme/moved"`,
		"branches?project=orders":                 `"name":"develop"`,
		"tags?project=orders":                     `"items":[]`,
	} {
		if a := f.want(200, "GET", "/api/v1/scm/github/"+path, ""); !strings.Contains(a.body, want) {
			t.Errorf("%s: %s", path, a.body)
		}
	}
	for path, status := range map[string]int{
		"github/repositories":                                              400,
		"github/repositories?project=orders&account=x":                     400,
		"github/branches?account=github/alice":                             400,
		"github/branches?project=nothing":                                  404,
		"github/repositories?account=github/alice":                         404,
		"gitlab/branches?project=orders":                                   400,
		"nonsense/branches?project=orders":                                 400,
		"github/branches?project=orders&cursor=nonsense":                   400,
		"github/branches?project=orders&limit=1000":                        400,
		"github/branches?project=orders&query=%00":                         400,
		"github/branches?project=orders&query=" + strings.Repeat("x", 201): 400,
	} {
		f.want(status, "GET", "/api/v1/scm/"+path, "")
	}
	f.want(204, "DELETE", "/api/v1/projects/orders/secrets/repository", "")
	if fields := f.want(422, "GET", "/api/v1/scm/github/branches?project=orders", "").fields(t); !slices.Equal(fields, []string{"repository.credential"}) {
		t.Errorf("fields %v", fields)
	}
}

// What belongs to forges is checked with the project.
func TestForgeFieldsOfProjects(t *testing.T) {
	f := newFixture(t)
	create := func(kind, repository, more string) string {
		return `{"name":"p","repository":{"type":"` + kind + `","url":"https://example.com/a/b"` + repository + `}` + more + `}`
	}
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
	for _, tt := range []struct {
		body   string
		status int
		field  string
	}{
		{create("git", "", `,"poll":"59s"`), 400, "poll"},
		{create("git", "", `,"poll":"25h"`), 400, "poll"},
		{create("git", "", `,"poll":"-5m"`), 400, "poll"},
		{create("git", `,"hostKeys":["`+key+`","ssh-rsa nonsense"]`, ""), 400, "repository.hostKeys[1]"},
		{create("git", `,"hostKeys":["host.example.com `+key+`"]`, ""), 400, "repository.hostKeys[0]"},
		{create("git", `,"hostKeys":["`+key+`\n`+key+`"]`, ""), 400, "repository.hostKeys[0]"},
		{create("git", `,"hostKeys":["command=\"x\" `+key+`"]`, ""), 400, "repository.hostKeys[0]"},
		{create("git", `,"hostKeys":[`+strings.Repeat(`"`+key+`",`, 20)+`"`+key+`"]`, ""), 400, "repository.hostKeys"},
		{create("github", `,"account":"alice"`, ""), 400, "repository.account"},
		{create("github", "", `,"triggers":{"pullRequest":{"enabled":true,"paths":["["]}}`), 400, "triggers.pullRequest.paths[0]"},
		{create("gitea", "", `,"triggers":{"pullRequest":{"enabled":true,"merge":true}}`), 422, "triggers.pullRequest.merge"},
		{create("svn", "", `,"triggers":{"pullRequest":{"enabled":true,"merge":true}}`), 422, "triggers.pullRequest.merge"},
		{create("svn", "", `,"notifications":{"comment":{"enabled":true}}`), 400, "notifications.comment.enabled"},
		{create("git", "", `,"triggers":{"cron":[{"schedule":"0 0 31 2 *","timezone":"Local"}]}`), 400, "triggers.cron[0].schedule"},
		{create("git", "", `,"connect":"yes"`), 400, "connect"},
	} {
		a := f.want(tt.status, "POST", "/api/v1/projects", tt.body)
		if fields := a.fields(t); len(fields) == 0 || fields[0] != tt.field {
			t.Errorf("%s: fields %v", tt.body, fields)
		}
	}
	var p projectAnswer
	f.want(201, "POST", "/api/v1/projects", create("gitlab", `,"hostKeys":["`+key+`"]`,
		`,"poll":"5m","triggers":{"pullRequest":{"enabled":true,"merge":true,"paths":["src/**"]}},"notifications":{"comment":{"enabled":true}}`)).decode(t, &p)
	if p.Poll.String() != "5m" || !p.Triggers.PullRequest.Merge || !p.Notifications.Comment.Enabled || len(p.Repository.HostKeys) != 1 {
		t.Errorf("got %+v", p)
	}
	f.want(201, "POST", "/api/v1/projects", strings.Replace(create("svn", "", ""), `"p"`, `"s"`, 1)).decode(t, &p)
	if p.Repository.DefaultBranch != "trunk" {
		t.Errorf("default branch of svn: %q", p.Repository.DefaultBranch)
	}
}

// A server without a connector says so.
func TestNoConnector(t *testing.T) {
	f := newFixture(t)
	f.project("orders")
	for _, c := range [][2]string{
		{"POST", "/api/v1/projects/orders/connection"}, {"GET", "/api/v1/scm/accounts"}, {"POST", "/api/v1/scm/github/login"},
		{"GET", "/api/v1/scm/github/branches?project=orders"}, {"GET", "/api/v1/scm/github/callback?state=x&code=y"},
	} {
		if a := f.want(http.StatusServiceUnavailable, c[0], c[1], ""); !strings.Contains(a.body, "does not connect repositories") && !strings.Contains(a.body, "This server does not") {
			t.Errorf("%s: %s", c[1], a.body)
		}
	}
	f.want(503, "POST", "/api/v1/projects", `{"name":"p","repository":{"type":"git","url":"https://example.com/a/b","token":"x"}}`)
	f.want(404, "GET", "/api/v1/projects/p", "")
}
