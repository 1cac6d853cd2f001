package client_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cyclone/pkg/client"
	"cyclone/pkg/cyclone"
	"cyclone/pkg/logchunk"
)

func TestWorkerLosesNothing(t *testing.T) {
	s := &workerServer{job: cyclone.Job{LastLine: 10}, line: 10, cut: func() int { return 1 + rand.IntN(12) }}
	w, wait := start(t, s)
	engine, err := w.Engine(t.Context())
	if err != nil || engine.RegistryMirror != "http://mirror.test" {
		t.Fatal(engine, err)
	}
	job, err := w.Job(t.Context())
	if err != nil || job.LastLine != 10 {
		t.Fatal(job, err)
	}
	const chunks, size = 120, 7
	for i := range int64(chunks) {
		if err := w.Append(t.Context(), chunkOf(t, 11+i*size, size)); err != nil {
			t.Fatal(err)
		}
		if i%10 == 9 {
			if err := w.Report(cyclone.Report{Version: fmt.Sprint("report ", i)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Finish(t.Context(), cyclone.Result{Status: cyclone.StatusSuccess, LastLine: 10 + chunks*size}); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if err := wait(); err != nil {
		t.Errorf("Run: %v", err)
	}
	texts := s.texts()
	if len(texts) != chunks*size {
		t.Fatalf("%d lines, want %d", len(texts), chunks*size)
	}
	for i, text := range texts {
		if want := fmt.Sprint("line ", 11+i); text != want {
			t.Fatalf("line %d is %q", 11+i, text)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.connections < 5 {
		t.Errorf("only %d connections: nothing was tried", s.connections)
	}
	if len(s.results) == 0 || len(s.reports) == 0 || s.reports[len(s.reports)-1].Version != fmt.Sprint("report ", chunks-1) {
		t.Errorf("%d results, reports %v", len(s.results), s.order)
	}
	for _, o := range s.order {
		var i, line int64
		if _, err := fmt.Sscanf(o, "report %d after line %d", &i, &line); err != nil || line < 10+(i+1)*size {
			t.Errorf("%s: the report came before its lines", o)
		}
	}
}

func TestWorkerKeepsTheLogWhileTheServerIsAway(t *testing.T) {
	var away sync.Mutex
	gone := true
	s := &workerServer{t: t, refuse: func() int {
		away.Lock()
		defer away.Unlock()
		if gone {
			return http.StatusServiceUnavailable
		}
		return 0
	}}
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	w, wait := connectWith(t, h.URL, func(w *client.Worker) { w.SetBounds(1<<20, 16<<20) })
	// More than what is kept in memory.
	text := strings.Repeat("0123456789abcdef", 4)
	random := rand.New(rand.NewPCG(1, 2))
	var n int64
	for size := 0; size < 3<<20; {
		lines := make([]cyclone.Line, 500)
		for i := range lines {
			n++
			b := []byte(text + text + text + text)
			for k := range b {
				b[k] = byte('!' + random.IntN(90))
			}
			lines[i] = cyclone.Line{N: n, Text: string(b)}
		}
		c, err := logchunk.Encode(lines)
		if err != nil {
			t.Fatal(err)
		}
		size += len(c.Data)
		if err := w.Append(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	away.Lock()
	gone = false
	away.Unlock()
	if _, err := w.Job(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.Finish(t.Context(), cyclone.Result{Status: cyclone.StatusSuccess}); err != nil {
		t.Fatal(err)
	}
	w.Close()
	_ = wait()
	if got := int64(len(s.texts())); got != n {
		t.Errorf("%d lines of %d", got, n)
	}
}

func TestWorkerEndsWithItsAttempt(t *testing.T) {
	for name, tt := range map[string]struct {
		code int
		want error
	}{"over": {http.StatusConflict, cyclone.ErrConflict}, "refused": {http.StatusUnauthorized, cyclone.ErrForbidden}} {
		t.Run(name, func(t *testing.T) {
			w, wait := start(t, &workerServer{refuse: func() int { return tt.code }})
			if _, err := w.Job(t.Context()); !errors.Is(err, tt.want) {
				t.Errorf("Job: %v", err)
			}
			if err := wait(); !errors.Is(err, tt.want) {
				t.Errorf("Run: %v", err)
			}
			if err := w.Append(t.Context(), chunkOf(t, 1, 1)); !errors.Is(err, tt.want) {
				t.Errorf("Append: %v", err)
			}
		})
	}
}

func TestWorkerIsFencedAndCanceled(t *testing.T) {
	s := &workerServer{}
	w, wait := start(t, s)
	if _, err := w.Job(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.send(s.conn, cyclone.ServerFrame{Cancel: &cyclone.Cancellation{Reason: "canceled by alice"}})
	s.mu.Unlock()
	if why := <-w.Canceled(); why.Reason != "canceled by alice" {
		t.Error(why)
	}
	s.mu.Lock()
	s.send(s.conn, cyclone.ServerFrame{Fenced: "attempt 2 has begun"})
	s.mu.Unlock()
	<-w.Done()
	if err := wait(); !errors.Is(err, cyclone.ErrConflict) || !strings.Contains(err.Error(), "attempt 2 has begun") {
		t.Error(err)
	}
}

func TestWorkerOverAUnixSocketWithHeartbeats(t *testing.T) {
	path := filepath.Join(t.TempDir(), "server.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &workerServer{t: t}
	h := httptest.NewUnstartedServer(s)
	_ = h.Listener.Close()
	h.Listener = l
	h.Start()
	t.Cleanup(h.Close)
	w, err := client.NewWorker("unix://"+path, "w1", "once")
	if err != nil {
		t.Fatal(err)
	}
	w.Heartbeat = 5 * time.Millisecond
	ctx, stop := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	if _, err := w.Job(t.Context()); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		beats := s.beats
		s.mu.Unlock()
		if beats >= 3 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no heartbeats")
		}
	}
	why := errors.New("enough")
	stop(why)
	if err := <-ended; !errors.Is(err, why) {
		t.Error(err)
	}
}

func TestWorkerURL(t *testing.T) {
	for _, bad := range []string{"", "ftp://x", "unix://", "unix://host/path", "http://", "http://user:secret@host", "://"} {
		_, err := client.NewWorker(bad, "w1", "once")
		if !errors.Is(err, cyclone.ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
