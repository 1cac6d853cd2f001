package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest"
	"cyclone/pkg/dispatch"
)

// node is a place where workers are only entries of a list.
type node struct {
	mu       sync.Mutex
	specs    []cyclone.WorkerSpec
	workers  map[cyclone.WorkerID]cyclone.WorkerState
	removed  []cyclone.WorkerID
	fail     error         // of Launch
	notReady error         // of Ready
	disk     *cyclone.Disk // of Disk
	slow     time.Duration // of Launch
	inside   int           // calls of Workers at this moment
	overlap  bool          // two rounds were seen at once
}

func (n *node) Launch(ctx context.Context, w cyclone.WorkerSpec) error {
	n.mu.Lock()
	n.workers[w.ID] = cyclone.WorkerState{ID: w.ID, Event: w.Event} // made, not started
	slow, fail := n.slow, n.fail
	n.mu.Unlock()
	select {
	case <-time.After(slow):
	case <-ctx.Done():
		return ctx.Err()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if fail != nil {
		return fail
	}
	n.specs = append(n.specs, w)
	n.workers[w.ID] = cyclone.WorkerState{ID: w.ID, Event: w.Event, Running: true}
	return nil
}

func (n *node) Remove(_ context.Context, id cyclone.WorkerID) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.workers, id)
	n.removed = append(n.removed, id)
	return nil
}

func (n *node) Workers(context.Context) ([]cyclone.WorkerState, error) {
	n.mu.Lock()
	n.inside++
	n.overlap = n.overlap || n.inside > 1
	n.mu.Unlock()
	time.Sleep(time.Millisecond)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.inside--
	var list []cyclone.WorkerState
	for _, w := range n.workers {
		list = append(list, w)
	}
	return list, nil
}

func (n *node) Disk(context.Context) (cyclone.Disk, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.disk == nil {
		return cyclone.Disk{}, cyclone.NotFound("the disk cannot be seen")
	}
	return *n.disk, nil
}

func (n *node) Ready(context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.notReady
}

func (n *node) set(change func(*node)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change(n)
}

func (n *node) launched() []cyclone.WorkerSpec {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.specs)
}

// outcomes puts events back as progress does, and takes notes.
type outcomes struct {
	events cyclone.EventStore
	mu     sync.Mutex
	notes  []string
	last   error // cause of the last failed launch
	// connected is whether a worker whose launch failed has connected.
	connected bool
}

func (o *outcomes) cause() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last
}

func (o *outcomes) note(e *cyclone.Event, why string, to cyclone.Status) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.notes = append(o.notes, string(e.ID)+": "+why)
	e.Status, e.Worker = to, cyclone.WorkerRef{Attempt: e.Worker.Attempt}
	return o.events.Replace(context.Background(), e)
}

func (o *outcomes) Lost(_ context.Context, e *cyclone.Event, why string) error {
	return o.note(e, "lost: "+why, cyclone.StatusError)
}

func (o *outcomes) LaunchFailed(_ context.Context, e *cyclone.Event, cause error) error {
	if o.connected {
		return cyclone.Conflict("it has connected")
	}
	o.mu.Lock()
	o.last = cause
	o.mu.Unlock()
	to := cyclone.StatusPending
	if e.Worker.Attempt >= 3 && !errors.Is(cause, context.Canceled) {
		to = cyclone.StatusError
	}
	return o.note(e, "not launched: "+cause.Error(), to)
}

func (o *outcomes) taken() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.notes)
}

type world struct {
	*dispatch.Dispatcher
	t     testing.TB
	store *cyclonetest.Memory
	node  *node
	out   *outcomes
	begin time.Time
	count int
}

func newWorld(t testing.TB) *world {
	t.Helper()
	store := cyclonetest.NewMemory()
	w := &world{t: t, store: store, node: &node{workers: map[cyclone.WorkerID]cyclone.WorkerState{}}, out: &outcomes{events: store.Events}, begin: time.Now()}
	w.Dispatcher = &dispatch.Dispatcher{
		Queue: store.Events, Projects: store.Projects, Launcher: w.node, Progress: w.out, Nodes: store.Nodes,
		Node: "local", Capacity: 100, CPUs: 2, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Now: time.Now,
	}
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) project(name cyclone.ProjectName, limits cyclone.Limits) {
	w.t.Helper()
	w.must(w.store.Projects.Create(w.t.Context(), &cyclone.Project{Name: name, Limits: limits}))
}

// pending stores an event that waits longer than those stored after it.
func (w *world) pending(p cyclone.ProjectName) cyclone.EventID {
	w.t.Helper()
	w.count++
	e := &cyclone.Event{
		ID: cyclone.EventID(fmt.Sprintf("%s-%d", p, w.count)), Project: p, Status: cyclone.StatusPending,
		CreatedAt: w.begin.Add(time.Duration(w.count) * time.Millisecond),
	}
	e.Run.Key = string(e.ID)
	w.must(w.store.Events.Create(w.t.Context(), e))
	return e.ID
}

func (w *world) start() (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("Run: %v", err)
		}
	}
}

// order is the projects whose events were launched, one after the other.
func (w *world) order() string {
	specs := w.node.launched()
	byClaim := make([]string, len(specs))
	for i, s := range specs {
		byClaim[i] = string(s.Project)
	}
	return strings.Join(byClaim, " ")
}

func (w *world) statuses() map[cyclone.Status]int {
	w.t.Helper()
	l, err := w.store.Events.List(w.t.Context(), cyclone.EventQuery{Page: cyclone.Page{Limit: 200}})
	w.must(err)
	n := map[cyclone.Status]int{}
	for _, e := range l.Items {
		n[e.Status]++
	}
	return n
}
