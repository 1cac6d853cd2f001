package scmtest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/fakeforge"
)

func (s APISuite) repository(t *testing.T) {
	w := s.world(t)
	got, err := w.api.Repository(t.Context(), w.a)
	must(t, err)
	want := cyclone.RepositoryInfo{
		Name: repoName, URL: w.RepositoryURL(repoName), WebURL: w.URL + "/" + repoName, SSHURL: got.SSHURL,
		DefaultBranch: "main", Private: true, Account: "robot", MayPush: true, MayAdmin: true,
	}
	if diff := cmp.Diff(want, *got); diff != "" || !strings.Contains(got.SSHURL, repoName) {
		t.Errorf("repository (-want +got), ssh %q:\n%s", got.SSHURL, diff)
	}
	got, err = w.api.Repository(t.Context(), w.access(weakToken))
	must(t, err)
	if got.Account != "reader" || got.MayPush || got.MayAdmin {
		t.Errorf("for a reader: %+v", got)
	}
	public := cyclone.ForgeAccess{URL: w.RepositoryURL("acme/open")}
	w.AddRepository(fakeforge.Repository{Name: "acme/open", DefaultBranch: "trunk"})
	got, err = w.api.Repository(t.Context(), public)
	must(t, err)
	if got.Account != "" || got.Private || got.DefaultBranch != "trunk" || got.MayPush {
		t.Errorf("for nobody: %+v", got)
	}
}

func (s APISuite) changed(t *testing.T) {
	w := s.world(t)
	for _, c := range []struct {
		before, after string
		number        int
		want          []string
	}{
		{shaA, shaB, 0, []string{"README.md", "src/new.go", "src/old.go", "ünicode file.txt"}},
		{strings.Repeat("0", 40), shaB, 0, nil},
		{"", "", 7, []string{"a.go", "b.go", "pay.go"}},
	} {
		got, err := w.api.Changed(t.Context(), w.a, c.before, c.after, c.number)
		must(t, err)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", c, diff)
		}
	}
	if got, err := w.api.Changed(t.Context(), w.a, shaB, shaC, 0); !s.Unknown && (err != nil || got != nil) {
		t.Errorf("of commits that diverged: %v, %v; want nil", got, err)
	}
	_, err := w.api.Changed(t.Context(), w.a, "main", "--output=x", 0)
	refuses(t, "no hashes", err, cyclone.ErrInvalid, "hash")
	_, err = w.api.Changed(t.Context(), w.a, "", "", 99)
	refuses(t, "no pull request", err, cyclone.ErrNotFound, "99")
	_, err = w.api.Changed(t.Context(), w.a, "", "", -1)
	refuses(t, "no number", err, cyclone.ErrInvalid, "number")
	many := fakeforge.PullRequest{Number: 10, Title: "Many", Source: "many", Target: "main", SHA: shaA, Author: "alice"}
	for i := range 250 {
		many.Files = append(many.Files, fmt.Sprintf("file%03d", i))
	}
	w.Change(repoName, func(r *fakeforge.Repository) { r.PullRequests = append(r.PullRequests, many) })
	got, err := w.api.Changed(t.Context(), w.a, "", "", 10)
	must(t, err)
	if !slices.Equal(got, many.Files) {
		t.Errorf("%d of 250 files", len(got))
	}
}

func (s APISuite) pullRequest(t *testing.T) {
	w := s.world(t)
	got, err := w.api.PullRequest(t.Context(), w.a, 7)
	must(t, err)
	want := cyclone.PullRequestInfo{
		PullRequest: cyclone.PullRequest{Number: 7, Title: "Pay \"later\"", SourceBranch: "feature/pay", TargetBranch: "main"},
		Open:        true, Ref: s.PullRef, Head: cyclone.Commit{SHA: shaC, URL: got.Head.URL},
	}
	if diff := cmp.Diff(want, *got); diff != "" {
		t.Errorf("pull request (-want +got):\n%s", diff)
	}
	got, err = w.api.PullRequest(t.Context(), w.a, 8)
	must(t, err)
	if !got.Open || !got.Draft || !got.Fork {
		t.Errorf("a draft of a fork: %+v", got)
	}
	got, err = w.api.PullRequest(t.Context(), w.a, 9)
	must(t, err)
	if got.Open || got.Draft || !got.Fork {
		t.Errorf("a closed one of a fork that is gone: %+v", got)
	}
	_, err = w.api.PullRequest(t.Context(), w.a, 99)
	refuses(t, "none", err, cyclone.ErrNotFound, "99")
}

func (s APISuite) mayWrite(t *testing.T) {
	w := s.world(t)
	for user, want := range map[string]bool{
		"alice": true, "maria": true, "root": true, "robot": true, "tim": false, "reader": false, "stranger": false, "nobody-such": false,
	} {
		if got, err := w.api.MayWrite(t.Context(), w.a, user); err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", user, got, err, want)
		}
	}
	other := w.a
	other.URL = w.RepositoryURL("acme/none")
	_, err := w.api.MayWrite(t.Context(), other, "alice")
	refuses(t, "no repository", err, cyclone.ErrNotFound, "acme/none")
}

// strangeNames: nobody becomes somebody else by a name that is a path.
func (s APISuite) strangeNames(t *testing.T) {
	w := s.world(t)
	for _, user := range []string{"", ".", "..", "../alice", "alice/permission", "alice?x=1", "alice#", "alice%2f..", "a\nb", "ünï", strings.Repeat("x", 300)} {
		got, err := w.api.MayWrite(t.Context(), w.a, user)
		sane(t, user, err)
		if got || err != nil && !errors.Is(err, cyclone.ErrInvalid) && !errors.Is(err, cyclone.ErrNotFound) {
			t.Errorf("%q: %v, %v", user, got, err)
		}
	}
}

func (s APISuite) repositories(t *testing.T) {
	w := s.world(t)
	for i := range 7 {
		name := fmt.Sprintf("acme/tool%d", i)
		w.AddRepository(fakeforge.Repository{Name: name, Private: true, Roles: map[string]fakeforge.Role{"robot": fakeforge.Write}})
	}
	w.AddRepository(fakeforge.Repository{Name: "other/hidden", Private: true})
	for _, url := range []string{w.a.URL, w.URL, w.URL + "/"} {
		a := w.a
		a.URL = url
		var all []cyclone.RepositoryInfo
		page := cyclone.Page{Limit: 3}
		for range 10 {
			list, err := w.api.Repositories(t.Context(), a, "", page)
			must(t, err)
			if len(list.Items) > 3 || list.Total < len(all)+len(list.Items) {
				t.Fatalf("a page of %d, total %d after %d", len(list.Items), list.Total, len(all))
			}
			all = append(all, list.Items...)
			if page.Cursor = list.Next; page.Cursor == "" {
				break
			}
		}
		if len(all) != 8 || len(unique(all)) != 8 || slices.Contains(unique(all), "other/hidden") {
			t.Errorf("%s: %s", url, names(all, func(r cyclone.RepositoryInfo) string { return r.Name }))
		}
	}
	list, err := w.api.Repositories(t.Context(), w.a, "TOOL3", cyclone.Page{})
	must(t, err)
	if len(list.Items) != 1 || list.Items[0].Name != "acme/tool3" || !list.Items[0].MayPush || list.Items[0].MayAdmin || list.Items[0].URL != w.RepositoryURL("acme/tool3") || list.Next != "" {
		t.Errorf("found %+v", list)
	}
}

func unique(all []cyclone.RepositoryInfo) []string {
	var some []string
	for _, r := range all {
		some = append(some, r.Name)
	}
	slices.Sort(some)
	return slices.Compact(some)
}

func (s APISuite) refs(t *testing.T) {
	w := s.world(t)
	name := func(r cyclone.RefInfo) string { return r.Name + "@" + r.Commit }
	list, err := w.api.Branches(t.Context(), w.a, "", cyclone.Page{})
	must(t, err)
	if got := names(list.Items, name); len(list.Items) != 3 || !strings.Contains(got, "feature/pay@"+shaC) || list.Total != 3 || list.Next != "" {
		t.Errorf("branches %s, total %d", got, list.Total)
	}
	list, err = w.api.Branches(t.Context(), w.a, "fIX", cyclone.Page{})
	must(t, err)
	if got := names(list.Items, name); got != "[Fix@"+shaA+"]" {
		t.Errorf("branches by a part of the name: %s", got)
	}
	list, err = w.api.Tags(t.Context(), w.a, "2", cyclone.Page{})
	must(t, err)
	if got := names(list.Items, name); got != "[v2.0@"+shaB+"]" {
		t.Errorf("tags by a part of the name: %s", got)
	}
	w.Change(repoName, func(r *fakeforge.Repository) {
		for i := range 330 {
			r.Branches = append(r.Branches, fakeforge.Ref{Name: fmt.Sprintf("topic/%03d", i), SHA: shaA})
		}
	})
	seen, page := map[string]int{}, cyclone.Page{Limit: 40}
	for range 40 {
		list, err := w.api.Branches(t.Context(), w.a, "5", page)
		must(t, err)
		for _, r := range list.Items {
			seen[r.Name]++
		}
		if page.Cursor = list.Next; page.Cursor == "" {
			break
		}
		if len(list.Items) != 40 {
			t.Errorf("a page of %d that is not the last", len(list.Items))
		}
	}
	want := 0
	for i := range 330 {
		if n := fmt.Sprintf("%03d", i); strings.Contains(n, "5") {
			want++
			if seen["topic/"+n] != 1 {
				t.Errorf("topic/%s was seen %d times", n, seen["topic/"+n])
			}
		}
	}
	if len(seen) != want {
		t.Errorf("%d branches of %d", len(seen), want)
	}
}

func (s APISuite) cursor(t *testing.T) {
	w := s.world(t)
	for _, cursor := range []string{"x", "0", "-1", "1.2", "1.2.3.4", "999999999999999999999", "1.50.50 ", "../../x", "1e3", "0.50.0", "1.101.0", "\x00"} {
		_, err := w.api.Branches(t.Context(), w.a, "", cyclone.Page{Cursor: cursor})
		refuses(t, fmt.Sprintf("cursor %q", cursor), err, cyclone.ErrInvalid, "cursor")
	}
	if n := len(w.Calls()); n != 0 {
		t.Errorf("%d calls for cursors that nobody made", n)
	}
}
