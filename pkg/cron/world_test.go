package cron_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cyclone/pkg/cron"
	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest"
	"cyclone/pkg/lead"
)

// world is a store in memory, and what fired. Its time is synctest's, which
// begins at midnight.
type world struct {
	t        *testing.T
	store    *cyclonetest.Memory
	marks    *faulty
	projects *faultyProjects
	log      *record

	mu      sync.Mutex
	fired   []firing
	there   map[string]bool // the keys of events
	refuse  error           // what Fire fails with
	refused int
}

// firing is an event that was made.
type firing struct {
	project cyclone.ProjectName
	branch  string
	slot    time.Time
	at      time.Time
}

func newWorld(t *testing.T) *world {
	store := cyclonetest.NewMemory()
	return &world{t: t, store: store, marks: &faulty{MarkStore: store.Marks}, projects: &faultyProjects{ProjectStore: store.Projects},
		log: &record{}, there: map[string]bool{}}
}

// Fire keeps the contract of package trigger's: an event's key is made of the
// project, the trigger and the slot.
func (w *world) Fire(_ context.Context, p *cyclone.Project, c cyclone.CronTrigger, slot time.Time) (*cyclone.Event, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refuse != nil {
		w.refused++
		return nil, w.refuse
	}
	key := strings.Join([]string{string(p.Name), c.Schedule, c.Timezone, c.Branch, slot.UTC().String()}, "/")
	if w.there[key] {
		return nil, cyclone.Conflict("it fired already")
	}
	w.there[key] = true
	w.fired = append(w.fired, firing{p.Name, c.Branch, slot, time.Now()})
	return &cyclone.Event{ID: cyclone.EventID(key)}, nil
}

// take returns what fired since the last call, by its slot in UTC.
func (w *world) take() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for _, f := range w.fired {
		all = append(all, f.slot.UTC().Format("02 15:04"))
	}
	w.fired = nil
	return strings.Join(all, ", ")
}

func (w *world) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refuse = err
}

// put creates or changes a project as the API does.
func (w *world) put(name string, triggers ...cyclone.CronTrigger) {
	w.t.Helper()
	p, err := w.store.Projects.Find(w.t.Context(), cyclone.ProjectName(name))
	if err != nil {
		p = &cyclone.Project{Name: cyclone.ProjectName(name), CreatedAt: time.Now()}
	}
	p.Triggers.Cron, p.UpdatedAt = triggers, time.Now()
	if p.Revision == 0 {
		err = w.store.Projects.Create(w.t.Context(), p)
	} else {
		err = w.store.Projects.Replace(w.t.Context(), p)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) markNames(project string) string {
	w.t.Helper()
	marks, err := w.marks.List(w.t.Context(), cyclone.ProjectName(project), "")
	if err != nil {
		w.t.Fatal(err)
	}
	var names []string
	for _, m := range marks {
		names = append(names, m.Name)
	}
	return strings.Join(names, ", ")
}

// run starts a server, which the returned function stops.
func (w *world) run(holder string) (stop func()) {
	c := &cron.Cron{Projects: w.projects, Marks: w.marks, Trigger: w, Log: slog.New(slog.NewTextHandler(w.log, nil)), Now: time.Now}
	if holder != "" {
		c.Lease = &lead.Lease{Store: w.store.Leases, Name: "cron", Holder: holder, Now: time.Now}
	}
	return w.start(c)
}

func (w *world) start(c *cron.Cron) (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error)
	go func() { done <- c.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("run: %v", err)
		}
	}
}

// pass lets time pass, and what is due then be done.
func pass(d time.Duration) {
	time.Sleep(d) // in a bubble: nobody waits
	synctest.Wait()
}

func (w *world) want(what, slots string) {
	w.t.Helper()
	if got := w.take(); got != slots {
		w.t.Errorf("%s: fired %q, want %q", what, got, slots)
	}
}

// faulty is a store of marks that can fail.
type faulty struct {
	cyclone.MarkStore
	mu   sync.Mutex
	down error // of Put
}

func (f *faulty) set(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = err
}

func (f *faulty) Put(ctx context.Context, m *cyclone.Mark) error {
	f.mu.Lock()
	err := f.down
	f.mu.Unlock()
	if err != nil {
		return err
	}
	return f.MarkStore.Put(ctx, m)
}

type faultyProjects struct {
	cyclone.ProjectStore
	mu    sync.Mutex
	down  error
	lists int
}

func (f *faultyProjects) set(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = err
}

func (f *faultyProjects) List(ctx context.Context, page cyclone.Page) (cyclone.List[*cyclone.Project], error) {
	f.mu.Lock()
	f.lists++
	err := f.down
	f.mu.Unlock()
	if err != nil {
		return cyclone.List[*cyclone.Project]{}, err
	}
	return f.ProjectStore.List(ctx, page)
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
