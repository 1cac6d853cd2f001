package storetest

import (
	"slices"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
)

// newEvent is a pending push to main, created at epoch.
func newEvent(project cyclone.ProjectName) *cyclone.Event {
	return &cyclone.Event{
		Project: project, Status: cyclone.StatusPending, Branch: "main", CreatedAt: epoch,
		Trigger: cyclone.Trigger{Kind: cyclone.KindPush},
	}
}

// create stores n events of a project, each a second younger than the one before.
func create(t testing.TB, s Stores, project cyclone.ProjectName, n int) []*cyclone.Event {
	t.Helper()
	made := make([]*cyclone.Event, n)
	for i := range made {
		made[i] = newEvent(project)
		made[i].CreatedAt = at(i)
		must(t, s.Events.Create(t.Context(), made[i]))
	}
	return made
}

var events = []clause{
	{"an event comes back as it was stored, with what only the server sees", func(t *testing.T, s Stores) {
		var e cyclone.Event
		fill(&e)
		e.Commit.Committer = "" // not kept
		e.ID, e.Project, e.Status, e.Run.Key = "", "orders", cyclone.StatusPending, "github/orders/1/0"
		must(t, s.Events.Create(t.Context(), &e))
		if e.ID == "" || e.Number != 1 || e.Run.Revision != 1 {
			t.Errorf("new event has id %q, number %d, revision %d; want an id, 1, 1", e.ID, e.Number, e.Run.Revision)
		}
		found := must1(s.Events.Find(t.Context(), e.ID))(t)
		same(t, stored(&e), found, "filled event")
		if found.CreatedAt.Location() != time.UTC || found.Run.LeaseUntil.Location() != time.UTC {
			t.Error("times are not in UTC")
		}
		same(t, stored(&e), must1(s.Events.FindByKey(t.Context(), e.Run.Key))(t), "event by key")
		e.Reason = "changed"
		must(t, s.Events.Replace(t.Context(), &e))
		same(t, stored(&e), must1(s.Events.Find(t.Context(), e.ID))(t), "replaced event")
	}},
	{"an empty event comes back empty; CreatedAt is set where it is zero", func(t *testing.T, s Stores) {
		e := cyclone.Event{Project: "orders", Status: cyclone.StatusPending}
		before := cyclone.Stamp(time.Now())
		must(t, s.Events.Create(t.Context(), &e))
		if e.CreatedAt.Before(before) || e.CreatedAt.After(time.Now()) {
			t.Errorf("CreatedAt is %v", e.CreatedAt)
		}
		same(t, &e, must1(s.Events.Find(t.Context(), e.ID))(t), "empty event")
	}},
	{"fields that become empty are emptied", func(t *testing.T, s Stores) {
		var e cyclone.Event
		fill(&e)
		e.Project, e.Status = "orders", cyclone.StatusPending
		must(t, s.Events.Create(t.Context(), &e))
		bare := cyclone.Event{ID: e.ID, Project: e.Project, Number: e.Number, Status: e.Status, CreatedAt: e.CreatedAt}
		bare.Run.Key, bare.Run.Revision = e.Run.Key, e.Run.Revision
		must(t, s.Events.Replace(t.Context(), &bare))
		same(t, stored(&bare), must1(s.Events.Find(t.Context(), e.ID))(t), "bare event")
	}},
	{"text that is not UTF-8 is kept with replacement characters", func(t *testing.T, s Stores) {
		e := newEvent("orders")
		e.Commit.Message = "caf\xe9"
		must(t, s.Events.Create(t.Context(), e))
		same(t, "caf\ufffd", must1(s.Events.Find(t.Context(), e.ID))(t).Commit.Message, "message")
	}},
	{"an id that the caller set is kept; a taken one is ErrConflict", func(t *testing.T, s Stores) {
		e := newEvent("orders")
		e.ID = "mine"
		must(t, s.Events.Create(t.Context(), e))
		same(t, cyclone.EventID("mine"), e.ID, "id")
		twin := newEvent("orders")
		twin.ID, twin.CreatedAt = "mine", at(1)
		is(t, s.Events.Create(t.Context(), twin), cyclone.ErrConflict, "Create with a taken id")
	}},
	{"Create may be repeated when its outcome is not known: there is one event, and it is the caller's", func(t *testing.T, s Stores) {
		create(t, s, "orders", 2)
		for _, key := range []string{"", "github/orders/1/0"} {
			e := newEvent("orders")
			e.Run.Key = key
			must(t, s.Events.Create(t.Context(), e))
			again := newEvent("orders")
			again.ID, again.CreatedAt, again.Run.Key = e.ID, e.CreatedAt, key
			for _, err := range together(10, func(int) error { return s.Events.Create(t.Context(), new(*again)) }) {
				must(t, err)
			}
			must(t, s.Events.Create(t.Context(), again))
			same(t, e, again, "event that was created again")
			other := newEvent("orders")
			other.Run.Key = key
			if key != "" {
				is(t, s.Events.Create(t.Context(), other), cyclone.ErrConflict, "another event with the key")
			}
		}
		same(t, 4, must1(s.Events.List(t.Context(), cyclone.EventQuery{}))(t).Total, "events")
	}},
	{"ids sort by creation", func(t *testing.T, s Stores) {
		var ids []string
		for _, e := range create(t, s, "orders", 20) {
			ids = append(ids, string(e.ID))
		}
		if !slices.IsSorted(ids) {
			t.Errorf("not sorted: %v", ids)
		}
	}},
	{"Find of none is ErrNotFound, FindByKey too, also of the empty key", func(t *testing.T, s Stores) {
		create(t, s, "orders", 1)
		_, err := s.Events.Find(t.Context(), "none")
		is(t, err, cyclone.ErrNotFound, "Find")
		for _, key := range []string{"none", ""} {
			_, err = s.Events.FindByKey(t.Context(), key)
			is(t, err, cyclone.ErrNotFound, "FindByKey "+key)
		}
	}},
	{"20 creators of one key: exactly one succeeds, and no number is lost", func(t *testing.T, s Stores) {
		oneWins(t, together(20, func(int) error {
			e := newEvent("orders")
			e.Run.Key = "github/orders/1/0"
			return s.Events.Create(t.Context(), e)
		}))
		next := create(t, s, "orders", 1)[0]
		if next.Number != 2 {
			t.Errorf("the next event is number %d; want 2", next.Number)
		}
	}},
	{"numbers count from 1 in each project without gaps, also when 20 create at once", func(t *testing.T, s Stores) {
		numbers := map[cyclone.ProjectName][]int64{"a": make([]int64, 10), "b": make([]int64, 10)}
		for _, err := range together(20, func(i int) error {
			e := newEvent([]cyclone.ProjectName{"a", "b"}[i%2])
			err := s.Events.Create(t.Context(), e)
			numbers[e.Project][i/2] = e.Number
			return err
		}) {
			must(t, err)
		}
		for project, got := range numbers {
			slices.Sort(got)
			same(t, []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, got, "numbers of project "+string(project))
		}
	}},
	{"Replace compares revisions: of 20 writers who read the same, one wins", func(t *testing.T, s Stores) {
		e := create(t, s, "orders", 1)[0]
		oneWins(t, together(20, func(i int) error {
			c := *e
			c.Reason = numbered(i)
			return s.Events.Replace(t.Context(), &c)
		}))
		found := must1(s.Events.Find(t.Context(), e.ID))(t)
		if found.Run.Revision != 2 || found.Reason == "" {
			t.Errorf("after one write: revision %d, reason %q", found.Run.Revision, found.Reason)
		}
		before := e.Run.Revision
		is(t, s.Events.Replace(t.Context(), e), cyclone.ErrConflict, "Replace of an old revision")
		same(t, before, e.Run.Revision, "revision of the caller after a conflict")
		is(t, s.Events.Replace(t.Context(), newEvent("orders")), cyclone.ErrNotFound, "Replace of none")
	}},
	{"a final status never changes, though its notices may", func(t *testing.T, s Stores) {
		for _, final := range cyclone.Statuses {
			if !final.Final() {
				continue
			}
			e := create(t, s, "orders", 1)[0]
			e.Status = final
			must(t, s.Events.Replace(t.Context(), e))
			for _, other := range cyclone.Statuses {
				if other == final {
					continue
				}
				c := *e
				c.Status = other
				is(t, s.Events.Replace(t.Context(), &c), cyclone.ErrConflict, string(final)+" to "+string(other))
			}
			e.Run.Notices = []cyclone.Notice{{Name: "mail", Done: true}}
			must(t, s.Events.Replace(t.Context(), e))
			found := must1(s.Events.Find(t.Context(), e.ID))(t)
			same(t, final, found.Status, "status")
			same(t, e.Run.Notices, found.Run.Notices, "notices")
		}
	}},
}

var lists = []clause{
	{"List is newest first and has pages", func(t *testing.T, s Stores) {
		paging(t, func(i int) {
			e := newEvent("orders")
			e.CreatedAt = at(i / 3) // some share a time
			must(t, s.Events.Create(t.Context(), e))
		}, func(p cyclone.Page) (cyclone.List[*cyclone.Event], error) {
			return s.Events.List(t.Context(), cyclone.EventQuery{Page: p})
		})
	}},
	{"every event is on exactly one page, also with others coming in meanwhile", func(t *testing.T, s Stores) {
		made := create(t, s, "orders", 30)
		var got []cyclone.EventID
		q := cyclone.EventQuery{Project: "orders", Page: cyclone.Page{Limit: 7}}
		for {
			l := must1(s.Events.List(t.Context(), q))(t)
			for _, e := range l.Items {
				got = append(got, e.ID)
			}
			if l.Next == "" {
				break
			}
			q.Cursor = l.Next
			newer := newEvent("orders")
			newer.CreatedAt = at(1000 + len(got))
			must(t, s.Events.Create(t.Context(), newer))
		}
		var want []cyclone.EventID
		for _, e := range slices.Backward(made) {
			want = append(want, e.ID)
		}
		same(t, want, got, "ids over all pages")
	}},
	{"each filter selects, alone and with the others, with the right Total", filters},
}

func filters(t *testing.T, s Stores) {
	var all []*cyclone.Event
	for i := range 48 {
		e := newEvent([]cyclone.ProjectName{"a", "b"}[i%2])
		e.Branch = []string{"main", "fix", ""}[i%3]
		e.Trigger.Kind = []cyclone.TriggerKind{cyclone.KindPush, cyclone.KindManual}[i/2%2]
		e.Status = []cyclone.Status{cyclone.StatusPending, cyclone.StatusSuccess, cyclone.StatusFailure, cyclone.StatusRunning}[i/4%4]
		e.CreatedAt = at(i)
		must(t, s.Events.Create(t.Context(), e))
		all = append(all, e)
	}
	pending := all[0]
	pending.Status = cyclone.StatusCanceled // totals follow changes
	must(t, s.Events.Replace(t.Context(), pending))
	var queries []cyclone.EventQuery
	for i := range 1 << 6 {
		queries = append(queries, query(i))
	}
	queries = append(queries,
		cyclone.EventQuery{Statuses: []cyclone.Status{"success", "success"}},
		cyclone.EventQuery{Since: cyclone.Stamp(at(10)), Until: cyclone.Stamp(at(20))},
		cyclone.EventQuery{Project: "none"}, cyclone.EventQuery{Since: at(1000)})
	for _, q := range queries {
		var want []cyclone.EventID
		for _, e := range slices.Backward(all) {
			if selects(q, e) {
				want = append(want, e.ID)
			}
		}
		got := pages(t, 16, func(e *cyclone.Event) string { return string(e.ID) },
			func(p cyclone.Page) (cyclone.List[*cyclone.Event], error) {
				q.Page = p
				l, err := s.Events.List(t.Context(), q)
				if err == nil && l.Total != len(want) {
					t.Errorf("%+v: total is %d; want %d", q, l.Total, len(want))
				}
				return l, err
			})
		var ids []cyclone.EventID
		for _, id := range got {
			ids = append(ids, cyclone.EventID(id))
		}
		q.Page = cyclone.Page{}
		if !slices.Equal(want, ids) {
			t.Errorf("%+v: %d events %v; want %d %v", q, len(ids), ids, len(want), want)
		}
	}
}

// query has a filter for each bit of i.
func query(i int) cyclone.EventQuery {
	var q cyclone.EventQuery
	for bit, set := range []func(){
		func() { q.Project = "a" },
		func() { q.Statuses = []cyclone.Status{cyclone.StatusSuccess, cyclone.StatusPending} },
		func() { q.Branch = "main" },
		func() { q.Kind = cyclone.KindPush },
		func() { q.Since = at(5) },
		func() { q.Until = at(40) },
	} {
		if i&(1<<bit) != 0 {
			set()
		}
	}
	return q
}

// selects says the same as the store's query, in the plainest way.
func selects(q cyclone.EventQuery, e *cyclone.Event) bool {
	created := cyclone.Stamp(e.CreatedAt)
	return (q.Project == "" || e.Project == q.Project) &&
		(len(q.Statuses) == 0 || slices.Contains(q.Statuses, e.Status)) &&
		(q.Branch == "" || e.Branch == q.Branch) &&
		(q.Kind == "" || e.Trigger.Kind == q.Kind) &&
		(q.Since.IsZero() || !created.Before(q.Since)) &&
		(q.Until.IsZero() || created.Before(q.Until))
}
