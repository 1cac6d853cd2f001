package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gorilla/mux"
	"github.com/gorilla/websocket"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/logchunk"
)

const (
	// renewEvery is how often a lease is extended at most; heartbeats come a
	// little less often.
	renewEvery = cyclone.HeartbeatInterval * 2 / 3
	// workerPing is how often the server shows a worker that it is there, also
	// while it waits for the store: half of what workers put up with.
	workerPing = 10 * time.Second
	// workerMessages bounds one message of a worker: a chunk that zstd could
	// not make smaller, or a report with a whole caicloud.yml.
	workerMessages = logchunk.MaxPlain + 1<<20
)

// workerPeer is under which name a worker's socket is known.
func workerPeer(id cyclone.WorkerID) string { return "worker/" + string(id) }

// sessionHeader holds the key that a worker made up for its session.
const sessionHeader = "Cyclone-Session"

// admitWorker lets the worker of the address in, with its token and session.
// ErrConflict when its attempt is over.
func (s *Server) admitWorker(r *http.Request) (cyclone.Fence, cyclone.EngineConfig, error) {
	id := cyclone.WorkerID(mux.Vars(r)["worker"])
	token, session := bearer(r), r.Header.Get(sessionHeader)
	if token == "" || session == "" {
		return cyclone.Fence{}, cyclone.EngineConfig{}, unauthenticated("a worker connects with its token and the header " + sessionHeader)
	}
	fence, engine, err := s.Progress.Attach(r.Context(), id, token, session)
	if errors.Is(err, cyclone.ErrForbidden) || errors.Is(err, cyclone.ErrNotFound) {
		err = unauthenticated("this worker, its token or its session is not known")
	}
	return fence, engine, err
}

// connectWorker serves a worker's connection for as long as its attempt at
// the event holds.
func (s *Server) connectWorker(w http.ResponseWriter, r *http.Request) error {
	if bearer(r) != "" && r.Header.Get(sessionHeader) != "" && !websocket.IsWebSocketUpgrade(r) {
		_, err := s.upgrade(w, r, "", 0) // says so before the token is used up
		return err
	}
	fence, engine, err := s.admitWorker(r)
	if err != nil {
		return err
	}
	id := fence.Worker
	peer := workerPeer(id)
	if err := s.sockets.replace(r.Context(), peer); err != nil {
		return fmt.Errorf("end the worker's older connection: %w", err)
	}
	takeTime(r)
	c, err := s.upgrade(w, r, peer, cyclone.LeaseTime)
	if c == nil {
		return err
	}
	defer s.release(c)
	defer s.Metrics.WorkerConnected()()
	k := &conversation{server: s, socket: c, fence: fence}
	s.Log.DebugContext(c.ctx, "worker connected", "worker", id, "event", fence.Event)
	err = k.run(engine)
	if err != nil && !gone(err) && !errors.Is(err, errDraining) {
		s.Log.WarnContext(c.ctx, "worker's connection broke off", "worker", id, "event", fence.Event, "error", err)
	}
	return nil
}

// conversation is one connection of a worker.
type conversation struct {
	server  *Server
	socket  *socket
	fence   cyclone.Fence
	ack     cyclone.Ack
	renewed time.Time
	// finished is set with the result: the lease is over, and that is right.
	finished bool
}

// run greets the worker with what the server has, so that it sends the rest,
// and then answers it until either side ends.
func (k *conversation) run(engine cyclone.EngineConfig) error {
	c := k.socket
	c.ping(workerPing)
	if err := k.greet(engine); err != nil {
		c.part(err, c.read(workerMessages, refuse))
		return err
	}
	cancels, unsubscribe := k.server.Progress.Cancels(k.fence)
	defer unsubscribe()
	k.forward(cancels)
	readerDone := c.read(workerMessages, k.handle)
	<-c.ctx.Done()
	err := context.Cause(c.ctx)
	if errors.Is(err, errFenced) {
		err = nil // it was told; for the connection that is an orderly end
	}
	c.part(err, readerDone)
	return err
}

// refuse ends a conversation whose beginning failed.
func refuse(int, []byte) error { return errLeft }

func (k *conversation) greet(engine cyclone.EngineConfig) error {
	last, err := k.server.Logs.Last(k.socket.ctx, k.fence.Event)
	if err != nil {
		return fmt.Errorf("find end of log: %w", err)
	}
	k.ack.Line = last
	if err := k.send(cyclone.ServerFrame{Engine: &engine}); err != nil {
		return err
	}
	return k.acknowledge()
}

// forward passes requests to cancel on as they come.
func (k *conversation) forward(cancels <-chan cyclone.Cancellation) {
	k.socket.work.Go(func() {
		for {
			select {
			case <-k.socket.ctx.Done():
				return
			case c, ok := <-cancels:
				if !ok {
					return
				}
				if err := k.send(cyclone.ServerFrame{Cancel: &c}); err != nil {
					k.socket.cancel(err)
					return
				}
			}
		}
	})
}

func (k *conversation) send(f cyclone.ServerFrame) error {
	data, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("encode frame: %w", err)
	}
	return k.socket.send(data)
}

func (k *conversation) acknowledge() error {
	ack := k.ack
	return k.send(cyclone.ServerFrame{Ack: &ack})
}

// errFenced ends a conversation whose attempt is over.
var errFenced = errors.New("attempt is over")

// handle answers one message. An attempt that no longer holds the event is
// told to stop; any other failure ends the connection, and the worker sends
// again on the next what was not acknowledged.
func (k *conversation) handle(kind int, data []byte) error {
	err := k.answer(kind, data)
	if err == nil {
		err = k.renewIfDue()
	}
	over := errors.Is(err, cyclone.ErrConflict) || errors.Is(err, cyclone.ErrNotFound) || errors.Is(err, cyclone.ErrForbidden)
	if !over {
		return err
	}
	if err := k.send(cyclone.ServerFrame{Fenced: err.Error()}); err != nil {
		return err
	}
	return errFenced
}

func (k *conversation) answer(kind int, data []byte) error {
	if kind == websocket.BinaryMessage {
		return k.appendChunk(data)
	}
	var f cyclone.WorkerFrame
	if err := json.Unmarshal(data, &f); err != nil {
		return fmt.Errorf("%w: read worker's message: %s", errProtocol, err.Error())
	}
	ctx, progress := k.socket.ctx, k.server.Progress
	switch {
	case f.Ready:
		job, err := progress.Job(ctx, k.fence)
		if err != nil {
			return err
		}
		return k.send(cyclone.ServerFrame{Job: job})
	case f.Partial != nil:
		progress.Partial(k.fence, *f.Partial)
	case f.Report != nil:
		return k.settle(f.Seq, progress.Report(ctx, k.fence, *f.Report))
	case f.Result != nil:
		err := k.settle(f.Seq, progress.Finish(ctx, k.fence, *f.Result))
		k.finished = err == nil
		return err
	case f.Heartbeat:
		if err := k.renewIfDue(); err != nil {
			return err
		}
		return k.acknowledge() // shows the worker that its messages arrive
	}
	return nil
}

// appendChunk stores a log chunk. Its lines are decoded first: one that cannot
// be would break every reader of the log.
func (k *conversation) appendChunk(data []byte) error {
	chunk, err := logchunk.Parse(data)
	if err == nil {
		_, err = logchunk.Decode(chunk)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errProtocol, err)
	}
	err = k.server.Progress.Append(k.socket.ctx, k.fence, chunk)
	if errors.Is(err, cyclone.ErrConflict) {
		// Either the attempt is over, which Renew says too, or the chunk does
		// not continue the log: then the worker has to be told anew what is there.
		if err := k.renew(); err != nil {
			return err
		}
		return fmt.Errorf("%w: %s", errOutOfStep, err.Error())
	}
	if err != nil {
		return err
	}
	k.ack.Line = max(k.ack.Line, chunk.Last())
	return k.acknowledge()
}

// errOutOfStep ends a connection whose worker sent a chunk that does not
// continue the log.
var errOutOfStep = errors.New("log chunk does not continue the log")

func (k *conversation) settle(seq int64, err error) error {
	if err != nil {
		return err
	}
	k.ack.Seq = max(k.ack.Seq, seq)
	return k.acknowledge()
}

// renewIfDue extends the lease also when heartbeats wait behind much output.
func (k *conversation) renewIfDue() error {
	if k.finished || time.Since(k.renewed) < renewEvery {
		return nil
	}
	return k.renew()
}

// renew extends the lease and passes on a request to cancel that came by way
// of another replica.
func (k *conversation) renew() error {
	cancel, err := k.server.Progress.Renew(k.socket.ctx, k.fence)
	if err != nil {
		return err
	}
	k.renewed = time.Now()
	if cancel == nil {
		return nil
	}
	return k.send(cyclone.ServerFrame{Cancel: cancel})
}
