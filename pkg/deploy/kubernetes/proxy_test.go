//go:build e2e

package kubernetes_test

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// proxy is a TCP proxy to the API server that can be cut.
type proxy struct {
	host     string
	upstream string
	address  string
	mu       sync.Mutex
	listener net.Listener
	open     []net.Conn
	running  sync.WaitGroup
}

func newProxy(t *testing.T, c cluster) *proxy {
	t.Helper()
	u, err := url.Parse(c.Access().Host)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{upstream: u.Host, address: "127.0.0.1:0"}
	p.join()
	p.host = "https://" + p.address
	t.Cleanup(func() { p.cut(); p.running.Wait() })
	return p
}

// join listens; the second time at the same address.
func (p *proxy) join() {
	p.mu.Lock()
	defer p.mu.Unlock()
	l, err := net.Listen("tcp", p.address)
	if err != nil {
		return // the test finds nobody there and says so
	}
	p.listener, p.address = l, l.Addr().String()
	p.running.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			p.running.Go(func() { p.carry(in) })
		}
	})
}

func (p *proxy) carry(in net.Conn) {
	out, err := net.Dial("tcp", p.upstream)
	if err != nil {
		_ = in.Close()
		return
	}
	p.mu.Lock()
	p.open = append(p.open, in, out)
	p.mu.Unlock()
	var both sync.WaitGroup
	pipe := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		_ = to.Close()
	}
	both.Go(func() { pipe(out, in) })
	both.Go(func() { pipe(in, out) })
	both.Wait()
}

// cut closes everything; connections are refused from then on.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.listener.Close()
	for _, c := range p.open {
		_ = c.Close()
	}
	p.open = nil
}
