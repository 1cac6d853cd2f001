//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/kubetest"
	"cyclone/pkg/cyclonetest/lab"
)

// One system and one cluster serve all tests; each test has a project of its own.
var (
	system  *lab.System
	cluster *kubetest.Cluster
)

func TestMain(m *testing.M) {
	os.Exit(withSystem(m))
}

func withSystem(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	var err error
	if cluster, err = startCluster(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer cluster.Stop()
	system, err = lab.StartSystem(ctx, lab.SystemOptions{
		Bin: os.Getenv("CYCLONE_E2E_BIN"), Cache: os.Getenv("CYCLONE_E2E_CACHE"), Images: lab.BaseImages,
		Say: func(format string, args ...any) { fmt.Printf(format+"\n", args...) },
	})
	defer func() { _ = system.Stop() }()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if code != 0 {
		fmt.Fprintf(os.Stderr, "the server's log:\n%s\n", system.Server.Log())
	}
	return code
}

func startCluster(ctx context.Context) (*kubetest.Cluster, error) {
	bridge, err := lab.BridgeAddress(ctx)
	if err != nil {
		return nil, err
	}
	return kubetest.Start(ctx, kubetest.Options{BindAddress: bridge, Binary: os.Getenv("CYCLONE_E2E_KUBEAPI")})
}

var projects atomic.Int64

// project is a repository with a Cyclone project of its own.
type project struct {
	t      *testing.T
	ctx    context.Context
	server *lab.Server
	name   string
	secret string
	url    string
	sha    string
	// source is the repository's name on the git server; the project's own
	// where it is empty.
	source   string
	mailless bool // nobody is mailed
}

// newProject commits files to a new repository and registers it. With folds
// further fields into the project.
func newProject(t *testing.T, files map[string]string, with map[string]any) *project {
	t.Helper()
	return newProjectOn(t, system.Server, files, with)
}

func newProjectOn(t *testing.T, server *lab.Server, files map[string]string, with map[string]any) *project {
	t.Helper()
	p := newUnconnected(t)
	p.server = server
	content := map[string][]byte{}
	for path, text := range files {
		content[path] = []byte(text)
	}
	var err error
	if p.sha, err = system.Git.Commit(p.ctx, p.name, "main", "Change "+t.Name(), content); err != nil {
		t.Fatal(err)
	}
	p.url = system.Git.URL(p.name)
	p.register(with)
	return p
}

// newUnconnected is a project of the system's server without a repository yet.
func newUnconnected(t *testing.T) *project {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	return &project{t: t, ctx: ctx, server: system.Server, name: fmt.Sprintf("p%d", projects.Add(1))}
}

func (p *project) register(with map[string]any) {
	p.t.Helper()
	body := map[string]any{
		"name": p.name, "repository": map[string]any{"type": "github", "url": p.url},
		"notifications": map[string]any{"email": map[string]any{"recipients": []string{p.name + "@example.com"}}},
	}
	for field, value := range with {
		body[field] = value
	}
	var made struct{ WebhookSecret string }
	p.call("POST", "/api/v1/projects", body, &made)
	p.secret = made.WebhookSecret
}

func (p *project) call(method, path string, in, out any) {
	p.t.Helper()
	if err := p.server.Call(p.ctx, method, path, in, out); err != nil {
		p.t.Fatal(err)
	}
}

// push delivers a signed push of the project's commit and returns the event's id.
func (p *project) push() string {
	p.t.Helper()
	return p.deliver("push", lab.Push(p.url, "main", p.sha, "Change "+p.t.Name()))
}

func (p *project) deliver(kind string, payload any) string {
	p.t.Helper()
	answer, err := p.server.Deliver(p.ctx, p.name, p.secret, kind, payload)
	if err != nil {
		p.t.Fatal(err)
	}
	if len(answer.Events) != 1 {
		p.t.Fatalf("the delivery made %d events: %s", len(answer.Events), answer.Ignored)
	}
	return answer.Events[0]
}

// outcome is an event that is over, with its whole log as a viewer saw it.
type outcome struct {
	cyclone.Event
	lines []cyclone.Line
}

// text is the log without numbers.
func (o *outcome) text() string {
	var b strings.Builder
	for _, l := range o.lines {
		b.WriteString(l.Text + "\n")
	}
	return b.String()
}

// finish follows the event to its end and checks what holds for every event:
// the log is complete, a mail went out, and nothing is left on the machine.
func (p *project) finish(id string, each func(cyclone.Line)) *outcome {
	p.t.Helper()
	o := &outcome{}
	status, err := p.server.Follow(p.ctx, id, func(l cyclone.Line) {
		o.lines = append(o.lines, l)
		if each != nil {
			each(l)
		}
	})
	if err != nil {
		p.t.Fatalf("%v; the log so far:\n%s", err, o.text())
	}
	p.call("GET", "/api/v1/events/"+id, nil, &o.Event)
	if o.Status != status || !status.Final() {
		p.t.Errorf("the event is %s, the stream ended with %s", o.Status, status)
	}
	p.checkLog(o)
	p.checkMail(o)
	p.checkGone(id)
	return o
}

func (p *project) checkLog(o *outcome) {
	p.t.Helper()
	var stored []byte
	p.call("GET", "/api/v1/events/"+string(o.ID)+"/logs", nil, &stored)
	if string(stored) != o.text() {
		p.t.Errorf("the stored log differs from what the viewer saw:\n%s\n-- viewer:\n%s", stored, o.text())
	}
	if o.LogLines != int64(len(o.lines)) {
		p.t.Errorf("the event has %d log lines, the viewer saw %d", o.LogLines, len(o.lines))
	}
}

func (p *project) checkMail(o *outcome) {
	p.t.Helper()
	if p.mailless {
		return
	}
	subject := fmt.Sprintf("%s #%d %s", p.name, o.Number, o.Status)
	mail, err := system.Mail.Wait(p.ctx, subject)
	if err != nil {
		p.t.Fatal(err)
	}
	if want := p.name + "@example.com"; len(mail.To) != 1 || mail.To[0] != want {
		p.t.Errorf("the mail went to %v, not to %s", mail.To, want)
	}
	if all := system.Mail.Messages(subject); len(all) != 1 {
		p.t.Errorf("%d mails about one event", len(all))
	}
}

// checkGone waits for the release of the worker, which follows the result.
func (p *project) checkGone(id string) {
	p.t.Helper()
	if err := lab.Gone(p.ctx, id); err != nil {
		p.t.Fatal(err)
	}
}

// in is what a stage became.
func (o *outcome) in(stage cyclone.Stage) cyclone.StageState {
	for _, s := range o.Stages {
		if s.Name == stage {
			return s
		}
	}
	return cyclone.StageState{}
}
