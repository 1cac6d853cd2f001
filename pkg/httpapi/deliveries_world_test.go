package httpapi_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest"
	"cyclone/pkg/httpapi"
	"cyclone/pkg/livelog"
	"cyclone/pkg/store/embeddedtest"
	"cyclone/pkg/trigger"
)

// pushForge takes every body for a push to main; that of "panic" breaks it.
type pushForge struct{ fakeForge }

func (pushForge) Parse(_ http.Header, body []byte) (*cyclone.Hook, error) {
	if string(body) == "panic" {
		panic("index out of range")
	}
	return &cyclone.Hook{
		Kind: cyclone.KindPush, Action: cyclone.ActionStart, Repositories: []string{"https://github.com/acme/orders.git"},
		Ref: "refs/heads/main", Branch: "main", Commit: cyclone.Commit{SHA: strings.Repeat("3f2a1b9c", 5)},
	}, nil
}

// keptSealer keeps values as they are.
type keptSealer struct{}

func (keptSealer) Seal(_ string, plain []byte) ([]byte, error)  { return plain, nil }
func (keptSealer) Open(_ string, sealed []byte) ([]byte, error) { return sealed, nil }

// noCanceler ends nothing: no test here asks for it.
type noCanceler struct{}

func (noCanceler) Cancel(context.Context, cyclone.EventID, string) (*cyclone.Event, error) {
	return nil, errors.New("nothing is to be canceled")
}

func (noCanceler) Supersede(context.Context, cyclone.EventID, string) (*cyclone.Event, error) {
	return nil, errors.New("nothing is to be superseded")
}

// deliveryStore is the part of a store that deliveries need.
type deliveryStore struct {
	projects   cyclone.ProjectStore
	events     cyclone.EventStore
	deliveries cyclone.DeliveryStore
}

func memoryStore(t *testing.T) deliveryStore {
	m := cyclonetest.NewMemory()
	return withOrders(t, deliveryStore{m.Projects, m.Events, m.Deliveries})
}

func embeddedStore(t *testing.T) deliveryStore {
	s := embeddedtest.Open(t)
	return withOrders(t, deliveryStore{s.Projects, s.Events, s.Deliveries})
}

func withOrders(t *testing.T, s deliveryStore) deliveryStore {
	t.Helper()
	p := &cyclone.Project{Name: "orders", WebhookSecret: []byte("good"),
		Repository: cyclone.Repository{Type: "github", URL: "https://github.com/acme/orders.git", DefaultBranch: "main"}}
	if err := s.projects.Create(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	return s
}

// replica is one of several servers over a store, with a real trigger.
type replica struct {
	*httpapi.Server
	trigger *trigger.Trigger
	url     string
	log     *lockedBuffer
}

func (s deliveryStore) replica(t *testing.T) *replica {
	t.Helper()
	r := &replica{log: &lockedBuffer{}}
	log := slog.New(slog.NewTextHandler(r.log, nil))
	forges := map[string]cyclone.Forge{"github": pushForge{}}
	r.trigger = &trigger.Trigger{
		Projects: s.projects, Events: s.events, Deliveries: s.deliveries, Forges: forges, Progress: noCanceler{}, Log: log, Now: time.Now,
	}
	r.Server = &httpapi.Server{
		Projects: s.projects, Events: s.events, Deliveries: s.deliveries, Sealer: keptSealer{}, Live: livelog.New(), Trigger: r.trigger,
		Forges: forges, Auth: testAuth{httpapi.HashToken(adminToken)}, Log: log,
	}
	listener := httptest.NewServer(r.Handler())
	r.url = listener.URL
	t.Cleanup(func() {
		if err := r.Drain(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		listener.Close()
	})
	return r
}

// post sends a signed delivery, or what a user asks for.
func (r *replica) post(t *testing.T, path, id, body string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"X-Test-Signature": {"good"}, "X-Github-Delivery": {id}, "Authorization": {"Bearer " + adminToken}}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return answer{}
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Error(err)
	}
	return answer{res.StatusCode, res.Header, string(data)}
}

const hooks = "/api/v1/hooks/github/orders"

func (s deliveryStore) find(t *testing.T, id cyclone.DeliveryID) *cyclone.Delivery {
	t.Helper()
	d, err := s.deliveries.Find(t.Context(), "orders", "github", id)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (s deliveryStore) all(t *testing.T) []*cyclone.Event {
	t.Helper()
	l, err := s.events.List(t.Context(), cyclone.EventQuery{})
	if err != nil {
		t.Fatal(err)
	}
	return l.Items
}
