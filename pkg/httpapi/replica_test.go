package httpapi_test

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/httpapi"
	"cyclone/pkg/livelog"
)

// countedLogs counts the readings of chunks.
type countedLogs struct {
	cyclone.LogStore
	reads atomic.Int64
}

func (c *countedLogs) Chunks(ctx context.Context, id cyclone.EventID, from int64, limit int) ([]cyclone.Chunk, error) {
	c.reads.Add(1)
	return c.LogStore.Chunks(ctx, id, from, limit)
}

// replica is another server over the same store, with nothing else in common.
func (f *fixture) replica() (*fixture, *countedLogs) {
	f.t.Helper()
	logs := &countedLogs{LogStore: f.store.Logs}
	g := &fixture{t: f.t, store: f.store, trigger: f.trigger, progress: f.progress, log: &lockedBuffer{}}
	g.Server = &httpapi.Server{
		Projects: f.store.Projects, Events: f.store.Events, Queue: f.store.Events, Logs: logs, Live: livelog.New(), Progress: f.progress,
		Auth: testAuth{httpapi.HashToken(adminToken)}, Log: slog.New(slog.NewTextHandler(g.log, nil)), ExternalURL: "https://cyclone.example.com",
	}
	listener := httptest.NewServer(g.Handler())
	g.url = listener.URL
	f.t.Cleanup(func() {
		if err := g.Drain(context.WithoutCancel(f.t.Context())); err != nil {
			f.t.Errorf("drain: %v", err)
		}
		listener.Close()
	})
	return g, logs
}

// The worker is connected to one replica, its viewers to another: they see
// every line in order, within about a second, and the log is read once for all
// of them.
func TestLiveAcrossReplicas(t *testing.T) {
	t.Parallel()
	here, e := workerFixture(t)
	there, logs := here.replica()
	w := here.attach(e, 0)
	const count, rounds, per = 50, 2, 20
	viewers := make([]*viewer, count)
	for i := range viewers {
		viewers[i] = there.watch(e, "", 1)
	}
	var worst time.Duration
	for round := int64(1); round <= rounds; round++ {
		w.chunk((round-1)*per+1, round*per)
		stored := time.Now()
		if s := w.read(); s.Ack == nil || s.Ack.Line != round*per {
			t.Fatalf("ack: %+v", s)
		}
		var all sync.WaitGroup
		for _, v := range viewers {
			all.Go(func() { v.upTo(round * per) })
		}
		all.Wait()
		worst = max(worst, time.Since(stored))
	}
	if worst > 4*time.Second {
		t.Errorf("a line took %v", worst)
	}
	t.Logf("at worst a line took %v; %d viewers cost %d readings of the log", worst, count, logs.reads.Load())
	// Each viewer reads at its beginning; after that all share what one reads.
	if reads := logs.reads.Load(); reads > count+2*rounds {
		t.Errorf("%d viewers cost %d readings of the log", count, reads)
	}
	w.send(cyclone.WorkerFrame{Seq: 1, Result: &cyclone.Result{Status: cyclone.StatusSuccess, LastLine: rounds * per}})
	for _, v := range viewers {
		if end, code := v.end(); end.Status != cyclone.StatusSuccess || code != websocket.CloseNormalClosure || v.next != rounds*per+1 {
			t.Fatalf("end %+v, closed with %d, next line %d", end, code, v.next)
		}
	}
}
