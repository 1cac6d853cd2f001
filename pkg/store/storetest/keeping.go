package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
)

// keptIDs are the ids of a project's deliveries, newest first.
func keptIDs(t *testing.T, s Stores, project cyclone.ProjectName) []cyclone.DeliveryID {
	t.Helper()
	ids := []cyclone.DeliveryID{}
	for _, d := range must1(s.Deliveries.List(t.Context(), project, cyclone.Page{Limit: 200}))(t).Items {
		ids = append(ids, d.ID)
	}
	return ids
}

var prunes = []clause{
	{"Prune removes by age and number but for the minimum, never what waits; dry, it only counts", pruneTable},
	{"Prune removes more than a batch, and of one project only", func(t *testing.T, s Stores) {
		for i := range 230 {
			d := delivery(numbered(i), i/2)
			d.HandledAt = new(at(i))
			must(t, s.Deliveries.Create(t.Context(), d))
		}
		foreign := delivery("foreign", 0)
		foreign.Project, foreign.HandledAt = "billing", new(at(1))
		must(t, s.Deliveries.Create(t.Context(), foreign))
		same(t, 227, must1(s.Deliveries.Prune(t.Context(), "orders", cyclone.Prune{Most: 3}))(t), "removed")
		same(t, 3, must1(s.Deliveries.List(t.Context(), "orders", cyclone.Page{}))(t).Total, "kept")
		same(t, 1, must1(s.Deliveries.List(t.Context(), "billing", cyclone.Page{}))(t).Total, "kept of the other project")
	}},
}

// pruneTable has deliveries a to h, a the oldest, one each second; c waits and
// e is parked, the others are handled.
func pruneTable(t *testing.T, s Stores) {
	second := func(seconds int) time.Time { return cyclone.Stamp(at(seconds)) }
	for i, c := range []struct {
		p    cyclone.Prune
		gone string
	}{
		{cyclone.Prune{}, ""},
		{cyclone.Prune{Before: second(0)}, ""},
		{cyclone.Prune{Before: second(1)}, "a"},
		{cyclone.Prune{Before: second(4)}, "abd"},
		{cyclone.Prune{Before: second(100)}, "abdefgh"},
		{cyclone.Prune{Before: second(100), Minimum: 4}, "abd"},
		{cyclone.Prune{Before: second(100), Minimum: 8}, ""},
		{cyclone.Prune{Before: second(100), Minimum: 9}, ""},
		{cyclone.Prune{Most: 3}, "abde"},
		{cyclone.Prune{Most: 8}, ""},
		{cyclone.Prune{Most: 3, Minimum: 6}, "ab"},
		{cyclone.Prune{Before: second(2), Most: 3}, "abde"},
		{cyclone.Prune{Before: second(6), Most: 7}, "abdef"},
	} {
		project := cyclone.ProjectName(fmt.Sprintf("p%d", i))
		want := []cyclone.DeliveryID{}
		for j, id := range "abcdefgh" {
			d := delivery(string(id), j)
			d.Project = project
			switch id {
			case 'c':
			case 'e':
				d.ParkedAt = new(at(50))
			default:
				d.HandledAt = new(at(50))
			}
			must(t, s.Deliveries.Create(t.Context(), d))
			if !slices.Contains([]rune(c.gone), id) {
				want = append(want, d.ID)
			}
		}
		slices.Reverse(want)
		dry := c.p
		dry.Dry = true
		what := fmt.Sprintf("%+v", c.p)
		same(t, len(c.gone), must1(s.Deliveries.Prune(t.Context(), project, dry))(t), "counted dry: "+what)
		same(t, 8, len(keptIDs(t, s, project)), "kept by a dry run: "+what)
		same(t, len(c.gone), must1(s.Deliveries.Prune(t.Context(), project, c.p))(t), "removed: "+what)
		same(t, want, keptIDs(t, s, project), "kept: "+what)
		same(t, 0, must1(s.Deliveries.Prune(t.Context(), project, cyclone.Prune{Before: c.p.Before, Minimum: c.p.Minimum}))(t), "removed again: "+what)
	}
}

var deletes = []clause{
	{"Delete removes a final event with its log and files, and nothing else", func(t *testing.T, s Stores) {
		made := create(t, s, "orders", 2)
		for _, e := range made {
			for line := range int64(70) { // more than a batch
				must(t, s.Logs.Append(t.Context(), e.ID, chunk(line+1, 1, "text")))
			}
			put(t, s, cyclone.File{Event: e.ID, Kind: cyclone.FileOutput, Path: "a"}, "text")
			e.Status = cyclone.StatusSuccess
			e.Run.Notices = []cyclone.Notice{{Name: "mail", Done: true}}
			must(t, s.Events.Replace(t.Context(), e))
		}
		must(t, s.Events.Delete(t.Context(), made[0].ID))
		_, err := s.Events.Find(t.Context(), made[0].ID)
		is(t, err, cyclone.ErrNotFound, "Find of a deleted event")
		same(t, int64(0), must1(s.Logs.Last(t.Context(), made[0].ID))(t), "last line of the deleted event")
		same(t, int64(70), must1(s.Logs.Last(t.Context(), made[1].ID))(t), "last line of the other")
		same(t, 0, len(must1(s.Files.List(t.Context(), made[0].ID, ""))(t)), "files of the deleted event")
		same(t, 1, len(must1(s.Files.List(t.Context(), made[1].ID, ""))(t)), "files of the other")
		same(t, 1, must1(s.Events.List(t.Context(), cyclone.EventQuery{Project: "orders"}))(t).Total, "events left")
		is(t, s.Events.Delete(t.Context(), made[0].ID), cyclone.ErrNotFound, "Delete again")
		same(t, int64(3), create(t, s, "orders", 1)[0].Number, "number of the next event")
	}},
	{"Delete refuses what is not over, or has something still to be told", func(t *testing.T, s Stores) {
		for _, status := range cyclone.Statuses {
			e := create(t, s, "orders", 1)[0]
			must(t, s.Logs.Append(t.Context(), e.ID, chunk(1, 1, "text")))
			put(t, s, cyclone.File{Event: e.ID, Kind: cyclone.FileArtifact, Path: "a"}, "text")
			e.Status = status
			if status.Final() {
				e.Run.Notices = []cyclone.Notice{{Name: "mail"}}
			}
			must(t, s.Events.Replace(t.Context(), e))
			is(t, s.Events.Delete(t.Context(), e.ID), cyclone.ErrConflict, "Delete of "+string(status))
			same(t, stored(e), must1(s.Events.Find(t.Context(), e.ID))(t), "event after the refusal")
			same(t, int64(1), must1(s.Logs.Last(t.Context(), e.ID))(t), "last line after the refusal")
			same(t, 1, len(must1(s.Files.List(t.Context(), e.ID, ""))(t)), "files after the refusal")
		}
	}},
	{"20 who delete one event: one succeeds or all find it gone", func(t *testing.T, s Stores) {
		e := create(t, s, "orders", 1)[0]
		e.Status = cyclone.StatusSuccess
		must(t, s.Events.Replace(t.Context(), e))
		deleted := 0
		for _, err := range together(20, func(int) error { return s.Events.Delete(t.Context(), e.ID) }) {
			if err == nil {
				deleted++
				continue
			}
			is(t, err, cyclone.ErrNotFound, "a later one")
		}
		if deleted == 0 {
			t.Error("nobody deleted it")
		}
		same(t, 0, must1(s.Events.List(t.Context(), cyclone.EventQuery{}))(t).Total, "events left")
	}},
}
