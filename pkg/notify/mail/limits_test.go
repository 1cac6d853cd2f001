package mail_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
)

// noise is text that does not compress well.
func noise(n int) []cyclone.Line {
	random := rand.New(rand.NewPCG(1, 2))
	lines := make([]cyclone.Line, n)
	for i := range lines {
		lines[i] = cyclone.Line{Time: *when(1), Stage: cyclone.StageBuild, Step: "build", Stream: cyclone.Stdout, Text: fmt.Sprintf(".%x %x", random.Uint64(), random.Uint64())}
	}
	return lines
}

func text(lines []cyclone.Line) []byte {
	var b bytes.Buffer
	for _, l := range lines {
		b.WriteString(l.Text + "\n")
	}
	return b.Bytes()
}

func TestAttachedLog(t *testing.T) {
	for _, tt := range []struct {
		name       string
		lines, pad int
		file, kind string
	}{
		{"small", 500, 0, "orders-42.log", "text/plain"},
		{"large", 3500, 100, "orders-42.log.gz", "application/gzip"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			box := serve(t, nil, nil)
			lines := noise(tt.lines)
			for i := range lines {
				lines[i].Text += strings.Repeat(" ok", tt.pad)
			}
			if err := plain(box, stored(t, lines, 300)).Notify(t.Context(), project("a@example.com", "b@example.com"), success()); err != nil {
				t.Fatal(err)
			}
			if len(box.all()) != 2 {
				t.Fatalf("%d messages arrived", len(box.all()))
			}
			for _, m := range box.all() {
				o := open(t, m)
				if o.file != tt.file || o.kind != tt.kind {
					t.Errorf("attached %q as %s", o.file, o.kind)
				}
				if tt.kind == "application/gzip" {
					o.attached = unzip(t, o.attached)
				}
				if !bytes.Equal(o.attached, text(lines)) {
					t.Errorf("the attached log of %d bytes is not the log of %d", len(o.attached), len(text(lines)))
				}
			}
		})
	}
}

func TestServerTakesLess(t *testing.T) {
	box := serve(t, nil, func(m *mailbox) { m.server.MaxMessageBytes = 400 << 10 })
	if err := plain(box, stored(t, noise(32_000), 5000)).Notify(t.Context(), project("a@example.com"), success()); err != nil {
		t.Fatal(err)
	}
	o := open(t, box.all()[0])
	if o.file != "" || !strings.Contains(o.text, "larger than the mail server takes") {
		t.Errorf("attached %q; %s", o.file, o.text)
	}
}

// A log that cannot be read to its end must not make half a message, neither
// when it is looked through first nor while it is sent.
func TestLogBreaks(t *testing.T) {
	for _, good := range []int{1, 12} { // 32 chunks are read with nine calls
		box := serve(t, nil, nil)
		l := stored(t, noise(32_000), 1000)
		l.broken, l.good = errors.New("store is away"), good
		err := plain(box, l).Notify(t.Context(), project("a@example.com", "b@example.com"), success())
		if !errors.Is(err, l.broken) || len(box.all()) != 0 {
			t.Errorf("%v; %d messages arrived", err, len(box.all()))
		}
	}
}

func TestServerAway(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &mailbox{port: l.Addr().(*net.TCPAddr).Port}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	err = plain(m, &logs{}).Notify(t.Context(), project("a@example.com"), success())
	if !errors.Is(err, cyclone.ErrUnavailable) || !strings.Contains(err.Error(), "127.0.0.1") {
		t.Error(err)
	}
}

// A server that takes the connection and then says nothing holds nobody up.
func TestServerHangs(t *testing.T) {
	for name, greeting := range map[string]string{"at once": "", "after the greeting": "220 hello\r\n"} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			accepted := make(chan net.Conn, 1)
			go func() {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = conn.Write([]byte(greeting))
				accepted <- conn
			}()
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			begin := time.Now()
			err = plain(&mailbox{port: l.Addr().(*net.TCPAddr).Port}, &logs{}).Notify(ctx, project("a@example.com"), success())
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) > 10*time.Second {
				t.Errorf("%v after %s", err, time.Since(begin))
			}
			_ = (<-accepted).Close()
		})
	}
}
