package httpapi_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/trigger"
)

// silent is a forge that does not answer before it is let.
type silent struct{ release chan struct{} }

func (s silent) Changed(ctx context.Context, _ *cyclone.Project, _, _ string, _ int) ([]string, error) {
	select {
	case <-s.release:
		return []string{"src/a.go"}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (silent) PullRequest(context.Context, *cyclone.Project, int) (*cyclone.PullRequestInfo, error) {
	return nil, errors.New("nobody asks for it")
}

func (silent) MayWrite(context.Context, *cyclone.Project, string) (bool, error) {
	return false, errors.New("nobody asks for it")
}

// A forge that must be asked keeps no sender waiting, also one that sends the
// same again; in the end its delivery is handled once.
func TestAnswerDoesNotWaitForTheForge(t *testing.T) {
	t.Parallel()
	store := embeddedStore(t)
	p, err := store.projects.Find(t.Context(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	p.Repository.Credential, p.Triggers.Push = "forge", &cyclone.PushTrigger{Paths: []string{"src/**"}}
	if err := store.projects.Replace(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	r := store.replica(t)
	forge := silent{make(chan struct{})}
	r.trigger.Asks = forge
	r.trigger.Forges = map[string]cyclone.Forge{"github": replacing{}}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.trigger.Run(ctx) }()
	for i, status := range []int{http.StatusAccepted, http.StatusOK, http.StatusOK} {
		begun := time.Now()
		if a := r.post(t, hooks, "d1", "{}"); a.status != status || strings.TrimSpace(a.body) != `{"delivery":"d1"}` {
			t.Errorf("answered %d %s", a.status, a.body)
		}
		if took := time.Since(begun); took > time.Second {
			t.Errorf("answer %d took %s", i, took)
		}
	}
	if a := r.post(t, "/api/v1/projects/orders/deliveries/d1/redeliver", "", ""); a.status != http.StatusAccepted || strings.TrimSpace(a.body) != `{"delivery":"d1"}` {
		t.Errorf("redelivered: %d %s", a.status, a.body)
	}
	close(forge.release)
	for end := time.Now().Add(20 * time.Second); store.find(t, "d1").HandledAt == nil; {
		if time.Now().After(end) {
			t.Fatalf("it still waits: %+v", store.find(t, "d1"))
		}
		time.Sleep(5 * time.Millisecond) // of a poll, with a deadline
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	events := store.all(t)
	if a := r.post(t, hooks, "d1", "{}"); len(events) != 1 || a.status != http.StatusOK || !strings.Contains(a.body, string(events[0].ID)) {
		t.Errorf("%d events; answered %d %s", len(events), a.status, a.body)
	}
}

// replacing is a forge whose pushes replace a commit and tell no paths.
type replacing struct{ pushForge }

func (replacing) Parse(h http.Header, body []byte) (*cyclone.Hook, error) {
	hook, err := pushForge{}.Parse(h, body)
	hook.Before = strings.Repeat("a", 40)
	return hook, err
}

// What polling writes nobody can send, but everybody who may can have it
// handled once more.
func TestDeliveriesOfPolling(t *testing.T) {
	t.Parallel()
	store := memoryStore(t)
	r := store.replica(t)
	r.Forges[cyclone.SCMPoll] = trigger.Polled{}
	body := `{"Kind":"push","Action":"start","Via":"poll","Ref":"refs/heads/main","Branch":"main",` +
		`"Repositories":["https://github.com/acme/orders.git"],"Commit":{"sha":"` + strings.Repeat("3f2a1b9c", 5) + `"}}`
	if a := r.post(t, "/api/v1/hooks/poll/orders", "d1", body); a.status != http.StatusNotFound || strings.Contains(a.body, "poll,") || !strings.Contains(a.body, `there is no forge`) {
		t.Errorf("answered %d %s", a.status, a.body)
	}
	d := &cyclone.Delivery{ID: "poll-1", SCM: cyclone.SCMPoll, Project: "orders", ReceivedAt: time.Now(), Body: []byte(body)}
	if err := store.deliveries.Create(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if a := r.post(t, "/api/v1/projects/orders/deliveries/poll-1/redeliver", "", ""); a.status != http.StatusAccepted || !strings.Contains(a.body, "events") {
		t.Errorf("redelivered: %d %s", a.status, a.body)
	}
	if events := store.all(t); len(events) != 1 || events[0].Trigger.Via != cyclone.ViaPoll {
		t.Errorf("events are %+v", events)
	}
}
