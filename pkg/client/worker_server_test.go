package client_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"cyclone/pkg/client"
	"cyclone/pkg/cyclone"
	"cyclone/pkg/logchunk"
)

// workerServer is the server's end: it keeps what it stored across
// connections, and cuts them as a test says.
type workerServer struct {
	t   *testing.T
	job cyclone.Job
	// cut says after how many messages a connection breaks; 0 for never.
	cut func() int
	// deaf makes it acknowledge no log: its store does not answer.
	deaf bool
	// refuse is the HTTP status to refuse a connection with, 0 for none.
	refuse func() int

	writing sync.Mutex

	mu          sync.Mutex
	connections int
	session     string
	line, seq   int64
	chunks      []cyclone.Chunk
	order       []string
	reports     []cyclone.Report
	results     []cyclone.Result
	beats       int
	configs     int    // reports with a configuration
	config      string // the last of them
	conn        *websocket.Conn
}

func (s *workerServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.refuse != nil {
		if code := s.refuse(); code != 0 {
			http.Error(w, "no", code)
			return
		}
	}
	s.mu.Lock()
	s.connections++
	if r.URL.Path != "/api/v1/workers/w1/connect" || r.Header.Get("Authorization") != "Bearer once" {
		s.t.Errorf("%s with %q", r.URL.Path, r.Header.Get("Authorization"))
	}
	if session := r.Header.Get("Cyclone-Session"); s.session == "" {
		s.session = session
	} else if session != s.session || session == "" {
		s.t.Errorf("the session key changed")
	}
	resumed := s.connections > 1
	s.mu.Unlock()
	conn, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
	if err != nil {
		return
	}
	s.serve(conn, resumed)
	_ = conn.UnderlyingConn().Close() // without a word, as a broken network does
}

func (s *workerServer) send(conn *websocket.Conn, f cyclone.ServerFrame) {
	s.writing.Lock()
	defer s.writing.Unlock()
	_ = conn.WriteJSON(f) // a cut connection is the point
}

func (s *workerServer) serve(conn *websocket.Conn, resumed bool) {
	s.mu.Lock()
	s.conn = conn
	ack := cyclone.Ack{Line: s.line, Seq: s.seq}
	s.mu.Unlock()
	s.send(conn, cyclone.ServerFrame{Engine: &cyclone.EngineConfig{RegistryMirror: "http://mirror.test"}})
	if resumed {
		s.send(conn, cyclone.ServerFrame{Ack: &ack})
	}
	left := -1
	if s.cut != nil {
		left = s.cut()
	}
	for ; left != 0; left-- {
		kind, data, err := conn.ReadMessage()
		if err != nil {
			return
		}
		s.mu.Lock()
		if kind == websocket.BinaryMessage {
			if !s.deaf {
				s.chunk(data)
			}
		} else {
			s.frame(conn, data)
		}
		ack := cyclone.Ack{Line: s.line, Seq: s.seq}
		s.mu.Unlock()
		// Sometimes a connection breaks between storing and acknowledging.
		if left != 1 || rand.IntN(2) == 0 {
			s.send(conn, cyclone.ServerFrame{Ack: &ack})
		}
	}
}

func (s *workerServer) chunk(data []byte) {
	c, err := logchunk.Parse(data)
	if err != nil {
		s.t.Error(err)
		return
	}
	switch {
	case c.Last() <= s.line: // sent again
		return
	case c.First != s.line+1:
		s.t.Errorf("chunk %d-%d after line %d", c.First, c.Last(), s.line)
		return
	}
	s.chunks = append(s.chunks, c)
	s.line = c.Last()
}

// texts are the lines that were stored. They are decoded here and not as they
// come: zstd's coders must not wander between tests that have clocks of their
// own and others.
func (s *workerServer) texts() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, c := range s.chunks {
		lines, err := logchunk.Decode(c)
		if err != nil {
			s.t.Error(err)
		}
		for _, l := range lines {
			out = append(out, l.Text)
		}
	}
	return out
}

func (s *workerServer) frame(conn *websocket.Conn, data []byte) {
	var f cyclone.WorkerFrame
	if err := json.Unmarshal(data, &f); err != nil {
		s.t.Error(err)
	}
	s.seq = max(s.seq, f.Seq)
	switch {
	case f.Ready:
		job := s.job
		job.LastLine = s.line
		s.send(conn, cyclone.ServerFrame{Job: &job})
	case f.Heartbeat:
		s.beats++
	case f.Report != nil:
		if len(f.Report.Config) > 0 {
			s.configs++
			s.config = string(f.Report.Config)
		}
		s.reports = append(s.reports, *f.Report)
		s.order = append(s.order, fmt.Sprintf("%s after line %d", f.Report.Version, s.line))
	case f.Result != nil:
		s.results = append(s.results, *f.Result)
	}
}

// check holds what the server has against lines that were sent, numbered from
// 1 on.
func (s *workerServer) check(t *testing.T, lines int64) {
	t.Helper()
	texts := s.texts()
	if int64(len(texts)) != lines {
		t.Fatalf("%d lines, want %d", len(texts), lines)
	}
	for i, text := range texts {
		if want := fmt.Sprint("line ", i+1); text != want {
			t.Fatalf("line %d is %q", i+1, text)
		}
	}
	if len(s.results) == 0 {
		t.Error("no result")
	}
}

func (s *workerServer) connected() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connections
}

// start serves s and returns a worker that runs against it.
func start(t *testing.T, s *workerServer) (*client.Worker, func() error) {
	t.Helper()
	s.t = t
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	return connect(t, h.URL)
}

func connect(t *testing.T, url string) (w *client.Worker, wait func() error) {
	t.Helper()
	return connectWith(t, url, func(*client.Worker) {})
}

func connectWith(t *testing.T, url string, change func(w *client.Worker)) (w *client.Worker, wait func() error) {
	t.Helper()
	w, err := client.NewWorker(url, "w1", "once")
	if err != nil {
		t.Fatal(err)
	}
	w.Log = slog.New(slog.DiscardHandler)
	w.SpillDir = t.TempDir()
	change(w)
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(stop)
	return w, func() error { return <-ended }
}

// chunksOf are chunks of three lines each, numbered from 1 on.
func chunksOf(t *testing.T, n int64) []cyclone.Chunk {
	t.Helper()
	out := make([]cyclone.Chunk, n)
	for i := range out {
		out[i] = chunkOf(t, int64(i)*3+1, 3)
	}
	return out
}

func chunkOf(t *testing.T, first, n int64) cyclone.Chunk {
	t.Helper()
	var lines []cyclone.Line
	for i := range n {
		lines = append(lines, cyclone.Line{N: first + i, Text: fmt.Sprint("line ", first+i)})
	}
	c, err := logchunk.Encode(lines)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
