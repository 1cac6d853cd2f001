package trigger_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/lead"
)

// bubble is a world whose deliveries arrived a while before its clock began.
func bubble(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, nil)
	w.now, w.Wake = time.Now().Add(-time.Hour), nil
	return w
}

// under runs the loop under the bubble's clock.
func (w *world) under() (stop func()) {
	w.Now = time.Now
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

func (w *world) delivery(d *cyclone.Delivery) *cyclone.Delivery {
	w.t.Helper()
	found, err := w.store.Deliveries.Find(w.t.Context(), d.Project, d.SCM, d.ID)
	w.must(err)
	return found
}

func (w *world) events() int {
	w.t.Helper()
	l, err := w.store.Events.List(w.t.Context(), cyclone.EventQuery{})
	w.must(err)
	return l.Total
}

// A delivery that was stored and not handled, because the server or the store
// went away, is handled later, once, and no failure is counted.
func TestDeliveryAfterACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bubble(t)
		events := &brokenEvents{EventStore: w.Events}
		events.broken.Store(true)
		w.Events = events
		good, bad := w.stored(push("main")), w.stored(nil)
		if err := w.Deliver(t.Context(), good); !errors.Is(err, cyclone.ErrUnavailable) || good.HandledAt != nil {
			t.Fatalf("Deliver = %v, handled at %v", err, good.HandledAt)
		}
		stop := w.under()
		defer stop()
		time.Sleep(time.Minute)
		if d := w.delivery(good); d.HandledAt != nil || d.Attempts != 0 || d.ParkedAt != nil {
			t.Errorf("while the store is away: %+v", d)
		}
		events.broken.Store(false)
		time.Sleep(3 * time.Second)
		if d := w.delivery(good); d.HandledAt == nil || len(d.Events) != 1 {
			t.Errorf("delivery is %+v", d)
		}
		if d := w.delivery(bad); d.HandledAt == nil || d.Error == "" {
			t.Errorf("a delivery that cannot be read stays: %+v", d)
		}
		if n := w.events(); n != 1 {
			t.Errorf("%d events", n)
		}
	})
}

// brokenForge fails with the deliveries that it is told, each in its own way.
type brokenForge struct {
	forge
	fail  map[string]func() error
	tries map[string]*atomic.Int64
}

func (f *brokenForge) Parse(h http.Header, body []byte) (*cyclone.Hook, error) {
	if fail := f.fail[string(body)]; fail != nil {
		f.tries[string(body)].Add(1)
		if err := fail(); err != nil {
			return nil, err
		}
	}
	return f.forge.Parse(h, body)
}

// What fails again and again is tried later each time, then parked with its
// error; it holds up nobody.
func TestPoisonedDeliveries(t *testing.T) {
	cases := []struct {
		name  string
		fail  func() error
		tries int64
		says  string
	}{
		{"an error", func() error { return errors.New("the moon is full") }, 10, "the moon is full"},
		{"a panic", func() error { panic("index out of range") }, 3, "broke down: index out of range"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := bubble(t)
				f := &brokenForge{w.forge, map[string]func() error{}, map[string]*atomic.Int64{}}
				w.Forges["github"] = f
				bad := w.stored(push("main"))
				f.fail[string(bad.ID)], f.tries[string(bad.ID)] = c.fail, &atomic.Int64{}
				good := w.stored(push("main"))
				stop := w.under()
				defer stop()
				time.Sleep(1500 * time.Millisecond)
				if d := w.delivery(good); d.HandledAt == nil || len(d.Events) != 1 {
					t.Errorf("the good one waits: %+v", d)
				}
				first := w.delivery(bad)
				if first.Attempts == 0 || first.NextAt == nil || !strings.Contains(first.Error, c.says) {
					t.Errorf("after the first failure: %+v", first)
				}
				time.Sleep(3 * time.Hour)
				d := w.delivery(bad)
				if d.ParkedAt == nil || d.NextAt != nil || d.HandledAt != nil || int64(d.Attempts) != c.tries || f.tries[string(bad.ID)].Load() != c.tries {
					t.Errorf("in the end: %+v after %d tries", d, f.tries[string(bad.ID)].Load())
				}
			})
		})
	}
}

// A slow delivery does not hold up others, and is not begun twice.
func TestSlowDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bubble(t)
		f := &brokenForge{w.forge, map[string]func() error{}, map[string]*atomic.Int64{}}
		w.Forges["github"] = f
		slow := w.stored(push("main"))
		f.fail[string(slow.ID)], f.tries[string(slow.ID)] = func() error { time.Sleep(15 * time.Second); return nil }, &atomic.Int64{}
		good := w.stored(push("main"))
		stop := w.under()
		defer stop()
		time.Sleep(5 * time.Second)
		if w.delivery(good).HandledAt == nil || w.delivery(slow).HandledAt != nil {
			t.Error("the good one waits for the slow one")
		}
		time.Sleep(15 * time.Second)
		if w.delivery(slow).HandledAt == nil || f.tries[string(slow.ID)].Load() != 1 {
			t.Errorf("the slow one was begun %d times", f.tries[string(slow.ID)].Load())
		}
	})
}

// One delivery, handled by many at once on one store, makes one event.
func TestOneDeliveryManyTimes(t *testing.T) {
	w := bubble(t)
	d := w.stored(push("main"))
	var at sync.WaitGroup
	for range 10 {
		at.Go(func() {
			own, err := w.store.Deliveries.Find(t.Context(), d.Project, d.SCM, d.ID)
			if err != nil {
				t.Error(err)
				return
			}
			if err := w.Deliver(t.Context(), own); err != nil || len(own.Events) != 1 {
				t.Errorf("%v, %v", own.Events, err)
			}
		})
	}
	at.Wait()
	if n := w.events(); n != 1 {
		t.Errorf("%d events", n)
	}
}

// Another server that holds the lease is left to it.
func TestRetryUnderALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bubble(t)
		d := w.stored(push("main"))
		if held, err := w.store.Leases.Acquire(t.Context(), "deliveries", "other", time.Now(), time.Minute); err != nil || !held {
			t.Fatal(held, err)
		}
		w.Lease = &lead.Lease{Store: w.store.Leases, Name: "deliveries", Holder: "me", Now: time.Now}
		stop := w.under()
		defer stop()
		time.Sleep(55 * time.Second)
		if w.delivery(d).HandledAt != nil {
			t.Error("handled without the lease")
		}
		time.Sleep(10 * time.Second)
		if w.delivery(d).HandledAt == nil {
			t.Error("not handled with it")
		}
	})
}

// A newer push ends older events of its branch, but for one that deploys.
func TestSupersedeSparesDeployments(t *testing.T) {
	w := newWorld(t, func(p *cyclone.Project) { p.CancelSuperseded = true })
	_, waiting := w.deliver(push("main"))
	_, deploying := w.deliver(push("main"))
	if e := w.find(waiting.ID); e.Status != cyclone.StatusCanceled || e.Reason != "superseded by event #2" {
		t.Errorf("event %s: %s", e.Status, e.Reason)
	}
	e := w.find(deploying.ID)
	e.Deployments = []cyclone.Deployment{{Cluster: "prod"}}
	w.must(w.store.Events.Replace(t.Context(), e))
	_, other := w.deliver(push("topic"))
	_, newest := w.deliver(push("main"))
	for id, want := range map[cyclone.EventID]cyclone.Status{deploying.ID: cyclone.StatusPending, other.ID: cyclone.StatusPending, newest.ID: cyclone.StatusPending} {
		if e := w.find(id); e.Status != want {
			t.Errorf("event #%d is %s: %s", e.Number, e.Status, e.Reason)
		}
	}
}
