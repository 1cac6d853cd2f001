package main

import (
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

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
