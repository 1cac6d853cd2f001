package worker_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/logchunk"
	"cyclone/pkg/worker"
)

// split sends pieces through the log pipeline and returns the lines.
func split(t testing.TB, secrets []string, pieces ...string) []string {
	t.Helper()
	s := &server{}
	j := worker.NewJournal(s, 0, secrets)
	out, end := j.Output(cyclone.StageBuild, "build")
	for _, p := range pieces {
		out.Write(cyclone.Stdout, []byte(p))
	}
	end()
	if err := j.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	var texts []string
	for i, l := range s.lines {
		if l.N != int64(i)+1 {
			t.Errorf("line %d has number %d", i+1, l.N)
		}
		texts = append(texts, l.Text)
	}
	return texts
}

func TestSplit(t *testing.T) {
	long := strings.Repeat("x", worker.MaxLine)
	tests := []struct {
		name   string
		pieces []string
		want   []string
	}{
		{"lines", []string{"a\nb\n\nc"}, []string{"a", "b", "", "c"}},
		{"cut anywhere", []string{"a", "b\nc", "\n", "d"}, []string{"ab", "c", "d"}},
		{"line ends of Windows", []string{"a\r\nb\r", "\nc\r\n"}, []string{"a", "b", "c"}},
		{"rewrites", []string{"10%\r20%", "\r100%\n"}, []string{"100%"}},
		{"a rewrite that did not come", []string{"50%\r"}, []string{"50%"}},
		{"invalid UTF-8", []string{"a\xffb\n"}, []string{"a\uFFFDb"}},
		{"a character cut in two", []string{"\xc3", "\xa4\n"}, []string{"ä"}},
		{"just fits", []string{long + "\n"}, []string{long}},
		{"too long", []string{long + "y\n"}, []string{long + worker.Continued, "y"}},
		{"too long in pieces", []string{long, "y", "z\n"}, []string{long + worker.Continued, "yz"}},
		{"just fits before a line end of Windows", []string{long, "\r", "\n"}, []string{long}},
		{"too long and rewritten", []string{long + "yy\rz\n"}, []string{long + worker.Continued, "z"}},
		{"too long and rewritten in pieces", []string{long, "y", "y\r", "z\n"}, []string{long + worker.Continued, "z"}},
		{"cut before a character", []string{long[1:] + "ä\n"}, []string{long[1:] + worker.Continued, "ä"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, split(t, nil, tt.pieces...)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestSecretAcrossWrites(t *testing.T) {
	got := split(t, []string{"opensesame"}, "say open", "ses", "ame now\n")
	if diff := cmp.Diff([]string{"say ****** now"}, got); diff != "" {
		t.Error(diff)
	}
}

// FuzzSplit holds the splitter to: how the bytes are cut into writes changes
// nothing, and no line is too long or not UTF-8.
func FuzzSplit(f *testing.F) {
	f.Add("a\nb\r\nc\rd", uint64(1))
	f.Add(strings.Repeat("ä", worker.MaxLine), uint64(2))
	f.Add("\xff\r\r\n\n\r", uint64(3))
	f.Add(strings.Repeat("x", worker.MaxLine)+"\r\n"+strings.Repeat("y", worker.MaxLine+1)+"\r\rz\r\n", uint64(4))
	f.Fuzz(func(t *testing.T, text string, seed uint64) {
		want := split(t, nil, text)
		random := rand.New(rand.NewPCG(seed, 0))
		var pieces []string
		for rest := text; rest != ""; {
			n := 1 + random.IntN(len(rest))
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		got := split(t, nil, pieces...)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("cut into %d pieces (-whole +cut)\n%s", len(pieces), diff)
		}
		for _, l := range got {
			if !utf8.ValidString(l) || strings.Contains(l, "\n") {
				t.Errorf("line %q", l)
			}
		}
	})
}

// running starts a journal and returns what stops it.
func running(t testing.TB, j *worker.Journal) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { j.Run(ctx) })
	return func() {
		cancel()
		wg.Wait()
	}
}

func TestLinesComeSoonAndInChunks(t *testing.T) {
	type arrival struct {
		chunk int
		late  time.Duration
	}
	arrivals := make(chan arrival, 1000)
	s := &chunkSink{seen: func(n int, l cyclone.Line) { arrivals <- arrival{n, time.Since(l.Time)} }}
	j := worker.NewJournal(s, 0, nil)
	stop := running(t, j)
	out, _ := j.Output(cyclone.StageBuild, "build")
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for i := range 300 {
		out.Write(cyclone.Stdout, fmt.Appendf(nil, "%d\n", i))
		<-tick.C
	}
	var last arrival
	for range 300 {
		last = <-arrivals
		// 250 ms is the promise; the rest is for a busy machine.
		if last.late > 2*time.Second {
			t.Errorf("a line came %v late", last.late)
		}
	}
	stop()
	if last.chunk > 60 {
		t.Errorf("300 lines made %d chunks", last.chunk)
	}
}

// chunkSink numbers chunks.
type chunkSink struct {
	server
	n    int
	seen func(chunk int, l cyclone.Line)
}

func (s *chunkSink) Append(_ context.Context, c cyclone.Chunk) error {
	s.n++
	lines, err := logchunk.Decode(c)
	for _, l := range lines {
		s.seen(s.n, l)
	}
	return err
}

func TestPartialLinesAppear(t *testing.T) {
	s := &server{}
	j := worker.NewJournal(s, 41, nil)
	stop := running(t, j)
	defer stop()
	out, _ := j.Output(cyclone.StageBuild, "build")
	out.Write(cyclone.Stdout, []byte("10%\r20%"))
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		got := s.partial
		s.mu.Unlock()
		if len(got) > 0 {
			if got[0].Text != "20%" || got[0].N != 42 {
				t.Errorf("partial line: %+v", got[0])
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("no partial line")
		}
	}
}

// slowSink takes nothing until it is opened.
type slowSink struct {
	server
	open chan struct{}
}

func (s *slowSink) Append(ctx context.Context, c cyclone.Chunk) error {
	<-s.open
	return s.server.Append(ctx, c)
}

func TestWritersWaitForASlowServer(t *testing.T) {
	s := &slowSink{open: make(chan struct{})}
	j := worker.NewJournal(s, 0, nil)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { j.Run(ctx) })
	out, end := j.Output(cyclone.StageBuild, "build")
	line := append(bytes.Repeat([]byte("x"), 1023), '\n')
	written := make(chan int, 1<<16)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 16 << 10 {
			out.Write(cyclone.Stdout, line)
			written <- i
		}
		end()
	}()
	for !func() bool { // until nothing moves any more
		before := len(written)
		time.Sleep(20 * time.Millisecond)
		return before > 0 && len(written) == before
	}() {
	}
	if n := len(written); n > 4<<10 {
		t.Errorf("%d KiB were taken although the server takes nothing", n)
	}
	close(s.open)
	<-done
	if err := j.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop()
	running.Wait()
	if len(s.lines) != 16<<10 {
		t.Errorf("%d lines of %d", len(s.lines), 16<<10)
	}
}

type countSink struct{ lines int64 }

func (c *countSink) Append(_ context.Context, chunk cyclone.Chunk) error {
	c.lines += chunk.Count
	return nil
}
func (c *countSink) Partial(cyclone.Line) {}

func BenchmarkMillionLines(b *testing.B) {
	var block bytes.Buffer
	for i := range 500 {
		fmt.Fprintf(&block, "line %d of what a test prints\n", i)
	}
	for b.Loop() {
		s := &countSink{}
		j := worker.NewJournal(s, 0, []string{"a-secret-that-never-comes"})
		ctx, stop := context.WithCancel(b.Context())
		var running sync.WaitGroup
		running.Go(func() { j.Run(ctx) })
		out, end := j.Output(cyclone.StageBuild, "build")
		for range 2000 {
			out.Write(cyclone.Stdout, block.Bytes())
		}
		end()
		if err := j.Flush(ctx); err != nil || s.lines != 1e6 {
			b.Fatal(s.lines, err)
		}
		stop()
		running.Wait()
	}
}

// sizeSink remembers the largest chunk, as text with its line ends.
type sizeSink struct {
	server
	largest int
}

func (s *sizeSink) Append(_ context.Context, c cyclone.Chunk) error {
	lines, err := logchunk.Decode(c)
	s.largest = max(s.largest, textOf(lines))
	return err
}

func TestChunksAreNotTooLarge(t *testing.T) {
	const most = 256 << 10
	for name, line := range map[string]string{
		"long": strings.Repeat("x", 3*worker.MaxLine), "nearly full": strings.Repeat("x", worker.MaxLine-1), "short": "x",
	} {
		t.Run(name, func(t *testing.T) {
			s := &sizeSink{}
			j := worker.NewJournal(s, 0, nil)
			stop := running(t, j)
			out, end := j.Output(cyclone.StageBuild, "build")
			for range 1 + 4*most/(len(line)+1) {
				out.Write(cyclone.Stdout, []byte(line+"\n"))
			}
			end()
			if err := j.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			stop()
			if s.largest > most || s.largest == 0 {
				t.Errorf("a chunk has %d bytes", s.largest)
			}
		})
	}
}
