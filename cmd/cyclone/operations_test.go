package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Deliveries in every state, nodes and a worker.
const (
	handled  = `{"id":"d1","scm":"github","project":"orders","kind":"push","receivedAt":"2026-01-02T03:04:05Z","handledAt":"2026-01-02T03:04:06Z","events":["01event"],"ignored":"","error":"","attempts":1}`
	ignored  = `{"id":"d2","scm":"github","project":"orders","kind":"ping","receivedAt":"2026-01-02T03:04:05Z","handledAt":"2026-01-02T03:04:06Z","events":[],"ignored":"ping: the webhook works","error":"","attempts":0}`
	refused  = `{"id":"d3","scm":"github","project":"orders","kind":"push","receivedAt":"2026-01-02T03:04:05Z","handledAt":"2026-01-02T03:04:06Z","events":[],"ignored":"","error":"body: is not a JSON object","attempts":0}`
	waiting  = `{"id":"d4","scm":"github","project":"orders","kind":"push","receivedAt":"2026-01-02T03:04:05Z","events":[],"ignored":"","error":"create event:\n\u001b[31mno luck","attempts":3,"nextAt":"2026-01-02T03:05:05Z","newField":1}`
	parked   = `{"id":"d5","scm":"github","project":"orders","kind":"push","receivedAt":"2026-01-02T03:04:05Z","events":[],"ignored":"","error":"panic: index out of range","attempts":3,"parkedAt":"2026-01-02T03:05:05Z"}`
	nodeNow  = `{"name":"local","kind":"docker","capacity":4,"ready":true,"reason":"","drain":false,"disk":{"free":"12884901888","total":"100g","minimum":"2g"},"server":"ci-1","seenAt":"2026-01-02T03:04:05Z","running":1,"gone":false}`
	nodeFull = `{"name":"east","kind":"docker","capacity":2,"ready":false,"reason":"less than 2g free","drain":false,"disk":{"free":"1500m","total":"100g","minimum":"2g"},"server":"ci-2","seenAt":"2026-01-02T03:04:05Z","running":0,"gone":false}`
	nodeGone = `{"name":"old","kind":"process","capacity":2,"ready":false,"reason":"no server dispatches for it","drain":true,"server":"ci-3","seenAt":"2026-01-01T03:04:05Z","running":0,"gone":true}`
	drained  = `{"name":"local","kind":"docker","capacity":4,"ready":true,"reason":"","drain":true,"server":"ci-1","seenAt":"2026-01-02T03:04:05Z","running":3,"gone":false}`
	worker   = `{"id":"w1","node":"local","attempt":2,"event":"01event","project":"orders","number":42,"startedAt":"2026-01-02T03:04:05Z","leaseUntil":"2026-01-02T03:05:05Z","lastSeen":"2026-01-02T03:04:50Z"}`
	starting = `{"id":"w2","node":"local","attempt":1,"event":"02event","project":"orders","number":43,"startedAt":"2026-01-02T03:04:05Z","leaseUntil":"2026-01-02T03:05:05Z"}`
	report   = `{"dryRun":true,"events":1,"logs":3,"deliveries":40,"artifacts":2,"projects":[{"project":"orders","events":1,"logs":0,"deliveries":40,"artifacts":2},{"project":"shop","events":0,"logs":3,"deliveries":0,"artifacts":0}]}`
)

// answerOperations has the server answer what operators ask.
func answerOperations(answer func(method, path, body string)) {
	list := func(items ...string) string {
		return `{"items":[` + strings.Join(items, ",") + `],"next":"","total":` + string(rune('0'+len(items))) + `}`
	}
	const deliveries = "/projects/orders/deliveries"
	answer("GET", deliveries, list(handled, ignored, refused, waiting, parked))
	answer("GET", deliveries+"/d1", handled)
	answer("GET", deliveries+"/d4", waiting)
	answer("GET", deliveries+"/d5", parked)
	answer("POST", deliveries+"/d1/redeliver", `{"delivery":"d1","events":["01event"]}`)
	answer("POST", deliveries+"/d2/redeliver", `{"delivery":"d2","ignored":"ping: the webhook works"}`)
	answer("POST", deliveries+"/d4/redeliver", `{"delivery":"d4"}`)
	answer("POST", deliveries+"/d5/redeliver", `{"delivery":"d5","error":"panic: index out of range"}`)
	answer("GET", "/nodes", list(nodeFull, nodeNow, nodeGone))
	answer("GET", "/nodes/local", nodeNow)
	answer("GET", "/nodes/old", nodeGone)
	answer("PATCH", "/nodes/local", drained)
	answer("GET", "/workers", list(worker, starting))
	answer("POST", "/retention", report)
}

func TestOperationsOutput(t *testing.T) {
	a := newAPI(t)
	for _, tt := range []struct {
		name string
		args string
		code int
	}{
		{"delivery-list", "delivery list orders", 0},
		{"delivery-show", "delivery show orders d1", 0},
		{"delivery-show-waiting", "delivery show orders d4", 0},
		{"delivery-show-parked", "delivery show orders d5", 0},
		{"delivery-redeliver", "delivery redeliver orders d1", 0},
		{"delivery-redeliver-ignored", "delivery redeliver orders d2", 0},
		{"delivery-redeliver-waiting", "delivery redeliver orders d4", 0},
		{"delivery-redeliver-failed", "delivery redeliver orders d5", 1},
		{"delivery-redeliver-json", "delivery redeliver orders d1 --json", 0},
		{"node-list", "node list", 0},
		{"node-show", "node show local", 0},
		{"node-show-gone", "node show old", 0},
		{"node-drain", "node drain local", 0},
		{"node-delete", "node delete old", 0},
		{"worker-list", "worker list", 0},
		{"retention-dry-run", "retention --dry-run", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out, problems := a.cli(t.Context(), "", strings.Fields(tt.args)...)
			if code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			golden(t, tt.name+".txt", out+problems)
		})
	}
}

// --json prints what the server sent, what this program does not know included.
func TestOperationsJSON(t *testing.T) {
	a := newAPI(t)
	for args, want := range map[string]string{
		"delivery show orders d4 --json":      waiting,
		"delivery redeliver orders d4 --json": `{"delivery":"d4"}`,
		"delivery list orders --json":         `{"items":[` + strings.Join([]string{handled, ignored, refused, waiting, parked}, ",") + `],"next":"","total":5}`,
		"node list --json":                    `{"items":[` + nodeFull + "," + nodeNow + "," + nodeGone + `],"next":"","total":3}`,
		"node show local --json":              nodeNow,
		"node drain local --json":             drained,
		"worker list --json":                  `{"items":[` + worker + "," + starting + `],"next":"","total":2}`,
		"retention --json":                    report,
	} {
		code, out, problems := a.cli(t.Context(), "", strings.Fields(args)...)
		var got, exact any
		if err := json.Unmarshal([]byte(out), &got); code != 0 || err != nil {
			t.Errorf("%s: exit code %d, %v: %s%s", args, code, err, out, problems)
			continue
		}
		if err := json.Unmarshal([]byte(want), &exact); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(exact, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", args, diff)
		}
	}
}

func TestOperationsRequests(t *testing.T) {
	for args, want := range map[string]string{
		"event approve 01event":        "POST /api/v1/events/01event/approve ",
		"delivery redeliver orders d1": "POST /api/v1/projects/orders/deliveries/d1/redeliver ",
		"node drain local":             `PATCH /api/v1/nodes/local {"drain":true}`,
		"node resume local":            `PATCH /api/v1/nodes/local {"drain":false}`,
		"node delete old":              "DELETE /api/v1/nodes/old ",
		"retention":                    "POST /api/v1/retention ",
		"retention --dry-run":          "POST /api/v1/retention?dryRun=true ",
	} {
		a := newAPI(t)
		code, _, problems := a.cli(t.Context(), "", strings.Fields(args)...)
		if code != 0 {
			t.Errorf("%s: exit code %d: %s", args, code, problems)
		}
		if diff := cmp.Diff([]string{want}, a.bodies); diff != "" {
			t.Errorf("%s (-want +got):\n%s", args, diff)
		}
	}
}

func TestOperationsExitCodes(t *testing.T) {
	a := newAPI(t)
	for args, want := range map[string]int{
		"delivery":                              2,
		"delivery list":                         2,
		"delivery show orders":                  2,
		"delivery show orders none":             5,
		"delivery redeliver orders d9":          5,
		"node":                                  2,
		"node drain":                            2,
		"node show none":                        5,
		"worker":                                2,
		"worker list extra":                     2,
		"retention extra":                       2,
		"event approve":                         2,
		"event approve none":                    5,
		"node list --token wrong":               4,
		"retention --server http://127.0.0.1:1": 3,
	} {
		if code, out, problems := a.cli(t.Context(), "", strings.Fields(args)...); code != want || out != "" || strings.Count(problems, "\n") != 1 {
			t.Errorf("%s: exit code %d, want %d; it says %q%q", args, code, want, out, problems)
		}
	}
}
