package storetest

import (
	"testing"

	"cyclone/pkg/cyclone"
)

func delivery(id string, seconds int) *cyclone.Delivery {
	return &cyclone.Delivery{ID: cyclone.DeliveryID(id), SCM: "github", Project: "orders", ReceivedAt: at(seconds)}
}

var deliveries = []clause{
	{"a delivery comes back as it arrived, byte for byte", func(t *testing.T, s Stores) {
		var d cyclone.Delivery
		fill(&d)
		must(t, s.Deliveries.Create(t.Context(), &d))
		same(t, stored(&d), must1(s.Deliveries.Find(t.Context(), d.Project, d.SCM, d.ID))(t), "filled delivery")
		empty := delivery("empty", 0)
		must(t, s.Deliveries.Create(t.Context(), empty))
		same(t, stored(empty), must1(s.Deliveries.Find(t.Context(), "orders", "github", "empty"))(t), "empty delivery")
	}},
	{"20 creators of one delivery: one succeeds; another project or scm may use the id", func(t *testing.T, s Stores) {
		oneWins(t, together(20, func(int) error { return s.Deliveries.Create(t.Context(), delivery("1", 0)) }))
		other := delivery("1", 0)
		other.SCM = "gitea"
		must(t, s.Deliveries.Create(t.Context(), other))
		other.Project = "billing"
		must(t, s.Deliveries.Create(t.Context(), other))
	}},
	{"Find and Replace of none are ErrNotFound", func(t *testing.T, s Stores) {
		must(t, s.Deliveries.Create(t.Context(), delivery("1", 0)))
		_, err := s.Deliveries.Find(t.Context(), "orders", "gitea", "1")
		is(t, err, cyclone.ErrNotFound, "Find")
		is(t, s.Deliveries.Replace(t.Context(), delivery("2", 0)), cyclone.ErrNotFound, "Replace")
	}},
	{"Replace writes the outcome and keeps header and body", func(t *testing.T, s Stores) {
		d := delivery("1", 0)
		d.Header, d.Body = map[string][]string{"X-A": {"b"}}, []byte{0xff}
		must(t, s.Deliveries.Create(t.Context(), d))
		listed := must1(s.Deliveries.List(t.Context(), "orders", cyclone.Page{}))(t).Items[0]
		now := at(5)
		listed.HandledAt, listed.Events, listed.Ignored, listed.Error = &now, []cyclone.EventID{"a", "b"}, "ping", "broken"
		must(t, s.Deliveries.Replace(t.Context(), listed))
		want := stored(listed)
		want.Header, want.Body = d.Header, d.Body
		same(t, want, must1(s.Deliveries.Find(t.Context(), "orders", "github", "1"))(t), "delivery with its outcome")
	}},
	{"List is a project's, newest first, without header and body, and has pages", func(t *testing.T, s Stores) {
		foreign := delivery("foreign", 0)
		foreign.Project = "billing"
		must(t, s.Deliveries.Create(t.Context(), foreign))
		list := func(p cyclone.Page) (cyclone.List[*cyclone.Delivery], error) {
			return s.Deliveries.List(t.Context(), "orders", p)
		}
		paging(t, func(i int) {
			d := delivery(numbered(i), i/3) // some share a time
			d.Header, d.Body = map[string][]string{"X-A": {"b"}}, []byte("body")
			must(t, s.Deliveries.Create(t.Context(), d))
		}, list)
		seen := map[string]bool{}
		for _, id := range pages(t, 40, func(d *cyclone.Delivery) string { return string(d.ID) }, list) {
			seen[id] = true
		}
		same(t, 205, len(seen), "different deliveries over all pages")
		first := must1(list(cyclone.Page{Limit: 200}))(t).Items
		for i, d := range first {
			if d.Header != nil || d.Body != nil {
				t.Fatalf("delivery %s is listed with header or body", d.ID)
			}
			if i > 0 && d.ReceivedAt.After(first[i-1].ReceivedAt) {
				t.Fatalf("delivery %s is younger than the one before", d.ID)
			}
		}
	}},
	{"Unhandled finds what was received before the time and not handled, oldest first", func(t *testing.T, s Stores) {
		now := at(100)
		for i, id := range []string{"b", "a", "handled", "late"} {
			d := delivery(id, []int{1, 0, 2, 10}[i])
			d.Body = []byte("body")
			if id == "handled" {
				d.HandledAt = &now
			}
			must(t, s.Deliveries.Create(t.Context(), d))
		}
		ids := func(limit int) (got []cyclone.DeliveryID) {
			for _, d := range must1(s.Deliveries.Unhandled(t.Context(), cyclone.Stamp(at(10)), limit))(t) {
				same(t, []byte("body"), d.Body, "body")
				got = append(got, d.ID)
			}
			return got
		}
		same(t, []cyclone.DeliveryID{"a", "b"}, ids(10), "unhandled")
		same(t, []cyclone.DeliveryID{"a"}, ids(1), "the first of them")
		a := must1(s.Deliveries.Find(t.Context(), "orders", "github", "a"))(t)
		a.HandledAt = &now
		must(t, s.Deliveries.Replace(t.Context(), a))
		same(t, []cyclone.DeliveryID{"b"}, ids(10), "unhandled after one was handled")
	}},
}
