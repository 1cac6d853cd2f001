package local_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/local"
)

func TestClean(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ in, plain, coloured string }{
		"plain":                   {"a b\tc", "a b\tc", "a b\tc"},
		"colours":                 {"\x1b[1;31mred\x1b[0m", "red", "\x1b[1;31mred\x1b[0m\x1b[0m"},
		"colours by numbers":      {"\x1b[38:2::1:2:3mx", "x", "\x1b[38:2::1:2:3mx\x1b[0m"},
		"cursor and screen":       {"a\x1b[2J\x1b[1;1H\x1b[?25lb", "ab", "ab"},
		"question mark before m":  {"\x1b[?4mx", "x", "x"},
		"title":                   {"\x1b]0;evil\x07x\x1b]8;;http://x\x1b\\y", "xy", "xy"},
		"without an end":          {"x\x1b]0;evil", "x", "x"},
		"cut off":                 {"x\x1b[31", "x", "x"},
		"lone escape":             {"x\x1b", "x", "x"},
		"two characters":          {"x\x1bcy\x1b(By", "xyy", "xyy"},
		"control characters":      {"a\rb\bc\x00d\x7fe", "abcde", "abcde"},
		"of 8 bits":               {"a\u009b31mb", "a31mb", "a31mb"},
		"not UTF-8":               {"a\xffb", "a\uFFFDb", "a\uFFFDb"},
		"other scripts":           {"größer 日本", "größer 日本", "größer 日本"},
		"right to left overrides": {"a\u202eb\u2066c", "abc", "abc"},
		"broken off by a letter":  {"\x1b[3é", "é", "é"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := local.Clean(c.in, false); got != c.plain {
				t.Errorf("without colours %q, want %q", got, c.plain)
			}
			if got := local.Clean(c.in, true); got != c.coloured {
				t.Errorf("with colours %q, want %q", got, c.coloured)
			}
		})
	}
}

func FuzzClean(f *testing.F) {
	f.Add("\x1b[1;31mred\x1b[0m\x1b]0;t\x07\x1b(B\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		if got := local.Clean(text, false); strings.ContainsFunc(got, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			t.Errorf("%q has control characters: %q", text, got)
		}
		left := strings.NewReplacer("\x1b[", "").Replace(local.Clean(text, true))
		if strings.ContainsRune(left, 0x1b) {
			t.Errorf("%q has more than colours: %q", text, left)
		}
	})
}

func TestCut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in      string
		columns int
		want    string
	}{{"abc", 3, "abc"}, {"abcd", 3, "abc"}, {"日本語", 4, "日本"}, {"日本語", 5, "日本"}, {"e\u0301x", 1, "e\u0301"}, {"x", 0, ""}} {
		if diff := cmp.Diff(c.want, local.Cut(c.in, c.columns)); diff != "" {
			t.Errorf("%q in %d columns: %s", c.in, c.columns, diff)
		}
	}
}
