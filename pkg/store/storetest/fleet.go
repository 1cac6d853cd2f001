package storetest

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
)

const ttl = 10 * time.Second

// acquire asks for lease "l" at a second after epoch.
func acquire(t testing.TB, s Stores, holder string, seconds int) bool {
	t.Helper()
	// Whole milliseconds, as stores may keep a lease to the end of one.
	return must1(s.Leases.Acquire(t.Context(), "l", holder, cyclone.Stamp(at(seconds)), ttl))(t)
}

var leases = []clause{
	{"16 who ask for a lease: one holds it, also when it is taken over", func(t *testing.T, s Stores) {
		for round := range 5 {
			var held atomic.Int32
			for _, err := range together(16, func(i int) error {
				got, err := s.Leases.Acquire(t.Context(), "l", fmt.Sprintf("server %d of round %d", i, round), at(20*round), ttl)
				if got {
					held.Add(1)
				}
				return err
			}) {
				must(t, err)
			}
			same(t, int32(1), held.Load(), fmt.Sprintf("holders in round %d", round))
		}
	}},
	{"the holder extends its lease; another takes it over when its time is up, not before", func(t *testing.T, s Stores) {
		for _, c := range []struct {
			holder  string
			seconds int
			want    bool
		}{
			{"a", 0, true}, {"b", 5, false}, {"a", 5, true}, {"b", 14, false}, {"b", 15, true},
			{"a", 16, false}, {"b", 24, true}, {"a", 33, false}, {"a", 34, true},
		} {
			same(t, c.want, acquire(t, s, c.holder, c.seconds), fmt.Sprintf("%s at %d s", c.holder, c.seconds))
		}
	}},
	{"leases of other names are others", func(t *testing.T, s Stores) {
		same(t, true, acquire(t, s, "a", 0), "the one")
		same(t, true, must1(s.Leases.Acquire(t.Context(), "dispatch/m", "b", at(0), ttl))(t), "the other")
	}},
	{"Release gives a lease back at once; a stranger's is ignored", func(t *testing.T, s Stores) {
		must(t, s.Leases.Release(t.Context(), "l", "a"))
		same(t, true, acquire(t, s, "a", 0), "first")
		must(t, s.Leases.Release(t.Context(), "l", "b"))
		same(t, false, acquire(t, s, "b", 1), "after a stranger's release")
		must(t, s.Leases.Release(t.Context(), "l", "a"))
		same(t, true, acquire(t, s, "b", 1), "after the holder's release")
		must(t, s.Leases.Release(t.Context(), "l", "a"))
		same(t, false, acquire(t, s, "a", 2), "after a release by one who held it before")
	}},
}

var nodes = []clause{
	{"a node comes back as it was beaten, but for Drain, which beats do not change", func(t *testing.T, s Stores) {
		var n cyclone.Node
		fill(&n)
		n.Name = "local"
		must(t, s.Nodes.Beat(t.Context(), &n))
		same(t, false, n.Drain, "Drain of a new node")
		same(t, stored(&n), must1(s.Nodes.Find(t.Context(), "local"))(t), "filled node")
		drained := must1(s.Nodes.Drain(t.Context(), "local", true))(t)
		bare := cyclone.Node{Name: "local", Ready: true, SeenAt: at(7)}
		must(t, s.Nodes.Beat(t.Context(), &bare))
		same(t, true, bare.Drain, "Drain after a beat")
		same(t, stored(&bare), must1(s.Nodes.Find(t.Context(), "local"))(t), "bare node")
		n.Drain = true
		same(t, stored(&n), drained, "drained node")
		same(t, false, must1(s.Nodes.Drain(t.Context(), "local", false))(t).Drain, "Drain taken back")
	}},
	{"Find, Drain and Delete of none are ErrNotFound", func(t *testing.T, s Stores) {
		_, err := s.Nodes.Find(t.Context(), "none")
		is(t, err, cyclone.ErrNotFound, "Find")
		_, err = s.Nodes.Drain(t.Context(), "none", true)
		is(t, err, cyclone.ErrNotFound, "Drain")
		is(t, s.Nodes.Delete(t.Context(), "none"), cyclone.ErrNotFound, "Delete")
	}},
	{"20 beats of one new node make one; List is by name", func(t *testing.T, s Stores) {
		if none := must1(s.Nodes.List(t.Context()))(t); none == nil || len(none) != 0 {
			t.Errorf("no nodes are %v; want an empty list", none)
		}
		for _, name := range []string{"b", "c", "a"} {
			for _, err := range together(20, func(i int) error {
				return s.Nodes.Beat(t.Context(), &cyclone.Node{Name: name, Capacity: i, SeenAt: at(i)})
			}) {
				must(t, err)
			}
		}
		must(t, s.Nodes.Delete(t.Context(), "c"))
		var names []string
		for _, n := range must1(s.Nodes.List(t.Context()))(t) {
			names = append(names, n.Name)
		}
		same(t, []string{"a", "b"}, names, "names")
	}},
}

var totals = []clause{
	{"Totals of an empty store are zero", func(t *testing.T, s Stores) {
		same(t, cyclone.Totals{}, must1(s.Census.Totals(t.Context()))(t), "totals")
	}},
	{"Totals count events, notices and deliveries that are not over", func(t *testing.T, s Stores) {
		for i, status := range []cyclone.Status{
			"success", "pending", "pending", "pending", "blocked", "blocked", "running", "failure", "skipped", "canceled",
		} {
			e := newEvent([]cyclone.ProjectName{"a", "b"}[i%2])
			e.Status, e.CreatedAt = status, at(i)
			e.Run.Notices = []cyclone.Notice{{Name: "mail", Done: i > 7}}
			must(t, s.Events.Create(t.Context(), e))
		}
		for i := range 9 {
			d := delivery(numbered(i), i)
			switch i % 4 {
			case 0:
				d.HandledAt = new(at(i))
			case 1:
				d.ParkedAt = new(at(i))
			case 2:
				d.NextAt = new(at(1000))
			}
			must(t, s.Deliveries.Create(t.Context(), d))
		}
		handled := delivery("handled after all", 20)
		handled.ParkedAt, handled.HandledAt = new(at(1)), new(at(2))
		must(t, s.Deliveries.Create(t.Context(), handled))
		want := cyclone.Totals{
			Pending: 3, Blocked: 2, Running: 1, OldestPending: cyclone.Stamp(at(1)),
			Notices: 8, DeliveriesWaiting: 4, DeliveriesParked: 2,
		}
		same(t, want, must1(s.Census.Totals(t.Context()))(t), "totals")
		e := must1(s.Queue.Claim(t.Context(), claim("b", "w")))(t)
		e.Status, e.Run.Notices[0].Done = cyclone.StatusTimeout, true
		must(t, s.Events.Replace(t.Context(), e))
		want.Pending, want.OldestPending, want.Notices = 2, cyclone.Stamp(at(2)), 7
		same(t, want, must1(s.Census.Totals(t.Context()))(t), "totals after one was over")
	}},
}
