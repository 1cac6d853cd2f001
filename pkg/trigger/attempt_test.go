package trigger_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/lead"
	"cyclone/pkg/metrics"
)

// The times between the attempts, as docs promise them, to within the loop's
// own tick.
func TestBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bubble(t)
		var mu sync.Mutex
		var tries []time.Time
		w.Forges["github"] = failing{w.forge, func(id string) error {
			mu.Lock()
			defer mu.Unlock()
			tries = append(tries, time.Now())
			return errors.New("the moon is full")
		}}
		d := w.stored(push("main"))
		w.Metrics = metrics.New()
		stop := w.under()
		time.Sleep(3 * time.Hour)
		stop()
		var waited []time.Duration
		for i := range tries[1:] {
			waited = append(waited, tries[i+1].Sub(tries[i]).Truncate(5*time.Second))
		}
		want := []time.Duration{0, 5 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, time.Hour}
		if diff := cmp.Diff(want, waited); diff != "" {
			t.Errorf("waits (-want +got):\n%s", diff)
		}
		if got := w.delivery(d); got.ParkedAt == nil || got.Attempts != 10 {
			t.Errorf("in the end: %+v", got)
		}
		scrape := httptest.NewRecorder()
		w.Metrics.Handler(nil).ServeHTTP(scrape, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		for _, line := range []string{`cyclone_deliveries_total{outcome="failed",scm="github"} 9`, `cyclone_deliveries_total{outcome="parked",scm="github"} 1`} {
			if !strings.Contains(scrape.Body.String(), line) {
				t.Errorf("metrics lack %s", line)
			}
		}
	})
}

// failing is a forge whose Parse first does something else.
type failing struct {
	forge
	fail func(id string) error
}

func (f failing) Parse(h http.Header, body []byte) (*cyclone.Hook, error) {
	if err := f.fail(string(body)); err != nil {
		return nil, err
	}
	return f.forge.Parse(h, body)
}

// slowEvents answers nothing until the caller has had enough.
type slowEvents struct{ cyclone.EventStore }

func (slowEvents) Create(ctx context.Context, _ *cyclone.Event) error {
	<-ctx.Done()
	return cyclone.Unavailable("create event: %v", ctx.Err())
}

// What takes too long each time is parked as well: a delivery that asks too
// much of the store must not take a place for ever.
func TestAlwaysTooSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bubble(t)
		events := w.Events
		w.Events = slowEvents{events}
		d := w.stored(push("main"))
		stop := w.under()
		time.Sleep(30 * time.Second)
		if got := w.delivery(d); got.Attempts != 1 || !strings.Contains(got.Error, "not handled within 20s") {
			t.Errorf("after the first attempt: %+v", got)
		}
		time.Sleep(3 * time.Hour)
		if got := w.delivery(d); got.ParkedAt == nil || got.Attempts != 10 {
			t.Errorf("in the end: %+v", got)
		}
		stop()
	})
}

// The end of the server in the middle of an attempt is no failure of the
// delivery's, and gives the lease to the next one at once.
func TestEndIsNoAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bubble(t)
		events := w.Events
		w.Events = slowEvents{events}
		w.Lease = &lead.Lease{Store: w.store.Leases, Name: "deliveries", Holder: "first", Now: time.Now}
		d := w.stored(push("main"))
		stop := w.under()
		time.Sleep(5 * time.Second)
		stop()
		if got := w.delivery(d); got.Attempts != 0 || got.NextAt != nil || got.Error != "" {
			t.Errorf("after the end: %+v", got)
		}
		w.Events = events
		w.Lease = &lead.Lease{Store: w.store.Leases, Name: "deliveries", Holder: "second", Now: time.Now}
		stop = w.under()
		time.Sleep(3 * time.Second)
		if got := w.delivery(d); got.HandledAt == nil || len(got.Events) != 1 {
			t.Errorf("on the next server: %+v", got)
		}
		stop()
	})
}

// stubborn keeps some deliveries as they are.
type stubborn struct {
	cyclone.DeliveryStore
	keep func(cyclone.DeliveryID) bool
}

func (s stubborn) Replace(ctx context.Context, d *cyclone.Delivery) error {
	if s.keep(d.ID) {
		return errors.New("row is damaged")
	}
	return s.DeliveryStore.Replace(ctx, d)
}

// Deliveries whose outcome cannot be written down, more than are looked at in
// a round, do not keep younger ones waiting.
func TestDamagedDeliveriesHoldUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bubble(t)
		var damaged []cyclone.DeliveryID
		for range 40 {
			damaged = append(damaged, w.stored(push("main")).ID)
		}
		w.Deliveries = stubborn{w.Deliveries, func(id cyclone.DeliveryID) bool { return slices.Contains(damaged, id) }}
		good := w.stored(push("topic"))
		defer w.under()()
		time.Sleep(5 * time.Second)
		if got := w.delivery(good); got.HandledAt == nil || len(got.Events) != 1 {
			t.Errorf("the good one: %+v", got)
		}
	})
}

// Many that wait are not worked off a few at each tick.
func TestBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bubble(t)
		w.now = w.now.Add(-24 * time.Hour)
		const many = 100
		for i := range many {
			w.stored(push(fmt.Sprint("branch-", i)))
		}
		defer w.under()()
		time.Sleep(2 * time.Second)
		if n := w.events(); n != many {
			t.Errorf("%d of %d events after two seconds", n, many)
		}
	})
}

// A delivery that has just come is left to the request that brought it.
func TestYoungDeliveryIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bubble(t)
		defer w.under()()
		time.Sleep(100 * time.Millisecond)
		w.now = time.Now().Add(-time.Minute) // stored adds a minute
		d := w.stored(push("main"))
		time.Sleep(1900 * time.Millisecond)
		if got := w.delivery(d); got.HandledAt != nil {
			t.Errorf("handled %s after it came", got.HandledAt.Sub(got.ReceivedAt))
		}
		time.Sleep(1200 * time.Millisecond)
		if got := w.delivery(d); got.HandledAt == nil {
			t.Error("its request is gone, and it waits")
		}
	})
}

// An attempt that fails while another one, on another server, succeeds does
// not undo that.
func TestFailureDoesNotUndoSuccess(t *testing.T) {
	w := newWorld(t, nil)
	d := w.stored(push("main"))
	other := *d
	first := true
	w.Forges["github"] = failing{w.forge, func(string) error {
		if !first {
			return nil
		}
		first = false
		if err := w.Deliver(t.Context(), &other); err != nil {
			t.Error(err)
		}
		return errors.New("the moon is full")
	}}
	if err := w.Deliver(t.Context(), d); err != nil || len(d.Events) != 1 {
		t.Errorf("Deliver = %v, %+v", err, d)
	}
	if got := w.delivery(d); got.HandledAt == nil || got.Attempts != 0 || got.Error != "" || len(got.Events) != 1 {
		t.Errorf("stored: %+v", got)
	}
}

// Only what cannot be read or is not the project's is refused for good; the
// same kind of error from the store is not.
func TestStoreErrorsAreNoRefusals(t *testing.T) {
	for _, kind := range []error{cyclone.ErrInvalid, cyclone.ErrNotFound} {
		w := newWorld(t, nil)
		w.Events = oddEvents{w.Events, fmt.Errorf("create event: %w", kind)}
		d := w.stored(push("main"))
		if err := w.Deliver(t.Context(), d); !errors.Is(err, kind) || d.HandledAt != nil {
			t.Errorf("Deliver = %v, handled at %v", err, d.HandledAt)
		}
		if got := w.delivery(d); got.HandledAt != nil || got.Attempts != 1 || got.NextAt == nil {
			t.Errorf("stored: %+v", got)
		}
	}
	w := newWorld(t, nil)
	d := w.stored(push("main"))
	w.must(w.store.Projects.Delete(t.Context(), "orders"))
	if err := w.Deliver(t.Context(), d); !errors.Is(err, cyclone.ErrNotFound) {
		t.Errorf("without its project: %v", err)
	}
}

type oddEvents struct {
	cyclone.EventStore
	err error
}

func (o oddEvents) Create(context.Context, *cyclone.Event) error { return o.err }

// A push does not end what somebody started by hand, nor a pull request's
// event that is of a branch of the same name.
func TestSupersedeSparesManualEvents(t *testing.T) {
	w := newWorld(t, func(p *cyclone.Project) { p.CancelSuperseded = true })
	p, err := w.store.Projects.Find(t.Context(), "orders")
	w.must(err)
	manual, err := w.Start(t.Context(), p, cyclone.StartRequest{Branch: "main"})
	w.must(err)
	_, first := w.deliver(push("main"))
	first.Status = cyclone.StatusFailure
	w.must(w.store.Events.Replace(t.Context(), first))
	again, err := w.Rerun(t.Context(), first, "alice", "")
	w.must(err)
	_, newest := w.deliver(push("main"))
	for id, want := range map[cyclone.EventID]cyclone.Status{manual.ID: cyclone.StatusPending, again.ID: cyclone.StatusCanceled, newest.ID: cyclone.StatusPending} {
		if e := w.find(id); e.Status != want {
			t.Errorf("event #%d is %s: %s; want %s", e.Number, e.Status, e.Reason, want)
		}
	}
}

// A skipped event is final from the start, so what is to be told about it is
// planned here.
func TestSkippedEventSetsItsStatus(t *testing.T) {
	for _, wanted := range []bool{false, true} {
		w := newWorld(t, nil)
		w.StatusWanted = func(p *cyclone.Project, e *cyclone.Event) bool {
			return wanted && p.Name == "orders" && e.Status == cyclone.StatusSkipped
		}
		_, e := w.deliver(with(push("main"), func(h *cyclone.Hook) { h.Commit.Message = "[skip ci]" }))
		var names []string
		for _, n := range e.Run.Notices {
			names = append(names, n.Name)
		}
		want := []string{"mail"}
		if wanted {
			want = append(want, "status")
		}
		if diff := cmp.Diff(want, names); diff != "" {
			t.Errorf("notices (-want +got):\n%s", diff)
		}
	}
}
