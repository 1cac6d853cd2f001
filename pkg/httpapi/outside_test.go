package httpapi_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/httpapi"
)

// sweeper is a retention that says what it was asked.
type sweeper struct{ dry []bool }

func (s *sweeper) Apply(_ context.Context, dry bool) (cyclone.RetentionReport, error) {
	s.dry = append(s.dry, dry)
	return cyclone.RetentionReport{DryRun: dry, Events: 3}, nil
}

func TestRetentionOnRequest(t *testing.T) {
	t.Parallel()
	asked := &sweeper{}
	f := newFixture(t, func(s *httpapi.Server) { s.Retention = asked })
	if a := f.want(200, "POST", "/api/v1/retention?dryRun=true", ""); a.body != `{"dryRun":true,"events":3,"logs":0,"deliveries":0,"artifacts":0,"projects":[]}`+"\n" {
		t.Errorf("answer: %s", a.body)
	}
	f.want(200, "POST", "/api/v1/retention", "")
	f.want(400, "POST", "/api/v1/retention?dryRun=perhaps", "")
	f.want(400, "POST", "/api/v1/retention?dry=true", "")
	f.want(403, "POST", "/api/v1/retention", "", header{"Authorization", "Bearer a-users-token"})
	if !cmp.Equal(asked.dry, []bool{true, false}) {
		t.Errorf("asked: %v", asked.dry)
	}
}

// metric is the value of a line of /metrics.
func (f *fixture) metric(name string) string {
	f.t.Helper()
	for line := range strings.Lines(f.want(200, "GET", "/metrics", "").body) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	f.t.Fatalf("there is no metric %s", name)
	return ""
}

// eventually waits until a metric has the value.
func (f *fixture) eventually(name, value string) {
	f.t.Helper()
	last := ""
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if last = f.metric(name); last == value {
			return
		}
	}
	f.t.Errorf("%s = %s, want %s", name, last, value)
}

func TestMetricsFromOutside(t *testing.T) {
	t.Parallel()
	f, e := workerFixture(t)
	f.want(401, "GET", "/metrics", "", header{"Authorization", ""})
	w, v := f.attach(e, 0), f.watch(e, "", 1)
	f.append(e, 1, 1)
	v.upTo(1)
	f.eventually("cyclone_log_viewers", "1")
	f.eventually("cyclone_workers_connected", "1")
	f.eventually(`cyclone_events{status="running"}`, "1")
	for _, c := range []*websocket.Conn{v.conn, w.conn} {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	f.eventually("cyclone_log_viewers", "0")
	f.eventually("cyclone_workers_connected", "0")
}

func TestProjectSaysWhatIsKept(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.project("orders")
	const path = "/api/v1/projects/orders"
	a := f.want(400, "PATCH", path, `{"limits":{"onWorkerLost":"hope"},"retention":{"events":{"days":-1},"logs":{"count":-2},"deliveries":{"days":99999999},"minimum":-1}}`)
	want := []string{"limits.onWorkerLost", "retention.events.days", "retention.logs.count", "retention.deliveries.days", "retention.minimum"}
	if got := a.fields(t); !cmp.Equal(got, want) {
		t.Errorf("fields %v, want %v", got, want)
	}
	var p projectAnswer
	f.want(200, "PATCH", path, `{"limits":{"onWorkerLost":"fail"},"retention":{"logs":{"days":30},"minimum":0}}`).decode(t, &p)
	if p.Limits.OnWorkerLost != cyclone.LostFail || p.Retention == nil || p.Retention.Logs == nil || p.Retention.Logs.Days != 30 ||
		p.Retention.Minimum == nil || *p.Retention.Minimum != 0 || p.Retention.Events != nil {
		t.Errorf("project: %+v", p)
	}
	var again projectAnswer
	f.want(200, "PATCH", path, `{"retention":null}`).decode(t, &again)
	if again.Retention != nil {
		t.Errorf("retention is still %+v", again.Retention)
	}
}

func TestLogThatWasRemoved(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.project("orders")
	e := f.event("orders", cyclone.StatusRunning)
	f.append(e, 1, 5)
	removed := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	e.LogRemovedAt = &removed
	f.finish(e, 5)
	if err := f.store.Logs.Delete(t.Context(), e.ID); err != nil {
		t.Fatal(err)
	}
	path := "/api/v1/events/" + string(e.ID)
	const message = "the log of event #1 was removed on 2026-03-01 by retention"
	if a := f.want(404, "GET", path+"/logs", ""); !strings.Contains(a.body, message) {
		t.Errorf("log: %s", a.body)
	}
	if a := f.want(404, "GET", path+"/logs/stream", ""); !strings.Contains(a.body, message) {
		t.Errorf("stream: %s", a.body)
	}
	if a := f.want(200, "GET", path, ""); !strings.Contains(a.body, `"logRemovedAt":"2026-03-01T12:00:00Z"`) {
		t.Errorf("event: %s", a.body)
	}
}

// removing takes the log away after the viewer came in.
type removing struct {
	cyclone.LogStore
	before func(context.Context, cyclone.EventID) error
}

func (r removing) Chunks(ctx context.Context, id cyclone.EventID, from int64, limit int) ([]cyclone.Chunk, error) {
	if err := r.before(ctx, id); err != nil {
		return nil, err
	}
	return r.LogStore.Chunks(ctx, id, from, limit)
}

// A log that retention removes while it is read must not look complete.
func TestLogThatIsRemovedWhileItIsRead(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.project("orders")
	e := f.event("orders", cyclone.StatusRunning)
	f.append(e, 1, 5)
	f.finish(e, 5)
	f.Logs = removing{f.store.Logs, func(ctx context.Context, id cyclone.EventID) error {
		now := cyclone.Stamp(time.Now())
		stored, err := f.store.Events.Find(ctx, id)
		if err != nil {
			return err
		}
		stored.LogRemovedAt = &now
		return errors.Join(f.store.Events.Replace(ctx, stored), f.store.Logs.Delete(ctx, id))
	}}
	v := f.watch(e, "", 1)
	_, data, err := v.conn.ReadMessage()
	if !websocket.IsCloseError(err, websocket.ClosePolicyViolation) || !strings.Contains(err.Error(), "was removed on") {
		t.Errorf("got %s, %v", data, err)
	}
}
