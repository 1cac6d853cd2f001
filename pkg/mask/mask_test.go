package mask_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"

	"cyclone/pkg/mask"
)

// through writes the text in pieces that end at the cuts.
func through(t *testing.T, secrets []string, pieces ...string) string {
	t.Helper()
	var out bytes.Buffer
	w := mask.New(&out, secrets)
	for _, p := range pieces {
		if n, err := w.Write([]byte(p)); n != len(p) || err != nil {
			t.Fatalf("Write(%q) = %d, %v", p, n, err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestMask(t *testing.T) {
	const pem = "-----BEGIN KEY-----\nMIIEowIBAAKC\nab\n-----END KEY-----\n"
	tests := []struct {
		name    string
		secrets []string
		in      []string
		want    string
	}{
		{"nothing to hide", nil, []string{"hunter2"}, "hunter2"},
		{"whole", []string{"hunter2"}, []string{"pw=hunter2;"}, "pw=******;"},
		{"twice", []string{"hunter2"}, []string{"hunter2hunter2"}, "************"},
		{"across writes", []string{"hunter2"}, []string{"x hun", "ter", "2 y"}, "x ****** y"},
		{"byte by byte", []string{"hunter2"}, strings.Split("a hunter2 b", ""), "a ****** b"},
		{"a beginning only", []string{"hunter2"}, []string{"the hunt", "ed hunter"}, "the hunted hunter"},
		{"too short to hide", []string{"abc", ""}, []string{"abc"}, "abc"},
		{"shortest", []string{"abcd"}, []string{"abcde"}, "******e"},
		{"the longest wins", []string{"pass", "password"}, []string{"pass", "word pass", "wor"}, "****** ******wor"},
		{"overlapping are one", []string{"abcdef", "defghi"}, []string{"xabcde", "fghiy"}, "x******y"},
		{"inner of a longer", []string{"abcdefgh", "cdef"}, []string{"abcdefgh abcdefg"}, "****** ab******g"},
		{"overlap with itself", []string{"aaaa"}, []string{"baaaaaab"}, "b******b"},
		{"line by line", []string{pem}, []string{"MIIEow", "IBAAKC\r\nab"}, "******\r\nab"},
		{"several lines", []string{pem}, []string{"<" + pem + ">"}, "<******>"},
		{"without the line end", []string{"hunter2\n"}, []string{"<hunter2>"}, "<******>"},
		{"query", []string{"p@ss w/rd"}, []string{"?t=p%40ss+w%2Frd&u"}, "?t=******&u"},
		{"query in small letters", []string{"p@ss w/rd"}, []string{"p%40ss%20w%2frd"}, "******"},
		{"base64", []string{"hunter2!"}, []string{"aHVudGVyMiE="}, "******"},
		{"base64 unpadded", []string{"hunter2!"}, []string{"(aHVudGVyMiE)"}, "(******)"},
		{"json", []string{`pa"ss\word`}, []string{`{"p":"pa\"ss\\word"}`}, `{"p":"******"}`},
		{"binary", []string{"\x00\xff\x00\xfe"}, []string{"a\x00\xff\x00", "\xfeb"}, "a******b"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := through(t, tt.secrets, tt.in...); got != tt.want {
				t.Errorf("%q became %q, want %q", tt.in, got, tt.want)
			}
			if got := mask.Compile(tt.secrets).String(strings.Join(tt.in, "")); got != tt.want {
				t.Errorf("String gives %q, want %q", got, tt.want)
			}
		})
	}
}

// What basic authentication sends holds the secret in the middle of base64.
func TestBase64OfMore(t *testing.T) {
	const secret = "correct-horse/battery"
	for lead := range 4 {
		for tail := range 4 {
			plain := strings.Repeat("u", lead) + secret + strings.Repeat("z", tail)
			for _, e := range []*base64.Encoding{base64.StdEncoding, base64.RawURLEncoding} {
				text := e.EncodeToString([]byte(plain))
				got := through(t, []string{secret}, "Basic ", text)
				if !strings.Contains(got, mask.Mask) || len(got) > len("Basic ")+len(mask.Mask)+12 {
					t.Errorf("%d bytes before, %d after: %q became %q", lead, tail, text, got)
				}
			}
		}
	}
}

// Output must not wait for more input than a secret needs.
func TestHoldsBackLittle(t *testing.T) {
	var out bytes.Buffer
	w := mask.New(&out, []string{"hunter2"})
	for _, step := range []struct{ in, out string }{
		{"progress 10%", "progress 10%"},
		{"\rhun", "progress 10%\r"},
		{"gry\n", "progress 10%\rhungry\n"},
	} {
		if _, err := io.WriteString(w, step.in); err != nil {
			t.Fatal(err)
		}
		if out.String() != step.out {
			t.Fatalf("after %q the output is %q, want %q", step.in, out.String(), step.out)
		}
	}
}

type brokenWriter struct{ err error }

func (b brokenWriter) Write([]byte) (int, error) { return 0, b.err }

func TestErrorSticks(t *testing.T) {
	want := errors.New("pipe is closed")
	w := mask.New(brokenWriter{want}, []string{"hunter2"})
	for range 2 {
		if _, err := w.Write([]byte("text")); !errors.Is(err, want) {
			t.Errorf("Write: %v", err)
		}
	}
	if err := w.Flush(); !errors.Is(err, want) {
		t.Errorf("Flush: %v", err)
	}
}

// FuzzMask: whatever the secrets, the text and the cuts, no secret comes out.
func FuzzMask(f *testing.F) {
	f.Add("hunter2", "unter2hu", "a hunter2hunter2hu b", uint64(1))
	f.Add("abcabcab", "bcab", "abcabcabcabcab", uint64(2))
	f.Add("line one\nline two", "two\nthr", "line one\nline two\nthree", uint64(3))
	f.Add("p@ss w/rd", "aaaa", "aaaaap%40ss+w%2Frdaaa", uint64(4))
	f.Fuzz(func(t *testing.T, a, b, text string, seed uint64) {
		secrets := []string{a, b}
		random := rand.New(rand.NewPCG(seed, 1))
		var out bytes.Buffer
		w := mask.New(&out, secrets)
		// The secrets are put in as well: chance alone rarely does.
		for rest := text + a + text + b + a + url.QueryEscape(b); rest != ""; {
			n := 1 + random.IntN(len(rest))
			if _, err := io.WriteString(w, rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		for _, s := range secrets {
			// With a star in it a secret may arise from the mask itself.
			if len(s) >= mask.MinLength && !strings.Contains(s, "*") && strings.Contains(out.String(), s) {
				t.Errorf("secret %q is in the output %q", s, out.String())
			}
		}
	})
}

func BenchmarkWrite(b *testing.B) {
	var text bytes.Buffer
	for i := range 1000 {
		fmt.Fprintf(&text, "2026-01-02T03:04:05Z ok   \tgithub.com/acme/orders/pkg/part%d\t0.%03ds\tcoverage: 81.2%% of statements\n", i, i)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 20} {
		var secrets []string
		for range n {
			s := make([]byte, 24)
			for i := range s {
				s[i] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"[random.IntN(62)]
			}
			secrets = append(secrets, string(s))
		}
		b.Run(fmt.Sprintf("%d secrets", n), func(b *testing.B) {
			w := mask.New(io.Discard, secrets)
			b.SetBytes(int64(text.Len()))
			for b.Loop() {
				if _, err := w.Write(text.Bytes()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
