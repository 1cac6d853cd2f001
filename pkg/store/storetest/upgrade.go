package storetest

import (
	"embed"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
)

// What a server of each schema had stored, as it read it back itself. Each had
// taken over what the one before had.
//
//go:embed testdata
var testdata embed.FS

// written is everything in a store, with what JSON leaves out of the words.
type written struct {
	Projects []struct {
		Project       *cyclone.Project
		WebhookSecret []byte
		Revision      int64
		CacheEpoch    int64
	}
	Events []struct {
		Event *cyclone.Event
		Run   cyclone.Run
	}
	Chunks     map[cyclone.EventID][]cyclone.Chunk
	Deliveries []struct {
		Delivery *cyclone.Delivery
		Header   http.Header
		Body     []byte
	}
	Secrets []struct {
		Secret  *cyclone.Secret
		Project cyclone.ProjectName
		Value   []byte
	}
	Clusters []struct {
		Cluster  *cyclone.Cluster
		Access   []byte
		Revision int64
	}
	Settings map[string][]byte
	Nodes    []*cyclone.Node
	// CacheEpochs are those of the nodes' caches.
	CacheEpochs [][]int64
	Files       []struct {
		Event   cyclone.EventID
		File    cyclone.File
		Content string
	}
}

// Upgraded checks a store that was opened on the data of an older schema: all
// of it reads back as it was, and it works on.
func Upgraded(t *testing.T, s Stores, schema int) {
	var want written
	must(t, json.Unmarshal(must1(testdata.ReadFile(fmt.Sprintf("testdata/schema%d.json", schema)))(t), &want))
	parked := 0
	for _, w := range want.Deliveries {
		if w.Delivery.ParkedAt != nil {
			parked++
		}
	}
	var oldest time.Time
	for _, w := range want.Events { // newest first
		if w.Event.Status == cyclone.StatusPending {
			oldest = w.Event.CreatedAt
		}
	}
	t.Run("named things read back", func(t *testing.T) { upgradedNames(t, s, want) })
	t.Run("events and logs read back", func(t *testing.T) { upgradedEvents(t, s, want) })
	t.Run("files read back", func(t *testing.T) {
		for _, w := range want.Files {
			w.File.Event = w.Event
			holds(t, s, w.File, w.Content)
		}
	})
	t.Run("deliveries read back and are due", func(t *testing.T) { upgradedDeliveries(t, s, want) })
	t.Run("totals are right", func(t *testing.T) {
		same(t, cyclone.Totals{
			Pending: 3, Blocked: 1, Running: 2, OldestPending: oldest,
			Notices: 5, DeliveriesWaiting: 3, DeliveriesParked: parked,
		}, must1(s.Census.Totals(t.Context()))(t), "totals")
	})
	t.Run("the queue goes on", func(t *testing.T) { upgradedQueue(t, s) })
	t.Run("new kinds of things are kept", func(t *testing.T) {
		same(t, true, acquire(t, s, "a", 0), "a lease")
		must(t, s.Nodes.Beat(t.Context(), &cyclone.Node{Name: "new"}))
		must(t, s.Marks.Put(t.Context(), &cyclone.Mark{Project: "full", Name: "heads"}))
		f := artifact("a")
		f.Event = "event-success"
		put(t, s, f, "text")
		holds(t, s, f, "text")
		must(t, s.Events.Delete(t.Context(), "event-success"))
		same(t, 0, len(must1(s.Files.List(t.Context(), "event-success", ""))(t)), "files of a deleted event")
		same(t, int64(0), must1(s.Logs.Last(t.Context(), "event-success"))(t), "last line of a deleted event")
		same(t, 3, must1(s.Deliveries.Prune(t.Context(), "full", cyclone.Prune{Most: 1}))(t), "pruned deliveries")
	})
}

func upgradedNames(t *testing.T, s Stores, want written) {
	for _, w := range want.Projects {
		w.Project.WebhookSecret, w.Project.Revision, w.Project.CacheEpoch = w.WebhookSecret, w.Revision, w.CacheEpoch
		same(t, w.Project, must1(s.Projects.Find(t.Context(), w.Project.Name))(t), "project")
	}
	if want.Nodes != nil {
		for i, epochs := range want.CacheEpochs {
			for j, epoch := range epochs {
				want.Nodes[i].Caches[j].Epoch = epoch
			}
		}
		same(t, want.Nodes, must1(s.Nodes.List(t.Context()))(t), "nodes")
		held := must1(s.Leases.Acquire(t.Context(), "retention", "another", at(9), ttl))(t)
		same(t, false, held, "a lease that a server of before holds")
	}
	for _, w := range want.Clusters {
		w.Cluster.Access, w.Cluster.Revision = w.Access, w.Revision
		same(t, w.Cluster, must1(s.Clusters.Find(t.Context(), w.Cluster.Name))(t), "cluster")
	}
	for _, w := range want.Secrets {
		w.Secret.Project, w.Secret.Value = w.Project, w.Value
		same(t, w.Secret, must1(s.Secrets.Find(t.Context(), w.Project, w.Secret.Name))(t), "secret")
	}
	for name, value := range want.Settings {
		same(t, value, must1(s.Settings.Setting(t.Context(), name))(t), "setting "+name)
	}
}

func upgradedEvents(t *testing.T, s Stores, want written) {
	list := must1(s.Events.List(t.Context(), cyclone.EventQuery{}))(t)
	same(t, len(want.Events), list.Total, "number of events")
	for i, w := range want.Events {
		w.Event.Run = w.Run
		same(t, w.Event, list.Items[i], "event in the list")
		same(t, w.Event, must1(s.Events.Find(t.Context(), w.Event.ID))(t), "event")
		chunks := must1(s.Logs.Chunks(t.Context(), w.Event.ID, 1, 10))(t)
		same(t, len(want.Chunks[w.Event.ID]), len(chunks), "chunks of "+string(w.Event.ID))
		for j, c := range chunks {
			same(t, want.Chunks[w.Event.ID][j], c, "chunk of "+string(w.Event.ID))
		}
	}
	same(t, 5, len(must1(s.Queue.NoticesDue(t.Context(), at(1<<20), 10))(t)), "events with notices to be told")
}

func upgradedDeliveries(t *testing.T, s Stores, want written) {
	var waiting []*cyclone.Delivery
	for _, w := range want.Deliveries { // newest first
		w.Delivery.Header, w.Delivery.Body = w.Header, w.Body
		same(t, w.Delivery, must1(s.Deliveries.Find(t.Context(), w.Delivery.Project, "github", w.Delivery.ID))(t), "delivery")
		if w.Delivery.HandledAt == nil && w.Delivery.ParkedAt == nil {
			waiting = append([]*cyclone.Delivery{w.Delivery}, waiting...)
		}
	}
	same(t, waiting, must1(s.Deliveries.Due(t.Context(), at(1<<20), 10))(t), "due deliveries")
}

func upgradedQueue(t *testing.T, s Stores) {
	same(t, []cyclone.ProjectName{"full", "plain"}, must1(s.Queue.Waiting(t.Context()))(t), "waiting projects")
	renewed := must1(s.Queue.Renew(t.Context(), cyclone.Fence{Event: "plain-0", Worker: "w1", Attempt: 1}, at(1<<20)))(t)
	same(t, cyclone.Stamp(at(1<<20)), renewed.Run.LeaseUntil, "renewed lease of a running event")
	must(t, s.Logs.Append(t.Context(), "plain-0", chunk(2, 1, "more")))
	for project, id := range map[cyclone.ProjectName]cyclone.EventID{"full": "event-pending", "plain": "plain-1"} {
		e := must1(s.Queue.Claim(t.Context(), claim(project, "w-"+string(project))))(t)
		same(t, id, e.ID, "claimed event")
		e.Status = cyclone.StatusSuccess
		must(t, s.Events.Replace(t.Context(), e))
	}
	again := newEvent("full")
	again.Run.Key = "github/full/3/0"
	is(t, s.Events.Create(t.Context(), again), cyclone.ErrConflict, "Create with a key of before")
	same(t, int64(10), create(t, s, "full", 1)[0].Number, "number of the next event")
}
