package httpapi_test

import (
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"cyclone/pkg/cyclone"
)

var (
	asBob     = header{"Authorization", "Bearer " + userToken}
	asNobody  = header{"Authorization", ""}
	asForm    = header{"Content-Type", "application/x-www-form-urlencoded"}
	formValue = regexp.MustCompile(`name="(state|code)" value="([^"]*)"`)
)

// begin begins a login of bob's and returns what the forge sends back.
func (f *forgeFixture) begin() url.Values {
	f.t.Helper()
	var begun struct{ URL string }
	f.want(200, "POST", "/api/v1/scm/github/login", "", asBob).decode(f.t, &begun)
	browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	request, err := http.NewRequestWithContext(f.t.Context(), http.MethodGet, begun.URL, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	answer, err := browser.Do(request)
	if err != nil {
		f.t.Fatal(err)
	}
	_ = answer.Body.Close()
	back, err := url.Parse(answer.Header.Get("Location"))
	if err != nil || back.Path != "/api/v1/scm/github/callback" {
		f.t.Fatalf("sent back to %q", answer.Header.Get("Location"))
	}
	return back.Query()
}

// page checks that an answer is a page that can do nothing, and returns its text.
func (f *forgeFixture) page(a answer) string {
	f.t.Helper()
	policy := a.header.Get("Content-Security-Policy")
	for _, part := range []string{"default-src 'none'", "form-action 'self'", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, part) {
			f.t.Errorf("policy %q lacks %s", policy, part)
		}
	}
	if a.header.Get("Content-Type") != "text/html; charset=utf-8" || a.header.Get("Referrer-Policy") != "no-referrer" || a.header.Get("Cache-Control") != "no-store" {
		f.t.Errorf("headers %v", a.header)
	}
	for _, bad := range []string{"<script", "src=", "href=", "javascript:"} {
		if strings.Contains(a.body, bad) {
			f.t.Errorf("the page holds %s: %s", bad, a.body)
		}
	}
	return a.body
}

func (f *forgeFixture) callback(status int, q url.Values) string {
	f.t.Helper()
	return f.page(f.want(status, "GET", "/api/v1/scm/github/callback?"+q.Encode(), "", asNobody))
}

func (f *forgeFixture) confirm(status int, q url.Values, headers ...header) string {
	f.t.Helper()
	return f.page(f.want(status, "POST", "/api/v1/scm/github/callback", q.Encode(), append([]header{asNobody, asForm}, headers...)...))
}

// A user connects an account: the page asks in the user's name, and only its
// answer connects. The account is the user's alone, and a project uses it.
func TestLoginPages(t *testing.T) {
	f := newForgeFixture(t)
	back := f.begin()
	asked := f.callback(200, back)
	if !strings.Contains(asked, "<b>bob</b>") || !strings.Contains(asked, strings.TrimPrefix(f.forge.URL, "http://")) {
		t.Errorf("page: %s", asked)
	}
	form := url.Values{}
	for _, field := range formValue.FindAllStringSubmatch(asked, -1) {
		form.Set(field[1], html.UnescapeString(field[2]))
	}
	if f.accounts(asBob) != 0 {
		t.Error("connected without a confirmation")
	}
	if text := f.confirm(200, form, header{"Sec-Fetch-Site", "same-origin"}); !strings.Contains(text, "<b>alice</b>") || !strings.Contains(text, "<b>bob</b>") {
		t.Errorf("page: %s", text)
	}
	f.confirm(409, form)
	f.callback(409, back)
	f.useAccount()
}

func (f *forgeFixture) accounts(who header) int {
	f.t.Helper()
	var list cyclone.List[cyclone.Account]
	f.want(200, "GET", "/api/v1/scm/accounts", "", who).decode(f.t, &list)
	return len(list.Items)
}

// useAccount uses the account of bob's, and forgets it.
func (f *forgeFixture) useAccount() {
	t := f.t
	t.Helper()
	asEve := header{"Authorization", "Bearer another-users-token"}
	if f.accounts(asBob) != 1 || f.accounts(asEve) != 0 || f.accounts(header{"Authorization", "Bearer " + adminToken}) != 1 {
		t.Error("accounts are shown to others, or not to their owner")
	}
	f.want(200, "GET", "/api/v1/scm/github/repositories?account=github/alice", "", asBob)
	f.want(404, "GET", "/api/v1/scm/github/repositories?account=github/alice", "", asEve)
	if fields := f.want(400, "POST", "/api/v1/projects", f.body(`,"account":"github/alice"`, ""), asEve).fields(t); len(fields) != 1 || fields[0] != "repository.account" {
		t.Errorf("fields %v", fields)
	}
	var p projectAnswer
	f.want(201, "POST", "/api/v1/projects", f.body(`,"account":"github/alice"`, ""), asBob).decode(t, &p)
	if p.Connection == nil || p.Connection.Account != "alice" || p.Connection.HookID == "" || p.Repository.DefaultBranch != "develop" {
		t.Errorf("connection %+v", p.Connection)
	}
	f.want(200, "PATCH", "/api/v1/projects/orders", `{"description":"by another"}`, asEve) // what was there stays
	f.want(400, "PATCH", "/api/v1/projects/orders", `{"repository":{"url":"https://evil.example.com/a/b.git"}}`, asEve)
	var list cyclone.List[cyclone.Account]
	f.want(200, "GET", "/api/v1/scm/accounts", "", asBob).decode(t, &list)
	f.want(404, "DELETE", "/api/v1/scm/accounts/"+list.Items[0].ID, "", asEve)
	f.want(204, "DELETE", "/api/v1/scm/accounts/"+list.Items[0].ID, "", asBob)
	f.want(404, "DELETE", "/api/v1/scm/accounts/"+list.Items[0].ID, "", asBob)
	f.want(422, "POST", "/api/v1/projects/orders/connection", "", asBob)
}

// What goes wrong on the way is a page too, which shows nothing of what a
// stranger could have written into the address.
func TestLoginPagesOfTrouble(t *testing.T) {
	f := newForgeFixture(t)
	back := f.begin()
	denied := url.Values{"state": back["state"], "error": {"access_denied"}, "error_description": {"<b>call 555</b>"}}
	if text := f.callback(403, denied); !strings.Contains(text, "nothing was connected") || strings.Contains(text, "555") {
		t.Errorf("page: %s", text)
	}
	strange := url.Values{"state": back["state"], "error": {"<script>alert(1)</script>"}}
	if text := f.callback(403, strange); strings.Contains(text, "alert") {
		t.Errorf("page: %s", text)
	}
	f.callback(403, url.Values{"state": back["state"]}) // no code
	for _, state := range []string{"", "nonsense", strings.Repeat("x", 5000), "\xff"} {
		f.callback(400, url.Values{"state": {state}, "code": back["code"]})
	}
	if text := f.callback(200, url.Values{"state": back["state"], "code": {`"><script>alert(1)</script>`}}); strings.Contains(text, "<script>") {
		t.Errorf("page: %s", text)
	}
	f.confirm(403, back, header{"Sec-Fetch-Site", "cross-site"})
	f.confirm(400, url.Values{"state": back["state"]})
	f.confirm(413, url.Values{"state": back["state"], "code": {strings.Repeat("x", 20000)}})
	f.page(f.want(415, "POST", "/api/v1/scm/github/callback", `{"state":"x"}`, asNobody))
	f.confirm(403, url.Values{"state": back["state"], "code": {"another"}}) // uses the state up
	f.confirm(409, back)
	f.want(404, "POST", "/api/v1/scm/gitea/login", "", asBob)
	f.want(401, "POST", "/api/v1/scm/github/login", "", asNobody)
	f.want(400, "GET", "/api/v1/scm/github/callback?nonsense=1", "", asNobody)
}
