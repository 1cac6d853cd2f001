package trigger_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest"
	"cyclone/pkg/trigger"
)

// forge hands out the hook that a test wants; its deliveries have no content.
type forge struct {
	mu    *sync.Mutex
	hooks map[string]*cyclone.Hook
}

// knows makes it hand out a hook for a delivery.
func (f forge) knows(id string, h *cyclone.Hook) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hooks[id] = h
}

func (f forge) DeliveryID(http.Header, []byte) cyclone.DeliveryID { return "" }
func (f forge) Verify(http.Header, []byte, []byte) error          { return nil }

func (f forge) Parse(_ http.Header, body []byte) (*cyclone.Hook, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := f.hooks[string(body)]
	if h == nil {
		return nil, cyclone.Invalid("body", "is not a JSON object")
	}
	c := *h
	return &c, nil
}

// canceler ends events as progress does.
type canceler struct{ store *cyclonetest.Memory }

func (c canceler) Cancel(ctx context.Context, id cyclone.EventID, reason string) (*cyclone.Event, error) {
	e, err := c.store.Events.Find(ctx, id)
	if err != nil {
		return nil, err
	}
	if e.Status.Final() {
		return nil, cyclone.Conflict("event is over")
	}
	e.Status, e.Reason = cyclone.StatusCanceled, reason
	return e, c.store.Events.Replace(ctx, e)
}

func (c canceler) Supersede(ctx context.Context, id cyclone.EventID, reason string) (*cyclone.Event, error) {
	e, err := c.store.Events.Find(ctx, id)
	if err == nil && len(e.Deployments) > 0 {
		return nil, cyclone.Conflict("event has begun to deploy")
	}
	return c.Cancel(ctx, id, reason)
}

type world struct {
	*trigger.Trigger
	t     *testing.T
	store *cyclonetest.Memory
	forge forge
	woken int
	count int
	now   time.Time
}

func newWorld(t *testing.T, edit func(*cyclone.Project)) *world {
	t.Helper()
	store := cyclonetest.NewMemory()
	w := &world{t: t, store: store, forge: forge{&sync.Mutex{}, map[string]*cyclone.Hook{}}, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	w.Trigger = &trigger.Trigger{
		Projects: store.Projects, Events: store.Events, Deliveries: store.Deliveries, Files: store.Files,
		Forges: map[string]cyclone.Forge{"github": w.forge}, Progress: canceler{store},
		Registry: "registry.example.com", Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Now: func() time.Time { return w.now }, Wake: func() { w.woken++ },
	}
	p := &cyclone.Project{
		Name: "orders", Repository: cyclone.Repository{Type: "github", URL: "https://github.com/acme/orders.git", DefaultBranch: "main"},
		Triggers: cyclone.Triggers{PullRequest: &cyclone.PullRequestTrigger{Enabled: true}},
	}
	if edit != nil {
		edit(p)
	}
	w.must(store.Projects.Create(t.Context(), p))
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) find(id cyclone.EventID) *cyclone.Event {
	w.t.Helper()
	e, err := w.store.Events.Find(w.t.Context(), id)
	w.must(err)
	return e
}

// stored is a delivery of the hook as it stands in the store.
func (w *world) stored(h *cyclone.Hook) *cyclone.Delivery {
	w.t.Helper()
	w.count++
	id := fmt.Sprint("delivery-", w.count)
	if h != nil {
		w.forge.knows(id, h)
	}
	w.now = w.now.Add(time.Minute)
	d := &cyclone.Delivery{ID: cyclone.DeliveryID(id), SCM: "github", Project: "orders", ReceivedAt: w.now, Body: []byte(id)}
	w.must(w.store.Deliveries.Create(w.t.Context(), d))
	return d
}

// deliver hands a hook in and returns what became of it, as stored.
func (w *world) deliver(h *cyclone.Hook) (*cyclone.Delivery, *cyclone.Event) {
	w.t.Helper()
	d := w.stored(h)
	w.must(w.Deliver(w.t.Context(), d))
	d, err := w.store.Deliveries.Find(w.t.Context(), d.Project, d.SCM, d.ID)
	w.must(err)
	if d.HandledAt == nil || (len(d.Events) == 1) == (d.Ignored != "") {
		w.t.Errorf("outcome is %+v", d)
	}
	if len(d.Events) == 0 {
		return d, nil
	}
	return d, w.find(d.Events[0])
}

const sha = "3f2a1b9c3f2a1b9c3f2a1b9c3f2a1b9c3f2a1b9c"

func push(branch string) *cyclone.Hook {
	return &cyclone.Hook{
		Kind: cyclone.KindPush, Action: cyclone.ActionStart, Actor: "alice",
		Repositories: []string{"https://github.com/acme/orders.git"},
		Ref:          "refs/heads/" + branch, Branch: branch, Commit: cyclone.Commit{SHA: sha, Message: "Fix"},
	}
}

func tag(name string) *cyclone.Hook {
	h := push("")
	h.Kind, h.Branch, h.Tag, h.Ref = cyclone.KindTag, "", name, "refs/tags/"+name
	return h
}

func request(n int, fork bool) *cyclone.Hook {
	h := push("fix")
	h.Kind, h.Ref = cyclone.KindPullRequest, fmt.Sprintf("refs/pull/%d/head", n)
	h.PullRequest = &cyclone.PullRequest{Number: n, Title: "Fix it", SourceBranch: "fix", TargetBranch: "main", Fork: fork}
	return h
}

func with(h *cyclone.Hook, edit func(*cyclone.Hook)) *cyclone.Hook {
	edit(h)
	return h
}
