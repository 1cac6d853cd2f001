package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"cyclone/pkg/cyclone"
)

// Times of websockets.
const (
	// pingEvery is how often the server shows a viewer that it is there.
	pingEvery = 20 * time.Second
	// viewerPatience is how long a viewer may take to accept one frame, or may
	// stay silent. It may be slow; one that shows no life for so long is gone.
	viewerPatience = 3 * time.Minute
	// closeWait is how long the other side may take to say goodbye.
	closeWait = 3 * time.Second
	// replaceWait is the same for one that has connected anew already: most
	// likely this connection is dead, and the new one waits for its end.
	replaceWait = 100 * time.Millisecond
)

// errLeft is the cause of a socket's end when the other side went away.
var errLeft = errors.New("the other side has left")

// socket is one open websocket. One goroutine reads it, any may write.
type socket struct {
	conn     *websocket.Conn
	peer     string        // who is connected, where only one connection may be
	patience time.Duration // with a frame that is not accepted, and with silence
	// ctx ends with the conversation; its cause says why.
	ctx    context.Context
	cancel context.CancelCauseFunc
	over   chan struct{} // closed when nothing of it is left
	work   sync.WaitGroup
	write  sync.Mutex

	mu      sync.Mutex
	leaving bool // the read deadline is the goodbye's
}

// upgrade turns a request into a websocket, which must be given to release.
// It returns nil without an error when the handshake failed and was answered.
func (s *Server) upgrade(w http.ResponseWriter, r *http.Request, peer string, patience time.Duration) (*socket, error) {
	if !websocket.IsWebSocketUpgrade(r) {
		w.Header().Set("Upgrade", "websocket")
		return nil, &statusError{http.StatusUpgradeRequired, "invalid", "this address speaks websocket only"}
	}
	if s.sockets.draining() {
		return nil, cyclone.Unavailable("the server is shutting down; connect again")
	}
	up := websocket.Upgrader{
		HandshakeTimeout: 10 * time.Second, ReadBufferSize: 4 << 10, WriteBufferSize: 16 << 10,
		Subprotocols: []string{subprotocol},
		CheckOrigin:  func(*http.Request) bool { return true }, // admit has checked it
		Error: func(w http.ResponseWriter, r *http.Request, status int, reason error) {
			s.writeError(w, r, &statusError{status, "invalid", reason.Error()})
		},
	}
	// The handler's return does not end a hijacked connection, and nothing
	// else cancels its request: the socket's own context does both.
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(r.Context()))
	conn, err := up.Upgrade(w, r, nil)
	if err != nil {
		cancel(err)
		return nil, nil
	}
	c := &socket{conn: conn, peer: peer, patience: patience, ctx: ctx, cancel: cancel, over: make(chan struct{})}
	conn.SetPongHandler(func(string) error { return c.extend() })
	conn.SetPingHandler(c.pong)
	if !s.sockets.add(c) {
		c.cancel(errDraining)
	}
	context.AfterFunc(ctx, c.hurry)
	return c, nil
}

// pong answers a ping. The other side may be as slow to take the answer as it
// may be to take a frame: gorilla's own handler gives up after a second, which
// would break the connection.
func (c *socket) pong(text string) error {
	_ = c.conn.WriteControl(websocket.PongMessage, []byte(text), time.Now().Add(c.patience)) // a broken connection shows in the next frame
	return c.extend()
}

// hurry keeps a write that hangs from outlasting a conversation that was
// broken off. One that ended in order may take its time to be delivered.
func (c *socket) hurry() {
	if !errors.Is(context.Cause(c.ctx), context.Canceled) {
		_ = c.conn.NetConn().SetWriteDeadline(time.Now().Add(closeWait))
	}
}

// release closes a socket for good and waits for its goroutines.
func (s *Server) release(c *socket) {
	c.cancel(nil)
	_ = c.conn.Close() // the other side may have done so before
	c.work.Wait()
	s.sockets.remove(c)
	close(c.over)
}

// extend gives the other side new time to show life.
func (c *socket) extend() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leaving {
		return nil
	}
	return c.conn.SetReadDeadline(time.Now().Add(c.patience))
}

// read calls handle with every message until one of them fails, the other
// side leaves or the conversation ends; then it ends the conversation with
// that cause. It returns a channel that is closed when nothing is read any more.
func (c *socket) read(limit int64, handle func(kind int, data []byte) error) <-chan struct{} {
	done := make(chan struct{})
	c.conn.SetReadLimit(limit)
	c.work.Go(func() {
		defer close(done)
		err := c.readAll(handle)
		c.cancel(err)
		// Whatever comes after an error is dropped, so that the goodbye is heard.
		for c.ctx.Err() != nil {
			if _, _, err := c.conn.NextReader(); err != nil {
				return
			}
		}
	})
	return done
}

func (c *socket) readAll(handle func(kind int, data []byte) error) error {
	for c.ctx.Err() == nil {
		if err := c.extend(); err != nil {
			return err
		}
		kind, data, err := c.conn.ReadMessage()
		if err != nil {
			return errors.Join(errLeft, err)
		}
		if c.ctx.Err() != nil {
			break
		}
		if err := handle(kind, data); err != nil {
			return err
		}
	}
	return context.Cause(c.ctx)
}

// part ends the conversation because of err and waits until the reader has
// seen the other side's goodbye. A slow reader that is to see an orderly end
// has much to read before it.
func (c *socket) part(err error, readerDone <-chan struct{}) {
	c.cancel(err)
	wait := closeWait
	switch {
	case err == nil:
		wait = c.patience
	case errors.Is(err, errReplaced):
		wait = replaceWait
	}
	c.mu.Lock()
	c.leaving = true
	_ = c.conn.SetReadDeadline(time.Now().Add(wait)) // ends the reader at the latest
	c.mu.Unlock()
	code, text := closeCode(err)
	// One that is gone needs no goodbye.
	_ = c.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, clip(text, 100)), time.Now().Add(wait))
	<-readerDone
}

// closeCode tells the other side, in the numbers of RFC 6455, whether it
// should come back: 1012 and 1013 say so.
func closeCode(err error) (code int, text string) {
	switch {
	case err == nil:
		return websocket.CloseNormalClosure, ""
	case errors.Is(err, errDraining):
		return websocket.CloseServiceRestart, "server restarts; connect again"
	case errors.Is(err, errReplaced):
		return websocket.CloseGoingAway, err.Error()
	case errors.Is(err, errProtocol), errors.Is(err, cyclone.ErrInvalid), errors.Is(err, cyclone.ErrNotFound):
		return websocket.ClosePolicyViolation, err.Error()
	}
	return websocket.CloseTryAgainLater, "something the server needs failed; connect again"
}

// send writes one text frame. Many sockets may share the bytes.
func (c *socket) send(data []byte) error {
	c.write.Lock()
	defer c.write.Unlock()
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	if err := c.conn.SetWriteDeadline(time.Now().Add(c.patience)); err != nil {
		return err
	}
	if err := c.conn.WriteMessage(websocket.TextMessage, data); err != nil {
		return fmt.Errorf("%w: %w", errLeft, err)
	}
	return nil
}

// ping shows the other side every interval that the server is there.
func (c *socket) ping(interval time.Duration) {
	c.work.Go(func() {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-c.ctx.Done():
				return
			case <-tick.C:
				// Failing to get in between the frames of a slow reader is
				// no reason to end; a broken connection shows in the next frame.
				_ = c.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(c.patience))
			}
		}
	})
}
