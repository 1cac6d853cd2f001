package dispatch_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/store/embedded"
)

// onEmbedded puts a world on a real store.
func onEmbedded(t testing.TB) (*world, *embedded.Store) {
	t.Helper()
	s, err := embedded.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	w := newWorld(t)
	w.out.events = s.Events
	w.Queue, w.Projects, w.Nodes = s.Events, s.Projects, s.Nodes
	return w, s
}

func create(t testing.TB, s *embedded.Store, p cyclone.ProjectName, n int) {
	t.Helper()
	for i := range n {
		e := &cyclone.Event{
			ID: cyclone.EventID(fmt.Sprintf("%s-%04d", p, i)), Project: p, Status: cyclone.StatusPending, CreatedAt: time.Now(),
		}
		e.Run.Key = string(e.ID)
		if err := s.Events.Create(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
}

// A thousand events of one project, all older, do not keep another's one
// waiting; the second place that comes free is its own.
func TestThousandEventsOnARealStore(t *testing.T) {
	t.Parallel()
	w, s := onEmbedded(t)
	w.Capacity = 2
	for _, p := range []cyclone.ProjectName{"big", "small"} {
		w.must(s.Projects.Create(t.Context(), &cyclone.Project{Name: p}))
	}
	create(t, s, "big", 1000)
	create(t, s, "small", 1)
	stop := w.start()
	defer stop()
	w.launchedAt(1)
	if got := w.order(); got != "big small" && got != "small big" {
		t.Errorf("launched %q", got)
	}
}

// BenchmarkClaims is how many events a second one dispatcher claims and
// launches on a node of 50 places whose workers take no time, on the embedded
// store: each launch makes its place free at once.
func BenchmarkClaims(b *testing.B) {
	w, s := onEmbedded(b)
	w.Capacity = 50
	if err := s.Projects.Create(b.Context(), &cyclone.Project{Name: "a"}); err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{}, b.N)
	w.Launcher = &instant{node: w.node, store: s, wake: w.Wake, done: done}
	create(b, s, "a", b.N)
	b.ResetTimer()
	stop := w.start()
	for range b.N {
		<-done
	}
	b.StopTimer()
	stop()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "claims/s")
}

// instant is a node whose workers end as soon as they are launched.
type instant struct {
	*node
	store *embedded.Store
	wake  func()
	done  chan struct{}
}

func (n *instant) Launch(ctx context.Context, w cyclone.WorkerSpec) error {
	e, err := n.store.Events.Find(ctx, w.Event)
	if err != nil {
		return err
	}
	e.Status = cyclone.StatusSuccess
	if err := n.store.Events.Replace(ctx, e); err != nil {
		return err
	}
	n.done <- struct{}{}
	n.wake()
	return nil
}
