package scmtest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/fakeforge"
)

func (s APISuite) statuses(t *testing.T) {
	w := s.world(t)
	for _, state := range slices.Sorted(maps.Keys(s.States)) {
		told := cyclone.CommitStatus{State: state, Context: "cyclone/orders", Description: "says " + string(state), URL: "https://ci.example.com/e/1", Ref: "refs/heads/main"}
		for range 2 { // twice is harmless
			must(t, w.api.SetStatus(t.Context(), w.a, shaB, told))
		}
		all := w.Repository(repoName).Statuses
		got := all[len(all)-1]
		if got.State != s.States[state] || got.SHA != shaB || got.Context != told.Context || got.Text != told.Description || got.URL != told.URL || got.By != "robot" {
			t.Errorf("%s became %+v", state, got)
		}
	}
	if len(s.States) != 7 {
		t.Errorf("the suite knows %d states", len(s.States))
	}
	refuses(t, "unknown state", w.api.SetStatus(t.Context(), w.a, shaB, cyclone.CommitStatus{State: "blue", Context: "x"}), cyclone.ErrInvalid, "blue")
	w.ForgetCalls()
	refuses(t, "no hash", w.api.SetStatus(t.Context(), w.a, "main", cyclone.CommitStatus{State: cyclone.CommitError, Context: "x"}), cyclone.ErrInvalid, "hash")
	if n := len(w.Calls()); n != 0 {
		t.Errorf("%d calls for what is no commit", n)
	}
}

func (s APISuite) description(t *testing.T) {
	w := s.world(t)
	must(t, w.api.SetStatus(t.Context(), w.a, shaA, cyclone.CommitStatus{
		State: cyclone.CommitFailure, Context: "cyclone/orders", Description: "go\nbuild\x1b[0m\xff " + strings.Repeat("ä", 2*s.MaxDescription), Ref: "refs/heads/main",
	}))
	got := w.Repository(repoName).Statuses[0].Text
	if utf8.RuneCountInString(got) > s.MaxDescription || !strings.HasPrefix(got, "go build[0m ää") || !strings.HasSuffix(got, "ä...") {
		t.Errorf("description is %q", got)
	}
}

func (s APISuite) comment(t *testing.T) {
	w := s.world(t)
	for _, text := range []string{"running", "running", "success", "without a marker"} {
		if text != "without a marker" {
			text = marker + "\n" + text
		}
		must(t, w.api.PutComment(t.Context(), w.a, 7, marker, text))
		all := w.Repository(repoName).Comments
		if len(all) != 1 || all[0].Number != 7 || !strings.Contains(all[0].Text, strings.TrimPrefix(text, marker+"\n")) || !strings.Contains(all[0].Text, marker) {
			t.Fatalf("comments are %+v after %q", all, text)
		}
	}
	must(t, w.api.PutComment(t.Context(), w.a, 8, marker, marker+"\nother"))
	must(t, w.api.PutComment(t.Context(), w.a, 7, "<!-- cyclone:web -->", "<!-- cyclone:web -->\nother project"))
	if n := len(w.Repository(repoName).Comments); n != 3 {
		t.Errorf("%d comments for three", n)
	}
	must(t, w.api.PutComment(t.Context(), w.a, 7, marker, marker+"\n"+strings.Repeat("long ", 300_000)))
	refuses(t, "no pull request", w.api.PutComment(t.Context(), w.a, 99, marker, "x"), cyclone.ErrNotFound, "99")
	refuses(t, "no number", w.api.PutComment(t.Context(), w.a, 0, marker, "x"), cyclone.ErrInvalid, "number")
}

// manyComments finds the comment behind more than a page of others.
func (s APISuite) manyComments(t *testing.T) {
	w := s.world(t)
	talk := func() {
		w.Change(repoName, func(r *fakeforge.Repository) {
			for i := range 130 {
				r.Comments = append(r.Comments, fakeforge.Comment{ID: 5000 + len(r.Comments), Number: 7, Author: "alice", Text: fmt.Sprint("talk ", i)})
			}
		})
	}
	talk()
	must(t, w.api.PutComment(t.Context(), w.a, 7, marker, marker+"\nfirst"))
	talk()
	must(t, w.api.PutComment(t.Context(), w.a, 7, marker, marker+"\nsecond"))
	all := w.Repository(repoName).Comments
	if len(all) != 261 || !strings.Contains(all[130].Text, "second") {
		t.Errorf("%d comments, the 131st is %+v", len(all), all[130])
	}
}

// otherComments: who may write may change everybody's comments, and everybody
// can write the marker.
func (s APISuite) otherComments(t *testing.T) {
	w := s.world(t)
	w.Change(repoName, func(r *fakeforge.Repository) {
		r.Comments = append(r.Comments,
			fakeforge.Comment{ID: 9001, Number: 7, Author: "alice", Text: marker + "\nmine"},
			fakeforge.Comment{ID: 9002, Number: 7, Author: "robot", Text: "> " + marker + "\nquoted"},
		)
	})
	must(t, w.api.PutComment(t.Context(), w.a, 7, marker, marker+"\nresult"))
	must(t, w.api.PutComment(t.Context(), w.a, 7, marker, marker+"\nresult 2"))
	all := w.Repository(repoName).Comments
	if len(all) != 3 || all[0].Text != marker+"\nmine" || !strings.Contains(all[1].Text, "quoted") || !strings.Contains(all[2].Text, "result 2") {
		t.Errorf("comments are %+v", all)
	}
}

func (s APISuite) hook(t *testing.T) {
	w := s.world(t)
	spec := cyclone.HookSpec{URL: hookURL, Secret: "hook-secret"}
	id, err := w.api.PutHook(t.Context(), w.a, spec)
	must(t, err)
	again, err := w.api.PutHook(t.Context(), w.a, spec)
	must(t, err)
	all := w.Repository(repoName).Hooks
	if len(all) != 1 || id != again || id != fmt.Sprint(all[0].ID) {
		t.Fatalf("put twice: ids %s and %s, hooks %+v", id, again, all)
	}
	h := all[0]
	if h.URL != hookURL || h.Secret != "hook-secret" || !h.Active || h.Insecure {
		t.Errorf("made %+v", h)
	}
	for _, event := range s.Events {
		if !slices.Contains(h.Events, event) {
			t.Errorf("the webhook does not tell %s: %v", event, h.Events)
		}
	}
	spec.URL, spec.Insecure = "https://other.example.com/hook", true
	_, err = w.api.PutHook(t.Context(), w.a, spec)
	must(t, err)
	if all = w.Repository(repoName).Hooks; len(all) != 2 || all[1].Insecure == s.AlwaysVerified || all[0].URL != hookURL {
		t.Errorf("beside the first: %+v", all)
	}
}

func (s APISuite) hookMended(t *testing.T) {
	w := s.world(t)
	spec := cyclone.HookSpec{URL: hookURL, Secret: "hook-secret"}
	_, err := w.api.PutHook(t.Context(), w.a, spec)
	must(t, err)
	want := w.Repository(repoName).Hooks[0]
	w.Change(repoName, func(r *fakeforge.Repository) {
		h := &r.Hooks[0]
		h.Active, h.Insecure, h.Secret, h.Events = false, !s.AlwaysVerified, "stale", []string{s.Events[0]}
		twin := *h
		twin.ID = 7777
		foreign := *h
		foreign.ID, foreign.URL = 7778, "https://elsewhere.example.com/"
		r.Hooks = append(r.Hooks, twin, foreign)
	})
	id, err := w.api.PutHook(t.Context(), w.a, spec)
	must(t, err)
	all := w.Repository(repoName).Hooks
	if len(all) == 2 && all[0].ID == 7778 {
		slices.Reverse(all) // a forge that turned the webhook off for good makes it anew
	}
	if len(all) != 2 || all[1].ID != 7778 || all[1].Secret != "stale" {
		t.Fatalf("mending left %+v", all)
	}
	got := all[0]
	slices.Sort(got.Events)
	slices.Sort(want.Events)
	if id != fmt.Sprint(got.ID) || !got.Active || got.Insecure || got.Secret != "hook-secret" || !slices.Equal(got.Events, want.Events) {
		t.Errorf("mended to %+v (id %s), want %+v", got, id, want)
	}
}

func (s APISuite) hooksRemoved(t *testing.T) {
	w := s.world(t)
	must(t, w.api.RemoveHook(t.Context(), w.a, hookURL))
	_, err := w.api.PutHook(t.Context(), w.a, cyclone.HookSpec{URL: hookURL, Secret: "hook-secret"})
	must(t, err)
	w.Change(repoName, func(r *fakeforge.Repository) {
		for i := range 120 { // more than a page of others
			h := r.Hooks[0]
			h.ID, h.URL = 8000+i, fmt.Sprint("https://elsewhere.example.com/", i)
			r.Hooks = append(r.Hooks, h)
		}
		twin := r.Hooks[0]
		twin.ID = 7777
		r.Hooks = append(r.Hooks, twin)
	})
	must(t, w.api.RemoveHook(t.Context(), w.a, hookURL))
	left := w.Repository(repoName).Hooks
	if len(left) != 120 || slices.ContainsFunc(left, func(h fakeforge.Hook) bool { return h.URL == hookURL }) {
		t.Errorf("%d webhooks are left", len(left))
	}
}
