package poll_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest"
	"cyclone/pkg/lead"
	"cyclone/pkg/poll"
)

// world is a store in memory and repositories that only have heads. Its time
// is synctest's, which begins at midnight.
type world struct {
	t     *testing.T
	store *cyclonetest.Memory
	marks *faultyMarks
	log   *record
	tick  time.Duration // of the servers, where days pass

	mu       sync.Mutex
	repos    map[string]map[string]string // by URL
	failure  error
	slowness time.Duration
	learned  []string
	looks    []look
	now, max int // looks under way
	kicks    int
	denied   error // what Credential fails with
}

// look is one call of Heads.
type look struct {
	spec cyclone.CloneSpec
	at   time.Time
}

func newWorld(t *testing.T) *world {
	store := cyclonetest.NewMemory()
	return &world{t: t, store: store, marks: &faultyMarks{MarkStore: store.Marks}, log: &record{}, repos: map[string]map[string]string{}}
}

// Heads is HeadReader's.
func (w *world) Heads(ctx context.Context, s cyclone.CloneSpec) (*cyclone.Heads, error) {
	w.mu.Lock()
	w.looks = append(w.looks, look{s, time.Now()})
	w.now++
	w.max = max(w.max, w.now)
	slow := w.slowness
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.now--
	}()
	if slow > 0 {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("read the heads: %w", context.Cause(ctx))
		case <-time.After(slow):
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failure != nil {
		return nil, w.failure
	}
	if s.Learned != nil && len(w.learned) > 0 && len(s.HostKeys) == 0 {
		s.Learned(w.learned)
	}
	return &cyclone.Heads{Default: "main", Refs: maps.Clone(w.repos[s.URL])}, nil
}

// Credential is CredentialSource's.
func (w *world) Credential(_ context.Context, p *cyclone.Project) (cyclone.Credential, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return cyclone.Credential{Username: "alice", Password: "of " + string(p.Name)}, w.denied
}

func (w *world) change(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	do()
}

const url = "https://git.example.com/acme/orders.git"

// push sets refs of the one repository; an empty commit deletes one.
func (w *world) push(pairs ...string) {
	w.change(func() {
		if w.repos[url] == nil {
			w.repos[url] = map[string]string{}
		}
		for i := 0; i < len(pairs); i += 2 {
			if w.repos[url][pairs[i]] = pairs[i+1]; pairs[i+1] == "" {
				delete(w.repos[url], pairs[i])
			}
		}
	})
}

// put creates or changes a project.
func (w *world) put(name, kind string, every time.Duration, edit ...func(*cyclone.Project)) {
	w.t.Helper()
	p, err := w.store.Projects.Find(w.t.Context(), cyclone.ProjectName(name))
	if err != nil {
		p = &cyclone.Project{Name: cyclone.ProjectName(name), CreatedAt: time.Now(), Repository: cyclone.Repository{URL: url}}
	}
	p.Repository.Type, p.Poll, p.UpdatedAt = kind, cyclone.Duration(every), time.Now()
	for _, e := range edit {
		e(p)
	}
	if p.Revision == 0 {
		err = w.store.Projects.Create(w.t.Context(), p)
	} else {
		err = w.store.Projects.Replace(w.t.Context(), p)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// run starts a server, which the returned function stops.
func (w *world) run(holder string) (stop func()) {
	p := &poll.Poll{
		Projects: w.store.Projects, Marks: w.marks, Deliveries: w.store.Deliveries, Credentials: w,
		Heads: map[string]cyclone.HeadReader{"git": w, "svn": w}, Log: slog.New(slog.NewTextHandler(w.log, nil)),
		Now: time.Now, Tick: w.tick, Kick: func() { w.change(func() { w.kicks++ }) },
	}
	if holder != "" {
		p.Lease = &lead.Lease{Store: w.store.Leases, Name: "poll", Holder: holder, Now: time.Now}
	}
	return start(w.t, p)
}

// start runs a room, which the returned function stops.
func start(t *testing.T, p interface{ Run(context.Context) error }) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	}
}

// inBubble runs a test in a time of its own.
func inBubble(t *testing.T, test func(w *world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { test(newWorld(t)) })
}

// pass lets time pass, and what is due then be done.
func pass(d time.Duration) {
	time.Sleep(d) // in a bubble: nobody waits
	synctest.Wait()
}

// deliveries are those of a project, the oldest first.
func deliveries(t *testing.T, store cyclone.DeliveryStore, project string) []*cyclone.Delivery {
	t.Helper()
	var all []*cyclone.Delivery
	for page := (cyclone.Page{Limit: 100}); ; {
		list, err := store.List(t.Context(), cyclone.ProjectName(project), page)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range list.Items {
			whole, err := store.Find(t.Context(), d.Project, d.SCM, d.ID)
			if err != nil {
				t.Fatal(err)
			}
			all = append([]*cyclone.Delivery{whole}, all...)
		}
		if page.Cursor = list.Next; list.Next == "" {
			return all
		}
	}
}

func hookOf(t *testing.T, d *cyclone.Delivery) cyclone.Hook {
	t.Helper()
	var h cyclone.Hook
	if err := json.Unmarshal(d.Body, &h); err != nil {
		t.Fatalf("body of %s: %v", d.ID, err)
	}
	return h
}

// told are the refs and commits of a project's deliveries in the order of
// their refs, each once.
func (w *world) told(project string) map[string]string {
	w.t.Helper()
	all := map[string]string{}
	for _, d := range deliveries(w.t, w.store.Deliveries, project) {
		h := hookOf(w.t, d)
		all[h.Ref] = strings.TrimSpace(all[h.Ref] + " " + h.Commit.SHA)
	}
	return all
}

func (w *world) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.looks)
}

// faultyMarks can fail to write what was seen.
type faultyMarks struct {
	cyclone.MarkStore
	mu   sync.Mutex
	down error
}

func (f *faultyMarks) set(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = err
}

func (f *faultyMarks) Put(ctx context.Context, m *cyclone.Mark) error {
	f.mu.Lock()
	err := f.down
	f.mu.Unlock()
	if err != nil {
		return err
	}
	return f.MarkStore.Put(ctx, m)
}

// record keeps the log.
type record struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *record) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(b)
}

func (r *record) count(what string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Count(r.text.String(), what)
}
