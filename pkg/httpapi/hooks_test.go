package httpapi_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/httpapi"
)

// hook sends a signed delivery to project orders.
func (f *fixture) hook(id, body string) answer {
	return f.do("POST", "/api/v1/hooks/github/orders", body, header{"Authorization", ""},
		header{"X-Test-Signature", "good"}, header{"X-Github-Delivery", id}, header{"X-Github-Event", "push"})
}

// late is a trigger that takes as long as it is let.
type late struct {
	*fakeTrigger
	release chan struct{}
}

func (l *late) Deliver(ctx context.Context, d *cyclone.Delivery) error {
	select {
	case <-l.release:
		return l.fakeTrigger.Deliver(ctx, d)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A delivery whose handling takes long is answered all the same, and the
// server does not end before it is handled.
func TestSlowHandling(t *testing.T) {
	t.Parallel()
	slow := &late{release: make(chan struct{})}
	f := newFixture(t, func(s *httpapi.Server) { slow.fakeTrigger, s.Trigger = s.Trigger.(*fakeTrigger), slow })
	f.project("orders")
	begun := time.Now()
	answer := f.hook("slow", `{"x":1}`)
	if answer.status != http.StatusAccepted || !strings.Contains(answer.body, `"slow"`) || strings.Contains(answer.body, "events") {
		t.Errorf("answered %d %s", answer.status, answer.body)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	drained := make(chan error, 1)
	go func() { drained <- f.Drain(t.Context()) }()
	select {
	case err := <-drained:
		t.Errorf("the server ended before the delivery was handled: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(slow.release)
	if err := <-drained; err != nil {
		t.Error(err)
	}
	d, err := f.store.Deliveries.Find(t.Context(), "orders", "github", "slow")
	if err != nil || d.HandledAt == nil {
		t.Errorf("%+v, %v", d, err)
	}
}

// awayDeliveries cannot store anything, or take for ever to say so.
type awayDeliveries struct {
	cyclone.DeliveryStore
	hangs bool
}

func (a awayDeliveries) Create(ctx context.Context, _ *cyclone.Delivery) error {
	if a.hangs {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return cyclone.Unavailable("the store is out of reach")
}

// What could not be stored is never accepted: the forge hears 503 in time, and
// when to come again.
func TestDeliveryThatCannotBeStored(t *testing.T) {
	for _, hangs := range []bool{false, true} {
		t.Run(fmt.Sprintf("hangs %t", hangs), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, func(s *httpapi.Server) { s.Deliveries = awayDeliveries{s.Deliveries, hangs} })
			f.project("orders")
			begun := time.Now()
			answer := f.hook("d1", `{"x":1}`)
			if answer.status != http.StatusServiceUnavailable || answer.header.Get("Retry-After") == "" {
				t.Errorf("answered %d %v %s", answer.status, answer.header, answer.body)
			}
			if took := time.Since(begun); took > 8*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// The same delivery ten times at once makes one event, and all ten answers
// name it; another body under the same id changes nothing.
func TestSameDeliveryAtOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.project("orders")
	var senders sync.WaitGroup
	for range 10 {
		senders.Go(func() {
			a := f.hook("d1", `{"x":1}`)
			if a.status != http.StatusAccepted && a.status != http.StatusOK || !strings.Contains(a.body, `"event-of-d1"`) {
				t.Errorf("answered %d %s", a.status, a.body)
			}
		})
	}
	senders.Wait()
	if a := f.hook("d1", `{"x":2}`); a.status != http.StatusOK || !strings.Contains(a.body, `"event-of-d1"`) {
		t.Errorf("another body was answered %d %s", a.status, a.body)
	}
	d, err := f.store.Deliveries.Find(t.Context(), "orders", "github", "d1")
	if err != nil || string(d.Body) != `{"x":1}` {
		t.Errorf("stored %s, %v", d.Body, err)
	}
}

// A parked delivery is shown with its error, and handled when somebody asks.
func TestRedeliverParked(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.project("orders")
	now := cyclone.Stamp(time.Now())
	d := &cyclone.Delivery{ID: "d1", SCM: "github", Project: "orders", ReceivedAt: now, Body: []byte(`{"x":1}`), Attempts: 10, ParkedAt: &now, Error: "the moon is full"}
	if err := f.store.Deliveries.Create(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	shown := f.do("GET", "/api/v1/projects/orders/deliveries/d1", "")
	var got cyclone.Delivery
	if shown.decode(t, &got); got.Attempts != 10 || got.ParkedAt == nil || got.Error == "" {
		t.Errorf("shown as %s", shown.body)
	}
	if a := f.do("POST", "/api/v1/projects/orders/deliveries/d1/redeliver", ""); a.status != http.StatusAccepted || !strings.Contains(a.body, "event-of-d1") {
		t.Errorf("answered %d %s", a.status, a.body)
	}
	after, err := f.store.Deliveries.Find(t.Context(), "orders", "github", "d1")
	if err != nil || after.ParkedAt != nil || after.HandledAt == nil || after.Attempts != 0 {
		t.Errorf("%+v, %v", after, err)
	}
}
