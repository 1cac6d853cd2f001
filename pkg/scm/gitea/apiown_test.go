package gitea_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/fakeforge"
	"cyclone/pkg/scm/gitea"
)

const (
	apiToken = "8e2c1f0d9b7a6c5d4e3f2a1b0c9d8e7f6a5b4c3d"
	oldSHA   = "0123456789012345678901234567890123456789"
	newSHA   = "abcdefabcdefabcdefabcdefabcdefabcdefabcd"
)

// tea is a Gitea with one repository, where robot may all, and its API.
func tea(t *testing.T) (*fakeforge.Gitea, *gitea.API, cyclone.ForgeAccess) {
	t.Helper()
	f := fakeforge.NewGitea(t)
	f.AddUser("robot", apiToken)
	f.AddRepository(fakeforge.Repository{
		Name: "acme/orders", Roles: map[string]fakeforge.Role{"robot": fakeforge.Admin, "alice": fakeforge.Write},
		PullRequests: []fakeforge.PullRequest{{Number: 7, Title: "Pay", SHA: newSHA, Source: "pay", Target: "main", Author: "alice", Fork: true}},
	})
	return f, &gitea.API{}, with(f, apiToken)
}

func with(f *fakeforge.Gitea, token string) cyclone.ForgeAccess {
	return cyclone.ForgeAccess{URL: f.RepositoryURL("acme/orders"), Credential: cyclone.Credential{Password: token, Holder: `secret "forge"`}}
}

// recorded answers every call without a network.
type recorded struct {
	urls []string
	body string // of the last call
}

func (r *recorded) RoundTrip(q *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(q.Body)
	r.urls, r.body = append(r.urls, q.URL.String()), string(body)
	return &http.Response{StatusCode: 201, Body: io.NopCloser(strings.NewReader(`{"id":1}`)), Header: http.Header{}, Request: q}, err
}

func TestAPIOfEachAddress(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"https://gitea.com/acme/orders.git":                "https://gitea.com/api/v1",
		"git@gitea.example.com:acme/orders.git":            "https://gitea.example.com/api/v1",
		"ssh://git@gitea.example.com:2222/acme/orders.git": "https://gitea.example.com/api/v1",
		"https://gitea.example.com:8443/acme/orders/":      "https://gitea.example.com:8443/api/v1",
		"http://gitea.example.com:3000/acme/orders":        "http://gitea.example.com:3000/api/v1",
		"https://example.com/tools/git/acme/orders.git":    "https://example.com/tools/git/api/v1",
		"https://user:pass@gitea.example.com/acme/orders":  "https://gitea.example.com/api/v1",
		"git@gitea.example.com:tools/acme/orders.git":      "",
		"https://gitea.example.com/acme/%2e%2e/orders":     "",
		"https://gitea.example.com/../acme/orders":         "",
		"https://gitea.example.com/acme/.git":              "",
		"https://gitea.example.com/a%20b/orders":           "",
	} {
		r := &recorded{}
		api := gitea.API{Client: &http.Client{Transport: r}}
		err := api.SetStatus(t.Context(), cyclone.ForgeAccess{URL: url}, newSHA, cyclone.CommitStatus{State: cyclone.CommitPending, Context: "cyclone/orders"})
		if want == "" {
			if !errors.Is(err, cyclone.ErrInvalid) || r.urls != nil {
				t.Errorf("%s: %v, calls %v; want ErrInvalid and none", url, err, r.urls)
			}
			continue
		}
		if diff := cmp.Diff([]string{want + "/repos/acme/orders/statuses/" + newSHA}, r.urls); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", url, err, diff)
		}
	}
}

func TestListsOfEachAddress(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"https://gitea.com":                  "https://gitea.com/api/v1/repos/search?limit=50&page=1",
		"https://example.com:8443/git/":      "https://example.com:8443/git/api/v1/repos/search?limit=50&page=1",
		"https://gitea.com/acme/orders":      "https://gitea.com/api/v1/repos/search?limit=50&page=1",
		"git@gitea.com:acme/orders.git":      "https://gitea.com/api/v1/repos/search?limit=50&page=1",
		"gitea.com":                          "",
		"ftp://gitea.com":                    "",
		"https://gitea.com/..":               "",
		"https://":                           "",
		"https://gitea.com/a%3Fb/?x=1#y":     "",
		"http://gitea.com:99999999/%zz/acme": "",
	} {
		r := &recorded{}
		api := gitea.API{Client: &http.Client{Transport: r}}
		_, err := api.Repositories(t.Context(), cyclone.ForgeAccess{URL: url}, "", cyclone.Page{})
		if want == "" {
			if !errors.Is(err, cyclone.ErrInvalid) || r.urls != nil {
				t.Errorf("%s: %v, calls %v; want ErrInvalid and none", url, err, r.urls)
			}
			continue
		}
		if diff := cmp.Diff([]string{want}, r.urls); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", url, err, diff)
		}
	}
}

// What Gitea says of two commits is the whole difference only when the one
// comes from the other and every commit tells its files.
func TestComparisonsThatDoNotTellAll(t *testing.T) {
	t.Parallel()
	between, elsewhere := strings.Repeat("7", 40), strings.Repeat("8", 40)
	for _, c := range []struct {
		name, body string
		want       []string
	}{
		{
			"a merge", `{"total_commits":3,"commits":[
				{"parents":[{"sha":"` + between + `"},{"sha":"` + elsewhere + `"}],"files":[]},
				{"parents":[{"sha":"` + elsewhere + `"}],"files":[{"filename":"b"}]},
				{"parents":[{"sha":"` + oldSHA + `"}],"files":[{"filename":"a"},{"filename":"b"}]}]}`, []string{"a", "b"},
		},
		{"an empty commit", `{"total_commits":1,"commits":[{"parents":[{"sha":"` + oldSHA + `"}],"files":[]}]}`, []string{}},
		{"backwards", `{"total_commits":0,"commits":[]}`, nil},
		{"from elsewhere", `{"total_commits":1,"commits":[{"parents":[{"sha":"` + elsewhere + `"}],"files":[{"filename":"a"}]}]}`, nil},
		{"no files", `{"total_commits":1,"commits":[{"parents":[{"sha":"` + oldSHA + `"}],"files":null}]}`, nil},
		{"cut off", `{"total_commits":2,"commits":[{"parents":[{"sha":"` + oldSHA + `"}],"files":[{"filename":"a"}]}]}`, nil},
		{"nothing", `{}`, nil},
	} {
		f, api, a := tea(t)
		f.Inject(fakeforge.Fault{Path: "/compare/", Status: 200, Body: c.body})
		got, err := api.Changed(t.Context(), a, oldSHA, newSHA, 0)
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", c.name, err, diff)
		}
	}
	f, api, a := tea(t)
	if got, err := api.Changed(t.Context(), a, newSHA, newSHA, 0); err != nil || got == nil || len(got) != 0 {
		t.Errorf("the same commit: %v, %v; want an empty list, which is not an unknown one", got, err)
	}
	// A Gitea that cannot compare has no such page.
	if got, err := api.Changed(t.Context(), a, oldSHA, newSHA, 0); err != nil || got != nil {
		t.Errorf("an old one: %v, %v; want nil", got, err)
	}
	a.URL = f.RepositoryURL("acme/none")
	if _, err := api.Changed(t.Context(), a, oldSHA, newSHA, 0); !errors.Is(err, cyclone.ErrNotFound) {
		t.Errorf("no repository: %v, want ErrNotFound", err)
	}
}

// The list of tags says how many there are, but not where the rest is; some
// servers have smaller pages than they are asked for.
func TestPagesOfTags(t *testing.T) {
	t.Parallel()
	f, api, a := tea(t)
	for _, n := range []int{0, 1, 50, 51, 100, 123} {
		f.Change("acme/orders", func(r *fakeforge.Repository) {
			r.Tags = nil
			for i := range n {
				r.Tags = append(r.Tags, fakeforge.Ref{Name: fmt.Sprintf("v%03d", i), SHA: newSHA})
			}
		})
		f.ForgetCalls()
		names := allTags(t, api, a, cyclone.Page{Limit: 100})
		if len(names) != n || len(f.Calls()) != max((n+49)/50, 1) {
			t.Errorf("%d of %d tags in %d calls", len(names), n, len(f.Calls()))
		}
	}
	small := small{size: 10, total: 45}
	server := httptest.NewServer(small)
	defer server.Close()
	a.URL = server.URL + "/acme/orders"
	if names := allTags(t, api, a, cyclone.Page{}); len(names) != 45 || names[44] != "v044" {
		t.Errorf("of small pages: %v", names)
	}
	list, err := api.Tags(t.Context(), a, "44", cyclone.Page{})
	if err != nil || len(list.Items) != 1 || list.Items[0].Name != "v044" || list.Next != "" {
		t.Errorf("found on the last of small pages: %+v, %v", list, err)
	}
}

// allTags follows a list to its end.
func allTags(t *testing.T, api *gitea.API, a cyclone.ForgeAccess, p cyclone.Page) []string {
	t.Helper()
	var names []string
	for range 20 {
		list, err := api.Tags(t.Context(), a, "", p)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range list.Items {
			if one.Commit != newSHA {
				t.Errorf("%s is at %q, not at its commit", one.Name, one.Commit)
			}
			names = append(names, one.Name)
		}
		if p.Cursor = list.Next; p.Cursor == "" {
			return names
		}
	}
	t.Fatal("the list has no end")
	return nil
}

// small is a Gitea whose administrator allows few items on a page.
type small struct{ size, total int }

func (s small) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var page int
	if _, err := fmt.Sscan(r.URL.Query().Get("page"), &page); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var items []string
	for i := (page - 1) * s.size; i < min(page*s.size, s.total); i++ {
		items = append(items, fmt.Sprintf(`{"name":"v%03d","id":%q,"commit":{"sha":%q}}`, i, oldSHA, newSHA))
	}
	w.Header().Set("X-Total-Count", fmt.Sprint(s.total))
	_, _ = io.WriteString(w, "["+strings.Join(items, ",")+"]") // the caller may have gone
}

// A token that may not say whose it is does what it may, and no more: it never
// takes a comment of somebody for its own, nor writes one beside the other.
func TestTokenWithoutUser(t *testing.T) {
	t.Parallel()
	f, api, _ := tea(t)
	f.AddUser("robot", "narrow", "write:repository", "write:issue")
	a := with(f, "narrow")
	info, err := api.Repository(t.Context(), a)
	if err != nil || info.Account != "" || !info.MayPush || !info.MayAdmin {
		t.Errorf("Repository = %+v, %v", info, err)
	}
	list, err := api.Repositories(t.Context(), a, "", cyclone.Page{})
	if err != nil || len(list.Items) != 1 {
		t.Errorf("Repositories = %+v, %v", list, err)
	}
	const marker = "<!-- m -->"
	if err := api.PutComment(t.Context(), a, 7, marker, marker+"\nfirst"); err != nil {
		t.Error(err)
	}
	err = api.PutComment(t.Context(), a, 7, marker, marker+"\nsecond")
	if !errors.Is(err, cyclone.ErrForbidden) || !strings.Contains(err.Error(), "read:user") {
		t.Errorf("over the first: %v, want ErrForbidden that names read:user", err)
	}
	if all := f.Repository("acme/orders").Comments; len(all) != 1 || all[0].Text != marker+"\nfirst" {
		t.Errorf("comments are %+v", all)
	}
}

// A query finds parts of names with their owners, whatever else they mean to
// Gitea.
func TestRepositoriesByOwner(t *testing.T) {
	t.Parallel()
	f, api, a := tea(t)
	f.AddRepository(fakeforge.Repository{Name: "robot/tools", Roles: map[string]fakeforge.Role{"robot": fakeforge.Admin}})
	for query, want := range map[string]int{"acme": 1, "ME/OR": 1, "o": 2, "orders,tools": 0, "acme/tools": 0} {
		list, err := api.Repositories(t.Context(), a, query, cyclone.Page{})
		if err != nil || len(list.Items) != want {
			t.Errorf("%q: %+v, %v; want %d", query, list, err, want)
		}
	}
}

// Only who administers a repository is told about others there.
func TestRolesAreForAdministrators(t *testing.T) {
	t.Parallel()
	f, api, _ := tea(t)
	f.AddUser("alice", "alices")
	_, err := api.MayWrite(t.Context(), with(f, "alices"), "robot")
	if !errors.Is(err, cyclone.ErrForbidden) || !strings.Contains(err.Error(), "somebody who administers the repository") {
		t.Errorf("MayWrite = %v", err)
	}
	if may, err := api.MayWrite(t.Context(), with(f, apiToken), "ACME"); err != nil || may {
		t.Errorf("nobody by that name: %v, %v", may, err)
	}
}

// Before it had a field for drafts, Gitea knew them by their title; and a fork
// that is gone is a fork.
func TestOldPullRequests(t *testing.T) {
	t.Parallel()
	f, api, a := tea(t)
	f.Inject(fakeforge.Fault{Path: "/pulls/7", Status: 200, Body: `{"number":7,"title":"WIP: pay","state":"closed","html_url":"",
		"head":{"label":"pay","ref":"refs/pull/7/head","sha":"` + newSHA + `","repo_id":0,"repo":null},"base":{"label":"main","ref":"main","repo_id":1}}`})
	got, err := api.PullRequest(t.Context(), a, 7)
	if err != nil || !got.Draft || got.Open || !got.Fork || got.TargetBranch != "main" || got.Head.URL != "" || got.Ref != "refs/pull/7/head" {
		t.Errorf("PullRequest = %+v, %v", got, err)
	}
	f.Heal()
	f.Inject(fakeforge.Fault{Path: "/pulls/7", Status: 200, Body: `{"number":8,"head":{"sha":"` + newSHA + `"}}`})
	if _, err := api.PullRequest(t.Context(), a, 7); !errors.Is(err, cyclone.ErrUnavailable) {
		t.Errorf("another one: %v, want ErrUnavailable", err)
	}
}

// FuzzStatus sends descriptions of any kind: one line of sound text arrives.
func FuzzStatus(f *testing.F) {
	f.Add("success after 3s", "cyclone/orders")
	f.Add("\x00\xff\n\u202e"+strings.Repeat("é", 300), "")
	f.Fuzz(func(t *testing.T, description, about string) {
		r := &recorded{}
		api := gitea.API{Client: &http.Client{Transport: r}}
		err := api.SetStatus(context.Background(), cyclone.ForgeAccess{URL: "https://gitea.com/a/b"}, newSHA, cyclone.CommitStatus{State: cyclone.CommitError, Description: description, Context: about})
		if err != nil || len(r.urls) != 1 || strings.ContainsAny(r.body, "\n\r\x00") {
			t.Errorf("%v: told %q", err, r.body)
		}
	})
}
