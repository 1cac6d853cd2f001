package poll_test

import (
	"crypto/sha1" //#nosec G505 -- what commits are named by
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/lab"
	"cyclone/pkg/poll"
	"cyclone/pkg/scm/git"
	"cyclone/pkg/store/embeddedtest"
	"cyclone/pkg/trigger"
)

// A real repository behind a login, a real store, real time: the project's
// interval is a second.
func TestRealRepository(t *testing.T) {
	t.Parallel()
	server, err := lab.StartGit("127.0.0.1", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	commit := func(branch, text string) string {
		t.Helper()
		sha, err := server.Commit(t.Context(), "orders", branch, text, map[string][]byte{"file": []byte(text)})
		if err != nil {
			t.Fatal(err)
		}
		return sha
	}
	first := commit("main", "one")
	server.Close("orders", "alice", "of orders")
	store, w := embeddedtest.Open(t), newWorld(t)
	p := &cyclone.Project{
		Name: "orders", CreatedAt: time.Now(), Repository: cyclone.Repository{Type: "git", URL: server.URL("orders")},
		Poll: cyclone.Duration(time.Second),
	}
	if err := store.Projects.Create(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(w.log, nil))
	handles := &trigger.Trigger{
		Projects: store.Projects, Events: store.Events, Deliveries: store.Deliveries, Log: log, Now: time.Now, Tick: 50 * time.Millisecond,
	}
	defer start(t, handles)()
	defer start(t, &poll.Poll{
		Projects: store.Projects, Marks: store.Marks, Deliveries: store.Deliveries, Credentials: w,
		Heads: map[string]cyclone.HeadReader{"git": &git.Cloner{}}, Log: log, Now: time.Now, Tick: 50 * time.Millisecond, Kick: handles.Kick,
	})()
	until(t, w, "the first look", func() bool {
		_, err := store.Marks.Find(t.Context(), "orders", "heads")
		return err == nil
	})
	second := commit("main", "two")
	if err := server.SetRef(t.Context(), "orders", "refs/tags/v1", first); err != nil {
		t.Fatal(err)
	}
	until(t, w, "two deliveries", func() bool { return len(deliveries(t, store.Deliveries, "orders")) >= 2 })
	got := map[string]cyclone.Hook{}
	for _, d := range deliveries(t, store.Deliveries, "orders") {
		got[d.Kind] = hookOf(t, d)
	}
	want := map[string]cyclone.Hook{
		"push": {Kind: cyclone.KindPush, Action: cyclone.ActionStart, Via: cyclone.ViaPoll, Repositories: []string{p.Repository.URL},
			Ref: "refs/heads/main", Branch: "main", Before: first, Commit: cyclone.Commit{SHA: second}},
		"tag": {Kind: cyclone.KindTag, Action: cyclone.ActionStart, Via: cyclone.ViaPoll, Repositories: []string{p.Repository.URL},
			Ref: "refs/tags/v1", Tag: "v1", Commit: cyclone.Commit{SHA: first}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var events []*cyclone.Event
	until(t, w, "two events", func() bool {
		list, err := store.Events.List(t.Context(), cyclone.EventQuery{Project: "orders"})
		if err != nil {
			t.Fatal(err)
		}
		events = list.Items
		return len(events) == 2
	})
	for _, e := range events {
		if e.Trigger.Via != cyclone.ViaPoll || e.Status != cyclone.StatusPending || e.Commit.SHA != want[string(e.Trigger.Kind)].Commit.SHA {
			t.Errorf("event %+v", e)
		}
	}
	server.Close("orders", "alice", "another password")
	until(t, w, "the refused login to be told", func() bool { return w.log.count("cannot look at repository") == 1 })
	if text := w.log.text.String(); strings.Contains(text, "of orders") {
		t.Errorf("the password is in the log: %s", text)
	}
}

func until(t *testing.T, w *world, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s; log: %s", what, w.log.text.String())
		}
		time.Sleep(20 * time.Millisecond) // of a poll, with a deadline
	}
}

// Many thousand branches and tags: what is stored of them, and that a
// change is found among them.
func TestAHugeRepository(t *testing.T) {
	const many = 20_000
	inBubble(t, func(w *world) {
		refs := map[string]string{}
		for i := range many {
			sum := sha1.Sum(fmt.Append(nil, i)) //#nosec G401 -- what commits are named by
			refs[fmt.Sprintf("refs/heads/team-%d/feature/TICKET-%d-some-long-name", i%97, i)] = hex.EncodeToString(sum[:])
		}
		w.change(func() { w.repos[url] = refs })
		w.tick = 10 * time.Second
		w.put("orders", "git", 5*time.Minute)
		stop := w.run("a")
		pass(2 * time.Minute)
		mark, err := w.marks.Find(t.Context(), "orders", "heads")
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d refs are a mark of %d KiB", many, len(mark.Value)>>10)
		if len(mark.Value) > many*80 {
			t.Errorf("the mark has %d bytes", len(mark.Value))
		}
		stop()
		w.push("refs/heads/main", "a1")
		stop = w.run("b") // reads what it did not see
		defer stop()
		pass(2 * time.Minute)
		if diff := cmp.Diff(map[string]string{"refs/heads/main": "a1"}, w.told("orders")); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		revision := func() int64 {
			m, err := w.marks.Find(t.Context(), "orders", "heads")
			if err != nil {
				t.Fatal(err)
			}
			return m.Revision
		}
		written := revision()
		pass(30 * time.Minute)
		if now := revision(); now != written {
			t.Errorf("nothing changed, but the mark was written %d times", now-written)
		}
	})
}

// More than a store takes in one piece is refused, in words that say why.
func TestTooMuchToRemember(t *testing.T) {
	t.Parallel()
	random := rand.NewChaCha8([32]byte{})
	refs := map[string]string{}
	for range 200 {
		name := make([]byte, 20)
		_, _ = random.Read(name) // never fails
		refs["refs/heads/"+hex.EncodeToString(name)] = "c"
	}
	if value, err := poll.Remember(url, refs, 3<<10); !errors.Is(err, cyclone.ErrInvalid) || !strings.Contains(err.Error(), "too many branches and tags to be looked at: 200") {
		t.Errorf("%d bytes, %v", len(value), err)
	}
	if value, err := poll.Remember(url, refs, 8<<10); err != nil {
		t.Errorf("%d bytes, %v", len(value), err)
	}
}
