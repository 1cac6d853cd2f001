package poll_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
)

func TestWhatChangedIsDelivered(t *testing.T) {
	inBubble(t, func(w *world) {
		w.tick = 5 * time.Second
		w.push("refs/heads/main", "a1", "refs/heads/old", "b1", "refs/heads/same", "c1", "refs/tags/v1", "d1")
		w.put("orders", "git", 5*time.Minute)
		defer w.run("a")()
		pass(2 * time.Minute)
		if got := deliveries(t, w.store.Deliveries, "orders"); len(got) != 0 || w.count() == 0 || w.kicks != 0 {
			t.Errorf("the first of %d looks made %d deliveries", w.count(), len(got))
		}
		w.push("refs/heads/main", "a2", "refs/heads/old", "", "refs/heads/new$(id)'ä", "e1", "refs/tags/v2", "a2", "refs/pull/7/head", "f1")
		pass(5 * time.Minute)
		got := deliveries(t, w.store.Deliveries, "orders")
		var hooks []cyclone.Hook
		for _, d := range got {
			hooks = append(hooks, hookOf(t, d))
			if d.SCM != cyclone.SCMPoll || d.NextAt != nil || d.HandledAt != nil || len(d.Header) != 0 || !strings.HasPrefix(string(d.ID), "poll-") {
				t.Errorf("delivery %+v", d)
			}
		}
		slices.SortFunc(hooks, func(a, b cyclone.Hook) int { return strings.Compare(a.Ref, b.Ref) })
		hook := func(h cyclone.Hook) cyclone.Hook {
			h.Action, h.Via, h.Repositories = cyclone.ActionStart, cyclone.ViaPoll, []string{url}
			return h
		}
		want := []cyclone.Hook{
			hook(cyclone.Hook{Kind: cyclone.KindPush, Ref: "refs/heads/main", Branch: "main", Before: "a1", Commit: cyclone.Commit{SHA: "a2"}}),
			hook(cyclone.Hook{Kind: cyclone.KindPush, Ref: "refs/heads/new$(id)'ä", Branch: "new$(id)'ä", Commit: cyclone.Commit{SHA: "e1"}}),
			hook(cyclone.Hook{Kind: cyclone.KindTag, Ref: "refs/tags/v2", Tag: "v2", Commit: cyclone.Commit{SHA: "a2"}}),
		}
		if diff := cmp.Diff(want, hooks); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if w.kicks != 1 {
			t.Errorf("%d kicks", w.kicks)
		}
		w.push("refs/heads/main", "a1", "refs/heads/old", "b1") // forced back; there again
		pass(5 * time.Minute)
		if diff := cmp.Diff(map[string]string{"refs/heads/main": "a2 a1", "refs/heads/new$(id)'ä": "e1", "refs/tags/v2": "a2", "refs/heads/old": "b1"}, w.told("orders")); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		pass(time.Hour)
		if n := len(deliveries(t, w.store.Deliveries, "orders")); n != 5 {
			t.Errorf("%d deliveries after an hour without a push", n)
		}
		spec := w.looks[0].spec
		if spec.URL != url || spec.Username != "alice" || spec.Password != "of orders" {
			t.Errorf("looked with %+v", spec)
		}
	})
}

func TestLooksAreSpread(t *testing.T) {
	inBubble(t, func(w *world) {
		w.slowness = time.Second
		for i := range 40 {
			w.put(fmt.Sprintf("p%02d", i), "git", 5*time.Minute)
		}
		w.put("never", "git", 0)
		w.put("neither", "svn", 0)
		defer w.run("a")()
		pass(2 * time.Minute)
		w.change(func() { w.looks = nil })
		pass(time.Hour)
		by, perMinute := map[string][]time.Time{}, map[time.Time]int{}
		for _, l := range w.looks {
			by[l.spec.Password] = append(by[l.spec.Password], l.at)
			perMinute[l.at.Truncate(time.Minute)]++
		}
		for name, at := range by {
			if len(at) < 12 || len(at) > 13 {
				t.Errorf("%s was looked at %d times in an hour", name, len(at))
			}
		}
		for minute, n := range perMinute {
			if n > 20 {
				t.Errorf("%d looks at %s", n, minute)
			}
		}
		if len(by) != 40 || w.max > 4 {
			t.Errorf("%d were looked at, %d at the same time", len(by), w.max)
		}
	})
}

func TestNothingIsLostBetweenDeliveryAndMark(t *testing.T) {
	inBubble(t, func(w *world) {
		w.push("refs/heads/main", "a1")
		w.put("orders", "git", time.Minute)
		stop := w.run("a")
		pass(2 * time.Minute)
		w.marks.set(cyclone.Unavailable("marks cannot be written"))
		w.push("refs/heads/main", "a2")
		pass(10 * time.Minute)
		stop()
		w.push("refs/heads/main", "a3")
		w.marks.set(nil)
		stop = w.run("b")
		pass(2 * time.Minute)
		stop()
		if diff := cmp.Diff(map[string]string{"refs/heads/main": "a2 a3"}, w.told("orders")); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if n := w.log.count("marks cannot be written"); n != 1 {
			t.Errorf("%d lines: %s", n, w.log.text.String())
		}
	})
}

func TestManyChangesComeInParts(t *testing.T) {
	inBubble(t, func(w *world) {
		w.tick = 5 * time.Second
		w.push("refs/heads/main", "a1", "refs/heads/gone", "b1")
		w.put("orders", "git", time.Hour)
		defer w.run("a")()
		pass(90 * time.Minute)
		w.push("refs/heads/main", "a2", "refs/heads/gone", "")
		for i := range 249 {
			w.push(fmt.Sprintf("refs/tags/v%03d", i), fmt.Sprint("t", i))
		}
		pass(time.Hour + time.Minute)
		told := w.told("orders")
		if len(told) != 250 || told["refs/tags/v248"] != "t248" || told["refs/heads/main"] != "a2" {
			t.Errorf("%d changes were delivered", len(told))
		}
		if n := len(deliveries(t, w.store.Deliveries, "orders")); n != 250 {
			t.Errorf("%d deliveries", n)
		}
	})
}

func TestFailuresComeLessOften(t *testing.T) {
	inBubble(t, func(w *world) {
		w.tick = 5 * time.Second
		w.push("refs/heads/main", "a1")
		w.put("orders", "git", time.Minute)
		defer w.run("a")()
		pass(5 * time.Minute)
		looked := w.count()
		w.change(func() { w.failure = cyclone.Forbidden("the token was refused") })
		pass(6 * time.Hour)
		// After 1, 2, 4, ... 32 minutes and then each hour.
		if n := w.count() - looked; n < 10 || n > 13 {
			t.Errorf("%d looks in six hours of failures", n)
		}
		if w.log.count("the token was refused") != 1 || w.log.count("\n") != 1 {
			t.Errorf("log: %s", w.log.text.String())
		}
		w.change(func() { w.failure = nil })
		w.push("refs/heads/main", "a2")
		pass(time.Hour)
		if w.told("orders")["refs/heads/main"] != "a2" || w.log.count("can be looked at again") != 1 {
			t.Errorf("told %v; log: %s", w.told("orders"), w.log.text.String())
		}
		w.change(func() { w.failure = cyclone.UnavailableFor(3*time.Hour, "too many requests") })
		pass(2 * time.Minute)
		looked = w.count()
		pass(175 * time.Minute)
		if w.count() != looked {
			t.Error("it was looked before the host wanted")
		}
	})
}

func TestCredentialsThatCannotBeOpened(t *testing.T) {
	inBubble(t, func(w *world) {
		w.denied = cyclone.NotFound(`there is no secret "forge"`)
		w.put("orders", "git", time.Minute)
		defer w.run("a")()
		pass(30 * time.Minute)
		if w.count() != 0 || w.log.count("there is no secret") != 1 {
			t.Errorf("%d looks; log: %s", w.count(), w.log.text.String())
		}
	})
}

func TestSlowHostsHoldUpNobodyForLong(t *testing.T) {
	inBubble(t, func(w *world) {
		w.slowness = time.Hour
		for i := range 4 {
			w.put(fmt.Sprintf("slow%d", i), "git", time.Minute)
		}
		defer w.run("a")()
		pass(70 * time.Second)
		w.change(func() { w.slowness = 0 })
		w.put("fast", "git", time.Minute)
		pass(2 * time.Minute)
		if !slices.ContainsFunc(w.looks, func(l look) bool { return l.spec.Password == "of fast" }) {
			t.Error("fast was not looked at")
		}
		if n := w.log.count("did not answer within 1m"); n != 4 {
			t.Errorf("%d lines: %s", n, w.log.text.String())
		}
	})
}

func TestMissedWebhooksAreFoundOnceADay(t *testing.T) {
	inBubble(t, func(w *world) {
		w.tick = time.Minute
		w.push("refs/heads/main", "a1")
		w.put("orders", "github", 0)
		w.put("polled", "gitlab", 12*time.Hour, func(p *cyclone.Project) { p.Repository.URL = "https://git.example.com/other.git" })
		stop := w.run("a")
		pass(15 * time.Minute)
		w.push("refs/heads/main", "a2", "refs/tags/v1", "a2")
		at := func() (all []time.Time) {
			w.change(func() {
				for _, l := range w.looks {
					if l.spec.URL == url {
						all = append(all, l.at)
					}
				}
			})
			return all
		}
		for range 10 { // a server that is started again and again
			stop()
			stop = w.run("a")
			pass(11 * time.Minute)
		}
		if n := len(at()); n != 1 {
			t.Errorf("%d comparisons in two hours of starts", n)
		}
		pass(5 * 24 * time.Hour)
		all := at()
		if len(all) < 5 || len(all) > 6 {
			t.Errorf("%d comparisons in five days", len(all))
		}
		for i := 2; i < len(all); i++ {
			if gap := all[i].Sub(all[i-1]); gap < 24*time.Hour-w.tick || gap > 24*time.Hour+w.tick {
				t.Errorf("%s between two comparisons", gap)
			}
		}
		got := deliveries(t, w.store.Deliveries, "orders")
		if len(got) != 2 {
			t.Fatalf("deliveries: %v", w.told("orders"))
		}
		for _, d := range got {
			// The webhook may be on its way.
			if d.NextAt == nil || d.NextAt.Sub(d.ReceivedAt) != 2*time.Minute || hookOf(t, d).Via != cyclone.ViaMissed {
				t.Errorf("delivery %s: received %s, next %v, %s", d.ID, d.ReceivedAt, d.NextAt, d.Body)
			}
		}
		stop()
		pass(3 * 24 * time.Hour)
		w.push("refs/heads/main", "a3")
		defer w.run("b")()
		pass(11 * time.Minute)
		if w.told("orders")["refs/heads/main"] != "a2 a3" {
			t.Errorf("after three days without a server: %v", w.told("orders"))
		}
	})
}

// Of a project that is polled although webhooks come, theirs may be on its way.
func TestPollingBesideWebhooks(t *testing.T) {
	inBubble(t, func(w *world) {
		w.push("refs/heads/main", "a1")
		w.put("orders", "github", time.Minute)
		d := &cyclone.Delivery{ID: "1", SCM: "github", Project: "orders", ReceivedAt: time.Now(), Events: []cyclone.EventID{}}
		if err := w.store.Deliveries.Create(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		defer w.run("a")()
		pass(2 * time.Minute)
		w.push("refs/heads/main", "a2")
		pass(2 * time.Minute)
		all := deliveries(t, w.store.Deliveries, "orders")
		if len(all) != 2 || all[1].NextAt == nil || all[1].NextAt.Sub(all[1].ReceivedAt) != 2*time.Minute || w.kicks != 0 {
			t.Errorf("%d deliveries, the last %+v", len(all), all[len(all)-1])
		}
	})
}

func TestAnotherRepositoryIsAnotherBeginning(t *testing.T) {
	inBubble(t, func(w *world) {
		w.tick = 5 * time.Second
		w.push("refs/heads/main", "a1")
		w.put("orders", "git", time.Hour)
		defer w.run("a")()
		pass(2 * time.Minute)
		const moved = "https://git.example.com/moved.git"
		w.change(func() { w.repos[moved] = map[string]string{"refs/heads/main": "x1", "refs/heads/other": "y1"} })
		w.put("orders", "git", time.Hour, func(p *cyclone.Project) { p.Repository.URL = moved })
		pass(20 * time.Second) // a change is looked at soon
		w.change(func() { w.repos[moved]["refs/heads/main"] = "x2" })
		pass(2 * time.Hour)
		if diff := cmp.Diff(map[string]string{"refs/heads/main": "x2"}, w.told("orders")); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// A project that is deleted and made again has no past.
func TestTheSameNameAgain(t *testing.T) {
	inBubble(t, func(w *world) {
		w.push("refs/heads/main", "a1")
		w.put("orders", "git", time.Minute)
		defer w.run("a")()
		pass(2 * time.Minute)
		if err := w.store.Projects.Delete(t.Context(), "orders"); err != nil {
			t.Fatal(err)
		}
		w.push("refs/heads/main", "a2")
		w.put("orders", "git", time.Minute)
		pass(2 * time.Minute)
		if told := w.told("orders"); len(told) != 0 {
			t.Errorf("told %v", told)
		}
		w.push("refs/heads/main", "a3")
		pass(2 * time.Minute)
		if diff := cmp.Diff(map[string]string{"refs/heads/main": "a3"}, w.told("orders")); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// A host that shows nothing for a while does not make all of it new.
func TestAnEmptyAnswerForgetsNothing(t *testing.T) {
	inBubble(t, func(w *world) {
		w.push("refs/heads/main", "a1", "refs/heads/old", "b1")
		w.put("orders", "git", time.Minute)
		defer w.run("a")()
		pass(2 * time.Minute)
		w.push("refs/heads/main", "", "refs/heads/old", "")
		pass(5 * time.Minute)
		w.push("refs/heads/main", "a2", "refs/heads/old", "b1")
		pass(2 * time.Minute)
		if diff := cmp.Diff(map[string]string{"refs/heads/main": "a2"}, w.told("orders")); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestServersShareTheWork(t *testing.T) {
	for name, holders := range map[string][]string{"with a lease": {"a", "b"}, "without one": {"", "", ""}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.push("refs/heads/main", "a1")
				w.put("orders", "git", time.Minute)
				for _, h := range holders {
					defer w.run(h)()
				}
				pass(2 * time.Minute)
				for i := range 5 {
					w.push("refs/heads/main", fmt.Sprint("b", i), fmt.Sprint("refs/tags/v", i), fmt.Sprint("b", i))
					pass(2 * time.Minute)
				}
				if told := w.told("orders"); len(told) != 6 || told["refs/heads/main"] != "b0 b1 b2 b3 b4" {
					t.Errorf("told %v", told)
				}
				if name == "with a lease" && w.count() > 15 {
					t.Errorf("%d looks in twelve minutes", w.count())
				}
			})
		})
	}
}

func TestAnotherServerTakesOver(t *testing.T) {
	inBubble(t, func(w *world) {
		w.push("refs/heads/main", "a1")
		w.put("orders", "git", time.Minute)
		stop := w.run("a")
		pass(time.Second)
		defer w.run("b")()
		pass(2 * time.Minute)
		w.push("refs/heads/main", "a2")
		stop()
		pass(2 * time.Minute)
		if diff := cmp.Diff(map[string]string{"refs/heads/main": "a2"}, w.told("orders")); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestHostKeysThatAreSeenAreKept(t *testing.T) {
	inBubble(t, func(w *world) {
		w.learned = []string{"ssh-ed25519 AAAA"}
		w.push("refs/heads/main", "a1")
		w.put("orders", "git", time.Minute)
		defer w.run("a")()
		pass(3 * time.Minute)
		p, err := w.store.Projects.Find(t.Context(), "orders")
		if err != nil || !slices.Equal(p.Repository.HostKeys, w.learned) || p.Revision != 2 {
			t.Errorf("%v, %v, revision %d", p.Repository.HostKeys, err, p.Revision)
		}
		if last := w.looks[len(w.looks)-1].spec; !slices.Equal(last.HostKeys, w.learned) {
			t.Errorf("looked with %q", last.HostKeys)
		}
	})
}

func TestMarksThatCannotBeRead(t *testing.T) {
	inBubble(t, func(w *world) {
		w.push("refs/heads/main", "a1")
		w.put("orders", "git", time.Minute)
		m := &cyclone.Mark{Project: "orders", Name: "heads", Value: []byte("\x28\xb5\x2f\xfdrubbish")}
		if err := w.marks.Put(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		defer w.run("a")()
		pass(2 * time.Minute)
		w.push("refs/heads/main", "a2")
		pass(2 * time.Minute)
		if diff := cmp.Diff(map[string]string{"refs/heads/main": "a2"}, w.told("orders")); diff != "" || w.log.count("cannot be read") != 1 {
			t.Errorf("(-want +got):\n%s\nlog: %s", diff, w.log.text.String())
		}
	})
}

// What changes while the repository is asked is looked at afterwards.
func TestAProjectThatChangesDuringALook(t *testing.T) {
	inBubble(t, func(w *world) {
		w.slowness = 30 * time.Second
		w.put("orders", "git", 24*time.Hour)
		defer w.run("a")()
		for w.count() == 0 {
			pass(time.Second)
		}
		w.put("orders", "git", time.Minute)
		pass(5 * time.Minute)
		if n := w.count(); n < 4 {
			t.Errorf("%d looks in five minutes", n)
		}
	})
}

func TestProjectsThatGoAreForgotten(t *testing.T) {
	inBubble(t, func(w *world) {
		w.tick = 5 * time.Second
		w.put("orders", "git", time.Minute)
		w.failure = errors.New("something unexpected")
		defer w.run("a")()
		pass(3 * time.Minute)
		if w.log.count("something unexpected") != 1 {
			t.Errorf("log: %s", w.log.text.String())
		}
		if err := w.store.Projects.Delete(t.Context(), "orders"); err != nil {
			t.Fatal(err)
		}
		looked := w.count()
		pass(3 * time.Hour)
		if w.count() > looked+1 {
			t.Error("a project that is gone was looked at")
		}
	})
}
