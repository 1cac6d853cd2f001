package trigger_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/trigger"
)

// An event that tags its commit with its version starts no other one of it.
func TestOwnTag(t *testing.T) {
	cases := []struct {
		name   string
		status cyclone.Status
		tag    *cyclone.Hook
		own    bool
	}{
		{"running", cyclone.StatusRunning, tag("v1.2.0"), true},
		{"succeeded", cyclone.StatusSuccess, tag("v1.2.0"), true},
		{"failed", cyclone.StatusFailure, tag("v1.2.0"), false},
		{"pending", cyclone.StatusPending, tag("v1.2.0"), false},
		{"another tag", cyclone.StatusRunning, tag("v1.2.1"), false},
		{"another commit", cyclone.StatusRunning, with(tag("v1.2.0"), func(h *cyclone.Hook) { h.Commit.SHA = older }), false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, nil)
			maker, err := w.Start(t.Context(), w.project(), cyclone.StartRequest{Commit: sha, Version: "v1.2.0"})
			w.must(err)
			maker.Status = c.status
			w.must(w.store.Events.Replace(t.Context(), maker))
			d, e := w.deliver(c.tag)
			if c.own && (e != nil || d.Ignored != "event #1 made it: tag v1.2.0 is its version, of the same commit") || !c.own && e == nil {
				t.Errorf("ignored is %q", d.Ignored)
			}
		})
	}
	// The event of a tag did not make it: pushed once more it runs once more.
	w := newWorld(t, nil)
	_, first := w.deliver(tag("v1"))
	w.ended(first, func(e *cyclone.Event) { e.Status = cyclone.StatusSuccess })
	if d, again := w.deliver(tag("v1")); again == nil {
		t.Errorf("ignored is %q", d.Ignored)
	}
}

// noticed is what polling found.
func noticed(h *cyclone.Hook) *cyclone.Hook {
	return with(h, func(h *cyclone.Hook) { h.Via = cyclone.ViaPoll })
}

// polled is a delivery as polling stores it.
func (w *world) polled(h *cyclone.Hook) *cyclone.Delivery {
	w.t.Helper()
	body, err := json.Marshal(noticed(h))
	w.must(err)
	w.now = w.now.Add(time.Minute)
	d := &cyclone.Delivery{
		ID: trigger.Polled{}.DeliveryID(nil, body), SCM: cyclone.SCMPoll, Project: "orders", ReceivedAt: w.now, Body: body,
	}
	w.must(w.store.Deliveries.Create(w.t.Context(), d))
	return d
}

func (w *world) handle(d *cyclone.Delivery) *cyclone.Delivery {
	w.t.Helper()
	w.must(w.Deliver(w.t.Context(), d))
	return w.delivery(d)
}

func at(h *cyclone.Hook, commit, before string) *cyclone.Hook {
	return with(h, func(h *cyclone.Hook) { h.Commit.SHA, h.Before = commit, before })
}

// A push is started once, whoever tells of it first.
func TestPolledPush(t *testing.T) {
	for _, ref := range []func() *cyclone.Hook{func() *cyclone.Hook { return push("main") }, func() *cyclone.Hook { return tag("v1") }} {
		w := newWorld(t, nil)
		found := w.handle(w.polled(ref()))
		if len(found.Events) != 1 || found.Ref != ref().Ref || found.Commit != sha {
			t.Fatalf("%+v", found)
		}
		e := w.find(found.Events[0])
		if e.Trigger.Via != cyclone.ViaPoll || e.Trigger.Kind != ref().Kind || e.Ref != ref().Ref || e.Status != cyclone.StatusPending {
			t.Errorf("event is %+v", e)
		}
		if d, _ := w.deliver(ref()); !strings.HasPrefix(d.Ignored, "already known: event #1 was started") {
			t.Errorf("the webhook that comes later: %+v", d)
		}
		if d, e := w.deliver(at(ref(), older, sha)); e == nil {
			t.Errorf("another commit: ignored is %q", d.Ignored)
		}

		w = newWorld(t, nil)
		w.deliver(ref())
		if d := w.handle(w.polled(ref())); !strings.HasPrefix(d.Ignored, "already known: event #1 is of the same commit") {
			t.Errorf("polling that comes later: %+v", d)
		}

		// What the webhook told was ignored: that holds.
		w = newWorld(t, nil)
		ignored, _ := w.deliver(with(ref(), func(h *cyclone.Hook) { h.Ignored = "of no interest" }))
		if d := w.handle(w.polled(ref())); d.Ignored != fmt.Sprintf("already known: delivery %s told of the same commit of %s", ignored.ID, ref().Ref) {
			t.Errorf("after an ignored delivery: %+v", d)
		}
		// What was refused told nothing.
		w = newWorld(t, nil)
		refused := w.stored(with(ref(), func(h *cyclone.Hook) { h.Repositories = []string{"https://evil.org/x"} }))
		if err := w.Deliver(t.Context(), refused); err == nil {
			t.Error("it was not refused")
		}
		if d := w.handle(w.polled(ref())); len(d.Events) != 1 {
			t.Errorf("after a refused delivery: %+v", d)
		}
	}
}

// A commit that polling found and that was replaced since runs once more when
// it is pushed again; a webhook that was late changes nothing.
func TestPushBackToWhatPollingFound(t *testing.T) {
	third := strings.Repeat("c", 40)
	w := newWorld(t, nil)
	w.handle(w.polled(at(push("main"), sha, third)))
	w.deliver(at(push("main"), older, sha))
	if d, e := w.deliver(at(push("main"), sha, third)); e != nil || d.Ignored == "" {
		t.Errorf("late webhook: %+v", d)
	}
	if d, e := w.deliver(at(push("main"), sha, older)); e == nil {
		t.Errorf("pushed again: %+v", d)
	}
}

// Deliveries of polling belong to no request, so that nobody waits for one.
func TestPolledIsHandledAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bubble(t)
		w.Tick = time.Hour
		defer w.under()()
		synctest.Wait()
		w.now = time.Now().Add(-time.Minute)
		d := w.polled(push("main"))
		w.Kick()
		synctest.Wait()
		if got := w.delivery(d); len(got.Events) != 1 {
			t.Errorf("%+v", got)
		}
	})
}

// Nobody can send what only polling may say.
func TestPolledRefuses(t *testing.T) {
	p := trigger.Polled{}
	if err := p.Verify(http.Header{}, []byte("{}"), []byte("secret")); !errors.Is(err, cyclone.ErrForbidden) {
		t.Errorf("Verify = %v", err)
	}
	for _, body := range []string{"", "[]", "{}", `{"Kind":"push"}`, `{"Kind":7}`, "null"} {
		if h, err := p.Parse(nil, []byte(body)); !errors.Is(err, cyclone.ErrInvalid) {
			t.Errorf("Parse(%q) = %+v, %v", body, h, err)
		}
	}
}

// A slot fires once, on however many servers, whatever the filters of pushes.
func TestFire(t *testing.T) {
	w := newWorld(t, func(p *cyclone.Project) {
		p.Triggers.Push = &cyclone.PushTrigger{Disabled: true, Branches: []string{"x"}}
	})
	w.Wake = nil
	slot := time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC)
	nightly := cyclone.CronTrigger{Schedule: "0 3 * * *", Timezone: "Europe/Berlin"}
	var fired, known int
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			e, err := w.Fire(t.Context(), w.project(), nightly, slot)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, cyclone.ErrConflict):
				known++
			case err != nil:
				t.Error(err)
			default:
				fired++
				want := cyclone.Event{Ref: "refs/heads/main", Branch: "main", Status: cyclone.StatusPending, Trigger: cyclone.Trigger{Kind: cyclone.KindCron}}
				got := cyclone.Event{Ref: e.Ref, Branch: e.Branch, Status: e.Status, Trigger: e.Trigger}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("event (-want +got):\n%s", diff)
				}
			}
		})
	}
	all.Wait()
	if fired != 1 || known != 7 {
		t.Errorf("fired %d times, %d times known", fired, known)
	}
	for _, c := range []struct {
		trigger cyclone.CronTrigger
		slot    time.Time
		ref     string
	}{
		{nightly, slot.Add(24 * time.Hour), "refs/heads/main"},
		{cyclone.CronTrigger{Schedule: "0 3 * * *", Timezone: "Asia/Shanghai"}, slot, "refs/heads/main"},
		{cyclone.CronTrigger{Schedule: "0 3 * * *", Timezone: "Europe/Berlin", Branch: "release/1"}, slot, "refs/heads/release/1"},
	} {
		e, err := w.Fire(t.Context(), w.project(), c.trigger, c.slot)
		if err != nil || e.Ref != c.ref {
			t.Errorf("%+v at %s: %+v, %v", c.trigger, c.slot, e, err)
		}
	}
}

// What is about the commit of a hook is stored as it came, or refused; never
// anything else.
func TestStrangeRefs(t *testing.T) {
	long := strings.Repeat("ä", 127) + "x"
	kept := []string{
		"$(reboot)", "`id`", "a;rm -rf", "a'b\"c", "a&&b|c>d", "%2e%2e%2f", "<script>", "ветка/版本", "🚀", long, "{{.}}", "feature/#1", "@", "a\u0300",
	}
	for _, name := range kept {
		for _, h := range []*cyclone.Hook{push(name), tag(name)} {
			w := newWorld(t, nil)
			d, e := w.deliver(h)
			if e == nil || e.Ref != h.Ref || e.Branch != h.Branch || e.Tag != h.Tag || d.Ref != h.Ref {
				t.Errorf("%q: %+v, %+v", name, d, e)
			}
			if e.Version != "" && cyclone.DockerTag(e.Version) != e.Version {
				t.Errorf("%q: version is %q", name, e.Version)
			}
		}
	}
	for _, name := range []string{"-x", "--upload-pack=touch /tmp/x", "a\x00b", "a\nb", "a\rSet-Cookie: x", "\xff\xfe", "\x1b[2J", strings.Repeat("x", 2000)} {
		for _, h := range []*cyclone.Hook{push(name), tag(name)} {
			w := newWorld(t, nil)
			d := w.stored(h)
			err := w.Deliver(t.Context(), d)
			if !errors.Is(err, cyclone.ErrInvalid) || d.HandledAt == nil || w.events() != 0 || strings.ContainsAny(err.Error(), "\x00\n\r\x1b") || !utf8.ValidString(err.Error()) {
				t.Errorf("%q: %v, %+v", name, err, d)
			}
		}
	}
	for name, edit := range map[string]func(*cyclone.Hook){
		"ref":    func(h *cyclone.Hook) { h.Ref = "main" },
		"commit": func(h *cyclone.Hook) { h.Commit.SHA = "HEAD" },
		"hash":   func(h *cyclone.Hook) { h.Commit.SHA = strings.ToUpper(sha) },
	} {
		w := newWorld(t, nil)
		if err := w.Deliver(t.Context(), w.stored(with(push("main"), edit))); !errors.Is(err, cyclone.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
