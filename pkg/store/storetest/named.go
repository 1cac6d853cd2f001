package storetest

import (
	"slices"
	"testing"

	"cyclone/pkg/cyclone"
)

var projects = []clause{
	{"a project comes back as it was stored, times in whole milliseconds", func(t *testing.T, s Stores) {
		var p cyclone.Project
		fill(&p)
		p.Name = "orders"
		must(t, s.Projects.Create(t.Context(), &p))
		if p.Revision != 1 {
			t.Errorf("the revision of a new project is %d; want 1", p.Revision)
		}
		same(t, stored(&p), must1(s.Projects.Find(t.Context(), "orders"))(t), "filled project")
		empty := cyclone.Project{Name: "empty"}
		must(t, s.Projects.Create(t.Context(), &empty))
		same(t, &empty, must1(s.Projects.Find(t.Context(), "empty"))(t), "empty project")
	}},
	{"Create refuses a taken name, also when 20 try at once", func(t *testing.T, s Stores) {
		oneWins(t, together(20, func(int) error {
			return s.Projects.Create(t.Context(), &cyclone.Project{Name: "orders"})
		}))
	}},
	{"Find, Replace and Delete of none are ErrNotFound", func(t *testing.T, s Stores) {
		_, err := s.Projects.Find(t.Context(), "none")
		is(t, err, cyclone.ErrNotFound, "Find")
		is(t, s.Projects.Replace(t.Context(), &cyclone.Project{Name: "none", Revision: 1}), cyclone.ErrNotFound, "Replace")
		is(t, s.Projects.Delete(t.Context(), "none"), cyclone.ErrNotFound, "Delete")
	}},
	{"Replace compares revisions: of 20 writers who read the same, one wins", func(t *testing.T, s Stores) {
		must(t, s.Projects.Create(t.Context(), &cyclone.Project{Name: "orders"}))
		oneWins(t, together(20, func(i int) error {
			p := cyclone.Project{Name: "orders", Revision: 1, Description: numbered(i)}
			return s.Projects.Replace(t.Context(), &p)
		}))
		p := must1(s.Projects.Find(t.Context(), "orders"))(t)
		if p.Revision != 2 || p.Description == "" {
			t.Errorf("after one write: revision %d, description %q", p.Revision, p.Description)
		}
		must(t, s.Projects.Replace(t.Context(), p))
		if p.Revision != 3 {
			t.Errorf("Replace left the caller's revision at %d; want 3", p.Revision)
		}
	}},
	{"Delete takes events, logs, files, deliveries, secrets and marks along, and nothing of others", deleteProject},
	{"List is ordered by name and has pages", func(t *testing.T, s Stores) {
		paging(t, func(i int) {
			// 7 and 205 have no common divisor: every number once, in another order.
			must(t, s.Projects.Create(t.Context(), &cyclone.Project{Name: cyclone.ProjectName(numbered(i * 7 % 205))}))
		}, func(p cyclone.Page) (cyclone.List[*cyclone.Project], error) { return s.Projects.List(t.Context(), p) })
		names := pages(t, 40, func(p *cyclone.Project) string { return string(p.Name) },
			func(p cyclone.Page) (cyclone.List[*cyclone.Project], error) { return s.Projects.List(t.Context(), p) })
		if len(names) != 205 || !slices.IsSorted(names) {
			t.Errorf("%d names, sorted %v; want 205 in order", len(names), slices.IsSorted(names))
		}
	}},
}

func deleteProject(t *testing.T, s Stores) {
	ctx := t.Context()
	ids := map[cyclone.ProjectName]cyclone.EventID{}
	for _, name := range []cyclone.ProjectName{"gone", "kept"} {
		must(t, s.Projects.Create(ctx, &cyclone.Project{Name: name}))
		e := newEvent(name)
		e.Run.Key = string(name)
		must(t, s.Events.Create(ctx, e))
		ids[name] = e.ID
		must(t, s.Logs.Append(ctx, ids[name], cyclone.Chunk{First: 1, Count: 1, Data: []byte("x")}))
		put(t, s, cyclone.File{Event: ids[name], Kind: cyclone.FileArtifact, Path: "a"}, "text")
		must(t, s.Deliveries.Create(ctx, &cyclone.Delivery{ID: "d", SCM: "github", Project: name, ReceivedAt: epoch}))
		must(t, s.Secrets.Put(ctx, &cyclone.Secret{Project: name, Name: "key"}))
		must(t, s.Marks.Put(ctx, &cyclone.Mark{Project: name, Name: "heads"}))
	}
	must(t, s.Projects.Delete(ctx, "gone"))
	for name, id := range ids {
		_, noProject := s.Projects.Find(ctx, name)
		_, noEvent := s.Events.Find(ctx, id)
		_, noDelivery := s.Deliveries.Find(ctx, name, "github", "d")
		_, noSecret := s.Secrets.Find(ctx, name, "key")
		_, noMark := s.Marks.Find(ctx, name, "heads")
		last := must1(s.Logs.Last(ctx, id))(t)
		events := must1(s.Events.List(ctx, cyclone.EventQuery{Project: name}))(t).Total
		deliveries := must1(s.Deliveries.List(ctx, name, cyclone.Page{}))(t).Total
		counts := []int{int(last), events, deliveries, len(must1(s.Files.List(ctx, id, ""))(t))}
		if name == "kept" {
			for _, err := range []error{noProject, noEvent, noDelivery, noSecret, noMark} {
				must(t, err)
			}
			same(t, []int{1, 1, 1, 1}, counts, "lines, events, deliveries and files kept")
			continue
		}
		for what, err := range map[string]error{"project": noProject, "event": noEvent, "delivery": noDelivery, "secret": noSecret, "mark": noMark} {
			is(t, err, cyclone.ErrNotFound, what)
		}
		same(t, []int{0, 0, 0, 0}, counts, "lines, events, deliveries and files left")
	}
	same(t, []cyclone.ProjectName{"kept"}, must1(s.Queue.Waiting(ctx))(t), "waiting projects")
	again := newEvent("gone")
	must(t, s.Projects.Create(ctx, &cyclone.Project{Name: "gone"}))
	must(t, s.Events.Create(ctx, again))
	if again.Number != 1 {
		t.Errorf("the first event of a new project of the old name is number %d", again.Number)
	}
}

var clusters = []clause{
	{"a cluster comes back as it was stored", func(t *testing.T, s Stores) {
		var c cyclone.Cluster
		fill(&c)
		c.Name = "prod"
		must(t, s.Clusters.Create(t.Context(), &c))
		if c.Revision != 1 {
			t.Errorf("the revision of a new cluster is %d; want 1", c.Revision)
		}
		same(t, stored(&c), must1(s.Clusters.Find(t.Context(), "prod"))(t), "filled cluster")
	}},
	{"Create refuses a taken name; Replace compares revisions", func(t *testing.T, s Stores) {
		oneWins(t, together(20, func(int) error { return s.Clusters.Create(t.Context(), &cyclone.Cluster{Name: "prod"}) }))
		oneWins(t, together(20, func(int) error {
			return s.Clusters.Replace(t.Context(), &cyclone.Cluster{Name: "prod", Host: "h", Revision: 1})
		}))
		c := must1(s.Clusters.Find(t.Context(), "prod"))(t)
		if c.Revision != 2 || c.Host != "h" {
			t.Errorf("after one write: %+v", c)
		}
	}},
	{"Find, Replace and Delete of none are ErrNotFound", func(t *testing.T, s Stores) {
		_, err := s.Clusters.Find(t.Context(), "none")
		is(t, err, cyclone.ErrNotFound, "Find")
		is(t, s.Clusters.Replace(t.Context(), &cyclone.Cluster{Name: "none"}), cyclone.ErrNotFound, "Replace")
		is(t, s.Clusters.Delete(t.Context(), "none"), cyclone.ErrNotFound, "Delete")
		must(t, s.Clusters.Create(t.Context(), &cyclone.Cluster{Name: "prod"}))
		must(t, s.Clusters.Delete(t.Context(), "prod"))
		_, err = s.Clusters.Find(t.Context(), "prod")
		is(t, err, cyclone.ErrNotFound, "Find of a deleted one")
	}},
	{"List has pages", func(t *testing.T, s Stores) {
		paging(t, func(i int) {
			must(t, s.Clusters.Create(t.Context(), &cyclone.Cluster{Name: cyclone.ClusterName(numbered(i))}))
		}, func(p cyclone.Page) (cyclone.List[*cyclone.Cluster], error) { return s.Clusters.List(t.Context(), p) })
	}},
}

var secrets = []clause{
	{"Put stores a secret, over one of the same name", func(t *testing.T, s Stores) {
		var secret cyclone.Secret
		fill(&secret)
		secret.Project = "orders"
		must(t, s.Secrets.Put(t.Context(), &secret))
		secret.Value = []byte{0, 1, 0xff}
		must(t, s.Secrets.Put(t.Context(), &secret))
		same(t, stored(&secret), must1(s.Secrets.Find(t.Context(), "orders", secret.Name))(t), "filled secret")
		for _, err := range together(20, func(int) error {
			return s.Secrets.Put(t.Context(), &cyclone.Secret{Project: "orders", Name: "fresh"})
		}) {
			must(t, err)
		}
	}},
	{"Find and Delete of none are ErrNotFound, of another project's too", func(t *testing.T, s Stores) {
		must(t, s.Secrets.Put(t.Context(), &cyclone.Secret{Project: "orders", Name: "key"}))
		_, err := s.Secrets.Find(t.Context(), "billing", "key")
		is(t, err, cyclone.ErrNotFound, "Find")
		is(t, s.Secrets.Delete(t.Context(), "billing", "key"), cyclone.ErrNotFound, "Delete")
		must(t, s.Secrets.Delete(t.Context(), "orders", "key"))
		is(t, s.Secrets.Delete(t.Context(), "orders", "key"), cyclone.ErrNotFound, "Delete again")
	}},
	{"List returns a project's secrets by name", func(t *testing.T, s Stores) {
		if none := must1(s.Secrets.List(t.Context(), "orders"))(t); none == nil || len(none) != 0 {
			t.Errorf("no secrets are %v; want an empty list", none)
		}
		for _, name := range []string{"b", "c", "a"} {
			must(t, s.Secrets.Put(t.Context(), &cyclone.Secret{Project: "orders", Name: name}))
			must(t, s.Secrets.Put(t.Context(), &cyclone.Secret{Project: "other", Name: name + "x"}))
		}
		var names []string
		for _, secret := range must1(s.Secrets.List(t.Context(), "orders"))(t) {
			names = append(names, secret.Name)
		}
		same(t, []string{"a", "b", "c"}, names, "names")
	}},
}

var settings = []clause{
	{"a value is kept, bytes as they are; one never set is ErrNotFound", func(t *testing.T, s Stores) {
		_, err := s.Settings.Setting(t.Context(), "a.$b")
		is(t, err, cyclone.ErrNotFound, "Setting")
		for _, value := range [][]byte{{0, 0xff, '"'}, {}, []byte("text")} {
			must(t, s.Settings.Set(t.Context(), "a.$b", value))
			same(t, value, must1(s.Settings.Setting(t.Context(), "a.$b"))(t), "value")
		}
	}},
	{"SetOnce: the first of 20 values holds and all 20 are told so", func(t *testing.T, s Stores) {
		got := make([][]byte, 20)
		for _, err := range together(20, func(i int) (err error) {
			got[i], err = s.Settings.SetOnce(t.Context(), "id", []byte(numbered(i)))
			return err
		}) {
			must(t, err)
		}
		holds := must1(s.Settings.Setting(t.Context(), "id"))(t)
		for _, value := range got {
			same(t, holds, value, "value that SetOnce returned")
		}
	}},
}
