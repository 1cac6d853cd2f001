package httpapi

import (
	"context"
	"errors"
	"sync"

	"github.com/gorilla/websocket"
)

// The causes by which the server ends websockets.
var (
	errDraining = errors.New("server is shutting down")
	errReplaced = errors.New("replaced by a newer connection")
	// errProtocol is what the other side did that the protocol does not know.
	errProtocol = errors.New("protocol error")
)

// sockets knows every open websocket, so that shutdown can close them in
// order. The zero value is ready to use.
type sockets struct {
	mu     sync.Mutex
	open   map[*socket]struct{}
	peers  map[string]*socket // the open sockets that have a peer
	closed bool
	idle   chan struct{} // after drain: closed with the last socket
}

func (s *sockets) draining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// connected reports whether the peer has a socket open here.
func (s *sockets) connected(peer string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peers[peer] != nil
}

func (s *sockets) add(c *socket) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	if s.open == nil {
		s.open, s.peers = map[*socket]struct{}{}, map[string]*socket{}
	}
	s.open[c] = struct{}{}
	if c.peer != "" {
		s.peers[c.peer] = c
	}
	return true
}

func (s *sockets) remove(c *socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
	if s.peers[c.peer] == c {
		delete(s.peers, c.peer)
	}
	if s.closed && len(s.open) == 0 && s.idle != nil {
		close(s.idle)
		s.idle = nil
	}
}

func (s *sockets) drain(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	if s.idle == nil && len(s.open) > 0 {
		s.idle = make(chan struct{})
	}
	idle := s.idle
	for c := range s.open {
		c.cancel(errDraining)
	}
	s.mu.Unlock()
	if idle == nil {
		return nil
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// replace ends the peer's open socket and returns once it is over, so that
// nothing that still came in on it is handled after the new one begins.
func (s *sockets) replace(ctx context.Context, peer string) error {
	s.mu.Lock()
	old := s.peers[peer]
	s.mu.Unlock()
	if old == nil {
		return nil
	}
	old.cancel(errReplaced)
	select {
	case <-old.over:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// gone reports whether an error only says that the other side has left.
func gone(err error) bool {
	var closed *websocket.CloseError
	return errors.As(err, &closed) || errors.Is(err, errLeft)
}
