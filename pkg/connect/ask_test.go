package connect_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/fakeforge"
)

// What trigger asks for comes from the forge, or there is nobody to ask.
func TestAsking(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.forge.Change("acme/orders", func(r *fakeforge.Repository) {
		r.PullRequests = []fakeforge.PullRequest{{Number: 7, Title: "Fix", Source: "fix", Target: "main", SHA: strings.Repeat("a", 40), Author: "bob", Files: []string{"a.go"}}}
	})
	p := w.orders()
	if paths, err := w.Changed(t.Context(), p, "", "", 7); err != nil || cmp.Diff([]string{"a.go"}, paths) != "" {
		t.Errorf("changed %v, %v", paths, err)
	}
	if pr, err := w.PullRequest(t.Context(), p, 7); err != nil || pr.Head.SHA != strings.Repeat("a", 40) || !pr.Open {
		t.Errorf("pull request %+v, %v", pr, err)
	}
	for user, want := range map[string]bool{"alice": true, "bob": true, "carol": false} {
		if may, err := w.MayWrite(t.Context(), p, user); err != nil || may != want {
			t.Errorf("%s may write: %v, %v", user, may, err)
		}
	}
	for name, change := range map[string]func(*cyclone.Project){
		"of type git":   func(p *cyclone.Project) { p.Repository.Type = "git" },
		"no credential": func(p *cyclone.Project) { p.Repository.Credential = "" },
		"key for ssh":   func(p *cyclone.Project) { w.secret("key", key); p.Repository.Credential = "key" },
	} {
		other := *p
		change(&other)
		_, err := w.Changed(t.Context(), &other, "", "", 7)
		w.wantError(err, cyclone.ErrNotFound, name)
		_, err = w.PullRequest(t.Context(), &other, 7)
		w.wantError(err, cyclone.ErrNotFound, name)
		_, err = w.MayWrite(t.Context(), &other, "bob")
		w.wantError(err, cyclone.ErrNotFound, name)
		_, err = w.Repositories(t.Context(), &other, "", cyclone.Page{})
		w.wantError(err, cyclone.ErrNotFound, name)
	}
}

func TestLists(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.forge.Change("acme/orders", func(r *fakeforge.Repository) { r.Branches = []fakeforge.Ref{{Name: "develop", SHA: "c1"}} })
	p := w.orders()
	if list, err := w.Repositories(t.Context(), p, "ORD", cyclone.Page{}); err != nil || len(list.Items) != 1 || list.Items[0].Name != "acme/orders" {
		t.Errorf("repositories %+v, %v", list, err)
	}
	if list, err := w.Branches(t.Context(), p, "", cyclone.Page{}); err != nil || len(list.Items) != 1 || list.Items[0].Name != "develop" {
		t.Errorf("branches %+v, %v", list, err)
	}
	w.heads.found.Refs = map[string]string{"refs/heads/main": "c1", "refs/heads/Release/1": "c2", "refs/heads/release/2": "c3", "refs/tags/v1": "c4"}
	p.Repository.Type = "git"
	var names []string
	page := cyclone.Page{Limit: 1}
	for {
		list, err := w.Branches(t.Context(), p, "release", page)
		if err != nil || list.Total != 2 || len(list.Items) != 1 {
			t.Fatalf("got %+v, %v", list, err)
		}
		names = append(names, list.Items[0].Name+" "+list.Items[0].Commit)
		if page.Cursor = list.Next; page.Cursor == "" {
			break
		}
	}
	if diff := cmp.Diff([]string{"Release/1 c2", "release/2 c3"}, names); diff != "" {
		t.Error(diff)
	}
	if list, err := w.Tags(t.Context(), p, "", cyclone.Page{}); err != nil || len(list.Items) != 1 || list.Items[0].Name != "v1" {
		t.Errorf("tags %+v, %v", list, err)
	}
	_, err := w.Tags(t.Context(), p, "", cyclone.Page{Cursor: "nonsense"})
	w.wantError(err, cyclone.ErrInvalid, "cursor")
}
