package client

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"cyclone/pkg/cyclone"
)

// workerEndpoint is where a worker connects to.
type workerEndpoint struct {
	name   string // for messages
	url    string // ws://... or wss://...
	files  string // http://... or https://..., without a slash at the end
	socket string // of a unix socket, or empty
}

func parseWorkerEndpoint(server string, id cyclone.WorkerID) (workerEndpoint, error) {
	bad := cyclone.Invalid("server URL", "%q: write http://host:port, https://host:port or unix:///path/to/server.sock", server)
	u, err := url.Parse(server)
	if err != nil || u.User != nil {
		return workerEndpoint{}, bad
	}
	own := "/api/v1/workers/" + url.PathEscape(string(id))
	const connect, files = "/connect", "/files"
	switch {
	case u.Scheme == "unix" && u.Host == "" && u.Path != "":
		return workerEndpoint{server, "ws://localhost" + own + connect, "http://localhost" + own + files, u.Path}, nil
	case (u.Scheme == "http" || u.Scheme == "https") && u.Host != "":
		ws := "ws" + u.Scheme[len("http"):] // https -> wss
		base := "://" + u.Host + trimSlash(u.EscapedPath()) + own
		return workerEndpoint{server, ws + base + connect, u.Scheme + base + files, ""}, nil
	}
	return workerEndpoint{}, bad
}

func trimSlash(s string) string {
	for len(s) > 0 && s[len(s)-1] == '/' {
		s = s[:len(s)-1]
	}
	return s
}

// connect dials once and serves the connection until it breaks.
func (w *Worker) connect(ctx context.Context) error {
	dialer := websocket.Dialer{
		HandshakeTimeout: w.times.handshake, ReadBufferSize: 4 << 10, WriteBufferSize: 64 << 10,
		NetDialContext: w.reach,
	}
	conn, answer, err := dialer.DialContext(ctx, w.endpoint.url, w.header)
	if err != nil {
		var body []byte
		if answer != nil {
			body, _ = io.ReadAll(io.LimitReader(answer.Body, 1<<10)) // only for the message
		}
		return refusal(err, answer, string(body))
	}
	return w.serve(ctx, conn)
}

// reach opens the connection that the websocket is made on.
func (w *Worker) reach(ctx context.Context, network, address string) (net.Conn, error) {
	if w.endpoint.socket != "" {
		network, address = "unix", w.endpoint.socket
	}
	if w.dial != nil {
		return w.dial(ctx, network, address)
	}
	return (&net.Dialer{Timeout: w.times.dial}).DialContext(ctx, network, address)
}

// serve runs reader and writer of one connection and returns why it ended.
func (w *Worker) serve(ctx context.Context, conn *websocket.Conn) error {
	alive := func(string) error { return conn.SetReadDeadline(time.Now().Add(w.times.silence)) }
	conn.SetPongHandler(alive)
	answer := conn.PingHandler()
	conn.SetPingHandler(func(s string) error { return errors.Join(alive(s), answer(s)) })
	if err := alive(""); err != nil {
		return errors.Join(err, conn.Close())
	}
	broken, sent, synced := make(chan struct{}), make(chan struct{}), make(chan struct{})
	acked := func() {
		if !closed(synced) {
			w.away.over(w.Log, w.endpoint.name)
			w.box.connected(true)
			close(synced)
		}
	}
	var readErr error
	var running sync.WaitGroup
	running.Go(func() {
		readErr = w.receive(conn, acked)
		close(broken)
		_ = conn.Close() // a message on its way out waits for nothing any more
	})
	running.Go(func() { w.release(ctx, conn, sent) })
	err := w.send(ctx, conn, synced, broken)
	close(sent)
	// Ends the reader, whose error is the better one when it came first.
	readEnded := closed(broken)
	_ = conn.Close()
	running.Wait()
	w.box.connected(false)
	if readEnded || errors.Is(readErr, cyclone.ErrConflict) {
		return readErr
	}
	return err
}

// release cuts off a message that is still on its way out when the worker
// ends: a line that is slow may take minutes for it.
func (w *Worker) release(ctx context.Context, conn *websocket.Conn, sent <-chan struct{}) {
	select {
	case <-sent:
		return
	case <-ctx.Done():
	case <-w.done:
	}
	select {
	case <-sent:
	case <-time.After(w.times.goodbye):
		_ = conn.Close()
	}
}

// send writes until the connection breaks, ctx ends or the worker is closed.
func (w *Worker) send(ctx context.Context, conn *websocket.Conn, synced, broken <-chan struct{}) error {
	beat, ping := time.NewTicker(w.Heartbeat), time.NewTicker(w.times.ping)
	defer beat.Stop()
	defer ping.Stop()
	wanted := w.wanted
	if closed(w.job) {
		wanted = nil
	}
	var changed <-chan struct{} // nil until the server said what it has
	for {
		if changed != nil || closed(synced) {
			var err error
			if changed, err = w.drain(conn); err != nil {
				return err
			}
			synced = nil // its case is served
		}
		var err error
		select {
		case <-broken:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-w.done:
			return w.goodbye(conn)
		case <-wanted:
			wanted = nil
			err = w.write(conn, cyclone.WorkerFrame{Ready: true})
		case <-beat.C:
			err = w.write(conn, cyclone.WorkerFrame{Heartbeat: true})
		case <-ping.C:
			err = conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(w.times.write))
		case l := <-w.partials:
			if !w.box.finished(l.N) {
				err = w.write(conn, cyclone.WorkerFrame{Partial: &l})
			}
		case <-changed:
		case <-synced:
		}
		if err != nil {
			return err
		}
	}
}

// drainAtOnce bounds how many messages go out before heartbeats and pings get
// their turn.
const drainAtOnce = 16

// drain sends what waits in the outbox and returns the channel that tells of
// more.
func (w *Worker) drain(conn *websocket.Conn) (<-chan struct{}, error) {
	for range drainAtOnce {
		data, binary, changed, err := w.box.take()
		if err != nil || changed != nil {
			return changed, err
		}
		kind := websocket.TextMessage
		if binary {
			kind = websocket.BinaryMessage
		}
		if err := conn.SetWriteDeadline(time.Now().Add(w.times.write)); err != nil {
			return nil, err
		}
		if err := conn.WriteMessage(kind, data); err != nil {
			return nil, err
		}
	}
	more := make(chan struct{})
	close(more)
	return more, nil
}

func (w *Worker) write(conn *websocket.Conn, f cyclone.WorkerFrame) error {
	if err := conn.SetWriteDeadline(time.Now().Add(w.times.write)); err != nil {
		return err
	}
	return conn.WriteJSON(f)
}

func (w *Worker) goodbye(conn *websocket.Conn) error {
	text := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	return conn.WriteControl(websocket.CloseMessage, text, time.Now().Add(w.times.goodbye))
}
