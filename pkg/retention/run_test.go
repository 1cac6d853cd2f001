package retention_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest"
	"cyclone/pkg/lead"
	"cyclone/pkg/retention"
)

// running starts Run and returns what ends it and waits for its end.
func running(t *testing.T, r *retention.Retention) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// old stores an event that is to go.
func old(t *testing.T, s stores, name cyclone.ProjectName) {
	t.Helper()
	ago := time.Now().Add(-40 * day)
	s.event(t, name, 0, func(e *cyclone.Event) { e.CreatedAt, e.FinishedAt = ago, &ago })
}

func events(t *testing.T, s stores) int {
	t.Helper()
	l, err := s.events.List(t.Context(), cyclone.EventQuery{})
	if err != nil {
		t.Fatal(err)
	}
	return l.Total
}

// Run begins after a moment, comes back each hour, says in one line what it
// removed, and nothing when there was nothing.
func TestRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := memory()
		s.project(t, "orders", nil)
		none := 0
		r := s.retention(cyclone.Retention{Events: keep(t, "30d"), Minimum: &none})
		log, said := logged()
		r.Log, r.Now = log, time.Now
		defer running(t, r)()
		for round, wait := range []time.Duration{70 * time.Second, time.Hour + 10*time.Second, time.Hour + 10*time.Second} {
			if round != 1 {
				old(t, s, "orders")
			}
			time.Sleep(wait)
			synctest.Wait()
			if n := events(t, s); n != 0 {
				t.Errorf("round %d left %d events", round, n)
			}
		}
		if text := said.String(); strings.Count(text, "\n") != 2 || strings.Count(text, "events=1 logs=0 artifacts=0 deliveries=0") != 2 {
			t.Errorf("two runs that removed something, one that did not:\n%s", text)
		}
	})
}

// Of two servers one works, for as long as it lives; then the other does.
func TestOneServerWorks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, leases := memory(), cyclonetest.NewMemory().Leases
		s.project(t, "orders", nil)
		none := 0
		var seen [2]*counting
		var stop [2]func()
		for i, holder := range []string{"a", "b"} {
			r := s.retention(cyclone.Retention{Events: keep(t, "30d"), Minimum: &none})
			seen[i] = &counting{EventStore: s.events}
			r.Now, r.Events = time.Now, seen[i]
			r.Lease = &lead.Lease{Store: leases, Name: "retention", Holder: holder, Now: time.Now}
			stop[i] = running(t, r)
			defer stop[i]()
			time.Sleep(time.Second) // so that a comes first
		}
		time.Sleep(5 * time.Hour)
		synctest.Wait()
		if seen[0].lists == 0 || seen[1].lists != 0 {
			t.Errorf("the servers read %d and %d pages", seen[0].lists, seen[1].lists)
		}
		stop[0]()
		old(t, s, "orders")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if events(t, s) != 0 {
			t.Error("nobody took over at once")
		}
	})
}

// Once a day logs are found that stand behind a page of removed ones: their
// events ended long after their neighbours.
func TestLateLogsAreFound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := memory()
		s.project(t, "orders", nil)
		ago := time.Now().Add(-40 * day)
		for i := range 250 {
			at := ago.Add(time.Duration(i) * time.Second)
			s.event(t, "orders", 0, func(e *cyclone.Event) {
				if e.CreatedAt, e.FinishedAt = at, &at; i == 3 {
					e.Status, e.FinishedAt = cyclone.StatusBlocked, nil
				}
			})
		}
		none := 0
		r := s.retention(cyclone.Retention{Logs: keep(t, "30d"), Minimum: &none})
		r.Now, r.Every = time.Now, 12*time.Hour
		defer running(t, r)()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		late, err := s.events.Find(t.Context(), "orders-000004")
		if err != nil {
			t.Fatal(err)
		}
		long := time.Now().Add(-31 * day)
		late.Status, late.FinishedAt = cyclone.StatusSuccess, &long
		if err := s.events.Replace(t.Context(), late); err != nil {
			t.Fatal(err)
		}
		time.Sleep(25 * time.Hour)
		synctest.Wait()
		if last, err := s.logs.Last(t.Context(), late.ID); err != nil || last != 0 {
			t.Errorf("the late log has %d lines, %v", last, err)
		}
		if left := s.left(t, "orders"); strings.ContainsAny(left, "?!") || strings.Count(left, "-") != 250 {
			t.Errorf("left are %s", left)
		}
	})
}

// A store that is away for a while is no reason to end, and is told once per run.
func TestStoreAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := memory()
		s.project(t, "orders", nil)
		old(t, s, "orders")
		none := 0
		r := s.retention(cyclone.Retention{Events: keep(t, "30d"), Minimum: &none})
		log, said := logged()
		away := fail(s.events, 0, cyclone.Unavailable("the store is away"))
		r.Log, r.Now, r.Events = log, time.Now, away
		defer running(t, r)()
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		if text := said.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "the store is away") {
			t.Errorf("logged is:\n%s", text)
		}
		away.good.Store(10)
		time.Sleep(time.Hour)
		synctest.Wait()
		if events(t, s) != 0 {
			t.Error("the run after it did not go on")
		}
	})
}
