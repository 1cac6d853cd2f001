package logchunk_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/logchunk"
)

func lines(first int64, n int) []cyclone.Line {
	start := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	out := make([]cyclone.Line, n)
	for i := range out {
		out[i] = cyclone.Line{
			N: first + int64(i), Time: start.Add(time.Duration(i*7-3) * time.Millisecond),
			Stage: cyclone.StageBuild, Step: []string{"build", "integration/pg"}[i%2],
			Stream: []cyclone.Stream{cyclone.Stdout, cyclone.Stderr, cyclone.System}[i%3],
			Text:   strings.Repeat("ä\x00\r", i%5) + fmt.Sprint(i),
		}
	}
	return out
}

func TestRoundTrip(t *testing.T) {
	for _, n := range []int{1, 2, 1000, logchunk.MaxLines} {
		want := lines(41, n)
		c, err := logchunk.Encode(want)
		if err != nil {
			t.Fatal(err)
		}
		if c.First != 41 || c.Last() != 40+int64(n) {
			t.Errorf("%d lines: chunk is %d-%d", n, c.First, c.Last())
		}
		parsed, err := logchunk.Parse(c.Data)
		if err != nil || parsed.First != c.First || parsed.Count != c.Count {
			t.Errorf("Parse = %d+%d, %v", parsed.First, parsed.Count, err)
		}
		got, err := logchunk.Decode(parsed)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d lines changed on the way (-want +got):\n%s", n, diff)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	gap := lines(1, 3)
	gap[2].N = 5
	big := lines(1, 1)
	big[0].Text = strings.Repeat("x", logchunk.MaxPlain)
	for name, in := range map[string][]cyclone.Line{
		"nothing": nil, "a gap": gap, "too many": lines(1, logchunk.MaxLines+1), "too large": big,
	} {
		if _, err := logchunk.Encode(in); err == nil {
			t.Errorf("%s was encoded", name)
		}
	}
}

func FuzzDecode(f *testing.F) {
	c, err := logchunk.Encode(lines(1, 20))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(c.Data)
	f.Add([]byte("CL1\x01\x01\x05"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := logchunk.Parse(data)
		if err != nil {
			return
		}
		got, err := logchunk.Decode(c)
		if err == nil && int64(len(got)) != c.Count {
			t.Errorf("%d lines decoded, the header says %d", len(got), c.Count)
		}
	})
}

func BenchmarkEncodeDecode(b *testing.B) {
	in := lines(1, 5000)
	for b.Loop() {
		c, err := logchunk.Encode(in)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := logchunk.Decode(c); err != nil {
			b.Fatal(err)
		}
	}
}
