package dispatch_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cyclone/pkg/cyclone"
)

// flaky is a queue that is out of reach for a while.
type flaky struct {
	cyclone.Queue
	mu   sync.Mutex
	down bool
}

func (f *flaky) set(down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = down
}

func (f *flaky) Running(ctx context.Context) ([]*cyclone.Event, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return nil, cyclone.Unavailable("store is out of reach")
	}
	return f.Queue.Running(ctx)
}

// While the store is away no worker can renew its lease, so none is lost for it.
func TestStoreAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.project("a", cyclone.Limits{})
		w.pending("a")
		q := &flaky{Queue: w.Queue}
		w.Queue = q
		stop := w.start()
		defer stop()
		time.Sleep(100 * time.Millisecond)
		q.set(true)
		time.Sleep(time.Hour)
		q.set(false)
		time.Sleep(30 * time.Second)
		if got := w.out.taken(); len(got) != 0 {
			t.Errorf("notes are %q", got)
		}
		w.pending("a")
		time.Sleep(2 * time.Second)
		if w.order() != "a a" {
			t.Errorf("launched %q", w.order())
		}
	})
}
