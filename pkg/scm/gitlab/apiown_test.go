package gitlab_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/fakeforge"
	"cyclone/pkg/scm/gitlab"
)

const (
	apiToken = "glpat-0123456789"
	where    = "acme/back-end/orders"
	oldSHA   = "0123456789012345678901234567890123456789"
	newSHA   = "abcdefabcdefabcdefabcdefabcdefabcdefabcd"
)

// lab is a GitLab with one project in a nested group, where robot may all, and
// its API.
func lab(t *testing.T) (*fakeforge.GitLab, *gitlab.API, cyclone.ForgeAccess) {
	t.Helper()
	f := fakeforge.NewGitLab(t)
	f.AddUser("robot", apiToken)
	f.AddRepository(fakeforge.Repository{
		Name: where, Roles: map[string]fakeforge.Role{"robot": fakeforge.Maintain, "alice": fakeforge.Write},
		Branches: []fakeforge.Ref{{Name: "main", SHA: oldSHA}, {Name: "another", SHA: newSHA}, {Name: "pay", SHA: newSHA}},
		PullRequests: []fakeforge.PullRequest{
			{Number: 7, Title: "Pay", SHA: newSHA, Source: "pay", Target: "main", Author: "alice"},
			{Number: 8, Title: "From outside", SHA: newSHA, Source: "main", Target: "main", Author: "alice", Fork: true},
		},
	})
	return f, &gitlab.API{}, with(f, apiToken)
}

func with(f *fakeforge.GitLab, token string) cyclone.ForgeAccess {
	return cyclone.ForgeAccess{URL: f.RepositoryURL(where), Credential: cyclone.Credential{Password: token, Holder: `secret "forge"`}}
}

// recorded answers every call without a network.
type recorded struct{ urls []string }

func (r *recorded) RoundTrip(q *http.Request) (*http.Response, error) {
	r.urls = append(r.urls, q.URL.String())
	return &http.Response{StatusCode: 201, Body: io.NopCloser(strings.NewReader(`{"status":"pending"}`)), Header: http.Header{}, Request: q}, nil
}

func TestAPIOfEachAddress(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"https://gitlab.com/acme/orders.git":                    "https://gitlab.com/api/v4/projects/acme%2Forders",
		"git@gitlab.com:acme/back-end/api/orders.git":           "https://gitlab.com/api/v4/projects/acme%2Fback-end%2Fapi%2Forders",
		"ssh://git@altssh.gitlab.com:443/acme/orders.git":       "https://gitlab.com/api/v4/projects/acme%2Forders",
		"ssh://git@gitlab.example.com:2222/acme/orders.git":     "https://gitlab.example.com/api/v4/projects/acme%2Forders",
		"https://gitlab.example.com:8443/acme/orders/":          "https://gitlab.example.com:8443/api/v4/projects/acme%2Forders",
		"http://gitlab.example.com:8929/acme/.dot_files/a.b.c":  "http://gitlab.example.com:8929/api/v4/projects/acme%2F.dot_files%2Fa.b.c",
		"https://oauth2:pass@gitlab.example.com/acme/orders":    "https://gitlab.example.com/api/v4/projects/acme%2Forders",
		"https://gitlab.com.evil.example.com/acme/orders":       "https://gitlab.com.evil.example.com/api/v4/projects/acme%2Forders",
		"deploy@gitlab.example.com:acme/%2e%2e/orders.git":      "",
		"https://gitlab.example.com/acme/%2e%2e/admin/settings": "",
		"https://gitlab.example.com/acme%2forders/..":           "",
	} {
		r := &recorded{}
		api := gitlab.API{Client: &http.Client{Transport: r}}
		err := api.SetStatus(t.Context(), cyclone.ForgeAccess{URL: url}, newSHA, cyclone.CommitStatus{State: cyclone.CommitPending, Context: "cyclone/orders"})
		if want == "" {
			if !errors.Is(err, cyclone.ErrInvalid) || r.urls != nil {
				t.Errorf("%s: %v, calls %v; want ErrInvalid and none", url, err, r.urls)
			}
			continue
		}
		if diff := cmp.Diff([]string{want + "/statuses/" + newSHA}, r.urls); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", url, err, diff)
		}
	}
}

// GitLab's jobs go one way; what it refuses because a job is as far already is
// no error, and everything else is.
func TestStatusGoesOneWay(t *testing.T) {
	t.Parallel()
	f, api, a := lab(t)
	set := func(state cyclone.CommitState, text string) error {
		return api.SetStatus(t.Context(), a, newSHA, cyclone.CommitStatus{State: state, Context: "cyclone/orders", Description: text, Ref: "refs/heads/pay"})
	}
	for _, c := range []struct {
		state cyclone.CommitState
		text  string
		want  string // all states and texts so far
	}{
		{cyclone.CommitPending, "waits", "pending waits"},
		{cyclone.CommitPending, "still", "pending waits"},
		{cyclone.CommitRunning, "builds", "running builds"},
		{cyclone.CommitRunning, "tests", "running builds"}, // GitLab keeps the first
		{cyclone.CommitPending, "waits for approval", "running builds"},
		{cyclone.CommitFailure, "failed", "failed failed"},
		{cyclone.CommitPending, "again", "failed failed, pending again"},
		{cyclone.CommitSkipped, "never mind", "failed failed, skipped never mind"},
		{cyclone.CommitRunning, "third", "failed failed, skipped never mind, running third"},
		{cyclone.CommitSkipped, "not run", "failed failed, skipped never mind, success not run"},
	} {
		if err := set(c.state, c.text); err != nil {
			t.Fatalf("%s %q: %v", c.state, c.text, err)
		}
		var got []string
		for _, s := range f.Repository(where).Statuses {
			got = append(got, s.State+" "+s.Text)
		}
		if strings.Join(got, ", ") != c.want {
			t.Fatalf("after %s %q: %v, want %s", c.state, c.text, got, c.want)
		}
	}
	old := fakeforge.Fault{Method: "POST", Path: "/statuses/", Times: 1, Status: 400, Body: `{"error":"state does not have a valid value"}`}
	f.Inject(old)
	if err := set(cyclone.CommitSkipped, "an old server"); err != nil || last(f).State != "success" {
		t.Errorf("a server that knows no skipped ones: %v, %+v", err, last(f))
	}
	f.Inject(old)
	if err := set(cyclone.CommitRunning, "x"); !errors.Is(err, cyclone.ErrInvalid) {
		t.Errorf("another 400: %v, want ErrInvalid", err)
	}
	f.Inject(fakeforge.Fault{Method: "POST", Times: 1, Status: 409, Body: `{"message":"Another update to this commit status is in progress"}`})
	if err := set(cyclone.CommitRunning, "x"); !errors.Is(err, cyclone.ErrUnavailable) {
		t.Errorf("at the same time as another: %v, want ErrUnavailable", err)
	}
}

func last(f *fakeforge.GitLab) fakeforge.Status {
	all := f.Repository(where).Statuses
	return all[len(all)-1]
}

// The ref decides where GitLab shows a status.
func TestStatusRef(t *testing.T) {
	t.Parallel()
	f, api, a := lab(t)
	for ref, want := range map[string]string{
		"refs/heads/main": "main", "refs/heads/feature/pay": "feature/pay", "refs/tags/v1.0": "v1.0",
		"refs/merge-requests/7/head": "pay", "refs/merge-requests/8/head": "refs/merge-requests/8/head",
		// Left to GitLab, which takes the first branch that has the commit.
		"refs/merge-requests/99/head": "another", "refs/merge-requests/7/merge": "another", "": "another", "refs/notes/x": "another",
		"refs/heads/" + strings.Repeat("x", 256): "another",
	} {
		err := api.SetStatus(t.Context(), a, newSHA, cyclone.CommitStatus{State: cyclone.CommitSuccess, Context: "c", Ref: ref, URL: "https://ci.example.com/" + strings.Repeat("u", 300)})
		if err != nil || last(f).Ref != want || last(f).URL != "" {
			t.Errorf("%s: %v, status %+v; want ref %s without the long link", ref, err, last(f), want)
		}
	}
}

// A list that is not whole is none.
func TestChangedCutOff(t *testing.T) {
	t.Parallel()
	f, api, a := lab(t)
	files := func(n int) []string {
		all := make([]string, n)
		for i := range all {
			all[i] = fmt.Sprintf("f%04d", i)
		}
		return all
	}
	ask := func(what string, number, want int) {
		t.Helper()
		got, err := api.Changed(t.Context(), a, oldSHA, newSHA, number)
		if err != nil || len(got) != max(want, 0) || (got == nil) != (want < 0) {
			t.Errorf("%s: %d files, %v; want %d", what, len(got), err, want)
		}
	}
	for n, want := range map[int]int{0: 0, 3: 3, 1000: 1000, 1001: -1, 4000: -1} {
		f.Change(where, func(r *fakeforge.Repository) {
			r.Compared = []fakeforge.Comparison{{Before: oldSHA, After: newSHA, Diverged: true, Files: files(n)}}
			r.PullRequests[0].Files = files(n)
		})
		ask(fmt.Sprint(n, " compared"), 0, want)
		ask(fmt.Sprint(n, " of a merge request"), 7, want)
		f.Inject(fakeforge.Fault{Path: "/diffs", Times: 1, Status: 404, Body: `{"error":"404 Not Found"}`})
		ask(fmt.Sprint(n, " of an old server"), 7, want)
		f.Heal()
	}
	f.Change(where, func(r *fakeforge.Repository) { r.PullRequests[0].Files = files(3) })
	for count, want := range map[string]int{`null`: -1, `"0"`: -1, `"2"`: -1, `"3"`: 3} {
		f.Inject(fakeforge.Fault{Path: "/merge_requests/7", Times: 1, Status: 200, Body: fmt.Sprintf(`{"iid":7,"sha":%q,"changes_count":%s}`, newSHA, count)})
		ask("of three told as "+count, 7, want)
	}
}

// A role by way of an invited group shows elsewhere than in the project, and
// an administrator's nowhere.
func TestRolesThatTheProjectDoesNotTell(t *testing.T) {
	t.Parallel()
	f, api, _ := lab(t)
	f.AddUser("alice", "glpat-alice")
	f.AddUser("oscar", "glpat-oscar")
	hidden := fakeforge.Fault{
		Path: "/projects/", Times: 1, Status: 200,
		Body: `{"id":1,"path_with_namespace":"acme/back-end/orders","visibility":"internal","permissions":{"project_access":null,"group_access":{"access_level":10}}}`,
	}
	for _, c := range []struct {
		token, user string // user is what GET /user says instead
		push, admin bool
	}{
		{apiToken, "", true, true}, {"glpat-alice", "", true, false}, {"glpat-oscar", "", false, false},
		{"glpat-oscar", `{"id":1,"username":"oscar","is_admin":true}`, true, true},
	} {
		f.Inject(hidden)
		if c.user != "" {
			f.Inject(fakeforge.Fault{Path: "/user", Times: 1, Status: 200, Body: c.user})
		}
		info, err := api.Repository(t.Context(), with(f, c.token))
		if err != nil || info.MayPush != c.push || info.MayAdmin != c.admin || !info.Private || info.Account == "" {
			t.Errorf("%+v: %+v, %v", c, info, err)
		}
	}
}

// A token may less than its user; OAuth's does not say what.
func TestScopesNarrow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		token, scopes string
		push, admin   bool
	}{
		{"t1", "api", true, true}, {"t2", "read_api", false, false}, {"t3", "read_api read_repository write_repository", false, false},
		{"oauth-1", "api", true, true}, {"oauth-2", "read_api", true, true},
	} {
		f, api, _ := lab(t)
		f.AddUser("robot", c.token, strings.Fields(c.scopes)...)
		info, err := api.Repository(t.Context(), with(f, c.token))
		if err != nil || info.MayPush != c.push || info.MayAdmin != c.admin || info.Account != "robot" {
			t.Errorf("%+v: %+v, %v", c, info, err)
		}
	}
}

func TestMayWriteAsksForOneUser(t *testing.T) {
	t.Parallel()
	f, api, a := lab(t)
	for _, name := range []string{"", " ", "alice,bob", "alice&x=y", "-alice"} {
		if may, err := api.MayWrite(t.Context(), a, name); may || err != nil {
			t.Errorf("%q: %t, %v", name, may, err)
		}
	}
	if n := len(f.Calls()); n != 0 {
		t.Errorf("%d calls for names that nobody has", n)
	}
	if may, err := api.MayWrite(t.Context(), a, "ALICE"); !may || err != nil {
		t.Errorf("in capitals: %t, %v", may, err)
	}
	for what, fault := range map[string]fakeforge.Fault{
		"somebody else": {Path: "/users", Times: 1, Status: 200, Body: `[{"id":1,"username":"alicia"}]`},
		"blocked":       {Path: "/members/", Times: 1, Status: 200, Body: `{"access_level":50,"state":"blocked"}`},
		"guest":         {Path: "/members/", Times: 1, Status: 200, Body: `{"access_level":10,"state":"active"}`},
	} {
		f.Inject(fault)
		if may, err := api.MayWrite(t.Context(), a, "alice"); may || err != nil {
			t.Errorf("%s: %t, %v", what, may, err)
		}
		f.Heal()
	}
}

// No line of a comment is a command to GitLab.
func TestCommentIsNoCommand(t *testing.T) {
	t.Parallel()
	f, api, a := lab(t)
	const marker = "<!-- m -->"
	for range 2 {
		if err := api.PutComment(t.Context(), a, 7, marker, "/close\n"+marker+"\n/merge\nfine"); err != nil {
			t.Fatal(err)
		}
	}
	all := f.Repository(where).Comments
	if len(all) != 1 || strings.HasPrefix(all[0].Text, "/") || strings.Contains(all[0].Text, "\n/") || !strings.Contains(all[0].Text, "/merge\nfine") {
		t.Errorf("comments are %+v", all)
	}
	if n := len(f.Calls()); n != 4 { // list, post; list, user: nothing to change
		t.Errorf("%d calls", n)
	}
	f.Inject(fakeforge.Fault{Path: "/user", Times: 1, Status: 403, Body: `{"error":"insufficient_scope"}`})
	if err := api.PutComment(t.Context(), a, 7, marker, "x"); !errors.Is(err, cyclone.ErrForbidden) {
		t.Errorf("without knowing who it is: %v, want ErrForbidden", err)
	}
}
