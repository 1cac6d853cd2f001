package httpapi_test

import (
	"context"
	"encoding/json"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/livelog"
)

func TestStreamReplaysAndFollows(t *testing.T) {
	f := newFixture(t)
	f.project("orders")
	e := f.event("orders", cyclone.StatusRunning)
	f.append(e, 1, 50)
	v := f.watch(e, "", 1)
	late := f.watch(e, "?from=31", 31)
	tail := f.watch(e, "?tail=10", 41)
	future := f.watch(e, "?from=71", 71)
	v.upTo(50)
	late.upTo(50)
	tail.upTo(50)
	f.append(e, 51, 60)
	v.upTo(60)

	partial := lines(61, 61)[0]
	partial.Text = "50 %"
	f.Live.Publish(string(e.ID), livelog.Message{Value: partial})
	if fr := v.read(); fr.Type != "partial" || fr.N != 61 || fr.Text != "50 %" {
		t.Errorf("partial: %+v", fr)
	}
	f.append(e, 61, 80)
	v.upTo(80)
	e.Stages = []cyclone.StageState{{Name: cyclone.StageBuild, Status: cyclone.StatusRunning}}
	f.finish(e, 80)
	for _, each := range []*viewer{v, late, tail, future} {
		fr, code := each.end()
		if fr.Status != cyclone.StatusSuccess || string(fr.Lines) != "80" || code != websocket.CloseNormalClosure || each.next != 81 {
			t.Errorf("end: %+v, closed with %d, next line %d", fr, code, each.next)
		}
	}
}

func TestStreamOfAnEventThatIsOver(t *testing.T) {
	f := newFixture(t)
	f.project("orders")
	e := f.event("orders", cyclone.StatusRunning)
	f.append(e, 1, 3000)
	e.Stages = []cyclone.StageState{{Name: cyclone.StagePreBuild, Status: cyclone.StatusSuccess, FirstLine: 1, LastLine: 3000}}
	f.finish(e, 3000)
	v := f.watch(e, "", 1)
	if fr := v.read(); fr.Type != "stage" || !strings.Contains(string(fr.Stage), `"lastLine":3000`) {
		t.Errorf("stage: %+v", fr)
	}
	v.upTo(3000)
	if fr, code := v.end(); string(fr.Lines) != "3000" || code != websocket.CloseNormalClosure {
		t.Errorf("end: %+v, closed with %d", fr, code)
	}
	empty := f.event("orders", cyclone.StatusSkipped)
	if fr, _ := f.watch(empty, "", 1).end(); fr.Status != cyclone.StatusSkipped || string(fr.Lines) != "0" {
		t.Errorf("end: %+v", fr)
	}
}

func TestStreamTellsStagesOnceEach(t *testing.T) {
	f := newFixture(t)
	f.project("orders")
	e := f.event("orders", cyclone.StatusRunning)
	v := f.watch(e, "", 1)
	f.append(e, 1, 1)
	v.upTo(1)
	var got []string
	for _, status := range []cyclone.Status{cyclone.StatusRunning, cyclone.StatusRunning, cyclone.StatusSuccess} {
		shown := *e
		shown.Stages = []cyclone.StageState{{Name: cyclone.StageClone, Status: status}}
		f.Live.Publish(string(e.ID), livelog.Message{Value: &shown})
	}
	e.Stages = []cyclone.StageState{{Name: cyclone.StageClone, Status: cyclone.StatusSuccess}}
	f.finish(e, 1)
	for {
		fr := v.read()
		if fr.Type == "end" {
			break
		}
		var s cyclone.StageState
		if err := json.Unmarshal(fr.Stage, &s); err != nil {
			t.Fatalf("%+v: %v", fr, err)
		}
		got = append(got, string(s.Status))
	}
	if !slices.Equal(got, []string{"running", "success"}) {
		t.Errorf("stages told: %q", got)
	}
}

// The worker is connected to another replica: nothing is published here.
func TestStreamFromAnotherReplica(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.project("orders")
	e := f.event("orders", cyclone.StatusRunning)
	v := f.watch(e, "", 1)
	for n := int64(1); n <= 2; n++ {
		if err := f.store.Logs.Append(t.Context(), e.ID, chunk(t, lines(n, n))); err != nil {
			t.Fatal(err)
		}
		v.upTo(n)
	}
	e.Status, e.LogLines = cyclone.StatusFailure, 2
	if err := f.store.Events.Replace(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if fr, _ := v.end(); fr.Status != cyclone.StatusFailure {
		t.Errorf("end: %+v", fr)
	}
}

// A reader that takes nothing for a while gets everything, from the store,
// and holds nobody up.
func TestLaggingViewerMissesNothing(t *testing.T) {
	f := newFixture(t)
	f.Live.Retain = 8 << 10
	f.project("orders")
	e := f.event("orders", cyclone.StatusRunning)
	slow, fast := f.watch(e, "", 1), f.watch(e, "", 1)
	const count, per = 100, 1000
	start := time.Now()
	for i := int64(0); i < count; i++ {
		f.append(e, i*per+1, i*per+per)
	}
	f.finish(e, count*per)
	t.Logf("%d lines written in %v", count*per, time.Since(start))
	for _, v := range []*viewer{fast, slow} {
		v.upTo(count * per)
		if _, code := v.end(); code != websocket.CloseNormalClosure {
			t.Errorf("closed with %d", code)
		}
	}
}

func TestFiveHundredViewers(t *testing.T) {
	f := newFixture(t)
	f.inMemory()
	f.project("orders")
	e := f.event("orders", cyclone.StatusRunning)
	f.append(e, 1, 100)
	const count = 500
	viewers := make([]*viewer, count)
	for i := range viewers {
		viewers[i] = f.watch(e, "", 1)
	}
	var wg sync.WaitGroup
	for _, v := range viewers {
		wg.Go(func() {
			v.upTo(300)
			v.end()
		})
	}
	for i := int64(1); i <= 10; i++ {
		f.append(e, 80+i*20+1, 80+i*20+20)
		runtime.Gosched()
	}
	f.finish(e, 300)
	wg.Wait()
}

func TestStreamOpensForBrowsers(t *testing.T) {
	f := newFixture(t)
	f.project("orders")
	e := f.event("orders", cyclone.StatusSkipped)
	path := "/api/v1/events/" + string(e.ID) + "/logs/stream"
	own := "http" + strings.TrimPrefix(f.url, "http")
	for _, tt := range []struct {
		name   string
		header http.Header
		status int
	}{
		{"own page", http.Header{"Sec-Websocket-Protocol": {"cyclone.v1", "bearer." + adminToken}, "Origin": {own}}, 101},
		{"external address", http.Header{"Sec-Websocket-Protocol": {"cyclone.v1", "bearer." + adminToken}, "Origin": {"https://cyclone.example.com"}}, 101},
		{"allowed origin", http.Header{"Sec-Websocket-Protocol": {"cyclone.v1", "bearer." + adminToken}, "Origin": {"https://ui.example.com"}}, 101},
		{"stranger's page", http.Header{"Sec-Websocket-Protocol": {"cyclone.v1", "bearer." + adminToken}, "Origin": {"https://evil.example.com"}}, 403},
		{"no origin at all", http.Header{"Authorization": {"Bearer " + adminToken}, "Origin": {"null"}}, 403},
		{"wrong token", http.Header{"Sec-Websocket-Protocol": {"cyclone.v1", "bearer.nonsense"}}, 401},
		{"token without protocol", http.Header{"Sec-Websocket-Protocol": {"bearer." + adminToken}}, 401},
		{"no token", nil, 401},
	} {
		if tt.header == nil {
			tt.header = http.Header{}
		}
		conn, res, err := f.dial(path, tt.header)
		if res == nil || res.StatusCode != tt.status {
			t.Errorf("%s: %v %v, want %d", tt.name, res, err, tt.status)
			continue
		}
		if conn == nil {
			continue
		}
		if _, fromBrowser := tt.header["Origin"]; fromBrowser && conn.Subprotocol() != "cyclone.v1" {
			t.Errorf("%s: subprotocol %q", tt.name, conn.Subprotocol())
		}
		_ = conn.Close()
	}
}

func TestDrainAsksViewersToComeBack(t *testing.T) {
	f := newFixture(t)
	f.project("orders")
	e := f.event("orders", cyclone.StatusRunning)
	f.append(e, 1, 1)
	v := f.watch(e, "", 1)
	v.upTo(1)
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		done <- f.Drain(ctx)
	}()
	_, _, err := v.conn.ReadMessage()
	if !websocket.IsCloseError(err, websocket.CloseServiceRestart) {
		t.Errorf("err = %v, want close code 1012", err)
	}
	if err := <-done; err != nil {
		t.Errorf("drain: %v", err)
	}
	_, res, err := f.dial("/api/v1/events/"+string(e.ID)+"/logs/stream", http.Header{"Authorization": {"Bearer " + adminToken}})
	if err == nil || res == nil || res.StatusCode != 503 {
		t.Errorf("after the drain: %v %v, want 503", res, err)
	}
}

// A project's deletion cancels its events, also one whose end nobody heard of.
func TestStreamEndsWhenTheEventIsDeleted(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.project("orders")
	e := f.event("orders", cyclone.StatusRunning)
	f.append(e, 1, 1)
	v := f.watch(e, "", 1)
	v.upTo(1)
	if err := f.store.Projects.Delete(t.Context(), "orders"); err != nil {
		t.Fatal(err)
	}
	if end, code := v.end(); end.Status != cyclone.StatusCanceled || code != websocket.CloseNormalClosure {
		t.Errorf("end %+v, closed with %d; want canceled and 1000", end, code)
	}
}
