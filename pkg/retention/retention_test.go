package retention_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/retention"
)

func TestParseKeep(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]cyclone.Keep{
		"90d": {Days: 90}, "500": {Count: 500}, "90d,500": {Days: 90, Count: 500}, " 500 , 90d ": {Days: 90, Count: 500}, "forever": {}, " forever": {},
	} {
		if got, err := retention.ParseKeep(text); err != nil || *got != want {
			t.Errorf("ParseKeep(%q) = %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "0", "0d", "-1", "-5d", "+5", "d", "9 0", "90d,", "90d,30d", "5,6", "1h", "2w", "90days", "90d,500,1", "forever,5", "1e3", "36501d", "99999999999999999999"} {
		got, err := retention.ParseKeep(text)
		if err == nil || !strings.Contains(err.Error(), "90d") || !strings.Contains(err.Error(), fmt.Sprintf("%q", text)) {
			t.Errorf("ParseKeep(%q) = %+v, %v; want an error that quotes it and shows how", text, got, err)
		}
	}
}

// What is removed, by the ages of a project's events in days, oldest last.
func TestWhatGoes(t *testing.T) {
	t.Parallel()
	ages := []int{0, 1, 5, 10, 20, 40, 80, 160, 320}
	tests := []struct {
		events, logs string
		minimum      int
		left         string
		report       [3]int
	}{
		{"", "", 0, "0 1 5 10 20 40 80 160 320", [3]int{}},
		{"forever", "forever", 0, "0 1 5 10 20 40 80 160 320", [3]int{}},
		{"30d", "", 0, "0 1 5 10 20", [3]int{4, 0, 0}},
		{"10d", "", 0, "0 1 5 10", [3]int{5, 0, 0}},
		{"1d", "", 6, "0 1 5 10 20 40", [3]int{3, 0, 0}},
		{"1d", "", 100, "0 1 5 10 20 40 80 160 320", [3]int{}},
		{"3", "", 0, "0 1 5", [3]int{6, 0, 0}},
		{"3", "", 5, "0 1 5 10 20", [3]int{4, 0, 0}},
		{"9", "", 0, "0 1 5 10 20 40 80 160 320", [3]int{}},
		{"15d,2", "", 0, "0 1", [3]int{7, 0, 0}},
		{"15d,6", "", 0, "0 1 5 10", [3]int{5, 0, 0}},
		{"15d,2", "", 3, "0 1 5", [3]int{6, 0, 0}},
		{"", "30d", 0, "0 1 5 10 20 40- 80- 160- 320-", [3]int{0, 4, 0}},
		{"", "2", 4, "0 1 5 10 20- 40- 80- 160- 320-", [3]int{0, 5, 0}},
		{"100d", "7d", 0, "0 1 5 10- 20- 40- 80-", [3]int{2, 4, 0}},
		{"7d", "100d", 0, "0 1 5", [3]int{6, 0, 0}},
		{"36500d", "36500d", 0, "0 1 5 10 20 40 80 160 320", [3]int{}},
	}
	each(t, func(t *testing.T, open func(*testing.T) stores) {
		s := open(t)
		name := func(i int) cyclone.ProjectName { return cyclone.ProjectName(fmt.Sprintf("p%02d", i)) }
		var sum [3]int
		for i, tt := range tests {
			s.project(t, name(i), &cyclone.Retention{Events: keep(t, tt.events), Logs: keep(t, tt.logs), Minimum: &tt.minimum})
			for _, days := range slices.Backward(ages) {
				s.event(t, name(i), days, nil)
			}
			sum[0], sum[1] = sum[0]+tt.report[0], sum[1]+tt.report[1]
		}
		reports := map[cyclone.ProjectName]cyclone.ProjectRetention{}
		for _, p := range expect(t, s.retention(cyclone.Retention{}), sum).Projects {
			reports[p.Project] = p
		}
		for i, tt := range tests {
			p := reports[name(i)]
			if got := [3]int{p.Events, p.Logs, p.Deliveries}; got != tt.report {
				t.Errorf("events %q, logs %q, minimum %d: %v were removed, want %v", tt.events, tt.logs, tt.minimum, got, tt.report)
			}
			if left := s.left(t, name(i)); left != tt.left {
				t.Errorf("events %q, logs %q, minimum %d: left are %s, want %s", tt.events, tt.logs, tt.minimum, left, tt.left)
			}
		}
	})
}

// expect makes a dry run, a run and another dry run: the first foretells
// exactly what the second does, and the third finds nothing.
func expect(t *testing.T, r *retention.Retention, want [3]int) cyclone.RetentionReport {
	t.Helper()
	foretold, err := r.Apply(t.Context(), true)
	if err != nil || !foretold.DryRun || totals(foretold) != want {
		t.Errorf("dry run: %+v, %v; want %v", foretold, err, want)
	}
	done, err := r.Apply(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	foretold.DryRun = false
	if diff := cmp.Diff(foretold, done); diff != "" {
		t.Errorf("the run did not do what the dry run foretold (-foretold +done):\n%s", diff)
	}
	if after, err := r.Apply(t.Context(), true); err != nil || totals(after) != [3]int{} || len(after.Projects) != 0 {
		t.Errorf("after the run there is more to remove: %+v, %v", after, err)
	}
	return done
}

// Whatever the policy, what is not over in every respect stays.
func TestWhatNeverGoes(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open func(*testing.T) stores) {
		s := open(t)
		s.project(t, "orders", nil)
		for _, status := range []cyclone.Status{cyclone.StatusPending, cyclone.StatusBlocked, cyclone.StatusRunning} {
			s.event(t, "orders", 400, func(e *cyclone.Event) { e.Status, e.FinishedAt = status, nil })
		}
		s.event(t, "orders", 300, func(e *cyclone.Event) {
			e.Run.Notices = []cyclone.Notice{{Name: cyclone.NoticeMail, NextAt: now}, {Name: "release", Done: true}}
		})
		s.event(t, "orders", 200, func(e *cyclone.Event) { e.Run.Notices = []cyclone.Notice{{Name: cyclone.NoticeMail, Done: true}} })
		s.event(t, "orders", 100, func(e *cyclone.Event) { // approved yesterday
			yesterday := now.Add(-day)
			e.FinishedAt = &yesterday
		})
		none := 0
		expect(t, s.retention(cyclone.Retention{Events: keep(t, "50d"), Logs: keep(t, "50d"), Minimum: &none}), [3]int{1, 0, 0})
		if left, want := s.left(t, "orders"), "100 300 400 400 400"; left != want {
			t.Errorf("left are %s, want %s", left, want)
		}
	})
}

// A project's own parts go before the server's, each by itself.
func TestWhoSays(t *testing.T) {
	t.Parallel()
	s := memory()
	three, none := 3, 0
	s.project(t, "all-own", &cyclone.Retention{Events: keep(t, "forever"), Logs: keep(t, "forever"), Deliveries: keep(t, "forever"), Minimum: &none})
	s.project(t, "part-own", &cyclone.Retention{Logs: keep(t, "1d"), Minimum: &three})
	s.project(t, "servers", nil)
	for _, name := range []cyclone.ProjectName{"all-own", "part-own", "servers"} {
		for i := range 15 {
			s.event(t, name, 100-i, nil)
		}
		for _, days := range []int{90, 60, 20} {
			s.delivery(t, name, days, days != 90)
		}
	}
	defaults := cyclone.Retention{Events: keep(t, "95d"), Deliveries: keep(t, "30d"), Minimum: &none}
	want := cyclone.RetentionReport{
		Events: 10, Logs: 7, Deliveries: 1,
		Projects: []cyclone.ProjectRetention{{Project: "part-own", Events: 5, Logs: 7}, {Project: "servers", Events: 5, Deliveries: 1}},
	}
	got, err := s.retention(defaults).Apply(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// Nobody says how many: ten of each stay.
	defaults = cyclone.Retention{Events: keep(t, "1d"), Deliveries: keep(t, "1d")}
	if got, err = s.retention(defaults).Apply(t.Context(), true); err != nil || totals(got) != [3]int{7, 0, 0} || got.Projects[0].Project != "part-own" {
		t.Errorf("%+v, %v", got, err)
	}
}

// A run that is broken off has removed the oldest; the next one goes on.
func TestOldestFirst(t *testing.T) {
	t.Parallel()
	s := memory()
	s.project(t, "orders", nil)
	for i := range 9 {
		s.event(t, "orders", 100-i, nil)
	}
	none, broken := 0, errors.New("disk is full")
	events := fail(s.events, 4, broken)
	r := s.retention(cyclone.Retention{Events: keep(t, "30d"), Minimum: &none})
	r.Events = events
	report, err := r.Apply(t.Context(), false)
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "orders") || report.Events != 4 {
		t.Errorf("%+v, %v", report, err)
	}
	if left := s.left(t, "orders"); left != "92 93 94 95 96?" { // that of 96 is announced
		t.Errorf("left are %s", left)
	}
	events.good.Store(100)
	expect(t, r, [3]int{5, 0, 0})
}

// failing is a store whose deletes fail after some.
type failing struct {
	cyclone.EventStore
	good atomic.Int64
	err  error
}

func fail(s cyclone.EventStore, good int64, err error) *failing {
	f := &failing{EventStore: s, err: err}
	f.good.Store(good)
	return f
}

func (f *failing) Delete(ctx context.Context, id cyclone.EventID) error {
	if f.good.Add(-1) < 0 {
		return f.err
	}
	return f.EventStore.Delete(ctx, id)
}

// While a store that is away fails every project alike, one is enough; what
// is wrong with one project is no reason to leave the others.
func TestOneProjectFails(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err       error
		deletes   int64
		contained []string
	}{
		{cyclone.Unavailable("the store is away"), 1, []string{"project a no longer"}},
		{errors.New("broken"), 3, []string{"project a no longer", "project b no longer", "project c no longer"}},
	} {
		s := memory()
		for _, name := range []cyclone.ProjectName{"a", "b", "c"} {
			s.project(t, name, nil)
			s.event(t, name, 100, nil)
		}
		none := 0
		events := fail(s.events, 0, tt.err)
		r := s.retention(cyclone.Retention{Events: keep(t, "30d"), Minimum: &none})
		r.Events = events
		_, err := r.Apply(t.Context(), false)
		if !errors.Is(err, tt.err) || -events.good.Load() != tt.deletes {
			t.Errorf("%d deletes, %v", -events.good.Load(), err)
		}
		for _, text := range tt.contained {
			if err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("%v does not name %s", err, text)
			}
		}
	}
}

// Deliveries go once they are handled; one that waits stays.
func TestDeliveries(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, open func(*testing.T) stores) {
		s := open(t)
		s.project(t, "orders", nil)
		for days := range 9 {
			s.delivery(t, "orders", days, days != 7)
		}
		two := 2
		expect(t, s.retention(cyclone.Retention{Deliveries: keep(t, "5d,4"), Minimum: &two}), [3]int{0, 0, 4})
		l, err := s.deliveries.List(t.Context(), "orders", cyclone.Page{})
		if err != nil {
			t.Fatal(err)
		}
		var left []cyclone.DeliveryID
		for _, d := range l.Items {
			left = append(left, d.ID)
		}
		if diff := cmp.Diff([]cyclone.DeliveryID{"d0", "d1", "d2", "d3", "d7"}, left); diff != "" {
			t.Error(diff)
		}
	})
}

// A run that is told to end does so between two batches.
func TestEndsInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := memory()
		s.project(t, "orders", nil)
		for range 300 {
			s.event(t, "orders", 100, nil)
		}
		none := 0
		ctx, stop := context.WithTimeout(t.Context(), 60*time.Millisecond)
		defer stop()
		report, err := s.retention(cyclone.Retention{Events: keep(t, "30d"), Minimum: &none}).Apply(ctx, false)
		if !errors.Is(err, context.DeadlineExceeded) || report.Events == 0 || report.Events == 300 {
			t.Errorf("%+v, %v", report, err)
		}
	})
}
