package client_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"cyclone/pkg/client"
	"cyclone/pkg/cyclone"
)

// proxy is a TCP connection's way through a network that has something wrong
// with it.
type proxy struct {
	listener net.Listener
	target   string
	// carry copies one direction of connection number n (from 1) until it is
	// broken; both ends are closed then.
	carry func(n int, dst, src net.Conn) error

	mu     sync.Mutex
	number int
	conns  []net.Conn
	work   sync.WaitGroup
}

func startProxy(t *testing.T, target string, carry func(n int, dst, src net.Conn) error) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, target: target, carry: carry}
	p.work.Go(p.serve)
	t.Cleanup(func() {
		_ = l.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			_ = c.Close()
		}
		p.mu.Unlock()
		p.work.Wait()
	})
	return p
}

func (p *proxy) serve() {
	for {
		from, err := p.listener.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = from.Close()
			return
		}
		p.mu.Lock()
		p.number++
		n := p.number
		p.conns = append(p.conns, from, to)
		p.mu.Unlock()
		closeBoth := func() { _, _ = from.Close(), to.Close() }
		p.work.Go(func() { _ = p.carry(n, to, from); closeBoth() })
		p.work.Go(func() { _ = p.carry(n, from, to); closeBoth() })
	}
}

var errCut = errors.New("cut")

// cutAfter breaks a connection after some bytes, now and then with a reset.
func cutAfter(n int, dst, src net.Conn) error {
	if n > 15 {
		_, err := io.Copy(dst, src)
		return err
	}
	if _, err := io.CopyN(dst, src, int64(1+rand.IntN(4000))); err != nil {
		return err
	}
	if c, ok := src.(*net.TCPConn); ok && rand.IntN(2) == 0 {
		_ = c.SetLinger(0)
	}
	return errCut
}

// freezeAfter stops to forward after some bytes, and tells nobody.
func freezeAfter(n int, dst, src net.Conn) error {
	if n <= 4 {
		if _, err := io.CopyN(dst, src, int64(500+rand.IntN(8000))); err != nil {
			return err
		}
		_, err := io.Copy(io.Discard, src) // keeps the connection open
		return err
	}
	_, err := io.Copy(dst, src)
	return err
}

// delayed adds 200 ms to every direction, as a long way does: the line stays
// as wide as it is.
func delayed(_ int, dst, src net.Conn) error {
	type packet struct {
		data []byte
		at   time.Time
	}
	packets := make(chan packet, 1<<14)
	var sending sync.WaitGroup
	defer sending.Wait()
	defer close(packets)
	sending.Go(func() {
		for p := range packets {
			time.Sleep(time.Until(p.at))
			if _, err := dst.Write(p.data); err != nil {
				return
			}
		}
	})
	buffer := make([]byte, 16<<10)
	for {
		n, err := src.Read(buffer)
		if err != nil {
			return err
		}
		packets <- packet{append([]byte(nil), buffer[:n]...), time.Now().Add(200 * time.Millisecond)}
	}
}

// trickle forwards a byte or two at a time, never waiting for a whole message.
func trickle(_ int, dst, src net.Conn) error {
	if c, ok := dst.(*net.TCPConn); ok {
		_ = c.SetNoDelay(true)
	}
	buffer := make([]byte, 3)
	for {
		n, err := src.Read(buffer[:1+rand.IntN(len(buffer))])
		if err != nil {
			return err
		}
		if _, err := dst.Write(buffer[:n]); err != nil {
			return err
		}
	}
}

// TestWorkerOnABadNetwork: every line arrives once and in order.
func TestWorkerOnABadNetwork(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		carry  func(n int, dst, src net.Conn) error
		times  bool // make it quick to notice what is half open
		least  int  // connections
		chunks int64
	}{
		{"cut", cutAfter, false, 8, 900},
		{"half open", freezeAfter, true, 3, 400},
		{"delayed", delayed, false, 1, 900},
		{"trickle", trickle, false, 1, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := &workerServer{t: t}
			h := httptest.NewServer(s)
			t.Cleanup(h.Close)
			p := startProxy(t, h.Listener.Addr().String(), tt.carry)
			w, wait := connectWith(t, "http://"+p.listener.Addr().String(), func(w *client.Worker) {
				if tt.times {
					w.SetTimes(20*time.Millisecond, 100*time.Millisecond)
				}
			})
			if _, err := w.Job(t.Context()); err != nil {
				t.Fatal(err)
			}
			for i, c := range chunksOf(t, tt.chunks) {
				if err := w.Append(t.Context(), c); err != nil {
					t.Fatal(err)
				}
				if i%100 == 0 {
					if err := w.Report(cyclone.Report{Version: "v"}); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := w.Finish(t.Context(), cyclone.Result{Status: cyclone.StatusSuccess, LastLine: 3 * tt.chunks}); err != nil {
				t.Fatal(err)
			}
			w.Close()
			if err := wait(); err != nil {
				t.Errorf("Run: %v", err)
			}
			s.check(t, 3*tt.chunks)
			if n := s.connected(); n < tt.least {
				t.Errorf("%d connections: nothing was tried", n)
			}
		})
	}
}
