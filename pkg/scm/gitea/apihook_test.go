package gitea_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/fakeforge"
	"cyclone/pkg/scm/gitea"
)

// A webhook of another kind cannot be made ours.
func TestHookOfAnotherType(t *testing.T) {
	t.Parallel()
	f, api, a := tea(t)
	const url = "https://ci.example.com/h"
	f.Change("acme/orders", func(r *fakeforge.Repository) {
		r.Hooks = []fakeforge.Hook{{ID: 1001, URL: url, Type: "slack", Active: true}, {ID: 1002, URL: url, Type: "forgejo"}, {ID: 1003, URL: url, Type: "gitea"}}
	})
	id, err := api.PutHook(t.Context(), a, cyclone.HookSpec{URL: url, Secret: "s"})
	all := f.Repository("acme/orders").Hooks
	if err != nil || id != "1002" || len(all) != 1 || all[0].ID != 1002 || all[0].Secret != "s" || !all[0].Active {
		t.Errorf("id %s, %v, hooks %+v", id, err, all)
	}
}

// Two servers that connect a project at the same time make one webhook.
func TestHookMadeMeanwhile(t *testing.T) {
	t.Parallel()
	f, api, a := tea(t)
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
	if ids[1], err = (&gitea.API{}).PutHook(t.Context(), a, spec); err != nil {
		t.Error(err)
	}
	close(hold)
	wait.Wait()
	if all := f.Repository("acme/orders").Hooks; len(all) != 1 || ids[0] != ids[1] || ids[0] != fmt.Sprint(all[0].ID) {
		t.Errorf("ids %v, hooks %+v", ids, all)
	}
}

// What the webhook that was made delivers, the driver of hooks accepts.
func TestDeliveriesOfTheHook(t *testing.T) {
	t.Parallel()
	f, api, a := tea(t)
	got := make(chan *cyclone.Hook, 1)
	here := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = (gitea.Forge{}).Verify(r.Header, body, []byte("hook-secret"))
		}
		var hook *cyclone.Hook
		if err == nil {
			hook, err = (gitea.Forge{}).Parse(r.Header, body)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		got <- hook
		w.WriteHeader(http.StatusAccepted)
	}))
	defer here.Close()
	if _, err := api.PutHook(t.Context(), a, cyclone.HookSpec{URL: here.URL + "/hooks/gitea/orders", Secret: "hook-secret"}); err != nil {
		t.Fatal(err)
	}
	delivered := func(all []fakeforge.Delivered) *cyclone.Hook {
		t.Helper()
		if len(all) != 1 || all[0].Err != nil || all[0].Status != http.StatusAccepted {
			t.Fatalf("delivered %+v", all)
		}
		return <-got
	}
	push := delivered(f.Push(t, "acme/orders", "main", oldSHA, newSHA, "Pay later", "pay.go"))
	if push.Kind != cyclone.KindPush || push.Branch != "main" || push.Commit.SHA != newSHA || push.Actor != "alice" || !slices.Equal(push.Changed, []string{"pay.go"}) {
		t.Errorf("hook is %+v", push)
	}
	for _, action := range []string{"opened", "synchronized"} {
		pull := delivered(f.PullRequestEvent(t, "acme/orders", 7, action))
		if pull.Kind != cyclone.KindPullRequest || pull.PullRequest.Number != 7 || !pull.PullRequest.Fork || pull.Commit.SHA != newSHA {
			t.Errorf("%s: hook is %+v", action, pull)
		}
	}
	asked := delivered(f.Comment(t, "acme/orders", 7, "alice", "/test"))
	if asked.Kind != cyclone.KindComment || asked.Comment != cyclone.CommentTest || asked.Actor != "alice" || asked.PullRequest.Number != 7 {
		t.Errorf("hook is %+v", asked)
	}
}
