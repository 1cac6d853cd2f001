package httpapi_test

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/httpapi"
	"cyclone/pkg/livelog"
)

// hung is a store that answers nothing.
type hung struct {
	cyclone.ProjectStore
}

func hang(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func (hung) Find(ctx context.Context, _ cyclone.ProjectName) (*cyclone.Project, error) {
	return nil, hang(ctx)
}
func (hung) Create(ctx context.Context, _ *cyclone.Project) error { return hang(ctx) }
func (hung) List(ctx context.Context, _ cyclone.Page) (l cyclone.List[*cyclone.Project], err error) {
	return l, hang(ctx)
}

type hungEvents struct {
	cyclone.EventStore
	cyclone.Queue
}

func (hungEvents) Find(ctx context.Context, _ cyclone.EventID) (*cyclone.Event, error) {
	return nil, hang(ctx)
}
func (hungEvents) List(ctx context.Context, _ cyclone.EventQuery) (l cyclone.List[*cyclone.Event], err error) {
	return l, hang(ctx)
}
func (hungEvents) Running(ctx context.Context) ([]*cyclone.Event, error) { return nil, hang(ctx) }

type hungClusters struct{ cyclone.ClusterStore }

func (hungClusters) Find(ctx context.Context, _ cyclone.ClusterName) (*cyclone.Cluster, error) {
	return nil, hang(ctx)
}
func (hungClusters) Create(ctx context.Context, _ *cyclone.Cluster) error { return hang(ctx) }
func (hungClusters) List(ctx context.Context, _ cyclone.Page) (l cyclone.List[*cyclone.Cluster], err error) {
	return l, hang(ctx)
}

type hungNodes struct{ cyclone.NodeStore }

func (hungNodes) Find(ctx context.Context, _ string) (*cyclone.Node, error) { return nil, hang(ctx) }
func (hungNodes) List(ctx context.Context) ([]*cyclone.Node, error)         { return nil, hang(ctx) }

type hungAttempts struct{ *fakeProgress }

func (hungAttempts) Attach(ctx context.Context, _ cyclone.WorkerID, _, _ string) (cyclone.Fence, cyclone.EngineConfig, error) {
	return cyclone.Fence{}, cyclone.EngineConfig{}, hang(ctx)
}

// sealAll stands for sealing, which asks no store.
type sealAll struct{}

func (sealAll) Seal(string, []byte) ([]byte, error) { return []byte("sealed"), nil }
func (sealAll) Open(string, []byte) ([]byte, error) { return nil, cyclone.ErrInvalid }

// bodies are what routes with a body need before they ask the store.
var bodies = map[string]string{
	"POST /api/v1/projects":                           `{"name":"x","repository":{"type":"git","url":"https://h/r"}}`,
	"PUT /api/v1/projects/{project}":                  `{"name":"x","repository":{"type":"git","url":"https://h/r"}}`,
	"PUT /api/v1/projects/{project}/secrets/{secret}": `{"value":"v"}`,
	"POST /api/v1/clusters":                           `{"name":"x","host":"https://h","token":"t"}`,
	"PATCH /api/v1/nodes/{node}":                      `{"drain":true}`,
	"PATCH /api/v1/projects/{project}":                `{}`,
	"PATCH /api/v1/clusters/{cluster}":                `{}`,
	"POST /api/v1/hooks/{scm}/{project}":              `{}`,
}

// storeless are the routes that ask no store, or say themselves what it does.
var storeless = []string{"/healthz", "/readyz", "/docs", "/metrics", "/api/v1/version", "/api/v1/openapi.json", "/api/v1/me",
	"/api/v1/lint", "/api/v1/retention", "/api/v1/caicloud.schema.json"}

// With a store that does not answer, every route says so in time.
func TestHungStoreIsAnsweredInTime(t *testing.T) {
	inBubble(t, func(b *bubble) {
		for _, r := range b.Routes() {
			if slices.Contains(storeless, r.Path) {
				continue
			}
			path := strings.NewReplacer("{project}", "orders", "{scm}", "github", "{event}", "e1", "{worker}", "w1", "{node}", "local",
				"{cluster}", "prod", "{secret}", "S", "{delivery}", "d1", "{kind}", "artifact", "{path}", "a/b",
				"{account}", "github/github.com/alice").Replace(r.Path)
			if r.Access == httpapi.Socket || strings.HasSuffix(r.Path, "/connect") {
				b.wantSlow(path)
				continue
			}
			res, took := b.do(r.Method, path, "application/json", strings.NewReader(bodies[r.Method+" "+r.Path]))
			if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" || took > 10*time.Second {
				t.Errorf("%s %s: %d after %v", r.Method, path, res.StatusCode, took)
			}
		}
	}, func(s *httpapi.Server) {
		s.Projects, s.Events, s.Queue, s.Clusters, s.Nodes = hung{}, hungEvents{}, hungEvents{}, hungClusters{}, hungNodes{}
		s.Progress, s.Sealer = hungAttempts{}, sealAll{}
		s.Forges = map[string]cyclone.Forge{"github": fakeForge{}}
	})
}

// wantSlow tries to open a websocket.
func (b *bubble) wantSlow(path string) {
	b.t.Helper()
	d := websocket.Dialer{NetDialContext: b.network.dial, HandshakeTimeout: time.Minute}
	start := time.Now()
	_, res, err := d.DialContext(b.t.Context(), "ws://cyclone"+path, http.Header{"Authorization": {"Bearer " + adminToken}, "Cyclone-Session": {"s"}})
	if took := time.Since(start); err == nil || res == nil || res.StatusCode != http.StatusServiceUnavailable || took > 10*time.Second {
		b.t.Errorf("%s: %v, %v after %v", path, res, err, took)
	}
}

// slowly gives a body in parts, a minute in all.
type slowly struct{ parts []string }

func (s *slowly) Read(p []byte) (int, error) {
	if len(s.parts) == 0 {
		return 0, io.EOF
	}
	time.Sleep(10 * time.Second)
	n := copy(p, s.parts[0])
	s.parts = s.parts[1:]
	return n, nil
}

// The time that a caller takes for its body is not the store's.
func TestSlowCallerIsNotTheStoresFault(t *testing.T) {
	inBubble(t, func(b *bubble) {
		body := &slowly{[]string{`{"name":"x",`, `"repository":`, `{"type":"git",`, `"url":"https://h/r"}}`}}
		if res, took := b.do("POST", "/api/v1/projects", "application/json", body); res.StatusCode != http.StatusCreated || took < 40*time.Second {
			t.Errorf("status %d after %v, want 201", res.StatusCode, took)
		}
	}, func(s *httpapi.Server) { s.Sealer = sealAll{} })
}

// slowReports takes its time for every report.
type slowReports struct {
	*fakeProgress
	delay func() time.Duration
}

func (s slowReports) Report(ctx context.Context, f cyclone.Fence, r cyclone.Report) error {
	select {
	case <-time.After(s.delay()):
		return s.fakeProgress.Report(ctx, f, r)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A store that takes 2 s for everything, and then hangs for five minutes,
// loses nothing, and the worker hears all the time that the server is there.
func TestWorkerOnASlowStore(t *testing.T) {
	inBubble(t, func(b *bubble) {
		calls := 0
		b.Progress = slowReports{b.progress, func() time.Duration {
			if calls++; calls == 10 {
				return 5 * time.Minute
			}
			return 2 * time.Second
		}}
		w := b.attach()
		heard, silence := time.Now(), time.Duration(0)
		hear := func() { silence, heard = max(silence, time.Since(heard)), time.Now() }
		// An answer would wait for the server to read on, as it has no buffer here.
		w.conn.SetPingHandler(func(string) error { hear(); return nil })
		const reports = 20
		go func() {
			for n := int64(1); n <= reports; n++ {
				w.send(cyclone.WorkerFrame{Seq: n, Report: &cyclone.Report{}})
			}
		}()
		if err := w.conn.SetReadDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		for acked := int64(0); acked < reports; {
			var s cyclone.ServerFrame
			if err := w.conn.ReadJSON(&s); err != nil {
				t.Fatalf("after report %d: %v", acked, err)
			}
			hear()
			if s.Ack == nil {
				continue
			}
			acked = s.Ack.Seq
			b.progress.set(func(p *fakeProgress) {
				if int64(len(p.reports)) < acked {
					t.Errorf("report %d was acknowledged, %d are stored", acked, len(p.reports))
				}
			})
		}
		if silence > 11*time.Second {
			t.Errorf("the server was silent for %v", silence)
		}
		if b.progress.ended() != 0 {
			t.Error("the connection was dropped")
		}
	})
}

// A worker whose machine is gone leaves a connection that never ends by
// itself: no FIN, no answer to pings.
func TestHalfOpenWorkerIsNoticed(t *testing.T) {
	inBubble(t, func(b *bubble) {
		b.attach()
		time.Sleep(cyclone.LeaseTime - time.Second)
		if b.progress.ended() != 0 {
			t.Error("the connection ended early")
		}
		time.Sleep(10 * time.Second)
		if b.progress.ended() != 1 {
			t.Error("the connection is still there")
		}
	})
}

// One that only answers pings (its step prints nothing) stays.
func TestQuietWorkerStays(t *testing.T) {
	inBubble(t, func(b *bubble) {
		w := b.attach()
		if err := w.conn.SetReadDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		go func() { _, _, _ = w.conn.ReadMessage() }() // answers pings until the end
		time.Sleep(10 * time.Minute)
		if b.progress.ended() != 0 {
			t.Error("the connection ended")
		}
	})
}

// A viewer that never reads is cut off, and until then nobody waits for it.
func TestStalledViewer(t *testing.T) {
	inBubble(t, func(b *bubble) {
		b.watch() // reads nothing, not even pings
		good := b.watch()
		synctest.Wait() // both have begun to listen
		const count = 10_000
		start := time.Now()
		go func() {
			for n := range int64(count) {
				l := cyclone.Line{N: 1, Text: strings.Repeat("x", 100) + strconv.FormatInt(n, 10)}
				b.Live.Publish("e1", livelog.Message{Size: len(l.Text), Value: l})
			}
		}()
		for fr := good.read(); !strings.HasSuffix(fr.Text, "x"+strconv.Itoa(count-1)); fr = good.read() {
			if fr.Type != "partial" {
				t.Fatalf("frame: %+v", fr)
			}
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("others waited for the one that reads nothing: %v", took)
		}
		if err := good.conn.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Until(start.Add(170 * time.Second)))
		if b.Live.Topics() != 1 {
			t.Error("it was cut off too early")
		}
		time.Sleep(20 * time.Second)
		if b.Live.Topics() != 0 {
			t.Error("it was not cut off")
		}
	})
}
