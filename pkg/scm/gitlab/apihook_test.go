package gitlab_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/fakeforge"
	"cyclone/pkg/scm/gitlab"
)

// Two servers that connect a project at the same time make one webhook.
func TestHookMadeMeanwhile(t *testing.T) {
	t.Parallel()
	f, api, a := lab(t)
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
	if ids[1], err = (&gitlab.API{}).PutHook(t.Context(), a, spec); err != nil {
		t.Error(err)
	}
	close(hold)
	wait.Wait()
	if all := f.Repository(where).Hooks; len(all) != 1 || ids[0] != ids[1] || ids[0] != fmt.Sprint(all[0].ID) {
		t.Errorf("ids %v, hooks %+v", ids, all)
	}
}

// A webhook that GitLab turned off is made anew: telling it again would not
// turn it on.
func TestHookThatWasTurnedOff(t *testing.T) {
	t.Parallel()
	f, api, a := lab(t)
	spec := cyclone.HookSpec{URL: "http://ci.example.com/h", Secret: "s", Insecure: true}
	first, err := api.PutHook(t.Context(), a, spec)
	if err != nil {
		t.Fatal(err)
	}
	f.Change(where, func(r *fakeforge.Repository) { r.Hooks[0].Active = false })
	second, err := api.PutHook(t.Context(), a, spec)
	all := f.Repository(where).Hooks
	if err != nil || second == first || len(all) != 1 || fmt.Sprint(all[0].ID) != second || !all[0].Active || all[0].Secret != "s" || !all[0].Insecure {
		t.Errorf("%s, then %s, %v: %+v", first, second, err, all)
	}
	spec.URL = "ftp://ci.example.com"
	if _, err := api.PutHook(t.Context(), a, spec); !errors.Is(err, cyclone.ErrInvalid) || !strings.Contains(err.Error(), "Invalid url given") {
		t.Errorf("an address that GitLab does not take: %v", err)
	}
}

// What the webhook that was made delivers, the driver of hooks accepts.
func TestDeliveriesOfTheHook(t *testing.T) {
	t.Parallel()
	f, api, a := lab(t)
	got := make(chan *cyclone.Hook, 1)
	ids := make(chan cyclone.DeliveryID, 1)
	here := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = (gitlab.Forge{}).Verify(r.Header, body, []byte("hook-secret"))
		}
		var hook *cyclone.Hook
		if err == nil {
			hook, err = (gitlab.Forge{}).Parse(r.Header, body)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		got <- hook
		ids <- (gitlab.Forge{}).DeliveryID(r.Header, body)
		w.WriteHeader(http.StatusAccepted)
	}))
	defer here.Close()
	if _, err := api.PutHook(t.Context(), a, cyclone.HookSpec{URL: here.URL + "/hooks/gitlab/orders", Secret: "hook-secret"}); err != nil {
		t.Fatal(err)
	}
	take := func(all []fakeforge.Delivered) *cyclone.Hook {
		t.Helper()
		if len(all) != 1 || all[0].Err != nil || all[0].Status != http.StatusAccepted {
			t.Fatalf("delivered %+v", all)
		}
		if id := <-ids; string(id) != all[0].ID {
			t.Errorf("delivery %s is taken for %s", all[0].ID, id)
		}
		return <-got
	}
	pushed := f.Push(t, where, "main", oldSHA, newSHA, "Pay later", "pay.go")
	hook := take(pushed)
	if hook.Kind != cyclone.KindPush || hook.Branch != "main" || hook.Commit.SHA != newSHA || hook.Commit.Message != "Pay later" ||
		hook.Actor != "alice" || !slices.Equal(hook.Changed, []string{"pay.go"}) || !slices.Contains(hook.Repositories, f.RepositoryURL(where)) {
		t.Errorf("hook is %+v", hook)
	}
	take([]fakeforge.Delivered{f.Redeliver(t.Context(), pushed[0])})
	for action, want := range map[string]cyclone.HookAction{"open": cyclone.ActionStart, "update": cyclone.ActionStart, "opened": cyclone.ActionStart, "close": cyclone.ActionCancel} {
		hook = take(f.PullRequestEvent(t, where, 8, action))
		if hook.Kind != cyclone.KindPullRequest || hook.Action != want || hook.PullRequest.Number != 8 || !hook.PullRequest.Fork || hook.Commit.SHA != newSHA || hook.Actor != "alice" {
			t.Errorf("%s: hook is %+v", action, hook)
		}
	}
	hook = take(f.Comment(t, where, 7, "alice", "/test"))
	if hook.Kind != cyclone.KindComment || hook.Actor != "alice" || hook.PullRequest.Number != 7 || hook.PullRequest.Fork || hook.Ref != "refs/merge-requests/7/head" {
		t.Errorf("hook is %+v", hook)
	}
	f.Change(where, func(r *fakeforge.Repository) { r.Hooks[0].Secret = "another" })
	if all := f.Push(t, where, "main", newSHA, oldSHA, "x"); len(all) != 1 || all[0].Status != http.StatusForbidden {
		t.Errorf("with another secret: %+v", all)
	}
}
