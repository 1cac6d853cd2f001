// Package storetest is the contract of a store as a test suite: each clause is
// one promise that the interfaces in cyclone make, checked on an empty store.
// Every store runs it whole.
//
// It is not about speed or about what survives a crash: those tests stand
// beside the store that promises them.
package storetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
)

// Stores are the parts of one store.
type Stores struct {
	Projects   cyclone.ProjectStore
	Events     cyclone.EventStore
	Queue      cyclone.Queue
	Logs       cyclone.LogStore
	Files      cyclone.FileStore
	Deliveries cyclone.DeliveryStore
	Clusters   cyclone.ClusterStore
	Secrets    cyclone.SecretStore
	Settings   cyclone.SettingStore
	Leases     cyclone.LeaseStore
	Nodes      cyclone.NodeStore
	Marks      cyclone.MarkStore
	Census     cyclone.Census
}

// clause is one promise.
type clause struct {
	name  string
	check func(t *testing.T, s Stores)
}

// Run checks all clauses, each on a store of its own: open returns an empty one
// and has it closed by t.Cleanup.
func Run(t *testing.T, open func(t testing.TB) Stores) {
	for _, part := range []struct {
		name    string
		clauses []clause
	}{
		{"Projects", projects}, {"Clusters", clusters}, {"Secrets", secrets}, {"Settings", settings},
		{"Events", events}, {"List", lists}, {"Queue", queue}, {"Logs", logs}, {"Files", files}, {"Deliveries", deliveries},
		{"Prune", prunes}, {"Delete", deletes}, {"Leases", leases}, {"Nodes", nodes}, {"Marks", marks}, {"Totals", totals},
	} {
		t.Run(part.name, func(t *testing.T) {
			for _, c := range part.clauses {
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					c.check(t, open(t))
				})
			}
		})
	}
}

// epoch is a time with more digits than a store keeps, in a zone that is not UTC.
var epoch = time.Date(2026, 1, 2, 3, 4, 5, 678_912_345, time.FixedZone("east", 8*3600))

// at is whole seconds after epoch.
func at(seconds int) time.Time { return epoch.Add(time.Duration(seconds) * time.Second) }

// must ends the test on an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// must1 is must for calls with a value.
func must1[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		must(t, err)
		return v
	}
}

// is checks the kind of an error.
func is(t testing.TB, err, kind error, what string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%s: the error is %v; want the kind %v", what, err, kind)
	}
}

// same compares two values.
func same(t testing.TB, want, got any, what string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// together runs n calls at the same time and returns their errors.
func together(n int, do func(i int) error) []error {
	errs := make([]error, n)
	start := make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			<-start
			errs[i] = do(i)
		})
	}
	close(start)
	all.Wait()
	return errs
}

// oneWins checks that exactly one call succeeded and all others got a conflict.
func oneWins(t testing.TB, errs []error) {
	t.Helper()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
			continue
		}
		is(t, err, cyclone.ErrConflict, "a loser")
	}
	if won != 1 {
		t.Errorf("%d of %d calls succeeded; want exactly 1", won, len(errs))
	}
}

// pages reads a list to its end in pages of n and returns the items' names.
func pages[T any](t testing.TB, n int, name func(T) string, list func(cyclone.Page) (cyclone.List[T], error)) []string {
	t.Helper()
	var names []string
	page := cyclone.Page{Limit: n}
	for range 1000 {
		l, err := list(page)
		must(t, err)
		if len(l.Items) > n {
			t.Fatalf("a page has %d items; the limit is %d", len(l.Items), n)
		}
		for _, item := range l.Items {
			names = append(names, name(item))
		}
		if l.Next == "" {
			return names
		}
		page.Cursor = l.Next
	}
	t.Fatal("the list does not end")
	return nil
}

// paging checks what all lists have in common. The store holds no items; add
// makes one more.
func paging[T any](t *testing.T, add func(i int), list func(cyclone.Page) (cyclone.List[T], error)) {
	l := must1(list(cyclone.Page{}))(t)
	if l.Items == nil || len(l.Items) != 0 || l.Next != "" || l.Total != 0 {
		t.Errorf("an empty list is %+v; want items that are empty but not nil", l)
	}
	for i := range 205 {
		add(i)
	}
	for _, c := range []struct{ limit, want int }{{0, 50}, {-1, 50}, {1, 1}, {200, 200}, {1000, 200}} {
		l := must1(list(cyclone.Page{Limit: c.limit}))(t)
		if len(l.Items) != c.want || l.Next == "" || l.Total != 205 {
			t.Errorf("limit %d: %d items of %d, next %q; want %d of 205 and a next", c.limit, len(l.Items), l.Total, l.Next, c.want)
		}
	}
	first := must1(list(cyclone.Page{Limit: 200}))(t)
	rest := must1(list(cyclone.Page{Limit: 5, Cursor: first.Next}))(t)
	if len(rest.Items) != 5 || rest.Next != "" {
		t.Errorf("the last page has %d items and next %q; want 5 and no next", len(rest.Items), rest.Next)
	}
	for _, bad := range []string{"x", "!!", "W10", "bnVsbA", "WyJhIiwiYiIsImMiLCJkIl0", first.Next + "x"} {
		_, err := list(cyclone.Page{Cursor: bad})
		var invalid *cyclone.InvalidError
		if !errors.As(err, &invalid) || invalid.Fields[0].Field != "cursor" {
			t.Errorf("cursor %q: the error is %v; want an InvalidError about cursor", bad, err)
		}
	}
}

func numbered(i int) string { return fmt.Sprintf("n%04d", i) }
