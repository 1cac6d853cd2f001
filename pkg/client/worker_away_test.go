package client_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"cyclone/pkg/client"
	"cyclone/pkg/cyclone"
)

// network is one in memory, for tests whose clock is not the real one: it can
// be down, refuse, and stop to forward without a word.
type network struct {
	accepted chan net.Conn
	down     atomic.Bool
	dials    atomic.Int64
	closed   chan struct{}

	mu    sync.Mutex
	conns []*line
}

// line is one connection, as its dialer sees it.
type line struct {
	net.Conn
	frozen atomic.Bool
}

func (l *line) Read(p []byte) (int, error) {
	for {
		n, err := l.Conn.Read(p)
		if err != nil || !l.frozen.Load() {
			return n, err
		}
	}
}

func (l *line) Write(p []byte) (int, error) {
	if l.frozen.Load() {
		return len(p), nil // into the system's buffer
	}
	return l.Conn.Write(p)
}

func (n *network) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	n.dials.Add(1)
	if n.down.Load() {
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	}
	ours, theirs := net.Pipe()
	l := &line{Conn: ours}
	n.mu.Lock()
	n.conns = append(n.conns, l)
	n.mu.Unlock()
	select {
	case n.accepted <- theirs:
		return l, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// each does something with all connections so far.
func (n *network) each(do func(l *line)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.conns {
		do(l)
	}
}

// Accept implements net.Listener.
func (n *network) Accept() (net.Conn, error) {
	select {
	case c := <-n.accepted:
		return c, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (n *network) Close() error { close(n.closed); return nil }

// Addr implements net.Listener.
func (n *network) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

// inMemory serves s over a network in memory to a worker; stop ends both.
func inMemory(t *testing.T, s *workerServer, change func(w *client.Worker)) (w *client.Worker, n *network, stop func()) {
	t.Helper()
	s.t = t
	n = &network{accepted: make(chan net.Conn), closed: make(chan struct{})}
	w, err := client.NewWorker("http://server.test", "w1", "once")
	if err != nil {
		t.Fatal(err)
	}
	w.Log, w.SpillDir = slog.New(slog.DiscardHandler), t.TempDir()
	w.SetDial(n.dial)
	if change != nil {
		change(w)
	}
	h := &http.Server{Handler: s, ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	var running sync.WaitGroup
	running.Go(func() { _ = h.Serve(n) }) // ends with Close
	running.Go(func() { _ = w.Run(t.Context()) })
	return w, n, func() {
		w.Close()
		_ = h.Close() // nobody needs it any more
		n.each(func(l *line) { _ = l.Close() })
		running.Wait()
	}
}

// TestServerAwayForAnHour: the event's work ends meanwhile; what is over the
// memory waits on disk. The server is found within ten seconds of its return.
func TestServerAwayForAnHour(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		refuse bool // by a load balancer without a server; else nobody listens
	}{{"refused", false}, {"unavailable", true}} {
		t.Run(tt.name, func(t *testing.T) {
			const chunks = 50 * 6 // one in ten seconds
			log := chunksOf(t, chunks)
			away := atomic.Bool{}
			s := &workerServer{}
			synctest.Test(t, func(t *testing.T) {
				s.refuse = func() int {
					if away.Load() {
						return http.StatusServiceUnavailable
					}
					return 0
				}
				w, n, stop := inMemory(t, s, func(w *client.Worker) { w.SetBounds(32<<10, 64<<20) })
				defer stop()
				if _, err := w.Job(t.Context()); err != nil {
					t.Fatal(err)
				}
				before := s.connected()
				if tt.refuse {
					away.Store(true)
				} else {
					n.down.Store(true)
				}
				n.each(func(l *line) { _ = l.Close() })
				for _, c := range log {
					if err := w.Append(t.Context(), c); err != nil {
						t.Fatal(err)
					}
					time.Sleep(10 * time.Second)
				}
				finished := make(chan error, 1)
				go func() {
					finished <- w.Finish(t.Context(), cyclone.Result{Status: cyclone.StatusSuccess, LastLine: 3 * chunks})
				}()
				time.Sleep(10*time.Minute + 3141*time.Millisecond)
				if s.connected() != before || len(finished) > 0 {
					t.Fatal("the server was not away")
				}
				back := time.Now()
				n.down.Store(false)
				away.Store(false)
				if err := <-finished; err != nil {
					t.Fatal(err)
				}
				if took := time.Since(back); took > 10*time.Second {
					t.Errorf("found %v after its return", took)
				}
			})
			s.check(t, 3*chunks)
		})
	}
}

// TestHalfOpenConnection: the other end is gone without a word.
func TestHalfOpenConnection(t *testing.T) {
	t.Parallel()
	log := chunksOf(t, 100)
	s := &workerServer{}
	synctest.Test(t, func(t *testing.T) {
		w, n, stop := inMemory(t, s, nil)
		defer stop()
		if _, err := w.Job(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(25 * time.Second)
		dials, frozen := n.dials.Load(), time.Now()
		n.each(func(l *line) { l.frozen.Store(true) })
		for _, c := range log {
			if err := w.Append(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		for n.dials.Load() == dials {
			time.Sleep(100 * time.Millisecond)
		}
		if took := time.Since(frozen); took > 31*time.Second {
			t.Errorf("noticed after %v", took)
		}
		if err := w.Finish(t.Context(), cyclone.Result{Status: cyclone.StatusSuccess}); err != nil {
			t.Fatal(err)
		}
	})
	s.check(t, 300)
}

// TestWritersWaitAtTheBound: the server is away and no more can be kept.
func TestWritersWaitAtTheBound(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(w *client.Worker){
		"bound":     func(w *client.Worker) { w.SetBounds(16<<10, 32<<10) },
		"full disk": func(w *client.Worker) { w.SetBounds(16<<10, 1<<30); w.SpillDir += "/missing" },
	} {
		t.Run(name, func(t *testing.T) {
			const chunks = 500
			log := chunksOf(t, chunks)
			s := &workerServer{}
			synctest.Test(t, func(t *testing.T) {
				w, n, stop := inMemory(t, s, change)
				defer stop()
				if _, err := w.Job(t.Context()); err != nil {
					t.Fatal(err)
				}
				n.down.Store(true)
				n.each(func(l *line) { _ = l.Close() })
				var taken atomic.Int64
				done := make(chan error, 1)
				go func() {
					for _, c := range log {
						if err := w.Append(t.Context(), c); err != nil {
							done <- err
							return
						}
						taken.Add(1)
					}
					done <- w.Finish(t.Context(), cyclone.Result{Status: cyclone.StatusSuccess})
				}()
				time.Sleep(5 * time.Minute)
				if got := taken.Load(); got < 10 || got > 150 {
					t.Errorf("%d of %d chunks were taken", got, chunks)
				}
				n.down.Store(false)
				if err := <-done; err != nil {
					t.Fatal(err)
				}
			})
			s.check(t, 3*chunks)
		})
	}
}

// TestAliveWhileTheLogIsStuck: the server's store does not answer, so the log
// waits; signs of life and a cancellation pass.
func TestAliveWhileTheLogIsStuck(t *testing.T) {
	log := chunksOf(t, 500)
	synctest.Test(t, func(t *testing.T) {
		s := &workerServer{deaf: true}
		w, _, stop := inMemory(t, s, func(w *client.Worker) { w.SetBounds(16<<10, 32<<10) })
		defer stop()
		if _, err := w.Job(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, giveUp := context.WithCancelCause(t.Context())
		enough := errors.New("enough")
		ended := make(chan error, 1)
		go func() {
			for _, c := range log {
				if err := w.Append(ctx, c); err != nil {
					ended <- err
					return
				}
			}
			ended <- nil
		}()
		time.Sleep(2 * time.Minute)
		s.mu.Lock()
		beats, conn := s.beats, s.conn
		s.mu.Unlock()
		if beats < 7 {
			t.Errorf("%d heartbeats in two minutes", beats)
		}
		if s.connected() != 1 {
			t.Errorf("%d connections", s.connected())
		}
		for _, c := range []cyclone.Cancellation{{Reason: "newer push", Spare: true}, {Reason: "alice"}, {Reason: "newer push", Spare: true}} {
			s.send(conn, cyclone.ServerFrame{Cancel: &c})
		}
		synctest.Wait()
		if why := <-w.Canceled(); why.Reason != "alice" {
			t.Errorf("canceled by %+v; what spares the event must not hide what does not", why)
		}
		giveUp(enough)
		if err := <-ended; !errors.Is(err, enough) {
			t.Error(err)
		}
	})
}

// TestConfigurationIsSentOnce: until the server has it, every report says it.
func TestConfigurationIsSentOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &workerServer{}
		w, n, stop := inMemory(t, s, nil)
		defer stop()
		if _, err := w.Job(t.Context()); err != nil {
			t.Fatal(err)
		}
		n.each(func(l *line) { l.frozen.Store(true) })
		report := func(version string) {
			if err := w.Report(cyclone.Report{Version: version, Config: []byte("pre_build: {}")}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		report("lost with the connection")
		report("another")
		time.Sleep(time.Minute)
		for range 10 {
			report("more")
		}
		if err := w.Finish(t.Context(), cyclone.Result{Status: cyclone.StatusSuccess}); err != nil {
			t.Fatal(err)
		}
		if s.configs > 2 || s.config != "pre_build: {}" || s.reports[len(s.reports)-1].Version != "more" {
			t.Errorf("%d reports with a configuration, %q", s.configs, s.config)
		}
	})
}
