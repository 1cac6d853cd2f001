package mail_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/logchunk"
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

// A server that takes less gets beginning and end of the log, or nothing of it.
func TestServerTakesLess(t *testing.T) {
	lines := noise(65_000)
	log := stored(t, lines, 5000)
	for _, tt := range []struct {
		name  string
		limit int64
		says  bool // the server tells its limit beforehand
		file  string
		text  string
	}{
		{"excerpt after a refusal", 1_650_000, false, "orders-42-excerpt.log.gz", "its first 30074 and last 20000 are attached"},
		{"neither fits", 400 << 10, true, "", "larger than the mail server takes. All of it is behind the link"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			box := serve(t, nil, func(m *mailbox) {
				if tt.says {
					m.server.MaxMessageBytes = tt.limit
				}
				m.limit = tt.limit
			})
			if err := plain(box, log).Notify(t.Context(), project("a@example.com"), success()); err != nil {
				t.Fatal(err)
			}
			o := open(t, box.all()[0])
			words := strings.Join(strings.Fields(o.text), " ")
			if len(box.all()) != 1 || o.file != tt.file || !strings.Contains(words, tt.text) {
				t.Errorf("%d messages; attached %q; %s", len(box.all()), o.file, words)
			}
			if tt.file != "" {
				checkExcerpt(t, unzip(t, o.attached), lines)
			}
		})
	}
}

// checkExcerpt: the first lines, one that says what is missing, the last lines.
func checkExcerpt(t *testing.T, got []byte, lines []cyclone.Line) {
	t.Helper()
	all := strings.Split(strings.TrimSuffix(string(got), "\n"), "\n")
	mark := slices.IndexFunc(all, func(s string) bool { return strings.HasPrefix(s, "[cyclone] ") })
	if mark < 0 {
		t.Fatal("nothing says that lines are left out")
	}
	last := len(lines) - (len(all) - mark - 1)
	if want := fmt.Sprintf("[cyclone] %d lines are left out here, from line %d to %d", last-mark, mark+1, last); all[mark] != want {
		t.Errorf("the mark is %q, want %q", all[mark], want)
	}
	if string(text(lines[:mark]))+all[mark]+"\n"+string(text(lines[last:])) != string(got) {
		t.Error("what is attached is not the log's beginning and end")
	}
}

// endless is a log of a gibibyte that is made while it is read: one chunk over
// and over.
type endless struct {
	cyclone.LogStore
	chunk  cyclone.Chunk
	chunks int64
	read   int64
	heap   uint64 // the most that was held
}

func (l *endless) Last(context.Context, cyclone.EventID) (int64, error) {
	return l.chunks * l.chunk.Count, nil
}

func (l *endless) Chunks(_ context.Context, _ cyclone.EventID, from int64, limit int) ([]cyclone.Chunk, error) {
	if l.read++; l.read%16 == 0 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		l.heap = max(l.heap, m.HeapAlloc)
	}
	var found []cyclone.Chunk
	for i := (from - 1) / l.chunk.Count; i < l.chunks && len(found) < limit; i++ {
		c, err := logchunk.Renumber(l.chunk, i*l.chunk.Count+1)
		if err != nil {
			return nil, err
		}
		found = append(found, c)
	}
	return found, nil
}

// A log of a gibibyte is not read to its end, nor held in memory, and what is
// quoted of it is still the failing command's last lines.
func TestHugeLog(t *testing.T) {
	random := bytes.Repeat(text(noise(1000)), 2)
	for name, pad := range map[string]string{
		"it is much text": strings.Repeat("0123456789", 6000), // compresses to almost nothing
		"it is large":     strings.ReplaceAll(string(random[:60_000]), "\n", "/"),
	} {
		t.Run(name, func(t *testing.T) {
			lines := noise(max(3, 200_000/(len(pad)+40)))
			for i := range lines {
				lines[i].Text += pad
				lines[i].N = int64(i) + 1
				lines[i].Stage, lines[i].Step = cyclone.StageIntegration, "integration"
			}
			chunk, err := logchunk.Encode(lines)
			if err != nil {
				t.Fatal(err)
			}
			size := int64(len(text(lines)))
			l := &endless{chunk: chunk, chunks: 1 << 30 / size}
			box := serve(t, nil, nil)
			n := plain(box, l)
			n.Attach = 1 << 20
			if err := n.Notify(t.Context(), project("a@example.com"), failure()); err != nil {
				t.Fatal(err)
			}
			o := open(t, box.all()[0])
			if o.file != "orders-42-excerpt.log.gz" || len(box.all()[0].raw) > 4<<20 {
				t.Errorf("attached %q in a message of %d bytes", o.file, len(box.all()[0].raw))
			}
			if last := lines[len(lines)-1].Text[:30]; !strings.Contains(o.text, "| "+last) {
				t.Errorf("the last line, %s..., is not quoted", last)
			}
			if most := int64(30<<20) / size / 4; l.read > most {
				t.Errorf("%d calls read the log, want at most %d", l.read, most)
			}
			if l.heap > 48<<20 {
				t.Errorf("%d MiB were held", l.heap>>20)
			}
			t.Logf("%d calls, at most %d MiB held, message of %d KiB", l.read, l.heap>>20, len(box.all()[0].raw)>>10)
		})
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
