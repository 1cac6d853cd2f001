package httpapi_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/httpapi"
)

func TestProjectLife(t *testing.T) {
	f := newFixture(t)
	a := f.want(201, "POST", "/api/v1/projects", `{"name":"orders","repository":{"type":"github","url":"https://github.com/acme/orders"}}`)
	if got := a.header.Get("Location"); got != "/api/v1/projects/orders" {
		t.Errorf("Location = %q", got)
	}
	var p projectAnswer
	a.decode(t, &p)
	if len(p.WebhookSecret) < 32 {
		t.Errorf("no secret was made: %q", p.WebhookSecret)
	}
	if p.ConfigFile != "caicloud.yml" || p.Visibility != "private" || p.Repository.DefaultBranch != "main" ||
		p.Image != "registry.example.com/orders" || p.Owner != "admin" {
		t.Errorf("defaults: %+v", p)
	}
	want := map[string]string{"github": "https://cyclone.example.com/api/v1/hooks/github/orders"}
	if diff := cmp.Diff(want, p.WebhookURLs); diff != "" {
		t.Errorf("webhookUrls: %s", diff)
	}
	shown := f.want(200, "GET", "/api/v1/projects/orders", "")
	if strings.Contains(shown.body, "ebhookSecret") || strings.Contains(shown.body, p.WebhookSecret) {
		t.Errorf("the secret is shown again: %s", shown.body)
	}

	a = f.want(200, "PATCH", "/api/v1/projects/orders", `{"description":"Takes orders","variables":{"A":"1","B":"2"},"triggers":{"pullRequest":{"enabled":true}}}`,
		header{"Content-Type", "application/merge-patch+json"})
	a = f.want(200, "PATCH", "/api/v1/projects/orders", `{"variables":{"A":null,"C":"3"},"triggers":{"pullRequest":null}}`)
	a.decode(t, &p)
	if p.Description != "Takes orders" || p.Triggers.PullRequest != nil || !cmp.Equal(p.Variables, map[string]string{"B": "2", "C": "3"}) {
		t.Errorf("after patches: %s", a.body)
	}
	// What was shown can be sent back.
	f.want(200, "PUT", "/api/v1/projects/orders", a.body)
	a = f.want(200, "PUT", "/api/v1/projects/orders", `{"repository":{"type":"git","url":"https://example.com/r"}}`)
	p = projectAnswer{}
	a.decode(t, &p)
	if p.Description != "" || len(p.Variables) != 0 || len(p.WebhookURLs) != 2 {
		t.Errorf("after replacing: %s", a.body)
	}
	stored, err := f.store.Projects.Find(t.Context(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	if stored.WebhookSecret == nil || strings.Contains(string(stored.WebhookSecret), "good") {
		t.Error("the webhook secret is gone or not sealed")
	}
}

func TestDeletingAProjectEndsItsEvents(t *testing.T) {
	f := newFixture(t)
	f.project("orders")
	f.project("other")
	for range 3 {
		f.event("orders", cyclone.StatusRunning)
	}
	f.event("orders", cyclone.StatusSuccess)
	kept := f.event("other", cyclone.StatusPending)
	var cancelled []cyclone.EventID
	f.Progress = cancels{f.progress, &cancelled}
	f.want(201, "PUT", "/api/v1/projects/orders/secrets/A", `{"value":"x"}`)
	f.want(204, "DELETE", "/api/v1/projects/orders", "")
	if len(cancelled) != 3 {
		t.Errorf("cancelled %d events, want 3", len(cancelled))
	}
	f.want(404, "GET", "/api/v1/projects/orders", "")
	f.want(404, "DELETE", "/api/v1/projects/orders", "")
	f.project("orders")
	var secrets cyclone.List[cyclone.Secret]
	f.want(200, "GET", "/api/v1/projects/orders/secrets", "").decode(t, &secrets)
	if secrets.Total != 0 {
		t.Errorf("a new project of the name has the old one's secrets: %+v", secrets)
	}
	f.want(200, "GET", "/api/v1/events/"+string(kept.ID), "")
}

// cancels notes what is cancelled.
type cancels struct {
	*fakeProgress
	ids *[]cyclone.EventID
}

func (c cancels) Cancel(ctx context.Context, id cyclone.EventID, reason string) (*cyclone.Event, error) {
	*c.ids = append(*c.ids, id)
	return c.fakeProgress.Cancel(ctx, id, reason)
}

func TestSecretsGoInAndNeverComeOut(t *testing.T) {
	f := newFixture(t)
	f.project("orders")
	const path, value = "/api/v1/projects/orders/secrets/DEPLOY_KEY", "the-secret-value"
	answers := []answer{
		f.want(201, "PUT", path, `{"value":"`+value+`","events":["push","tag"]}`),
		f.want(200, "PUT", path, `{"value":"`+value+`","masked":false}`),
		f.want(200, "GET", path, ""),
		f.want(200, "GET", "/api/v1/projects/orders/secrets", ""),
	}
	for _, a := range answers {
		if strings.Contains(a.body, value) || strings.Contains(a.body, `"value"`) {
			t.Errorf("a value came out: %s", a.body)
		}
	}
	stored, err := f.store.Secrets.Find(t.Context(), "orders", "DEPLOY_KEY")
	if err != nil {
		t.Fatal(err)
	}
	plain, err := f.Sealer.Open(stored.Purpose(), stored.Value)
	if err != nil || string(plain) != value || strings.Contains(string(stored.Value), value) {
		t.Errorf("stored value: %v %v", plain, err)
	}
	f.want(204, "DELETE", path, "")
	f.want(404, "DELETE", path, "")
	if strings.Contains(f.log.String(), value) {
		t.Error("a value is in the log")
	}
}

func TestClusterLife(t *testing.T) {
	var asked cyclone.ClusterAccess
	f := newFixture(t, func(s *httpapi.Server) {
		s.CheckCluster = func(_ context.Context, a cyclone.ClusterAccess) error {
			asked = a
			if a.Token != "new-token" {
				return errors.New("Unauthorized")
			}
			return nil
		}
	})
	ca := strings.ReplaceAll(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})), "\n", `\n`)
	bodies := f.want(201, "POST", "/api/v1/clusters", `{"name":"prod","host":"https://10.0.0.1:6443","token":"old-token","ca":"`+ca+`","namespaces":["shop"]}`).body
	f.want(409, "POST", "/api/v1/clusters", `{"name":"prod","host":"https://10.0.0.1:6443","token":"t"}`)
	bodies += f.want(200, "GET", "/api/v1/clusters/prod", "").body
	bodies += f.want(200, "GET", "/api/v1/clusters", "").body
	if a := f.want(200, "POST", "/api/v1/clusters/prod/check", ""); !strings.Contains(a.body, `{"ok":false,"message":"Unauthorized"}`) {
		t.Errorf("check: %s", a.body)
	}
	if got := f.want(400, "PATCH", "/api/v1/clusters/prod", `{"host":"https://elsewhere.example.com"}`).fields(t); !cmp.Equal(got, []string{"token"}) {
		t.Errorf("another host without its token: %q", got)
	}
	bodies += f.want(200, "PATCH", "/api/v1/clusters/prod", `{"token":"new-token","description":"Production"}`).body
	if a := f.want(200, "POST", "/api/v1/clusters/prod/check", ""); !strings.Contains(a.body, `"ok":true`) {
		t.Errorf("check: %s", a.body)
	}
	if asked.Host != "https://10.0.0.1:6443" || !strings.Contains(asked.CA, "CERTIFICATE") {
		t.Errorf("a patch of the token changed the rest: %+v", asked)
	}
	if strings.Contains(bodies, "-token") || strings.Contains(bodies, "CERTIFICATE") {
		t.Errorf("credentials came out: %s", bodies)
	}
	f.want(403, "DELETE", "/api/v1/clusters/prod", "", header{"Authorization", "Bearer a-users-token"})
	f.want(204, "DELETE", "/api/v1/clusters/prod", "")
	f.want(404, "GET", "/api/v1/clusters/prod", "")
}

func TestEventLists(t *testing.T) {
	f := newFixture(t)
	f.project("orders")
	f.project("other")
	for range 5 {
		f.event("orders", cyclone.StatusSuccess)
	}
	f.event("orders", cyclone.StatusFailure)
	f.event("other", cyclone.StatusFailure)
	for query, want := range map[string]int{
		"/api/v1/events":                                             7,
		"/api/v1/projects/orders/events":                             6,
		"/api/v1/events?status=failure":                              2,
		"/api/v1/events?status=failure,success&status=pending":       7,
		"/api/v1/projects/orders/events?status=failure&branch=main":  1,
		"/api/v1/events?branch=nothing":                              0,
		"/api/v1/events?kind=tag":                                    0,
		"/api/v1/events?until=2020-01-01T00:00:00Z":                  0,
		"/api/v1/events?since=2020-01-01T00:00:00%2B02:00&limit=200": 7,
	} {
		var list cyclone.List[cyclone.Event]
		a := f.want(200, "GET", query, "")
		a.decode(t, &list)
		if len(list.Items) != want || strings.Contains(a.body, "null") {
			t.Errorf("%s: %d items, want %d: %s", query, len(list.Items), want, a.body)
		}
	}
	var seen []cyclone.EventID
	for cursor := ""; ; {
		var list cyclone.List[cyclone.Event]
		f.want(200, "GET", "/api/v1/projects/orders/events?limit=2&cursor="+cursor, "").decode(t, &list)
		for _, e := range list.Items {
			seen = append(seen, e.ID)
		}
		if cursor = list.Next; cursor == "" {
			break
		}
	}
	for i := 1; i < len(seen); i++ {
		if seen[i] >= seen[i-1] {
			t.Errorf("not newest first: %q", seen)
		}
	}
	if len(seen) != 6 {
		t.Errorf("pages hold %d events, want 6", len(seen))
	}
}

func TestEventActions(t *testing.T) {
	f := newFixture(t)
	f.project("orders")
	var e cyclone.Event
	a := f.want(201, "POST", "/api/v1/projects/orders/events", `{"branch":"main","stages":["clone","build"],"variables":{"A":"1"}}`)
	a.decode(t, &e)
	if a.header.Get("Location") != "/api/v1/events/"+string(e.ID) || e.Trigger.Actor != "admin" {
		t.Errorf("started: %s", a.body)
	}
	f.want(201, "POST", "/api/v1/projects/orders/events", "")
	path := "/api/v1/events/" + string(e.ID)
	f.want(200, "POST", path+"/cancel", `{"reason":"not needed"}`).decode(t, &e)
	if e.Status != cyclone.StatusCanceled || e.Reason != "canceled by admin: not needed" {
		t.Errorf("canceled: %+v", e)
	}
	f.want(409, "POST", path+"/cancel", "")
	parent := e.ID
	f.want(201, "POST", path+"/rerun", `{"from":"integration"}`).decode(t, &e)
	if e.Trigger.Parent != parent || e.Reason != "from integration" {
		t.Errorf("rerun: %+v", e)
	}
	blocked := f.event("orders", cyclone.StatusBlocked)
	f.want(200, "POST", "/api/v1/events/"+string(blocked.ID)+"/approve", "").decode(t, &e)
	if e.Status != cyclone.StatusPending {
		t.Errorf("approved: %+v", e)
	}
	running := f.event("orders", cyclone.StatusRunning)
	a = f.want(200, "GET", "/api/v1/workers", "")
	if !strings.Contains(a.body, `"event":"`+string(running.ID)+`"`) || !strings.Contains(a.body, `"total":1`) {
		t.Errorf("workers: %s", a.body)
	}
}

func TestLint(t *testing.T) {
	f := newFixture(t)
	text := header{"Content-Type", "text/plain; charset=utf-8"}
	var got struct {
		Valid    bool
		Problems []cyclone.Problem
	}
	f.want(200, "POST", "/api/v1/lint", "pre_build:\n  image: golang:1.26\n  comands:\n    - ls\n", text).decode(t, &got)
	third := func(p cyclone.Problem) bool { return p.Line == 3 && p.Severity == cyclone.SeverityError }
	if got.Valid || !slices.ContainsFunc(got.Problems, third) {
		t.Errorf("bad file: %+v", got)
	}
	a := f.want(200, "POST", "/api/v1/lint", "pre_build:\n  image: golang:1.26\n  commands:\n    - ls\n", text)
	if !strings.Contains(a.body, `{"valid":true,"problems":[]}`) {
		t.Errorf("good file: %s", a.body)
	}
}

func TestHooks(t *testing.T) {
	f := newFixture(t)
	f.project("orders")
	send := func(id, body string) answer {
		return f.do("POST", "/api/v1/hooks/github/orders", body, header{"Authorization", ""},
			header{"X-Test-Signature", "good"}, header{"X-Github-Delivery", id}, header{"X-Github-Event", "push"}, header{"X-Hub-Signature-256", "sha256=abc"})
	}
	for _, tt := range []struct {
		id, body string
		status   int
		answer   string
	}{
		{"d1", `{}`, 202, `{"delivery":"d1","events":["event-of-d1"]}`},
		{"d1", `{}`, 200, `{"delivery":"d1","events":["event-of-d1"]}`},
		{"d2", `{"ping":true}`, 202, `{"delivery":"d2","ignored":"ping"}`},
		{"d3", `{"broken":true}`, 202, `{"delivery":"d3"}`}, // stored; taken up again later
	} {
		if a := send(tt.id, tt.body); a.status != tt.status || strings.TrimSpace(a.body) != tt.answer {
			t.Errorf("%s: got %d %s, want %d %s", tt.id, a.status, a.body, tt.status, tt.answer)
		}
	}
	stored, err := f.store.Deliveries.Find(t.Context(), "orders", "github", "d1")
	if err != nil {
		t.Fatal(err)
	}
	if string(stored.Body) != "{}" || stored.Kind != "push" || stored.Header.Get("X-Github-Event") != "push" || stored.Header.Get("X-Hub-Signature-256") != "" {
		t.Errorf("stored: %+v", stored)
	}
	var d cyclone.Delivery
	f.want(200, "GET", "/api/v1/projects/orders/deliveries/d2", "").decode(t, &d)
	if d.Ignored != "ping" || d.HandledAt == nil {
		t.Errorf("delivery: %+v", d)
	}
	if a := f.want(202, "POST", "/api/v1/projects/orders/deliveries/d1/redeliver", ""); !strings.Contains(a.body, "event-of-d1") {
		t.Errorf("redelivered: %s", a.body)
	}
}

// brokenDeliveries is a store that cannot be written.
type brokenDeliveries struct{ cyclone.DeliveryStore }

func (brokenDeliveries) Create(context.Context, *cyclone.Delivery) error {
	return fmt.Errorf("insert: disk full at /var/lib")
}

func TestHookIsNotAcceptedWhenItCannotBeStored(t *testing.T) {
	f := newFixture(t, func(s *httpapi.Server) { s.Deliveries = brokenDeliveries{s.Deliveries} })
	f.project("orders")
	a := f.want(503, "POST", "/api/v1/hooks/github/orders", "{}", header{"X-Test-Signature", "good"}, header{"X-Github-Delivery", "d1"})
	if a.header.Get("Retry-After") == "" || strings.Contains(a.body, "disk full") {
		t.Errorf("answer: %v %s", a.header, a.body)
	}
	if !strings.Contains(f.log.String(), "disk full") {
		t.Error("the log does not say why")
	}
}
