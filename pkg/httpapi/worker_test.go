package httpapi_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"cyclone/pkg/cyclone"
)

// worker is a worker's end of its connection.
type worker struct {
	t    testing.TB
	conn *websocket.Conn
}

func (f *fixture) dialWorker(e *cyclone.Event, token, session string) (*websocket.Conn, *http.Response, error) {
	return f.dial("/api/v1/workers/"+string(e.Worker.ID)+"/connect",
		http.Header{"Authorization": {"Bearer " + token}, "Cyclone-Session": {session}})
}

// attach connects a worker and checks the greeting.
func (f *fixture) attach(e *cyclone.Event, last int64) *worker {
	f.t.Helper()
	conn, res, err := f.dialWorker(e, "one-time", "session-key")
	if err != nil {
		f.t.Fatalf("%v %v", res, err)
	}
	f.t.Cleanup(func() { _ = conn.Close() })
	w := &worker{f.t, conn}
	if s := w.read(); s.Engine == nil || s.Engine.RegistryMirror != "http://mirror" {
		f.t.Errorf("first frame: %+v", s)
	}
	if s := w.read(); s.Ack == nil || s.Ack.Line != last {
		f.t.Errorf("second frame: %+v, want an ack of line %d", s, last)
	}
	return w
}

func (w *worker) read() cyclone.ServerFrame {
	w.t.Helper()
	f, err := w.tryRead()
	if err != nil {
		w.t.Fatalf("read: %v", err)
	}
	return f
}

func (w *worker) tryRead() (f cyclone.ServerFrame, err error) {
	if err := w.conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return f, err
	}
	_, data, err := w.conn.ReadMessage()
	if err != nil {
		return f, err
	}
	return f, json.Unmarshal(data, &f)
}

func (w *worker) send(f cyclone.WorkerFrame) {
	w.t.Helper()
	if err := w.conn.WriteJSON(f); err != nil {
		w.t.Fatal(err)
	}
}

func (w *worker) chunk(from, to int64) {
	w.t.Helper()
	if err := w.conn.WriteMessage(websocket.BinaryMessage, chunk(w.t, lines(from, to)).Data); err != nil {
		w.t.Fatal(err)
	}
}

// closed reads to the end of the connection.
func (w *worker) closed() (code int, fenced string) {
	w.t.Helper()
	for {
		f, err := w.tryRead()
		var closed *websocket.CloseError
		if errors.As(err, &closed) {
			return closed.Code, fenced
		}
		if err != nil {
			w.t.Fatalf("read: %v", err)
		}
		if f.Fenced != "" {
			fenced = f.Fenced
		}
	}
}

func workerFixture(t *testing.T) (*fixture, *cyclone.Event) {
	t.Helper()
	f := newFixture(t)
	f.project("orders")
	e := f.event("orders", cyclone.StatusRunning)
	f.progress.admit(e)
	return f, e
}

func TestWorkerLife(t *testing.T) {
	f, e := workerFixture(t)
	w := f.attach(e, 0)
	w.send(cyclone.WorkerFrame{Ready: true})
	if s := w.read(); s.Job == nil || s.Job.Event.ID != e.ID {
		t.Fatalf("job: %+v", s)
	}
	v := f.watch(e, "", 1)
	partial := lines(1, 1)[0]
	w.chunk(1, 5)
	if s := w.read(); s.Ack == nil || s.Ack.Line != 5 {
		t.Errorf("ack: %+v", s)
	}
	v.upTo(5)
	partial.N, partial.Text = 6, "half a"
	w.send(cyclone.WorkerFrame{Partial: &partial})
	if fr := v.read(); fr.Type != "partial" || fr.Text != "half a" {
		t.Errorf("partial: %+v", fr)
	}
	w.send(cyclone.WorkerFrame{Seq: 1, Report: &cyclone.Report{Version: "ci-1"}})
	if s := w.read(); s.Ack == nil || *s.Ack != (cyclone.Ack{Line: 5, Seq: 1}) {
		t.Errorf("ack of the report: %+v", s)
	}
	w.send(cyclone.WorkerFrame{Heartbeat: true})
	if s := w.read(); s.Ack == nil {
		t.Errorf("answer to the heartbeat: %+v", s)
	}
	f.progress.cancels <- cyclone.Cancellation{Reason: "not needed", Spare: true}
	if s := w.read(); s.Cancel == nil || *s.Cancel != (cyclone.Cancellation{Reason: "not needed", Spare: true}) {
		t.Errorf("cancel: %+v", s)
	}
	w.send(cyclone.WorkerFrame{Seq: 2, Result: &cyclone.Result{Status: cyclone.StatusCanceled, LastLine: 5}})
	if s := w.read(); s.Ack == nil || s.Ack.Seq != 2 {
		t.Errorf("ack of the result: %+v", s)
	}
	// Being alive a little longer is no offence.
	w.send(cyclone.WorkerFrame{Heartbeat: true})
	if s := w.read(); s.Ack == nil || s.Fenced != "" {
		t.Errorf("after the result: %+v", s)
	}
	if fr, _ := v.end(); fr.Status != cyclone.StatusCanceled {
		t.Errorf("viewer's end: %+v", fr)
	}
	_, res, err := f.dialWorker(e, "one-time", "session-key")
	if err == nil || res.StatusCode != 409 {
		t.Errorf("connecting after the end: %v, want 409", res)
	}
}

func TestWorkerIsLetInWithItsOwnTokenAndSessionOnly(t *testing.T) {
	f, e := workerFixture(t)
	f.attach(e, 0)
	for _, tt := range []struct{ token, session string }{
		{"wrong", "session-key"}, {"one-time", "another"}, {"one-time", ""}, {"", "session-key"}, {adminToken, "session-key"},
	} {
		_, res, err := f.dialWorker(e, tt.token, tt.session)
		if err == nil || res == nil || res.StatusCode != 401 {
			t.Errorf("token %q, session %q: %v, want 401", tt.token, tt.session, res)
		}
	}
}

// A new connection of the same worker takes the place of the old one, which
// may be half open, and goes on where the log ends.
func TestWorkerConnectsAgain(t *testing.T) {
	f, e := workerFixture(t)
	first := f.attach(e, 0)
	first.chunk(1, 10)
	if s := first.read(); s.Ack == nil || s.Ack.Line != 10 {
		t.Fatalf("ack: %+v", s)
	}
	second := f.attach(e, 10)
	if code, _ := first.closed(); code != websocket.CloseGoingAway {
		t.Errorf("the old connection was closed with %d", code)
	}
	second.chunk(1, 10) // again: harmless
	second.chunk(11, 20)
	for _, want := range []int64{10, 20} {
		if s := second.read(); s.Ack == nil || s.Ack.Line != want {
			t.Errorf("ack: %+v, want %d", s, want)
		}
	}
	last, err := f.store.Logs.Last(t.Context(), e.ID)
	if err != nil || last != 20 {
		t.Errorf("log ends at %d (%v), want 20", last, err)
	}
}

func TestWorkerThatIsOutOfStepIsSentBack(t *testing.T) {
	f, e := workerFixture(t)
	w := f.attach(e, 0)
	w.chunk(5, 10)
	if code, fenced := w.closed(); code != websocket.CloseTryAgainLater || fenced != "" {
		t.Errorf("a gap: closed with %d, fenced %q", code, fenced)
	}
	f.attach(e, 0).chunk(1, 10)
}

func TestFencedWorkerIsToldToStop(t *testing.T) {
	f, e := workerFixture(t)
	w := f.attach(e, 0)
	f.progress.set(func(p *fakeProgress) { p.over = true })
	w.chunk(1, 1)
	code, fenced := w.closed()
	if code != websocket.CloseNormalClosure || !strings.Contains(fenced, "over") {
		t.Errorf("closed with %d, fenced %q", code, fenced)
	}
	if last, err := f.store.Logs.Last(t.Context(), e.ID); err != nil || last != 0 {
		t.Errorf("the late line is in the log: %d %v", last, err)
	}
}

func TestCancelReachesAWorkerThatConnectsLater(t *testing.T) {
	f, e := workerFixture(t)
	f.progress.set(func(p *fakeProgress) { p.cancel = &cyclone.Cancellation{Reason: "too late"} })
	w := f.attach(e, 0)
	w.send(cyclone.WorkerFrame{Heartbeat: true})
	if s := w.read(); s.Cancel == nil || s.Cancel.Reason != "too late" {
		t.Errorf("got %+v", s)
	}
}

func TestStoreFailureSendsTheWorkerBack(t *testing.T) {
	f, e := workerFixture(t)
	f.progress.set(func(p *fakeProgress) { p.broken = cyclone.Unavailable("store is away") })
	w := f.attach(e, 0)
	w.chunk(1, 1)
	if code, fenced := w.closed(); code != websocket.CloseTryAgainLater || fenced != "" {
		t.Errorf("closed with %d, fenced %q", code, fenced)
	}
}

func TestNonsenseFromAWorker(t *testing.T) {
	for name, send := range map[string]func(*websocket.Conn) error{
		"not JSON":    func(c *websocket.Conn) error { return c.WriteMessage(websocket.TextMessage, []byte("{")) },
		"not a chunk": func(c *websocket.Conn) error { return c.WriteMessage(websocket.BinaryMessage, []byte("CL1")) },
		"corrupt chunk": func(c *websocket.Conn) error {
			return c.WriteMessage(websocket.BinaryMessage, []byte("CL1\x01\x01\x05xxxxx"))
		},
		"much too large": func(c *websocket.Conn) error { return c.WriteMessage(websocket.TextMessage, make([]byte, 6<<20)) },
	} {
		t.Run(name, func(t *testing.T) {
			f, e := workerFixture(t)
			w := f.attach(e, 0)
			if err := send(w.conn); err != nil && name != "much too large" {
				t.Fatal(err)
			}
			_, err := w.tryRead()
			var closed *websocket.CloseError
			if errors.As(err, &closed) && closed.Code != websocket.ClosePolicyViolation && closed.Code != websocket.CloseMessageTooBig {
				t.Errorf("closed with %d", closed.Code)
			}
			if err == nil {
				t.Error("nothing happened")
			}
			f.attach(e, 0)
		})
	}
}

func TestDrainAsksWorkersToComeBack(t *testing.T) {
	f, e := workerFixture(t)
	w := f.attach(e, 0)
	done := make(chan error, 1)
	go func() { done <- f.Drain(t.Context()) }()
	if code, fenced := w.closed(); code != websocket.CloseServiceRestart || fenced != "" {
		t.Errorf("closed with %d, fenced %q", code, fenced)
	}
	if err := <-done; err != nil {
		t.Errorf("drain: %v", err)
	}
}

// A million lines go from the worker through the store to a viewer, in order
// and without a gap.
func TestAMillionLines(t *testing.T) {
	f, e := workerFixture(t)
	w := f.attach(e, 0)
	v := f.watch(e, "", 1)
	const total, per = manyLines, 2000
	chunks := make([][]byte, 0, total/per)
	for from := int64(1); from <= total; from += per {
		chunks = append(chunks, chunk(t, lines(from, from+per-1)).Data)
	}
	start := time.Now()
	acked := make(chan error, 1)
	go func() {
		for {
			s, err := w.tryRead()
			if err != nil || (s.Ack != nil && s.Ack.Seq == 1) {
				acked <- err
				return
			}
		}
	}()
	go func() {
		for _, data := range chunks {
			if err := w.conn.WriteMessage(websocket.BinaryMessage, data); err != nil {
				return // the reader says why
			}
		}
		_ = w.conn.WriteJSON(cyclone.WorkerFrame{Seq: 1, Result: &cyclone.Result{Status: cyclone.StatusSuccess, LastLine: total}})
	}()
	if err := <-acked; err != nil {
		t.Fatal(err)
	}
	t.Logf("stored after %v", time.Since(start))
	v.upTo(total)
	if fr, _ := v.end(); string(fr.Lines) != strconv.Itoa(total) {
		t.Errorf("end: %+v", fr)
	}
	t.Logf("seen after %v", time.Since(start))
}
