package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"

	"cyclone/pkg/cyclone"
)

// pipe is a named pipe through which a step and a test wait for each other.
func pipe(t *testing.T) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0) // either end alone would block
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// A restart in the middle of an event: the worker goes on without the server,
// comes back to the next one and brings what happened meanwhile.
func TestRestartWhileAnEventRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	orders, news := pipe(t), pipe(t)
	w.commit("caicloud.yml", fmt.Sprintf(`
pre_build:
  image: busybox:1
  commands:
    - echo before
    - read order <%[1]s
    - echo while the server is away; echo printed >%[2]s
    - read order <%[1]s
    - echo after
`, orders.Name(), news.Name()))
	first := w.start()
	first.create("hello")
	id := first.push("hello", hookSecret)
	viewer := follow(t, first, id)
	for l := viewer.line(); l.Text != "before"; l = viewer.line() {
	}
	worker := first.event(id).Worker

	stopUnder(t, first, viewer)
	tell(t, orders)
	hear(t, news)

	second := w.start()
	if second.stdout.String() != "" {
		t.Errorf("the second start printed %q", second.stdout.String())
	}
	tell(t, orders)
	var steps []string
	status, err := second.Follow(w.ctx, id, func(l cyclone.Line) {
		if l.Stream == cyclone.Stdout && !strings.HasPrefix(l.Text, "$ ") {
			steps = append(steps, l.Text)
		}
	})
	if err != nil || status != cyclone.StatusSuccess {
		t.Fatalf("%s, %v", status, err)
	}
	if diff := cmp.Diff([]string{"before", "while the server is away", "after"}, steps); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(worker, second.event(id).Worker); diff != "" {
		t.Errorf("another worker took over: %s", diff)
	}
	w.checkMail(second, id)
	w.checkGone(second.event(id))
}

func tell(t *testing.T, to *os.File) {
	t.Helper()
	if _, err := to.WriteString("go\n"); err != nil {
		t.Fatal(err)
	}
}

func hear(t *testing.T, from *os.File) {
	t.Helper()
	if err := from.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := from.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
}

// viewer follows a log frame by frame.
type viewer struct {
	t       *testing.T
	conn    *websocket.Conn
	waiting []cyclone.Line
}

func follow(t *testing.T, s *server, event string) *viewer {
	t.Helper()
	url := "ws" + strings.TrimPrefix(s.URL, "http") + "/api/v1/events/" + event + "/logs/stream"
	conn, answer, err := websocket.DefaultDialer.DialContext(t.Context(), url, http.Header{"Authorization": {"Bearer " + s.Token}})
	if err != nil {
		t.Fatalf("%v: %+v", err, answer)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetReadDeadline(time.Now().Add(2 * patience)); err != nil {
		t.Fatal(err)
	}
	return &viewer{t: t, conn: conn}
}

// line is the next final line.
func (v *viewer) line() cyclone.Line {
	v.t.Helper()
	for len(v.waiting) == 0 {
		var f struct {
			Type  string
			Lines json.RawMessage
		}
		if err := v.conn.ReadJSON(&f); err != nil {
			v.t.Fatal(err)
		}
		if f.Type != "lines" {
			continue
		}
		if err := json.Unmarshal(f.Lines, &v.waiting); err != nil {
			v.t.Fatal(err)
		}
	}
	l := v.waiting[0]
	v.waiting = v.waiting[1:]
	return l
}

// stopUnder stops a server while somebody follows a log: the viewer is told to
// come back, and nobody waits for the other.
func stopUnder(t *testing.T, s *server, v *viewer) {
	t.Helper()
	told := make(chan error, 1)
	go func() {
		for {
			if _, _, err := v.conn.ReadMessage(); err != nil {
				told <- err
				return
			}
		}
	}()
	began := time.Now()
	s.stop()
	if took := time.Since(began); took > drainTime/2 {
		t.Errorf("the server took %s to stop", took)
	}
	if err := <-told; !websocket.IsCloseError(err, websocket.CloseServiceRestart) {
		t.Errorf("the viewer was told %v; want close code 1012", err)
	}
}
