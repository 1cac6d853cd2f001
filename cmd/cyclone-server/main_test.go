package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest"
	"cyclone/pkg/cyclonetest/lab"
)

// sha is the commit of push_branch.body.
const sha = "0d1a26e67d8f5eaf1f6ba5c57fc3c7d91ac0fd1c"

const fiveStages = `
pre_build:
  image: golang:1.26
  volumes: [".:/root/hello"]
  secrets: {KEY: deploy-key}
  commands:
    - echo "compiling $CYCLONE_COMMIT_SHORT_SHA of $CYCLONE_BRANCH with $KEY"
    - echo compiled >publish/hello
build:
  context_dir: publish
  dockerfile_name: Dockerfile_publish
integration:
  services:
    postgres:
      image: postgres:17
  links: [postgres]
  commands:
    - grep -x compiled publish/hello
post_build:
  image: busybox:1
  commands:
    - echo "$CYCLONE_IMAGE is published"
deploy:
  - cluster: production
    namespace: shop
    deployment: hello
    containers: [web]
`

// The whole system: a signed push of GitHub's becomes an event, a worker
// process handles it in five stages, its log is followed from the first line
// on, the mail arrives with the complete log, and nothing is left.
func TestFromPushToMail(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.commit("caicloud.yml", fiveStages)
	w.commit("publish/Dockerfile_publish", "FROM scratch\n")
	s := w.start()
	s.call("GET", "/readyz", nil, nil)
	s.create("hello")
	s.call("PUT", "/api/v1/projects/hello/secrets/deploy-key", map[string]any{"value": "hush-hush-9"}, nil)
	s.call("POST", "/api/v1/clusters", map[string]any{"name": "production", "host": "https://10.0.0.1:6443", "token": "cluster-token-7"}, nil)

	id := s.push("hello", hookSecret)
	var lines []string
	status, err := s.Follow(w.ctx, id, func(l cyclone.Line) { lines = append(lines, string(l.Stage)+"| "+l.Text) })
	if err != nil {
		t.Fatalf("%v after\n%s", err, strings.Join(lines, "\n"))
	}
	e := s.event(id)
	if status != cyclone.StatusSuccess || e.Status != status {
		t.Fatalf("the stream ended with %s, the event is %s: %s\n%s", status, e.Status, e.Reason, strings.Join(lines, "\n"))
	}
	for _, want := range []string{
		"clone| HEAD is now at " + sha, "pre_build| compiling 0d1a26e of master with ******", "build| #1 built registry.example.com/team/hello:ci-0d1a26e",
		"integration| database system is ready to accept connections", "integration| compiled",
		"post_build| registry.example.com/team/hello:ci-0d1a26e is published", "deploy| Deployment hello has rolled out",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("the log lacks %q:\n%s", want, strings.Join(lines, "\n"))
		}
	}
	checkOutcome(t, e, len(lines))
	w.checkMail(s, id)
	w.checkGone(e)
	if all := strings.Join(lines, "\n") + s.stdout.String() + s.stderr.String(); strings.Contains(all, "hush-hush") || strings.Contains(all, "cluster-token") {
		t.Error("a secret is shown")
	}
}

func checkOutcome(t *testing.T, e cyclone.Event, lines int) {
	t.Helper()
	var stages []string
	for _, s := range e.Stages {
		stages = append(stages, string(s.Name)+" "+string(s.Status))
	}
	want := []string{"clone success", "pre_build success", "build success", "integration success", "post_build success", "deploy success"}
	if diff := cmp.Diff(want, stages); diff != "" {
		t.Error(diff)
	}
	image := cyclone.Image{Name: "registry.example.com/team/hello", Tag: "ci-0d1a26e", Digest: cyclonetest.Digest}
	if diff := cmp.Diff(image, e.Image); diff != "" {
		t.Error(diff)
	}
	if e.Number != 1 || e.Trigger.Kind != cyclone.KindPush || e.Trigger.Actor != "Codertocat" || e.Commit.SHA != sha || e.Worker.Attempt != 1 || e.LogLines != int64(lines) {
		t.Errorf("event %+v, %d lines", e, lines)
	}
	if len(e.Deployments) != 1 || e.Deployments[0].Image != image.Name+"@"+image.Digest || e.Deployments[0].Status != cyclone.StatusSuccess {
		t.Errorf("deployments %+v", e.Deployments)
	}
}

// checkMail waits for both recipients' mails and compares the attached log with
// the stored one.
func (w *world) checkMail(s *server, id string) {
	w.t.Helper()
	var log []byte
	s.call("GET", "/api/v1/events/"+id+"/logs", nil, &log)
	if _, err := w.mail.Wait(w.ctx, "hello"); err != nil {
		w.t.Fatal(err)
	}
	eventually(w.t, "both recipients have their mail", func() bool { return len(w.mail.Messages("hello")) == 2 })
	var to []string
	for _, m := range w.mail.Messages("hello") {
		to = append(to, m.To...)
		kind, params, err := mime.ParseMediaType(m.Mail.Header.Get("Content-Type"))
		if err != nil || kind != "multipart/mixed" {
			w.t.Fatalf("mail of type %s, %v", kind, err)
		}
		attached := attachment(w.t, m, params["boundary"])
		if diff := cmp.Diff(string(log), strings.ReplaceAll(attached, "\r\n", "\n")); diff != "" {
			w.t.Errorf("the attached log: %s", diff)
		}
		if !strings.Contains(m.Subject(), "success") {
			w.t.Errorf("subject %q", m.Subject())
		}
	}
	slices.Sort(to)
	if diff := cmp.Diff([]string{"dev@example.com", "ops@example.com"}, to); diff != "" {
		w.t.Error(diff)
	}
}

func attachment(t *testing.T, m lab.Message, boundary string) string {
	t.Helper()
	for parts := multipart.NewReader(strings.NewReader(string(m.Body)), boundary); ; {
		part, err := parts.NextPart()
		if err != nil {
			t.Fatalf("the mail has no attachment: %v", err)
		}
		if part.FileName() == "" {
			continue
		}
		text, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, part))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
}

// checkGone waits until an event's worker is gone with all it had, and the
// engine was searched for what it may have left there.
func (w *world) checkGone(e cyclone.Event) {
	w.t.Helper()
	eventually(w.t, "the worker is gone", func() bool {
		left, err := os.ReadDir(filepath.Join(w.data, "workers"))
		return err == nil && len(left) == 0
	})
	if !w.engine.looked(cyclone.LabelWorker + "=" + string(e.Worker.ID)) {
		w.t.Error("nobody looked for what the worker left on the engine")
	}
}

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

// With --workers 0 events are accepted and wait, also past a restart, until a
// server may run them; it is ready although it could start no worker.
func TestWithoutWorkersEventsWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.commit("caicloud.yml", "pre_build:\n  image: busybox:1\n  commands: [echo at last]\n")
	queueing := w.start("WORKERS=0", "WORKER_BINARY="+filepath.Join(t.TempDir(), "missing"))
	queueing.create("hello")
	id := queueing.push("hello", hookSecret)
	queueing.call("GET", "/readyz", nil, nil)
	waiting := follow(t, queueing, id)
	stopUnder(t, queueing, waiting)

	stuck := w.start("WORKER_BINARY=" + filepath.Join(t.TempDir(), "missing"))
	if err := stuck.Call(w.ctx, "GET", "/readyz", nil, nil); err == nil || !strings.Contains(err.Error(), "there is no program") {
		t.Errorf("readiness of a server that cannot start workers: %v", err)
	}
	eventually(t, "the log says that events wait", func() bool { return strings.Contains(stuck.stderr.String(), "events wait for it") })
	if e := stuck.event(id); e.Status != cyclone.StatusPending || e.Worker.Attempt != 0 {
		t.Errorf("event %+v", e)
	}
	stuck.stop()

	working := w.start()
	if status, err := working.Follow(w.ctx, id, func(cyclone.Line) {}); err != nil || status != cyclone.StatusSuccess {
		t.Errorf("%s, %v", status, err)
	}
	w.checkGone(working.event(id))
}

// A delivery with a wrong signature is refused, whatever it says.
func TestForgedDelivery(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start("WORKERS=0")
	s.create("hello")
	_, err := s.Deliver(w.ctx, "hello", "another secret", "push", lab.Push("https://github.com/Codertocat/Hello-World.git", "master", sha, "Forged"))
	if err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("answer %v", err)
	}
	var events cyclone.List[cyclone.Event]
	s.call("GET", "/api/v1/events", nil, &events)
	if events.Total != 0 {
		t.Errorf("%d events", events.Total)
	}
	stranger := lab.Server{URL: s.URL, Token: "cyc_guessed"}
	if err := stranger.Call(w.ctx, "GET", "/api/v1/events", nil, nil); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("a stranger was answered %v", err)
	}
}
