package lab

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Proxy carries TCP connections to the first of several targets that takes
// them, as a load balancer does, and does to them on demand what networks do:
// it cuts them, delays them, refuses them, or forgets them without a word.
type Proxy struct {
	listener net.Listener
	turn     atomic.Int64
	refusing atomic.Bool
	delay    atomic.Int64 // nanoseconds that each piece of data is late
	stop     context.Context
	cancel   context.CancelFunc
	done     sync.WaitGroup

	mu      sync.Mutex
	targets []string
	open    map[*link]bool
}

// link is one connection with its other half.
type link struct {
	client, target net.Conn
	dead           atomic.Bool   // half open: carries nothing and tells nobody
	buried         chan struct{} // closed when dead
	bury           sync.Once
}

// StartProxy listens on address and carries to the targets, turn by turn and
// past those that do not answer.
func StartProxy(address string, targets ...string) (*Proxy, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	p := &Proxy{listener: l, targets: targets, open: map[*link]bool{}}
	p.stop, p.cancel = context.WithCancel(context.Background())
	p.done.Go(p.accept)
	return p, nil
}

// Addr is the address it listens on.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Lead adds a target.
func (p *Proxy) Lead(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.targets = append(p.targets, target)
}

// Cut resets every open connection, but those that Forget has left half open,
// and returns how many there were. New ones are taken.
func (p *Proxy) Cut() int {
	links := p.links(false)
	for _, l := range links {
		l.close()
	}
	return len(links)
}

// Forget leaves every open connection half open: nothing comes through any
// more, and neither end is told, not even when the other closes. New ones are
// taken. It returns how many there were.
func (p *Proxy) Forget() int {
	links := p.links(false)
	for _, l := range links {
		l.dead.Store(true)
		l.bury.Do(func() { close(l.buried) })
	}
	return len(links)
}

// Refuse says whether new connections are closed at once.
func (p *Proxy) Refuse(on bool) { p.refusing.Store(on) }

// Delay makes each piece of data late by d in both directions; 0 ends that.
func (p *Proxy) Delay(d time.Duration) { p.delay.Store(int64(d)) }

// Stop ends everything.
func (p *Proxy) Stop() {
	p.cancel()
	_ = p.listener.Close() // nothing can be done about it
	for _, l := range p.links(true) {
		l.close()
	}
	p.done.Wait()
}

// links are the open connections, with the half open ones or without.
func (p *Proxy) links(dead bool) []*link {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]*link, 0, len(p.open))
	for l := range p.open {
		if dead || !l.dead.Load() {
			all = append(all, l)
		}
	}
	return all
}

func (p *Proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		if p.refusing.Load() {
			reset(c)
			continue
		}
		p.done.Go(func() { p.carry(c) })
	}
}

func (p *Proxy) carry(client net.Conn) {
	target := p.dial()
	if target == nil {
		reset(client)
		return
	}
	l := &link{client: client, target: target, buried: make(chan struct{})}
	p.mu.Lock()
	p.open[l] = true
	p.mu.Unlock()
	if p.stop.Err() != nil {
		l.close() // Stop may not have seen it
	}
	var both sync.WaitGroup
	both.Go(func() { p.copy(l, target, client) })
	both.Go(func() { p.copy(l, client, target) })
	both.Wait()
	if l.dead.Load() {
		<-p.stop.Done() // until then each end waits for the other
	}
	l.close()
	p.mu.Lock()
	delete(p.open, l)
	p.mu.Unlock()
}

// dial connects to a target, beginning with the one whose turn it is.
func (p *Proxy) dial() net.Conn {
	p.mu.Lock()
	targets := slices.Clone(p.targets)
	p.mu.Unlock()
	first := int(p.turn.Add(1))
	for i := range targets {
		d := net.Dialer{Timeout: 2 * time.Second}
		c, err := d.DialContext(p.stop, "tcp", targets[(first+i)%len(targets)])
		if err == nil {
			return c
		}
	}
	return nil
}

// copy carries one direction until it ends or the link is forgotten.
func (p *Proxy) copy(l *link, to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if d := time.Duration(p.delay.Load()); d > 0 && n > 0 {
			select {
			case <-time.After(d):
			case <-p.stop.Done():
			case <-l.buried:
			}
		}
		if l.dead.Load() {
			return
		}
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				l.close()
				return
			}
		}
		if err != nil {
			if tcp, ok := to.(*net.TCPConn); ok {
				_ = tcp.CloseWrite() // it may be gone already
			}
			return
		}
	}
}

func (l *link) close() {
	reset(l.client)
	reset(l.target)
}

// reset closes a connection so that the other end hears of it at once.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // only its manner of closing
	}
	_ = c.Close() // it may be closed already
}
