package client

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"cyclone/pkg/cyclone"
)

// Worker is a worker's connection to its server. It reconnects for as long as
// the attempt is the worker's, and sends again what the server has not
// acknowledged, in order: a log chunk before the report that follows it.
// Its methods may be called by several goroutines; they work once Run runs.
type Worker struct {
	// SpillDir holds what does not fit into memory while the server is away;
	// empty for the system's temporary folder. Set it before Run.
	SpillDir string
	// Heartbeat is the time between signs of life; cyclone.HeartbeatInterval
	// by default. Set it before Run.
	Heartbeat time.Duration
	// Log gets connection losses; slog.Default by default. Set it before Run.
	Log *slog.Logger

	endpoint workerEndpoint
	header   http.Header
	files    *http.Client
	box      *outbox
	times    workerTimes
	dial     func(ctx context.Context, network, address string) (net.Conn, error) // nil: the network's own
	away     outage

	engine   chan struct{} // closed once config is set
	config   cyclone.EngineConfig
	job      chan struct{} // closed once theJob is set
	theJob   *cyclone.Job
	wanted   chan struct{} // closed once a job is wanted
	cancels  chan cyclone.Cancellation
	partials chan cyclone.Line

	want sync.Once
	once sync.Once
	done chan struct{}
	err  error
}

// NewWorker returns the connection of worker id with its one-time token.
// server is http://host[:port], https://host[:port] or unix:///path. Nothing
// is dialed before Run. ErrInvalid when the URL is none of these.
func NewWorker(server string, id cyclone.WorkerID, token string) (*Worker, error) {
	endpoint, err := parseWorkerEndpoint(server, id)
	if err != nil {
		return nil, err
	}
	session := make([]byte, 32)
	if _, err := rand.Read(session); err != nil {
		return nil, fmt.Errorf("make session key: %w", err)
	}
	w := &Worker{
		Heartbeat: cyclone.HeartbeatInterval,
		Log:       slog.Default(),
		endpoint:  endpoint,
		header: http.Header{
			"Authorization":   {"Bearer " + token},
			"Cyclone-Session": {hex.EncodeToString(session)},
		},
		box: newOutbox(""), times: defaultWorkerTimes(),
		engine: make(chan struct{}), job: make(chan struct{}), wanted: make(chan struct{}),
		cancels: make(chan cyclone.Cancellation, 1), partials: make(chan cyclone.Line, 64), done: make(chan struct{}),
	}
	w.files = w.fileClient()
	return w, nil
}

// Run keeps the connection until ctx ends or the attempt is over, however long
// the server is away. It returns nil after Close, an ErrConflict when the
// attempt is over (fenced), an ErrForbidden when the server refuses the token,
// or the cause of ctx.
func (w *Worker) Run(ctx context.Context) error {
	w.box.dir = w.SpillDir
	pause := w.times.backoff
	for {
		began, had := time.Now(), w.box.progress()
		err := w.connect(ctx)
		if w.final(ctx, err) {
			if err == nil {
				err = context.Cause(ctx)
			}
			w.end(err)
			return w.Err()
		}
		// A connection that was of use is worth trying again at once; one that
		// is only accepted and dropped is not.
		if time.Since(began) > w.times.pause || w.box.progress() > had {
			pause = w.times.backoff
		}
		w.away.lost(w.Log, w.endpoint.name, w.times.remind, err)
		select {
		case <-ctx.Done():
			w.end(context.Cause(ctx))
			return w.Err()
		case <-w.done:
			return w.Err()
		case <-time.After(jitter(pause)):
		}
		pause = min(2*pause, w.times.pause)
	}
}

// final reports whether there is no use in connecting again.
func (w *Worker) final(ctx context.Context, err error) bool {
	select {
	case <-w.done:
		return true
	default:
	}
	return ctx.Err() != nil || errors.Is(err, cyclone.ErrConflict) || errors.Is(err, cyclone.ErrForbidden) ||
		errors.Is(err, errKept)
}

// end records the end once and wakes everyone; a nil err is an orderly Close.
func (w *Worker) end(err error) {
	w.once.Do(func() {
		w.err = err
		if err == nil {
			err = errWorkerClosed
		}
		w.box.close(err)
		close(w.done)
		w.files.CloseIdleConnections()
	})
}

var errWorkerClosed = errors.New("worker connection is closed")

// Done is closed when the connection has ended for good; Err says why.
func (w *Worker) Done() <-chan struct{} { return w.done }

// Err is why the connection ended; nil before that and after Close.
func (w *Worker) Err() error {
	select {
	case <-w.done:
		return w.err
	default:
		return nil
	}
}

// Close ends the connection for good. Call it after Finish.
func (w *Worker) Close() { w.end(nil) }

// Canceled delivers the reason when the event is to be canceled, perhaps more
// than once.
func (w *Worker) Canceled() <-chan cyclone.Cancellation { return w.cancels }

// Engine waits for what the worker's engine is to be started with.
func (w *Worker) Engine(ctx context.Context) (cyclone.EngineConfig, error) {
	if err := w.await(ctx, w.engine); err != nil {
		return cyclone.EngineConfig{}, fmt.Errorf("wait for the server: %w", err)
	}
	return w.config, nil
}

// Job says that the worker is ready and waits for its job.
func (w *Worker) Job(ctx context.Context) (*cyclone.Job, error) {
	w.want.Do(func() { close(w.wanted) })
	if err := w.await(ctx, w.job); err != nil {
		return nil, fmt.Errorf("wait for the job: %w", err)
	}
	return w.theJob, nil
}

func (w *Worker) await(ctx context.Context, what <-chan struct{}) error {
	select {
	case <-what:
		return nil
	case <-w.done:
		if err := w.Err(); err != nil {
			return err
		}
		return errWorkerClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Append hands over the next log chunk. It returns at once but for two
// cases, in which it waits for as long as it takes: the server is slower than
// the log, or it is away and the bound of what is kept (in memory and on disk)
// is reached.
func (w *Worker) Append(ctx context.Context, c cyclone.Chunk) error { return w.box.chunk(ctx, c) }

// Partial shows an unfinished line. It is dropped when the server is away or busy.
func (w *Worker) Partial(l cyclone.Line) {
	select {
	case w.partials <- l:
	default:
	}
}

// Report hands over the whole state of the event.
func (w *Worker) Report(r cyclone.Report) error {
	_, err := w.box.frame(cyclone.WorkerFrame{Report: &r})
	return err
}

// Finish hands over the result and returns when the server has it, with
// everything before it.
func (w *Worker) Finish(ctx context.Context, r cyclone.Result) error {
	seq, err := w.box.frame(cyclone.WorkerFrame{Result: &r})
	if err == nil {
		err = w.box.settled(ctx, seq)
	}
	if err != nil {
		return fmt.Errorf("deliver the result: %w", err)
	}
	return nil
}

// receive reads server frames until the connection breaks. acked is called
// once the server said what it has.
func (w *Worker) receive(conn *websocket.Conn, acked func()) error {
	for {
		kind, data, err := conn.ReadMessage()
		if err != nil {
			return err
		}
		if err := conn.SetReadDeadline(time.Now().Add(w.times.silence)); err != nil {
			return err
		}
		if kind != websocket.TextMessage {
			continue
		}
		var f cyclone.ServerFrame
		if err := json.Unmarshal(data, &f); err != nil {
			return fmt.Errorf("read the server's message: %w", err)
		}
		if err := w.handle(f, acked); err != nil {
			return err
		}
	}
}

func (w *Worker) handle(f cyclone.ServerFrame, acked func()) error {
	switch {
	case f.Fenced != "":
		return cyclone.Conflict("this attempt is over: %s", f.Fenced)
	case f.Engine != nil && !closed(w.engine):
		w.config = *f.Engine
		close(w.engine)
	case f.Job != nil && !closed(w.job):
		w.theJob = f.Job
		w.box.acked(cyclone.Ack{Line: f.Job.LastLine})
		close(w.job)
		acked()
	case f.Ack != nil:
		w.box.acked(*f.Ack)
		acked()
	case f.Cancel != nil:
		w.cancel(*f.Cancel)
	}
	return nil
}

// cancel hands a cancellation on. One that nobody has taken yet stays, unless
// it spares more than the new one does. Only receive calls it.
func (w *Worker) cancel(c cyclone.Cancellation) {
	select {
	case w.cancels <- c:
		return
	case waiting := <-w.cancels:
		if !waiting.Spare {
			c = waiting
		}
	}
	w.cancels <- c // there is room: nobody else sends
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// refusal turns the answer to a refused handshake into an error.
func refusal(err error, answer *http.Response, body string) error {
	if answer == nil {
		return err
	}
	text := strings.TrimSpace(body)
	switch answer.StatusCode {
	case http.StatusConflict:
		return cyclone.Conflict("this attempt is over: %s", text)
	case http.StatusUnauthorized, http.StatusForbidden:
		return cyclone.Forbidden("the server refuses this worker's token: %s", text)
	}
	return fmt.Errorf("the server answered %s: %s", answer.Status, text)
}
