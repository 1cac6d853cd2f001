package httpapi_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
)

// beat registers a node as its server does.
func (f *fixture) beat(n cyclone.Node) {
	f.t.Helper()
	if n.SeenAt.IsZero() {
		n.SeenAt = time.Now()
	}
	n.SeenAt, n.Kind = cyclone.Stamp(n.SeenAt), "docker"
	drain := n.Drain
	if err := f.store.Nodes.Beat(f.t.Context(), &n); err != nil {
		f.t.Fatal(err)
	}
	if !drain {
		return
	}
	if _, err := f.store.Nodes.Drain(f.t.Context(), n.Name, true); err != nil {
		f.t.Fatal(err)
	}
}

// on stores a running event whose worker is on the node.
func (f *fixture) on(project, node string) *cyclone.Event {
	f.t.Helper()
	e := f.event(project, cyclone.StatusRunning)
	e.Worker.Node = node
	if err := f.store.Events.Replace(f.t.Context(), e); err != nil {
		f.t.Fatal(err)
	}
	return e
}

func TestNodes(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.project("orders")
	long := time.Now().Add(-time.Hour)
	f.beat(cyclone.Node{Name: "local", Capacity: 2, Ready: true, Server: "ci-1", Disk: &cyclone.Disk{Free: 3 << 30, Total: 10 << 30, Minimum: 1 << 30}})
	f.beat(cyclone.Node{Name: "old", Capacity: 2, Ready: true, Server: "ci-2", SeenAt: long})
	f.on("orders", "local")
	busy := f.on("orders", "old")

	var list cyclone.List[nodeAnswer]
	f.want(200, "GET", "/api/v1/nodes?limit=1", "").decode(t, &list)
	if len(list.Items) != 1 || list.Total != 2 || list.Next == "" {
		t.Fatalf("list: %+v", list)
	}
	local := list.Items[0]
	if local.Name != "local" || local.Running != 1 || local.Gone || !local.Ready || local.Disk == nil || local.Disk.Free != 3<<30 {
		t.Errorf("local: %+v", local)
	}
	f.want(200, "GET", "/api/v1/nodes?limit=1&cursor="+list.Next, "").decode(t, &list)
	if old := list.Items[0]; old.Name != "old" || !old.Gone || old.Ready || !strings.Contains(old.Reason, "no server dispatches for it since "+long.UTC().Format(time.RFC3339)) {
		t.Errorf("old: %+v", old)
	}

	var drained nodeAnswer
	f.want(200, "PATCH", "/api/v1/nodes/local", `{"drain":true}`).decode(t, &drained)
	f.beat(cyclone.Node{Name: "local", Capacity: 2, Ready: true, Server: "ci-1"})
	var shown nodeAnswer
	f.want(200, "GET", "/api/v1/nodes/local", "").decode(t, &shown)
	if !drained.Drain || !shown.Drain {
		t.Error("the node is not drained")
	}
	f.want(200, "PATCH", "/api/v1/nodes/local", `{}`)

	a := f.want(400, "PATCH", "/api/v1/nodes/local", `{"drain":"yes","capacity":9,"colour":"red"}`)
	if got := a.fields(t); !cmp.Equal(got, []string{"capacity", "colour", "drain"}) || !strings.Contains(a.body, "only drain can be changed") {
		t.Errorf("wrong fields: %v %s", got, a.body)
	}
	for _, tt := range []struct {
		status             int
		method, path, body string
		message            string
	}{
		{404, "GET", "/api/v1/nodes/none", "", `node \"none\" does not exist`},
		{404, "PATCH", "/api/v1/nodes/none", `{"drain":true}`, `node \"none\" does not exist`},
		{409, "DELETE", "/api/v1/nodes/local", "", "server ci-1 dispatches for node local"},
		{409, "DELETE", "/api/v1/nodes/old", "", "1 event still runs on node old"},
	} {
		if a := f.want(tt.status, tt.method, tt.path, tt.body); !strings.Contains(a.body, tt.message) {
			t.Errorf("%s %s: %s", tt.method, tt.path, a.body)
		}
	}
	user := header{"Authorization", "Bearer a-users-token"}
	f.want(403, "PATCH", "/api/v1/nodes/local", `{"drain":false}`, user)
	f.want(403, "DELETE", "/api/v1/nodes/old", "", user)
	f.want(200, "GET", "/api/v1/nodes/local", "", user)

	f.finish(busy, 0)
	f.want(204, "DELETE", "/api/v1/nodes/old", "")
	f.want(404, "GET", "/api/v1/nodes/old", "")
}

func TestWorkersSayWhenTheyWereSeen(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.project("orders")
	now := cyclone.Stamp(time.Now())
	for i, lease := range []time.Duration{cyclone.LeaseTime, cyclone.LeaseTime, 2 * cyclone.LeaseTime} {
		e := f.event("orders", cyclone.StatusRunning)
		e.Run.LeaseUntil = now.Add(lease)
		if i > 0 {
			e.Run.SessionHash = []byte("it has connected")
		}
		if err := f.store.Events.Replace(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	var list cyclone.List[workerAnswer]
	f.want(200, "GET", "/api/v1/workers", "").decode(t, &list)
	if len(list.Items) != 3 {
		t.Fatalf("workers: %+v", list)
	}
	first, second, starting := list.Items[0], list.Items[1], list.Items[2]
	if first.LastSeen != nil || starting.LastSeen != nil {
		t.Errorf("workers that are starting were seen: %v, %v", first.LastSeen, starting.LastSeen)
	}
	if second.LastSeen == nil || !second.LastSeen.Equal(now) {
		t.Errorf("lastSeen = %v, want %v", second.LastSeen, now)
	}
}

func TestWhatPendingEventsWaitFor(t *testing.T) {
	t.Parallel()
	ready := cyclone.Node{Name: "local", Capacity: 2, Ready: true}
	with := func(change func(*cyclone.Node)) cyclone.Node {
		n := ready
		change(&n)
		return n
	}
	for _, tt := range []struct {
		name    string
		nodes   []cyclone.Node
		running string // nodes of the project's running events
		limit   int
		want    string
	}{
		{"no node", nil, "", 0, "waits: no server dispatches for any node"},
		{"its server is away", []cyclone.Node{with(func(n *cyclone.Node) { n.SeenAt = time.Now().Add(-time.Hour) })}, "", 0,
			"waits: no server dispatches for any node"},
		{"full", []cyclone.Node{ready}, "local local", 0, "waits for a free worker: node local is full (2 of 2)"},
		{"no space", []cyclone.Node{with(func(n *cyclone.Node) { n.Ready, n.Reason = false, "3.1g free, 5g are needed" })}, "", 0,
			"waits: node local takes no work: 3.1g free, 5g are needed"},
		{"drained", []cyclone.Node{with(func(n *cyclone.Node) { n.Drain = true })}, "", 0, "waits: node local is drained"},
		{"only queues", []cyclone.Node{with(func(n *cyclone.Node) { n.Capacity = 0 })}, "", 0, "waits: node local only queues (its capacity is 0)"},
		{"some of each", []cyclone.Node{ready, with(func(n *cyclone.Node) { n.Name, n.Drain = "other", true })}, "local local", 0,
			"waits for a free worker: node local is full (2 of 2); node other is drained"},
		{"the project's limit", []cyclone.Node{ready}, "local", 1, "waits: the project runs 1 event at a time"},
		{"room", []cyclone.Node{ready}, "local", 2, "waits for its turn: node local has room"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.project("orders")
			f.want(200, "PATCH", "/api/v1/projects/orders", fmt.Sprintf(`{"limits":{"concurrency":%d}}`, tt.limit))
			for _, n := range tt.nodes {
				f.beat(n)
			}
			for _, node := range strings.Fields(tt.running) {
				f.on("orders", node)
			}
			e := f.event("orders", cyclone.StatusPending)
			known := f.event("orders", cyclone.StatusPending)
			known.Reason = "its worker was lost"
			if err := f.store.Events.Replace(t.Context(), known); err != nil {
				t.Fatal(err)
			}
			var shown cyclone.Event
			f.want(200, "GET", "/api/v1/events/"+string(e.ID), "").decode(t, &shown)
			if shown.Reason != tt.want {
				t.Errorf("reason = %q, want %q", shown.Reason, tt.want)
			}
			var list cyclone.List[*cyclone.Event]
			f.want(200, "GET", "/api/v1/events", "").decode(t, &list)
			for _, other := range list.Items {
				want := ""
				switch other.ID {
				case e.ID:
					want = tt.want
				case known.ID:
					want = known.Reason
				}
				if other.Reason != want {
					t.Errorf("%s in the list: reason %q, want %q", other.Status, other.Reason, want)
				}
			}
			stored, err := f.store.Events.Find(t.Context(), e.ID)
			if err != nil || stored.Reason != "" {
				t.Errorf("stored: %q %v", stored.Reason, err)
			}
		})
	}
}
