package forge_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest"
	"cyclone/pkg/notify/forge"
)

const sha = "3f2a1b9c3f2a1b9c3f2a1b9c3f2a1b9c3f2a1b9c"

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// told is a call of the forge.
type told struct {
	Access  cyclone.ForgeAccess
	SHA     string
	Status  cyclone.CommitStatus
	Number  int
	Marker  string
	Comment string
}

// setter is a forge that remembers what it was told.
type setter struct {
	mu    sync.Mutex
	calls []told
	err   error
	// meanwhile happens while the forge is told for the n-th time.
	meanwhile func(n int)
}

func (s *setter) SetStatus(_ context.Context, a cyclone.ForgeAccess, sha string, status cyclone.CommitStatus) error {
	return s.add(told{Access: a, SHA: sha, Status: status})
}

func (s *setter) PutComment(_ context.Context, a cyclone.ForgeAccess, number int, marker, text string) error {
	return s.add(told{Access: a, Number: number, Marker: marker, Comment: text})
}

func (s *setter) add(call told) error {
	s.mu.Lock()
	n := len(s.calls) + 1
	s.mu.Unlock()
	if s.meanwhile != nil {
		s.meanwhile(n) // what was sent before lands after it
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, call)
	return s.err
}

// given is a source of credentials that has one.
type given struct {
	credential cyclone.Credential
	err        error
}

func (g given) Credential(context.Context, *cyclone.Project) (cyclone.Credential, error) {
	return g.credential, g.err
}

// world is a Notifier with everything round it.
type world struct {
	*forge.Notifier
	t       *testing.T
	store   *cyclonetest.Memory
	setter  *setter
	project *cyclone.Project
	made    int // events
}

var token = cyclone.Credential{Username: "x-access-token", Password: "t0ken", Holder: `secret "forge"`}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, store: cyclonetest.NewMemory(), setter: &setter{}}
	w.Notifier = &forge.Notifier{
		Credentials: given{credential: token}, Drivers: map[string]cyclone.StatusSetter{"github": w.setter}, Events: w.store.Events,
		EventURL: func(e *cyclone.Event) string { return "https://ci.example.com/events/" + string(e.ID) },
		LogURL:   func(e *cyclone.Event) string { return "https://ci.example.com/events/" + string(e.ID) + "/logs" },
	}
	w.project = &cyclone.Project{
		Name:          "orders",
		Repository:    cyclone.Repository{Type: "github", URL: "https://github.com/acme/orders.git", Credential: "forge"},
		Notifications: cyclone.Notifications{Comment: &cyclone.CommentNotification{Enabled: true}},
	}
	return w
}

// event stores an event, each a second younger than the one before.
func (w *world) event(edit func(*cyclone.Event)) *cyclone.Event {
	w.t.Helper()
	w.made++
	e := &cyclone.Event{
		ID: cyclone.EventID(fmt.Sprint("e", w.made)), Project: "orders", Status: cyclone.StatusPending, Ref: "refs/heads/main",
		Commit: cyclone.Commit{SHA: sha}, CreatedAt: epoch.Add(time.Duration(w.made) * time.Second),
	}
	e.Run.Key = string(e.ID)
	if edit != nil {
		edit(e)
	}
	if err := w.store.Events.Create(w.t.Context(), e); err != nil {
		w.t.Fatal(err)
	}
	return e
}

// now writes a status over a stored event's.
func (w *world) now(e *cyclone.Event, s cyclone.Status) {
	w.t.Helper()
	found, err := w.store.Events.Find(w.t.Context(), e.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	found.Status, found.Run.Told = s, string(s)
	if err := w.store.Events.Replace(w.t.Context(), found); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) notify(e *cyclone.Event) {
	w.t.Helper()
	if err := w.Notify(w.t.Context(), w.project, e); err != nil {
		w.t.Fatal(err)
	}
}

// states are what the forge was told, in order: state and event.
func (w *world) states() []string {
	var all []string
	for _, c := range w.setter.calls {
		all = append(all, string(c.Status.State)+" "+c.Status.URL[len("https://ci.example.com/events/"):])
	}
	return all
}

func request(number int) func(*cyclone.Event) {
	return func(e *cyclone.Event) { e.PullRequest = &cyclone.PullRequest{Number: number} }
}
