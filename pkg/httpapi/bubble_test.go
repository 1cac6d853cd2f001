package httpapi_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest"
	"cyclone/pkg/httpapi"
	"cyclone/pkg/livelog"
)

// bubble is a server whose network and store are in memory, so that its time
// can be synctest's: minutes pass at once, and everything else is real.
type bubble struct {
	*httpapi.Server
	t        *testing.T
	store    *cyclonetest.Memory
	progress *fakeProgress
	network  pipes
	e        *cyclone.Event // running, with a worker that may connect
}

// inBubble runs a test in a bubble of its own.
func inBubble(t *testing.T, test func(*bubble), tweaks ...func(*httpapi.Server)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, cyclonetest.NewMemory(), tweaks...)
		b.e = &cyclone.Event{ID: "e1", Project: "orders", Status: cyclone.StatusRunning,
			Worker: cyclone.WorkerRef{ID: "w1", Node: "local", Attempt: 1}, Run: cyclone.Run{Key: "e1"}}
		if err := b.store.Events.Create(t.Context(), b.e); err != nil {
			t.Fatal(err)
		}
		b.progress.admit(b.e)
		test(b)
	})
}

// newBubble starts a server over a store, which several may share.
func newBubble(t *testing.T, store *cyclonetest.Memory, tweaks ...func(*httpapi.Server)) *bubble {
	b := &bubble{t: t, store: store, network: pipes{accept: make(chan net.Conn), closed: make(chan struct{})}}
	live := livelog.New()
	b.progress = &fakeProgress{store: records{store.Events, store.Logs}, live: live,
		tokens: map[cyclone.WorkerID]attempt{}, cancels: make(chan cyclone.Cancellation, 1)}
	b.Server = &httpapi.Server{
		Projects: store.Projects, Secrets: store.Secrets, Clusters: store.Clusters, Events: store.Events,
		Queue: store.Events, Deliveries: store.Deliveries, Logs: store.Logs, Files: store.Files, Nodes: store.Nodes, Live: live, Progress: b.progress,
		Auth: testAuth{httpapi.HashToken(adminToken)}, Log: slog.New(slog.DiscardHandler), ExternalURL: "https://cyclone.example.com",
	}
	for _, tweak := range tweaks {
		tweak(b.Server)
	}
	server := &http.Server{Handler: b.Handler(), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0), ReadHeaderTimeout: time.Minute}
	done := make(chan error, 1)
	go func() { done <- server.Serve(&b.network) }()
	t.Cleanup(func() {
		if err := b.Drain(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("drain: %v", err)
		}
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return b
}

// pipes is a network in memory without any buffer: what nobody reads is not
// written.
type pipes struct {
	accept chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accept:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	p.accept <- theirs
	return ours, nil
}

// dial opens a websocket.
func (b *bubble) dial(path string, h http.Header) *websocket.Conn {
	b.t.Helper()
	d := websocket.Dialer{NetDialContext: b.network.dial}
	conn, _, err := d.DialContext(b.t.Context(), "ws://cyclone"+path, h)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (b *bubble) watch() *viewer {
	b.t.Helper()
	conn := b.dial("/api/v1/events/e1/logs/stream", http.Header{"Authorization": {"Bearer " + adminToken}})
	return &viewer{b.t, conn, 1}
}

// attach connects the worker and reads its greeting.
func (b *bubble) attach() *worker {
	b.t.Helper()
	w := &worker{b.t, b.dial("/api/v1/workers/w1/connect", http.Header{"Authorization": {"Bearer one-time"}, "Cyclone-Session": {"s"}})}
	w.read()
	if s := w.read(); s.Ack == nil {
		b.t.Fatalf("second frame: %+v", s)
	}
	return w
}

// do sends a request and returns the status with the time that it took.
func (b *bubble) do(method, path, contentType string, body io.Reader) (*http.Response, time.Duration) {
	b.t.Helper()
	conn, err := b.network.dial(b.t.Context(), "", "")
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	req, err := http.NewRequestWithContext(b.t.Context(), method, "http://cyclone"+path, body)
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	req.Header.Set("Cyclone-Session", "s") // where a worker asks
	req.Header.Set("Content-Type", contentType)
	sent := make(chan error, 1)
	start := time.Now()
	go func() { sent <- req.Write(conn) }()
	res, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		b.t.Fatalf("%s %s: %v", method, path, err)
	}
	took := time.Since(start)
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		b.t.Fatal(err)
	}
	_ = conn.Close()
	<-sent
	return res, took
}
