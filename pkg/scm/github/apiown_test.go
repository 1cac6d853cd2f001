package github_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/fakeforge"
	"cyclone/pkg/scm/github"
)

const (
	apiToken = "ghp_0123456789"
	oldSHA   = "0123456789012345678901234567890123456789"
	newSHA   = "abcdefabcdefabcdefabcdefabcdefabcdefabcd"
)

// hub is a GitHub with one repository, where robot may all, and its API.
func hub(t *testing.T) (*fakeforge.GitHub, *github.API, cyclone.ForgeAccess) {
	t.Helper()
	f := fakeforge.NewGitHub(t)
	f.AddUser("robot", apiToken)
	f.AddRepository(fakeforge.Repository{Name: "acme/orders", Roles: map[string]fakeforge.Role{"robot": fakeforge.Admin, "alice": fakeforge.Write}})
	return f, &github.API{}, with(f, apiToken)
}

func with(f *fakeforge.GitHub, token string) cyclone.ForgeAccess {
	return cyclone.ForgeAccess{URL: f.RepositoryURL("acme/orders"), Credential: cyclone.Credential{Password: token, Holder: `secret "forge"`}}
}

// recorded answers every call without a network.
type recorded struct{ urls []string }

func (r *recorded) RoundTrip(q *http.Request) (*http.Response, error) {
	r.urls = append(r.urls, q.URL.String())
	return &http.Response{StatusCode: 201, Body: io.NopCloser(strings.NewReader(`{"state":"pending"}`)), Header: http.Header{}, Request: q}, nil
}

func TestAPIOfEachAddress(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"https://github.com/acme/orders.git":              "https://api.github.com",
		"http://GitHub.com/acme/orders":                   "https://api.github.com",
		"git@github.com:acme/orders.git":                  "https://api.github.com",
		"ssh://git@ssh.github.com:443/acme/orders.git":    "https://api.github.com",
		"git://github.com/acme/orders":                    "https://api.github.com",
		"https://octocorp.ghe.com/acme/orders":            "https://api.octocorp.ghe.com",
		"https://ghe.example.com:8443/acme/orders/":       "https://ghe.example.com:8443/api/v3",
		"http://ghe.example.com/acme/orders":              "http://ghe.example.com/api/v3",
		"ssh://git@ghe.example.com:2222/acme/orders.git":  "https://ghe.example.com/api/v3",
		"deploy@ghe.example.com:acme/orders.git":          "https://ghe.example.com/api/v3",
		"https://github.com.evil.example.com/acme/orders": "https://github.com.evil.example.com/api/v3",
		"https://user:pass@ghe.example.com/acme/orders":   "https://ghe.example.com/api/v3",
	} {
		r := &recorded{}
		api := github.API{Client: &http.Client{Transport: r}}
		err := api.SetStatus(t.Context(), cyclone.ForgeAccess{URL: url}, newSHA, cyclone.CommitStatus{State: cyclone.CommitPending, Context: "cyclone/orders"})
		if err != nil {
			t.Errorf("%s: %v", url, err)
		}
		if diff := cmp.Diff([]string{want + "/repos/acme/orders/statuses/" + newSHA}, r.urls); diff != "" {
			t.Errorf("%s (-want +got):\n%s", url, diff)
		}
	}
}

// What GitHub says of a repository is about the user; a classic token may less.
func TestScopesNarrow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		scopes      string
		private     bool
		push, admin bool
	}{
		{"repo", true, true, true}, {"public_repo", false, true, true}, {"public_repo", true, false, false},
		{"repo:status", true, true, false}, {"repo:status admin:repo_hook", true, true, true}, {"write:repo_hook", true, false, true},
		{"read:repo_hook gist", false, false, false},
	} {
		f, api, _ := hub(t)
		f.AddUser("robot", "narrow", strings.Fields(c.scopes)...)
		f.Change("acme/orders", func(r *fakeforge.Repository) { r.Private = c.private })
		info, err := api.Repository(t.Context(), with(f, "narrow"))
		if err != nil || info.MayPush != c.push || info.MayAdmin != c.admin || info.Account != "robot" {
			t.Errorf("%+v: %+v, %v", c, info, err)
		}
	}
	f, api, _ := hub(t)
	f.AddToken(fakeforge.Token{Value: "fine", Login: "robot", FineGrained: true, Scopes: []string{"statuses:write"}})
	info, err := api.Repository(t.Context(), with(f, "fine"))
	if err != nil || !info.MayPush || !info.MayAdmin {
		t.Errorf("fine-grained: %+v, %v", info, err)
	}
	_, err = api.PutHook(t.Context(), with(f, "fine"), cyclone.HookSpec{URL: "https://ci.example.com/h", Secret: "x"})
	if !errors.Is(err, cyclone.ErrForbidden) || !strings.Contains(err.Error(), `"Webhooks: read and write"`) || !strings.Contains(err.Error(), "Resource not accessible by personal access token") {
		t.Errorf("PutHook = %v", err)
	}
}

// An app's token has no user; its comments are a bot's.
func TestAppsToken(t *testing.T) {
	t.Parallel()
	f, api, _ := hub(t)
	f.AddToken(fakeforge.Token{Value: "ghs_app", Login: "cyclone[bot]", App: true})
	f.Change("acme/orders", func(r *fakeforge.Repository) {
		r.Roles["cyclone[bot]"] = fakeforge.Write
		r.PullRequests = []fakeforge.PullRequest{{Number: 7, SHA: newSHA}}
		r.Comments = []fakeforge.Comment{{ID: 900, Number: 7, Author: "alice", Text: "<!-- m -->\nmine"}}
	})
	a := with(f, "ghs_app")
	info, err := api.Repository(t.Context(), a)
	if err != nil || info.Account != "" || !info.MayPush {
		t.Errorf("Repository = %+v, %v", info, err)
	}
	for _, text := range []string{"one", "two"} {
		if err := api.PutComment(t.Context(), a, 7, "<!-- m -->", "<!-- m -->\n"+text); err != nil {
			t.Fatal(err)
		}
	}
	all := f.Repository("acme/orders").Comments
	if len(all) != 2 || all[0].Text != "<!-- m -->\nmine" || all[1].Text != "<!-- m -->\ntwo" {
		t.Errorf("comments are %+v", all)
	}
}

// GitHub lists 300 files of a comparison and 3,000 of a pull request: then
// nobody knows the others.
func TestChangedCutOff(t *testing.T) {
	t.Parallel()
	f, api, a := hub(t)
	files := func(n int) []string {
		all := make([]string, n)
		for i := range all {
			all[i] = fmt.Sprintf("f%04d", i)
		}
		return all
	}
	for _, c := range []struct{ compared, pulled, want int }{{299, 2999, 1}, {300, 3000, 0}, {5000, 5000, 0}} {
		f.Change("acme/orders", func(r *fakeforge.Repository) {
			r.Compared = []fakeforge.Comparison{{Before: oldSHA, After: newSHA, Files: files(c.compared)}}
			r.PullRequests = []fakeforge.PullRequest{{Number: 7, SHA: newSHA, Files: files(c.pulled)}}
		})
		of := func(n int) int { return n * c.want }
		if got, err := api.Changed(t.Context(), a, oldSHA, newSHA, 0); err != nil || len(got) != of(c.compared) {
			t.Errorf("%d files compared: %d, %v", c.compared, len(got), err)
		}
		if got, err := api.Changed(t.Context(), a, "", "", 7); err != nil || len(got) != of(c.pulled) {
			t.Errorf("%d files of a pull request: %d, %v", c.pulled, len(got), err)
		}
	}
	f.Change("acme/orders", func(r *fakeforge.Repository) {
		r.Compared = []fakeforge.Comparison{{Before: oldSHA, After: newSHA}}
	})
	if got, err := api.Changed(t.Context(), a, oldSHA, newSHA, 0); err != nil || got == nil || len(got) != 0 {
		t.Errorf("nothing changed: %v, %v; want an empty list, which is not an unknown one", got, err)
	}
}

// Two servers that connect a project at the same time make one webhook.
func TestHookMadeMeanwhile(t *testing.T) {
	t.Parallel()
	f, api, a := hub(t)
	hold, reached := make(chan struct{}), make(chan struct{}, 1)
	f.Inject(fakeforge.Fault{Method: "POST", Path: "/hooks", Times: 1, Reached: reached, Wait: hold})
	spec := cyclone.HookSpec{URL: "https://ci.example.com/h", Secret: "first"}
	ids := make([]string, 2)
	var wait sync.WaitGroup
	wait.Go(func() {
		var err error
		if ids[0], err = api.PutHook(t.Context(), a, spec); err != nil {
			t.Error(err)
		}
	})
	<-reached // the first has seen that there is none
	var err error
	if ids[1], err = (&github.API{}).PutHook(t.Context(), a, spec); err != nil {
		t.Error(err)
	}
	close(hold)
	wait.Wait()
	if all := f.Repository("acme/orders").Hooks; len(all) != 1 || ids[0] != ids[1] || ids[0] != fmt.Sprint(all[0].ID) {
		t.Errorf("ids %v, hooks %+v", ids, all)
	}
}

// A repository that was renamed is found at its new place as long as GitHub
// sends the whole call there.
func TestRenamedRepository(t *testing.T) {
	t.Parallel()
	f, api, a := hub(t)
	a.URL = f.RepositoryURL("acme/old")
	f.Inject(fakeforge.Fault{Path: "/repos/acme/old/", Method: "POST", Status: 307, Header: http.Header{"Location": {f.URL + "/api/v3/repos/acme/orders/statuses/" + newSHA}}})
	f.Inject(fakeforge.Fault{Path: "/repos/acme/old", Method: "GET", Status: 301, Header: http.Header{"Location": {f.URL + "/api/v3/repos/acme/orders"}}})
	if err := api.SetStatus(t.Context(), a, newSHA, cyclone.CommitStatus{State: cyclone.CommitSuccess, Context: "cyclone/orders"}); err != nil {
		t.Error(err)
	}
	if n := len(f.Repository("acme/orders").Statuses); n != 1 {
		t.Errorf("%d statuses", n)
	}
	info, err := api.Repository(t.Context(), a)
	if err != nil || info.Name != "acme/orders" {
		t.Errorf("Repository = %+v, %v", info, err)
	}
}

// What the webhook that was made delivers, the driver of hooks accepts.
func TestDeliveriesOfTheHook(t *testing.T) {
	t.Parallel()
	f, api, a := hub(t)
	got := make(chan *cyclone.Hook, 1)
	here := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = (github.Forge{}).Verify(r.Header, body, []byte("hook-secret"))
		}
		var hook *cyclone.Hook
		if err == nil {
			hook, err = (github.Forge{}).Parse(r.Header, body)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		got <- hook
		w.WriteHeader(http.StatusAccepted)
	}))
	defer here.Close()
	if _, err := api.PutHook(t.Context(), a, cyclone.HookSpec{URL: here.URL + "/hooks/github/orders", Secret: "hook-secret"}); err != nil {
		t.Fatal(err)
	}
	all := f.Push(t, "acme/orders", "main", oldSHA, newSHA, "Pay later", "pay.go")
	if len(all) != 1 || all[0].Err != nil || all[0].Status != http.StatusAccepted {
		t.Fatalf("delivered %+v", all)
	}
	hook := <-got
	if hook.Kind != cyclone.KindPush || hook.Branch != "main" || hook.Commit.SHA != newSHA || hook.Commit.Message != "Pay later" || !slices.Equal(hook.Changed, []string{"pay.go"}) {
		t.Errorf("hook is %+v", hook)
	}
	again := f.Redeliver(t.Context(), all[0])
	if <-got; again.Status != http.StatusAccepted || again.ID != all[0].ID {
		t.Errorf("delivered again: %+v", again)
	}
	f.Change("acme/orders", func(r *fakeforge.Repository) {
		r.PullRequests = []fakeforge.PullRequest{{Number: 7, Title: "Pay", SHA: newSHA, Source: "pay", Target: "main", Author: "alice", Fork: true}}
	})
	f.PullRequestEvent(t, "acme/orders", 7, "opened")
	if pull := <-got; pull.Kind != cyclone.KindPullRequest || pull.PullRequest.Number != 7 || !pull.PullRequest.Fork || pull.Commit.SHA != newSHA {
		t.Errorf("hook is %+v", pull)
	}
	if all = f.Comment(t, "acme/orders", 7, "alice", "/test"); len(all) != 1 || all[0].Status != http.StatusAccepted {
		t.Errorf("delivered %+v", all)
	}
	<-got
}

// FuzzStatus sends descriptions of any kind; the fake notices what GitHub
// would not take.
func FuzzStatus(f *testing.F) {
	f.Add("success after 3s", "cyclone/orders")
	f.Add("\x00\xff\n\u202e"+strings.Repeat("é", 300), "")
	f.Fuzz(func(t *testing.T, description, about string) {
		var told []byte
		api := github.API{Client: &http.Client{Transport: keeper{&told}}}
		err := api.SetStatus(context.Background(), cyclone.ForgeAccess{URL: "https://github.com/a/b"}, newSHA, cyclone.CommitStatus{State: cyclone.CommitError, Description: description, Context: about})
		if err != nil || strings.ContainsAny(string(told), "\n\r\x00") {
			t.Errorf("%v: told %q", err, told)
		}
	})
}

type keeper struct{ body *[]byte }

func (k keeper) RoundTrip(q *http.Request) (*http.Response, error) {
	var err error
	*k.body, err = io.ReadAll(q.Body)
	return &http.Response{StatusCode: 201, Body: io.NopCloser(strings.NewReader("{}")), Header: http.Header{}, Request: q}, err
}
