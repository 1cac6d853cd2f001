package httpapi_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
)

// What a request has wrong is named at once, whether it is unknown, of the
// wrong type or against a rule; a field that is reported once is not reported
// again for what its absence causes.
func TestEveryWrongFieldAtOnce(t *testing.T) {
	f := newFixture(t)
	f.project("orders")
	const projects, orders = "/api/v1/projects", "/api/v1/projects/orders"
	for _, tt := range []struct {
		method, path, body string
		fields             []string
	}{
		{"POST", projects, `{"name":"A B","colour":1,"trusted":"yes","repository":{"type":"cvs","url":5},"limits":{"timeout":"1ns"},"webhookSecret":"` + strings.Repeat("x", 1025) + `"}`,
			[]string{"colour", "repository.url", "trusted", "name", "repository.type", "limits.timeout", "webhookSecret"}},
		{"POST", projects, `{"name":"x","repository":"https://h/r"}`, []string{"repository"}},
		{"POST", projects, `{"name":"x","repository":{"type":"git","url":"https://h/r"},"notifications":{"email":{"recipients":[5,"no"]}}}`,
			[]string{"notifications.email.recipients[0]", "notifications.email.recipients[1]"}},
		{"POST", projects, `{"name":"UP","repository":{"type":"git","url":"https://h/r"}}`, []string{"name"}}, // not its default image
		{"PUT", orders, `{"name":"other","colour":1,"repository":{"type":"git","url":"/etc"}}`, []string{"colour", "name", "repository.url"}},
		{"PATCH", orders, `{"name":"other","colour":1,"configFile":"../x"}`, []string{"colour", "name", "configFile"}},
		{"PATCH", orders, `{"descripton":null}`, []string{"descripton"}},
		{"PUT", orders + "/secrets/0", `{"colour":1,"value":""}`, []string{"colour", "name", "value"}},
		{"POST", "/api/v1/clusters", `{"name":"UP","colour":1,"host":"http://h"}`, []string{"colour", "name", "host", "token"}},
		{"POST", orders + "/events", `{"colour":1,"commit":"abc"}`, []string{"colour", "commit"}},
		{"POST", orders + "/events", `{"ref":"main","version":"a/b"}`, []string{"ref", "version"}},
	} {
		a := f.do(tt.method, tt.path, tt.body)
		if a.status != 400 || !cmp.Equal(a.fields(t), tt.fields) {
			t.Errorf("%s %s %s: got %d %s, want %v", tt.method, tt.path, tt.body, a.status, a.body, tt.fields)
		}
	}
}

func TestParametersAreReadWholeOrNotAtAll(t *testing.T) {
	f := newFixture(t)
	for _, query := range []string{"?status=%zz", "?status=failure;branch=x", "?limit=1&limit=2", "?kind=push&kind=tag"} {
		if a := f.do("GET", "/api/v1/events"+query, ""); a.status != 400 {
			t.Errorf("%s: got %d %s, want it refused", query, a.status, a.body)
		}
	}
	f.want(200, "GET", "/api/v1/events?status=failure&status=error", "")
}

// Lists that are read as a whole take limit and cursor like all others.
func TestSmallListsHavePages(t *testing.T) {
	f := newFixture(t)
	f.project("orders")
	const secrets = "/api/v1/projects/orders/secrets"
	for _, name := range []string{"C", "A", "B"} {
		f.want(201, "PUT", secrets+"/"+name, `{"value":"x"}`)
		f.event("orders", cyclone.StatusRunning)
	}
	var names []string
	for cursor, pages := "", 0; pages < 3; pages++ {
		var list cyclone.List[cyclone.Secret]
		f.want(200, "GET", secrets+"?limit=2&cursor="+cursor, "").decode(t, &list)
		for _, s := range list.Items {
			names = append(names, s.Name)
		}
		if cursor = list.Next; cursor == "" {
			break
		}
		if list.Total != 3 {
			t.Errorf("total %d, want 3", list.Total)
		}
	}
	if !cmp.Equal(names, []string{"A", "B", "C"}) {
		t.Errorf("the pages hold %v", names)
	}
	var workers cyclone.List[map[string]any]
	f.want(200, "GET", "/api/v1/workers?limit=2", "").decode(t, &workers)
	if len(workers.Items) != 2 || workers.Next == "" || workers.Total != 3 {
		t.Errorf("workers: %+v", workers)
	}
	f.want(400, "GET", secrets+"?limit=0", "")
	f.want(400, "GET", secrets+"?cursor=%21", "")
}

func TestBodiesAreKeptAsTheyCame(t *testing.T) {
	f := newFixture(t)
	f.project("orders")
	const secret = "/api/v1/projects/orders/secrets/A"
	f.want(400, "PUT", secret, "{\"value\":\"\xff\xfe\"}") // would be stored as other bytes
	f.want(201, "PUT", secret, `{"value":"häßlich"}`)
	a := f.want(400, "POST", "/api/v1/projects", `{"name":`)
	if !strings.Contains(a.body, "ends in the middle") {
		t.Errorf("cut off body: %s", a.body)
	}
}

// A client that sends bodies in chunks may leave an optional one out too.
func TestOptionalBodyInChunks(t *testing.T) {
	f := newFixture(t)
	f.project("orders")
	for body, status := range map[string]int{"": 201, `{"branch":"main"}`: 201, `{"brnach":"main"}`: 400} {
		// A reader of no known length is sent in chunks.
		req, err := http.NewRequestWithContext(t.Context(), "POST", f.url+"/api/v1/projects/orders/events", io.MultiReader(strings.NewReader(body)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+adminToken)
		if body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := res.Body.Close(); err != nil || res.StatusCode != status {
			t.Errorf("%q: status %d, want %d (%v)", body, res.StatusCode, status, err)
		}
	}
}

func TestEveryNameHasADefaultImage(t *testing.T) {
	f := newFixture(t)
	for name, image := range map[string]string{"a": "a", "a.b_c-d": "a.b_c-d", "a--b__c": "a--b__c", "a..b": "a-b", "a._.b": "a-b", "a___b": "a-b"} {
		var p projectAnswer
		f.want(201, "POST", "/api/v1/projects", `{"name":"`+name+`","repository":{"type":"git","url":"https://h/r"}}`).decode(t, &p)
		if want := "registry.example.com/" + image; p.Image != want {
			t.Errorf("%s: image %s, want %s", name, p.Image, want)
		}
	}
}

// slowTrigger handles a delivery when it is let.
type slowTrigger struct {
	*fakeTrigger
	begun, proceed chan struct{}
}

func (s slowTrigger) Deliver(ctx context.Context, d *cyclone.Delivery) error {
	close(s.begun)
	<-s.proceed
	return s.fakeTrigger.Deliver(ctx, d)
}

// A delivery that comes again gets the first answer, also while that is not
// known yet, and also when it was a refusal.
func TestDeliveryThatComesAgain(t *testing.T) {
	slow := slowTrigger{begun: make(chan struct{}), proceed: make(chan struct{})}
	f := newFixture(t)
	f.project("orders")
	slow.fakeTrigger = f.trigger
	send := func(id, body string) answer {
		return f.do("POST", "/api/v1/hooks/github/orders", body, header{"X-Test-Signature", "good"}, header{"X-Github-Delivery", id})
	}
	for range 2 {
		if a := send("d1", `{"other":true}`); a.status != 422 || !strings.Contains(a.body, "another repository") {
			t.Errorf("another repository: got %d %s, want 422", a.status, a.body)
		}
	}
	f.Trigger = slow
	answers := make(chan answer, 2)
	var both sync.WaitGroup
	both.Go(func() { answers <- send("d2", "{}") })
	<-slow.begun
	both.Go(func() { answers <- send("d2", "{}") })
	close(slow.proceed)
	both.Wait()
	close(answers)
	for a := range answers {
		if strings.TrimSpace(a.body) != `{"delivery":"d2","events":["event-of-d2"]}` {
			t.Errorf("got %d %s", a.status, a.body)
		}
	}
}

// lateProgress cancels running events only when it is let, as workers do.
type lateProgress struct {
	*fakeProgress
	asked chan cyclone.EventID
}

func (p lateProgress) Cancel(ctx context.Context, id cyclone.EventID, _ string) (*cyclone.Event, error) {
	p.asked <- id
	return p.store.Events.Find(ctx, id)
}

// Who follows an event whose project is deleted sees its end in order: the
// deletion waits for the worker.
func TestDeletionLetsViewersSeeTheEnd(t *testing.T) {
	f := newFixture(t)
	f.project("orders")
	e := f.event("orders", cyclone.StatusRunning)
	late := lateProgress{f.progress, make(chan cyclone.EventID, 1)}
	f.Progress = late
	v := f.watch(e, "", 1)
	f.append(e, 1, 3)
	done := make(chan answer)
	go func() { done <- f.do("DELETE", "/api/v1/projects/orders", "") }()
	<-late.asked
	f.append(e, 4, 5)
	f.finish(e, 5)
	if a := <-done; a.status != http.StatusNoContent {
		t.Errorf("delete: %d %s", a.status, a.body)
	}
	if end, code := v.end(); end.Status == "" || code != 1000 || v.next != 6 {
		t.Errorf("end %+v, closed with %d, next line %d", end, code, v.next)
	}
}

func TestLogIsNotSentAgain(t *testing.T) {
	f := newFixture(t)
	f.project("orders")
	e := f.event("orders", cyclone.StatusRunning)
	f.append(e, 1, 3)
	log := "/api/v1/events/" + string(e.ID) + "/logs"
	tag := f.want(200, "GET", log, "").header.Get("ETag")
	for _, list := range []string{tag, `"x", ` + tag, "W/" + tag, "*"} {
		f.want(304, "GET", log, "", header{"If-None-Match", list})
	}
	f.want(200, "GET", log, "", header{"If-None-Match", `"x"`})
	f.append(e, 4, 4)
	f.want(200, "GET", log, "", header{"If-None-Match", tag})
}
