package mail_test

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/notify/mail"
)

var update = flag.Bool("update", false, "write the golden files anew")

func when(seconds float64) *time.Time {
	t := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Add(time.Duration(seconds * float64(time.Second)))
	return &t
}

func project(recipients ...string) *cyclone.Project {
	return &cyclone.Project{Name: "orders", Notifications: cyclone.Notifications{Email: &cyclone.EmailNotification{Recipients: recipients}}}
}

func success() *cyclone.Event {
	return &cyclone.Event{
		ID: "01event", Project: "orders", Number: 42, Status: cyclone.StatusSuccess,
		Trigger: cyclone.Trigger{Kind: cyclone.KindPush, Actor: "alice"}, Ref: "refs/heads/main", Branch: "main", Version: "ci-3f2a1b9",
		Commit: cyclone.Commit{SHA: "3f2a1b9c0ffee3f2a1b9c0ffee3f2a1b9c0ffee0", Message: "Fix the thing\n\nBecause.", Author: "Alice <a@example.com>"},
		Image:  cyclone.Image{Name: "registry.example.com/acme/orders", Tag: "ci-3f2a1b9", Digest: "sha256:0123"},
		Stages: []cyclone.StageState{
			{Name: cyclone.StageClone, Status: cyclone.StatusSuccess, StartedAt: when(0), FinishedAt: when(1.25)},
			{Name: cyclone.StageBuild, Status: cyclone.StatusSuccess, StartedAt: when(2), FinishedAt: when(93)},
			{Name: cyclone.StageIntegration, Status: cyclone.StatusSkipped},
			{Name: cyclone.StageDeploy, Status: cyclone.StatusSuccess, StartedAt: when(94), FinishedAt: when(100)},
		},
		Deployments: []cyclone.Deployment{{
			Cluster: "prod", Namespace: "shop", Deployment: "orders", Containers: []string{"web", "job"}, Status: cyclone.StatusSuccess,
			PreviousImage: "registry.example.com/acme/orders@sha256:0000", Image: "registry.example.com/acme/orders@sha256:0123",
		}},
		StartedAt: when(0), FinishedAt: when(101),
	}
}

func failure() *cyclone.Event {
	e := success()
	e.Status, e.Reason = cyclone.StatusFailure, `integration failed: command 2 "go test ./..." exited with 1`
	e.PullRequest = &cyclone.PullRequest{Number: 7, Title: "Größer & <b>besser</b> 修复", SourceBranch: "fix", TargetBranch: "main"}
	e.Trigger = cyclone.Trigger{Kind: cyclone.KindPullRequest, Actor: "<script>alert(1)</script>"}
	e.Deployments, e.Image = nil, cyclone.Image{}
	e.Stages[2] = cyclone.StageState{
		Name: cyclone.StageIntegration, Status: cyclone.StatusFailure, StartedAt: when(94), FinishedAt: when(99),
		Steps: []cyclone.StepState{{Name: "integration", Error: `command 2 "go test ./..." exited with 1`}},
	}
	e.Stages = e.Stages[:3]
	e.Error = &cyclone.Failure{Stage: cyclone.StageIntegration, Step: "integration", Command: "go test ./...", ExitCode: 1, Message: "exited with 1"}
	return e
}

func failureLog() []cyclone.Line {
	line := func(step string, stream cyclone.Stream, text string) cyclone.Line {
		return cyclone.Line{Time: *when(1), Stage: cyclone.StageIntegration, Step: step, Stream: stream, Text: text}
	}
	lines := []cyclone.Line{line("integration", cyclone.System, "$ go vet ./..."), line("integration", cyclone.Stdout, "of the command before")}
	lines = append(lines, line("integration", cyclone.System, "$ go test ./..."))
	for i := range 35 {
		lines = append(lines, line("integration", cyclone.Stdout, fmt.Sprintf("test line %d", i+1)), line("integration/pg", cyclone.Stderr, "of the service"))
	}
	return append(lines, line("integration", cyclone.Stderr, "\x1b[31m--- FAIL: <Test> & \"co\"\x1b[0m\x07"))
}

// plain is a notifier to a server without TLS.
func plain(m *mailbox, l cyclone.LogStore) *mail.Notifier {
	return &mail.Notifier{
		Host: "127.0.0.1", Port: m.port, From: "Cyclone CI <ci@example.com>", Security: mail.None, Logs: l,
		EventURL: func(e *cyclone.Event) string { return "https://ci.example.com/events/" + string(e.ID) },
		Log:      slog.New(slog.DiscardHandler),
	}
}

func TestGolden(t *testing.T) {
	tagged := success()
	tagged.Tag, tagged.Branch, tagged.Trigger.Kind = "v1.2.3", "", cyclone.KindTag
	tagged.Status, tagged.Reason, tagged.Stages, tagged.Deployments = cyclone.StatusSkipped, "[skip ci] in the commit message", nil, nil
	for name, tt := range map[string]struct {
		event *cyclone.Event
		lines []cyclone.Line
	}{
		"success": {success(), []cyclone.Line{{Time: *when(0), Stage: cyclone.StageClone, Step: "clone", Stream: cyclone.System, Text: "Cloning"}}},
		"failure": {failure(), failureLog()},
		"skipped": {tagged, nil},
		"found":   {found(), []cyclone.Line{{Time: *when(0), Stage: cyclone.StageClone, Step: "clone", Stream: cyclone.System, Text: "Cloning"}}},
	} {
		t.Run(name, func(t *testing.T) {
			box := serve(t, nil, nil)
			if err := plain(box, stored(t, tt.lines, 7)).Notify(t.Context(), project("dev@example.com"), tt.event); err != nil {
				t.Fatal(err)
			}
			got := box.all()
			if len(got) != 1 {
				t.Fatalf("%d messages arrived", len(got))
			}
			o := open(t, got[0])
			golden(t, name+".subject", o.subject+"\n")
			golden(t, name+".txt", strings.ReplaceAll(o.text, "\r\n", "\n"))
			golden(t, name+".html", strings.ReplaceAll(o.html, "\r\n", "\n"))
			if o.longest > 998 {
				t.Errorf("a line of %d bytes: servers refuse it", o.longest)
			}
			if (o.file != "") != (len(tt.lines) > 0) {
				t.Errorf("attached %q to an event with %d lines", o.file, len(tt.lines))
			}
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func TestSecurity(t *testing.T) {
	withTLS, trusting := certificate(t)
	implicit := func(*mailbox) {}
	starttls := func(m *mailbox) { m.server.TLSConfig = withTLS }
	insecure := func(m *mailbox) { m.server.AllowInsecureAuth = true }
	login := func(m *mailbox) { m.server.AllowInsecureAuth = true; m.accepts = []string{sasl.Login} }
	other := func(m *mailbox) { m.server.AllowInsecureAuth = true; m.accepts = []string{"XOAUTH2"} }
	tests := []struct {
		name     string
		setup    func(*mailbox)
		listener *tls.Config
		security mail.Security
		user     string
		password string
		trust    *tls.Config
		login    string
		want     error
		says     string
	}{
		{"starttls", starttls, nil, mail.STARTTLS, "ci", password, trusting, "PLAIN ci", nil, ""},
		{"default is starttls", starttls, nil, "", "ci", password, trusting, "PLAIN ci", nil, ""},
		{"starttls, unknown certificate", starttls, nil, mail.STARTTLS, "ci", password, nil, "", errAny, "certificate"},
		{"starttls not offered", insecure, nil, mail.STARTTLS, "ci", password, trusting, "", cyclone.ErrUnavailable, "STARTTLS"},
		{"tls", implicit, withTLS, mail.TLS, "ci", password, trusting, "PLAIN ci", nil, ""},
		{"tls, unknown certificate", implicit, withTLS, mail.TLS, "ci", password, nil, "", errAny, "certificate"},
		{"none", nil, nil, mail.None, "", "", nil, "", nil, ""},
		{"none with login", insecure, nil, mail.None, "ci", password, nil, "PLAIN ci", nil, ""},
		{"login mechanism", login, nil, mail.None, "ci", password, nil, "LOGIN ci", nil, ""},
		{"unknown mechanism", other, nil, mail.None, "ci", password, nil, "", cyclone.ErrUnavailable, "XOAUTH2"},
		{"wrong password", starttls, nil, mail.STARTTLS, "ci", "nope", trusting, "", cyclone.ErrUnavailable, "login of ci"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			box := serve(t, tt.listener, tt.setup)
			n := plain(box, &logs{})
			n.Security, n.Username, n.Password, n.TLSConfig = tt.security, tt.user, tt.password, tt.trust
			err := n.Notify(t.Context(), project("dev@example.com"), success())
			if tt.want == nil && err != nil || tt.want != nil && (err == nil || !errors.Is(err, tt.want) && tt.want != errAny || !strings.Contains(err.Error(), tt.says)) {
				t.Errorf("got %v, want %v with %q", err, tt.want, tt.says)
			}
			if err != nil && strings.Contains(err.Error(), password) {
				t.Error("the password is in the error")
			}
			if logins := strings.Join(box.logins, ","); logins != tt.login {
				t.Errorf("logins %q, want %q", logins, tt.login)
			}
			if arrived := len(box.all()) == 1; arrived != (tt.want == nil) {
				t.Errorf("%d messages arrived", len(box.all()))
			}
		})
	}
}

var errAny = errors.New("any error")

func TestRecipients(t *testing.T) {
	box := serve(t, nil, func(m *mailbox) {
		m.refuse["gone@example.com"] = &smtp.SMTPError{Code: 550, Message: "no such user"}
		m.refuse["busy@example.com"] = &smtp.SMTPError{Code: 451, Message: "try later"}
	})
	n, e := plain(box, &logs{}), success()
	p := project("a@example.com", "gone@example.com", "not an address", "Bob B. <b@example.com>", " a@example.com ", "", "busy@example.com", "last@example.com")
	err := n.Notify(t.Context(), p, e)
	if err == nil || !strings.Contains(err.Error(), "busy@example.com") {
		t.Errorf("the first try: %v", err)
	}
	if n := len(box.all()); n != 3 {
		t.Errorf("%d messages arrived at the first try, want 3: one busy mailbox is no reason for the others to wait", n)
	}
	box.mu.Lock()
	delete(box.refuse, "busy@example.com")
	box.mu.Unlock()
	if err := n.Notify(t.Context(), p, e); err != nil {
		t.Errorf("the second try: %v", err)
	}
	if err := n.Notify(t.Context(), p, e); err != nil {
		t.Errorf("the third try: %v", err)
	}
	var got []string
	ids := map[string]bool{}
	for _, m := range box.all() {
		got = append(got, m.to)
		ids[open(t, m).header.Get("Message-ID")] = true
	}
	want := []string{"a@example.com", "b@example.com", "busy@example.com", "last@example.com"}
	if diff := cmp.Diff(want, got, cmp.Transformer("sorted", sorted)); diff != "" {
		t.Errorf("recipients (-want +got):\n%s", diff)
	}
	if len(ids) != len(want) {
		t.Errorf("%d message ids for %d recipients", len(ids), len(want))
	}
	// After a restart nothing is remembered, but the ids are the same.
	again := plain(box, &logs{})
	if err := again.Notify(t.Context(), project("a@example.com"), e); err != nil {
		t.Fatal(err)
	}
	if id := open(t, box.all()[len(want)]).header.Get("Message-ID"); !ids[id] {
		t.Errorf("a new message id %s for the same event and recipient", id)
	}
	if err := again.Notify(t.Context(), &cyclone.Project{}, e); err != nil {
		t.Errorf("a project that tells nobody: %v", err)
	}
}

func sorted(list []string) map[string]int {
	count := map[string]int{}
	for _, s := range list {
		count[s]++
	}
	return count
}

// A commit's message and author are anybody's: no header may come of them.
func TestHeadersAreSafe(t *testing.T) {
	box := serve(t, nil, nil)
	e := success()
	e.Branch = "main\r\nBcc: eve@example.com"
	e.Commit.Message = "Subject\x00\r\n\r\nbody " + strings.Repeat("x", 2000)
	e.PullRequest = &cyclone.PullRequest{Title: "fix\r\nX-Evil: yes\r\n\r\n<b>\u202egnp.exe " + strings.Repeat("y", 3000), Number: 1}
	n := plain(box, &logs{})
	n.From = "\"C\\\"y, clone: ü\" <ci@example.com>"
	if err := n.Notify(t.Context(), project("dev@example.com"), e); err != nil {
		t.Fatal(err)
	}
	o := open(t, box.all()[0])
	if o.header.Get("Bcc") != "" || o.header.Get("X-Evil") != "" || o.segments != 2 {
		t.Errorf("a header was made: %v", o.header)
	}
	if o.longest > 998 || strings.ContainsAny(o.subject, "\r\n\x00\u202e") {
		t.Errorf("subject %q, longest line %d", o.subject, o.longest)
	}
	for _, m := range box.all() {
		if m.to != "dev@example.com" || m.from != "ci@example.com" {
			t.Errorf("a message from %s to %s", m.from, m.to)
		}
	}
}

// What a server refuses for good is not tried again, and says so by its kind;
// everything else is, whoever else got the message.
func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answers map[string]int // by recipient
		data    int            // of the message itself
		from    int            // of the sender
		want    error          // of the first try; nil for success
		arrived int
	}{
		{"no such user", map[string]int{"a@example.com": 550}, 0, 0, cyclone.ErrForbidden, 1},
		{"no such users", map[string]int{"a@example.com": 550, "b@example.com": 553}, 0, 0, cyclone.ErrForbidden, 0},
		{"relaying denied", map[string]int{"a@example.com": 554}, 0, 0, cyclone.ErrForbidden, 1},
		{"mailbox full", map[string]int{"a@example.com": 552}, 0, 0, errAny, 1},
		{"greylisted", map[string]int{"a@example.com": 450}, 0, 0, errAny, 1},
		{"one never, one later", map[string]int{"a@example.com": 550, "b@example.com": 451}, 0, 0, errAny, 0},
		{"spam", nil, 554, 0, cyclone.ErrForbidden, 0},
		{"out of disk", nil, 452, 0, errAny, 0},
		{"sender refused", nil, 0, 550, cyclone.ErrForbidden, 0},
		{"login wanted", nil, 0, 530, cyclone.ErrUnavailable, 0},
		{"busy", nil, 0, 421, errAny, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			box := serve(t, nil, func(m *mailbox) {
				for to, code := range tt.answers {
					m.refuse[to] = &smtp.SMTPError{Code: code, Message: "says the server"}
				}
				if tt.data != 0 {
					m.refuseData = &smtp.SMTPError{Code: tt.data, Message: "says the server"}
				}
				if tt.from != 0 {
					m.refuseFrom = &smtp.SMTPError{Code: tt.from, Message: "says the server"}
				}
			})
			n, p := plain(box, &logs{}), project("a@example.com", "b@example.com")
			err := n.Notify(t.Context(), p, success())
			if err == nil || tt.want != errAny && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), "says the server") {
				t.Errorf("%v, want %v with what the server said", err, tt.want)
			}
			forGood := errors.Is(err, cyclone.ErrForbidden) || errors.Is(err, cyclone.ErrInvalid)
			if forGood != (tt.want == cyclone.ErrForbidden) {
				t.Errorf("%v is for good: %v", err, forGood)
			}
			if len(box.all()) != tt.arrived {
				t.Errorf("%d messages arrived, want %d", len(box.all()), tt.arrived)
			}
			box.mu.Lock()
			box.refuse, box.refuseData, box.refuseFrom = nil, nil, nil
			box.mu.Unlock()
			if err := n.Notify(t.Context(), p, success()); err != nil {
				t.Errorf("the second try: %v", err)
			}
			told := map[string]int{}
			for _, m := range box.all() {
				told[m.to]++
			}
			for _, to := range []string{"a@example.com", "b@example.com"} {
				refused := tt.want == cyclone.ErrForbidden && (tt.answers == nil || tt.answers[to] != 0) || tt.answers[to] == 550
				if want := map[bool]int{false: 1}[refused]; told[to] != want {
					t.Errorf("%s was told %d times, want %d", to, told[to], want)
				}
			}
		})
	}
}

// A server that ends the connection at a refusal has not told the others yet.
func TestRefusedAndClosed(t *testing.T) {
	box := serve(t, nil, func(m *mailbox) {
		m.refuse["a@example.com"] = &smtp.SMTPError{Code: 550, Message: "no such user"}
		m.hangUp = true
	})
	n, p := plain(box, &logs{}), project("a@example.com", "b@example.com")
	if err := n.Notify(t.Context(), p, success()); !errors.Is(err, cyclone.ErrUnavailable) || errors.Is(err, cyclone.ErrForbidden) {
		t.Errorf("%v; somebody is still to be told", err)
	}
	if err := n.Notify(t.Context(), p, success()); err != nil || len(box.all()) != 1 {
		t.Errorf("%v, %d messages", err, len(box.all()))
	}
}
