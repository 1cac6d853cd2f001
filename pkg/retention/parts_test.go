package retention_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"cyclone/pkg/cyclone"
)

// A server that dies between the mark and the removal leaves an event whose
// readers are told, and the next run finishes it.
func TestLogHalfRemoved(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open func(*testing.T) stores) {
		s := open(t)
		s.project(t, "orders", nil)
		for i := range 5 {
			s.event(t, "orders", 100-i, nil)
		}
		none, died := 0, errors.New("killed")
		logs := &failingLogs{LogStore: s.logs, good: 2, err: died}
		r := s.retention(cyclone.Retention{Logs: keep(t, "30d"), Minimum: &none})
		r.Logs = logs
		report, err := r.Apply(t.Context(), false)
		if !errors.Is(err, died) || report.Logs != 2 {
			t.Errorf("%+v, %v", report, err)
		}
		if left := s.left(t, "orders"); left != "96 97 98? 99- 100-" {
			t.Errorf("left are %s", left)
		}
		logs.good = 100
		expect(t, r, [3]int{0, 3, 0})
		if left := s.left(t, "orders"); left != "96- 97- 98- 99- 100-" {
			t.Errorf("left are %s", left)
		}
	})
}

// failingLogs is a store whose deletes fail after some.
type failingLogs struct {
	cyclone.LogStore
	good  int
	err   error
	lasts int
}

func (f *failingLogs) Delete(ctx context.Context, id cyclone.EventID) error {
	if f.good--; f.good < 0 {
		return f.err
	}
	return f.LogStore.Delete(ctx, id)
}

func (f *failingLogs) Last(ctx context.Context, id cyclone.EventID) (int64, error) {
	f.lasts++
	return f.LogStore.Last(ctx, id)
}

// An event that somebody else writes at the same moment is left to the next
// run, mark and log.
func TestLogOfABusyEvent(t *testing.T) {
	t.Parallel()
	s := memory()
	s.project(t, "orders", nil)
	s.event(t, "orders", 101, nil)
	s.event(t, "orders", 100, nil)
	none := 0
	r := s.retention(cyclone.Retention{Logs: keep(t, "30d"), Minimum: &none})
	r.Events = &busy{EventStore: s.events, busy: "orders-000001"}
	report, err := r.Apply(t.Context(), false)
	if err != nil || report.Logs != 1 {
		t.Errorf("%+v, %v", report, err)
	}
	if left := s.left(t, "orders"); left != "100- 101" {
		t.Errorf("left are %s", left)
	}
}

// busy is a store in which one event was always written meanwhile.
type busy struct {
	cyclone.EventStore
	busy cyclone.EventID
}

func (b *busy) Replace(ctx context.Context, e *cyclone.Event) error {
	if e.ID == b.busy {
		return cyclone.Conflict("event %q was changed meanwhile", e.ID)
	}
	return b.EventStore.Replace(ctx, e)
}

// counting counts the pages that are read.
type counting struct {
	cyclone.EventStore
	lists int
}

func (c *counting) List(ctx context.Context, q cyclone.EventQuery) (cyclone.List[*cyclone.Event], error) {
	c.lists++
	return c.EventStore.List(ctx, q)
}

// history is 520 old events of which only every third ever had a log, with
// 250 in a row that had none, as a project of many skipped pushes has.
func history(t *testing.T, s stores) {
	t.Helper()
	s.project(t, "orders", nil)
	for i := range 520 {
		s.event(t, "orders", 1000-i, func(e *cyclone.Event) {
			if i%3 != 0 || i > 300 && i < 515 {
				e.LogLines = 0
			}
		})
	}
}

// When nothing is to be done, that costs the same whatever stands behind.
func TestIdleRunIsCheap(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := memory()
		history(t, s)
		none := 0
		events, logs := &counting{EventStore: s.events}, &failingLogs{LogStore: s.logs, good: 1000}
		r := s.retention(cyclone.Retention{Logs: keep(t, "30d"), Minimum: &none})
		r.Events, r.Logs = events, logs
		report, err := r.Apply(t.Context(), false)
		if err != nil || report.Logs != 103 || strings.Contains(s.left(t, "orders"), "!") {
			t.Fatalf("the first run: %+v, %v", report, err)
		}
		events.lists, logs.lasts = 0, 0
		if report, err := r.Apply(t.Context(), false); err != nil || len(report.Projects) != 0 {
			t.Errorf("the second run: %+v, %v", report, err)
		}
		// Two to count, the newest page forward and back, in which some were
		// removed and no log is left.
		if events.lists > 4 || logs.lasts > 200 {
			t.Errorf("an idle run reads %d pages and looks for %d logs", events.lists, logs.lasts)
		}
	})
}

// Forever costs nothing at all.
func TestForeverIsFree(t *testing.T) {
	t.Parallel()
	s := memory()
	s.project(t, "orders", nil)
	events := &counting{EventStore: s.events}
	r := s.retention(cyclone.Retention{Events: keep(t, "forever"), Deliveries: &cyclone.Keep{}})
	r.Events, r.Logs, r.Deliveries = events, nil, nil
	if _, err := r.Apply(t.Context(), false); err != nil || events.lists != 0 {
		t.Errorf("%d pages read, %v", events.lists, err)
	}
}

// Events that come while a run is on its way must not push kept ones over
// the edge.
func TestEventsComeMeanwhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := memory()
		s.project(t, "orders", nil)
		for i := range 300 {
			s.event(t, "orders", 500-i, nil)
		}
		none := 0
		r := s.retention(cyclone.Retention{Events: keep(t, "80"), Minimum: &none})
		r.Events = &arriving{EventStore: s.events, arrive: func() { s.event(t, "orders", 0, nil) }}
		report, err := r.Apply(t.Context(), false)
		// Those that came between going there and back, one with each look at the
		// store, pushed a few from one page to another that is read already: the
		// next run finds them.
		if err != nil || report.Events < 210 {
			t.Errorf("%+v, %v", report, err)
		}
		l, err := s.events.List(t.Context(), cyclone.EventQuery{Page: cyclone.Page{Limit: 300}})
		if err != nil {
			t.Fatal(err)
		}
		// Whatever is gone had 80 newer ones when the run began.
		newer := 0
		for newer < len(l.Items) && l.Items[newer].Number == s.made.Load()-int64(newer) {
			newer++
		}
		if newer < 80 {
			t.Errorf("event %d is gone; only %d newer ones are there", s.made.Load()-int64(newer), newer)
		}
	})
}

// arriving has one more event at each page.
type arriving struct {
	cyclone.EventStore
	arrive func()
}

func (a *arriving) List(ctx context.Context, q cyclone.EventQuery) (cyclone.List[*cyclone.Event], error) {
	a.arrive()
	return a.EventStore.List(ctx, q)
}
