package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/httpapi"
	"cyclone/pkg/trigger"
)

// The same delivery, ten times at once at two servers, makes one event, and
// every answer names it.
func TestOneDeliveryAtTwoServers(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(*testing.T) deliveryStore{"memory": memoryStore, "embedded": embeddedStore} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := open(t)
			servers := []*replica{store.replica(t), store.replica(t)}
			for round := range 5 {
				id := fmt.Sprint("d", round)
				answers := make(chan answer, 10)
				var senders sync.WaitGroup
				for i := range 10 {
					senders.Go(func() { answers <- servers[i%2].post(t, hooks, id, "{}") })
				}
				senders.Wait()
				close(answers)
				events := store.all(t)
				if len(events) != round+1 {
					t.Fatalf("%d events after %d deliveries", len(events), round+1)
				}
				accepted, want := 0, fmt.Sprintf(`{"delivery":%q,"events":[%q]}`, id, store.find(t, cyclone.DeliveryID(id)).Events[0])
				for a := range answers {
					if a.status == http.StatusAccepted {
						accepted++
					} else if a.status != http.StatusOK {
						t.Errorf("answered %d", a.status)
					}
					if diff := cmp.Diff(want, strings.TrimSpace(a.body)); diff != "" {
						t.Errorf("answer (-want +got):\n%s", diff)
					}
				}
				if accepted != 1 {
					t.Errorf("%d answers say that it is new", accepted)
				}
			}
		})
	}
}

// cut is a trigger whose server dies before it comes to the delivery.
type cut struct {
	*trigger.Trigger
	dead chan struct{}
}

func (c cut) Deliver(context.Context, *cyclone.Delivery) error {
	<-c.dead
	return errors.New("the server is gone")
}

// What a server stored, and then died, another one handles; and the forge that
// sends it there again hears the same event.
func TestServerDiesBetweenStoreAndHandling(t *testing.T) {
	t.Parallel()
	store := embeddedStore(t)
	first, second := store.replica(t), store.replica(t)
	dying := cut{first.trigger, make(chan struct{})}
	first.Trigger = dying
	if a := first.post(t, hooks, "d1", "{}"); a.status != http.StatusAccepted || strings.TrimSpace(a.body) != `{"delivery":"d1"}` {
		t.Errorf("answered %d %s", a.status, a.body)
	}
	close(dying.dead)
	if len(store.all(t)) != 0 {
		t.Fatal("it was handled")
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	second.trigger.Tick = 50 * time.Millisecond
	go func() { done <- second.trigger.Run(ctx) }()
	for end := time.Now().Add(20 * time.Second); store.find(t, "d1").HandledAt == nil; {
		if time.Now().After(end) {
			t.Fatalf("it still waits: %+v", store.find(t, "d1"))
		}
		time.Sleep(20 * time.Millisecond) // of a poll, with a deadline
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	events := store.all(t)
	a := second.post(t, hooks, "d1", "{}")
	if len(events) != 1 || a.status != http.StatusOK || !strings.Contains(a.body, string(events[0].ID)) {
		t.Errorf("%d events; answered %d %s", len(events), a.status, a.body)
	}
}

// A delivery that breaks its handling is accepted, breaks nothing else, and is
// parked in the end; the forge that sends it again has it handled again.
func TestPoisonedDeliveryNextToGoodOnes(t *testing.T) {
	t.Parallel()
	store := memoryStore(t)
	r := store.replica(t)
	if a := r.post(t, hooks, "bad", "panic"); a.status != http.StatusAccepted || strings.TrimSpace(a.body) != `{"delivery":"bad"}` {
		t.Errorf("answered %d %s", a.status, a.body)
	}
	if a := r.post(t, hooks, "good", "{}"); a.status != http.StatusAccepted || !strings.Contains(a.body, "events") {
		t.Errorf("answered %d %s", a.status, a.body)
	}
	for range 2 { // two more attempts, as if their time had come
		if err := r.trigger.Deliver(t.Context(), store.find(t, "bad")); err == nil {
			t.Error("it was handled")
		}
	}
	if d := store.find(t, "bad"); d.ParkedAt == nil || d.Attempts != 3 || !strings.Contains(d.Error, "index out of range") {
		t.Errorf("stored: %+v", d)
	}
	if a := r.post(t, "/api/v1/projects/orders/deliveries/bad/redeliver", "", ""); a.status != http.StatusAccepted || !strings.Contains(a.body, "index out of range") {
		t.Errorf("redelivered: %d %s", a.status, a.body)
	}
	if d := store.find(t, "bad"); d.ParkedAt != nil || d.Attempts != 1 || d.NextAt == nil {
		t.Errorf("after redeliver: %+v", d)
	}
	// Its flaw is mended and it was parked meanwhile: somebody presses
	// "redeliver" at the forge.
	d := store.find(t, "bad")
	now := cyclone.Stamp(time.Now())
	d.ParkedAt, d.NextAt = &now, nil
	if err := store.deliveries.Replace(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	r.trigger.Forges = map[string]cyclone.Forge{"github": mended{}}
	if a := r.post(t, hooks, "bad", "panic"); a.status != http.StatusAccepted || !strings.Contains(a.body, "events") {
		t.Errorf("sent again: %d %s", a.status, a.body)
	}
	if d := store.find(t, "bad"); d.ParkedAt != nil || d.HandledAt == nil || d.Error != "" || len(d.Events) != 1 {
		t.Errorf("in the end: %+v", d)
	}
}

type mended struct{ pushForge }

func (mended) Parse(h http.Header, _ []byte) (*cyclone.Hook, error) { return pushForge{}.Parse(h, nil) }

// Another body under a known id changes nothing, and the log says so.
func TestAnotherBodyUnderAKnownID(t *testing.T) {
	t.Parallel()
	store := memoryStore(t)
	r := store.replica(t)
	first := r.post(t, hooks, "d1", "{}")
	again := r.post(t, hooks, "d1", `{"other":1}`)
	if again.status != http.StatusOK || again.body != first.body || len(store.all(t)) != 1 || string(store.find(t, "d1").Body) != "{}" {
		t.Errorf("answered %d %s, first %s", again.status, again.body, first.body)
	}
	if log := r.log.String(); !strings.Contains(log, "level=WARN") || !strings.Contains(log, "another body") {
		t.Errorf("log: %s", log)
	}
}

// away is a store of deliveries that is out of reach while it is told to be,
// or takes long to answer and cannot be interrupted.
type away struct {
	cyclone.DeliveryStore
	mu    sync.Mutex
	gone  bool
	hangs chan struct{} // until closed; nil answers at once
}

func (a *away) set(gone bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.gone = gone
}

func (a *away) err() error {
	if a.hangs != nil {
		<-a.hangs
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.gone {
		return cyclone.Unavailable("no server at 10.1.2.3:27017")
	}
	return nil
}

func (a *away) Create(ctx context.Context, d *cyclone.Delivery) error {
	if err := a.err(); err != nil {
		return err
	}
	return a.DeliveryStore.Create(ctx, d)
}

func (a *away) Replace(ctx context.Context, d *cyclone.Delivery) error {
	if err := a.err(); err != nil {
		return err
	}
	return a.DeliveryStore.Replace(ctx, d)
}

// While the store is out of reach nothing is accepted, also no wish to handle
// a delivery again, and nobody outside learns where the store is.
func TestNothingIsAcceptedWithoutTheStore(t *testing.T) {
	t.Parallel()
	store := memoryStore(t)
	a := &away{DeliveryStore: store.deliveries}
	store.deliveries = a
	r := store.replica(t)
	r.post(t, hooks, "d1", "{}")
	a.set(true)
	before := store.find(t, "d1")
	hook := r.post(t, hooks, "d2", "{}")
	if hook.status != http.StatusServiceUnavailable || hook.header.Get("Retry-After") == "" || strings.Contains(hook.body, "10.1.2.3") {
		t.Errorf("answered %d %v %s", hook.status, hook.header, hook.body)
	}
	if again := r.post(t, "/api/v1/projects/orders/deliveries/d1/redeliver", "", ""); again.status != http.StatusServiceUnavailable {
		t.Errorf("redeliver: %d %s", again.status, again.body)
	}
	a.set(false)
	if diff := cmp.Diff(before, store.find(t, "d1")); diff != "" {
		t.Errorf("the delivery changed (-before +after):\n%s", diff)
	}
	if hook := r.post(t, hooks, "d2", "{}"); hook.status != http.StatusAccepted || len(store.all(t)) != 2 {
		t.Errorf("answered %d %s", hook.status, hook.body)
	}
}

// A disk that hangs cannot be interrupted, but the forge hears of it in time;
// and when what it sent is there in the end, sending it again finds it.
func TestHangingDisk(t *testing.T) {
	inBubble(t, func(b *bubble) {
		withOrders(b.t, deliveryStore{projects: b.store.Projects})
		s := b.Deliveries.(*away)
		send := func() (*http.Response, time.Duration) {
			return b.do("POST", hooks, "application/json", strings.NewReader("{}"))
		}
		res, took := send()
		if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" || took > 5*time.Second {
			b.t.Errorf("answered %d after %s", res.StatusCode, took)
		}
		drained := make(chan error, 1)
		go func() { drained <- b.Drain(b.t.Context()) }()
		time.Sleep(time.Minute)
		select {
		case <-drained:
			b.t.Error("the server ended while a write was under way")
		default:
		}
		close(s.hangs)
		if err := <-drained; err != nil {
			b.t.Error(err)
		}
		if _, err := b.store.Deliveries.Find(b.t.Context(), "orders", "github", "of-the-disk"); err != nil {
			b.t.Error(err)
		}
		if res, _ := send(); res.StatusCode != http.StatusOK {
			b.t.Errorf("sent again: %d", res.StatusCode)
		}
	}, func(s *httpapi.Server) {
		s.Deliveries = &away{DeliveryStore: s.Deliveries, hangs: make(chan struct{})}
		s.Sealer, s.Forges = keptSealer{}, map[string]cyclone.Forge{"github": anybody{}}
	})
}

// anybody may send, and always the same delivery.
type anybody struct{ pushForge }

func (anybody) Verify(http.Header, []byte, []byte) error          { return nil }
func (anybody) DeliveryID(http.Header, []byte) cyclone.DeliveryID { return "of-the-disk" }
