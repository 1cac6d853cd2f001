package storetest

import (
	"bytes"
	"crypto/rand"
	"net/http"
	"testing"
	"time"

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
		listed.Attempts, listed.NextAt, listed.ParkedAt = 3, &now, &now
		listed.Ref, listed.Commit = "refs/heads/main", "3f2a1b9"
		must(t, s.Deliveries.Replace(t.Context(), listed))
		want := stored(listed)
		want.Header, want.Body = d.Header, d.Body
		same(t, want, must1(s.Deliveries.Find(t.Context(), "orders", "github", "1"))(t), "delivery with its outcome")
	}},
	{"Bodies come back as they were, however large", func(t *testing.T, s Stores) {
		noise := make([]byte, 3<<20)
		must1(rand.Read(noise))(t)
		for id, body := range map[string][]byte{
			"small": []byte("{}"), "text": bytes.Repeat([]byte(`{"added":["src/main.go"]},`), 900_000), "noise": noise,
		} {
			d := delivery(id, 0)
			d.Body = body
			must(t, s.Deliveries.Create(t.Context(), d))
			found := must1(s.Deliveries.Find(t.Context(), "orders", "github", d.ID))(t)
			due := must1(s.Deliveries.Due(t.Context(), at(5), 10))(t)
			if !bytes.Equal(found.Body, body) || len(due) != 1 || !bytes.Equal(due[0].Body, body) {
				t.Errorf("%s: the body of %d bytes came back as %d", id, len(body), len(found.Body))
			}
			now := at(1)
			found.HandledAt = &now
			must(t, s.Deliveries.Replace(t.Context(), found))
		}
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
	{"Due finds what waits and whose time has come, the longest due first", due},
	{"a parked delivery is not due until it is redelivered; a handled one never again", parking},
}

// deliver stores a delivery of "orders" with a header and a body.
func deliver(t *testing.T, s Stores, id string, seconds int, change func(d *cyclone.Delivery)) {
	t.Helper()
	d := delivery(id, seconds)
	d.Header, d.Body = map[string][]string{"X-A": {"b"}}, []byte("body")
	change(d)
	must(t, s.Deliveries.Create(t.Context(), d))
}

func dueIDs(t *testing.T, s Stores, now time.Time, limit int) []cyclone.DeliveryID {
	t.Helper()
	var ids []cyclone.DeliveryID
	for _, d := range must1(s.Deliveries.Due(t.Context(), now, limit))(t) {
		same(t, []byte("body"), d.Body, "body")
		same(t, http.Header{"X-A": {"b"}}, d.Header, "header")
		ids = append(ids, d.ID)
	}
	return ids
}

func due(t *testing.T, s Stores) {
	at := func(seconds int) *time.Time { return new(at(seconds)) }
	as := func(change func(d *cyclone.Delivery)) func(*cyclone.Delivery) { return change }
	plain := as(func(*cyclone.Delivery) {})
	deliver(t, s, "second", 1, plain)
	deliver(t, s, "first", 0, plain)
	deliver(t, s, "late", 11, plain)
	deliver(t, s, "now", 10, plain)
	deliver(t, s, "handled", 2, as(func(d *cyclone.Delivery) { d.HandledAt = at(3) }))
	deliver(t, s, "parked", 2, as(func(d *cyclone.Delivery) { d.ParkedAt = at(3) }))
	deliver(t, s, "failed", 0, as(func(d *cyclone.Delivery) { d.Attempts, d.NextAt = 1, at(5) }))
	deliver(t, s, "resting", 0, as(func(d *cyclone.Delivery) { d.Attempts, d.NextAt = 2, at(20) }))
	now := cyclone.Stamp(*at(10))
	same(t, []cyclone.DeliveryID{"first", "second", "failed"}, dueIDs(t, s, now.Add(-time.Millisecond), 10), "due a little before")
	same(t, []cyclone.DeliveryID{"first", "second", "failed", "now"}, dueIDs(t, s, now, 10), "due")
	same(t, []cyclone.DeliveryID{"first", "second"}, dueIDs(t, s, now, 2), "the first two of them")
	same(t, 0, len(dueIDs(t, s, cyclone.Stamp(*at(-1)), 10)), "number due before the first")
}

func parking(t *testing.T, s Stores) {
	deliver(t, s, "a", 0, func(*cyclone.Delivery) {})
	deliver(t, s, "b", 1, func(*cyclone.Delivery) {})
	change := func(what string, change func(d *cyclone.Delivery), want ...cyclone.DeliveryID) {
		t.Helper()
		d := must1(s.Deliveries.Find(t.Context(), "orders", "github", "a"))(t)
		change(d)
		must(t, s.Deliveries.Replace(t.Context(), d))
		same(t, stored(d), must1(s.Deliveries.Find(t.Context(), "orders", "github", "a"))(t), what)
		same(t, want, dueIDs(t, s, at(60), 10), "due after: "+what)
	}
	change("a failure", func(d *cyclone.Delivery) { d.Attempts, d.NextAt, d.Error = 3, new(at(50)), "no" }, "b", "a")
	change("parking", func(d *cyclone.Delivery) { d.ParkedAt, d.NextAt = new(at(55)), nil }, "b")
	change("redelivery", func(d *cyclone.Delivery) { d.ParkedAt, d.Attempts, d.Error = nil, 0, "" }, "a", "b")
	change("handling", func(d *cyclone.Delivery) { d.HandledAt = new(at(59)) }, "b")
}
