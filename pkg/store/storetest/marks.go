package storetest

import (
	"testing"

	"cyclone/pkg/cyclone"
)

var marks = []clause{
	{"a mark comes back as it was stored, bytes as they are, also the server's own", func(t *testing.T, s Stores) {
		for _, project := range []cyclone.ProjectName{"orders", ""} {
			_, err := s.Marks.Find(t.Context(), project, "cron/a.$b")
			is(t, err, cyclone.ErrNotFound, "Find of none")
			m := &cyclone.Mark{Project: project, Name: "cron/a.$b"}
			for i, value := range [][]byte{{0, 0xff, '"'}, {}, []byte("text " + project), []byte(noise(1 << 20))} {
				m.Value = value
				must(t, s.Marks.Put(t.Context(), m))
				same(t, int64(i+1), m.Revision, "revision after Put")
				same(t, m, must1(s.Marks.Find(t.Context(), project, m.Name))(t), "mark")
			}
		}
	}},
	{"Put compares revisions: of 20 writers who read the same, one wins", func(t *testing.T, s Stores) {
		for revision := range int64(3) {
			oneWins(t, together(20, func(i int) error {
				return s.Marks.Put(t.Context(), &cyclone.Mark{Project: "orders", Name: "heads", Value: []byte(numbered(i)), Revision: revision})
			}))
		}
		m := must1(s.Marks.Find(t.Context(), "orders", "heads"))(t)
		same(t, int64(3), m.Revision, "revision after three writes")
		late := *m
		must(t, s.Marks.Put(t.Context(), m))
		is(t, s.Marks.Put(t.Context(), &late), cyclone.ErrConflict, "Put with the revision of before")
		same(t, int64(3), late.Revision, "revision of the one that lost")
	}},
	{"a mark that was deleted is ErrConflict to whoever read it before, and begins anew", func(t *testing.T, s Stores) {
		m := &cyclone.Mark{Project: "orders", Name: "heads"}
		must(t, s.Marks.Put(t.Context(), m))
		is(t, s.Marks.Delete(t.Context(), "billing", "heads"), cyclone.ErrNotFound, "Delete of another project's")
		must(t, s.Marks.Delete(t.Context(), "orders", "heads"))
		is(t, s.Marks.Delete(t.Context(), "orders", "heads"), cyclone.ErrNotFound, "Delete again")
		is(t, s.Marks.Put(t.Context(), m), cyclone.ErrConflict, "Put with the revision of before")
		must(t, s.Marks.Put(t.Context(), &cyclone.Mark{Project: "orders", Name: "heads"}))
	}},
	{"List returns a project's marks with the prefix by name", func(t *testing.T, s Stores) {
		for _, name := range []string{"cron/b", "cron/a", "cron", "cron/ä世", "crop", "heads", "cron/%", "Cron/x"} {
			must(t, s.Marks.Put(t.Context(), &cyclone.Mark{Project: "orders", Name: name, Value: []byte(name)}))
			must(t, s.Marks.Put(t.Context(), &cyclone.Mark{Project: "", Name: name + "2"}))
		}
		for prefix, want := range map[string][]string{
			"":       {"Cron/x", "cron", "cron/%", "cron/a", "cron/b", "cron/ä世", "crop", "heads"},
			"cron/":  {"cron/%", "cron/a", "cron/b", "cron/ä世"},
			"cron/%": {"cron/%"}, "heads": {"heads"}, "none": {}, "_": {},
		} {
			got := must1(s.Marks.List(t.Context(), "orders", prefix))(t)
			names := []string{}
			for _, m := range got {
				names = append(names, m.Name)
				same(t, &cyclone.Mark{Project: "orders", Name: m.Name, Value: []byte(m.Name), Revision: 1}, m, "mark in the list")
			}
			same(t, want, names, "marks with the prefix "+prefix)
		}
		if none := must1(s.Marks.List(t.Context(), "billing", ""))(t); none == nil || len(none) != 0 {
			t.Errorf("no marks are %v; want an empty list", none)
		}
	}},
}
