package manifest_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"gopkg.in/yaml.v3"

	"cyclone/pkg/manifest"
)

// canonical brings a file in order and checks what always holds: it means the
// same as before, and is not changed again.
func canonical(t *testing.T, data []byte) []byte {
	t.Helper()
	out, problems := manifest.Canonical(data)
	if len(problems) > 0 {
		t.Fatalf("is refused:\n%s", formatted(problems, data))
	}
	before, _ := manifest.Parse(data)
	after, _ := manifest.Parse(out)
	lines := cmp.FilterPath(func(p cmp.Path) bool { return strings.HasSuffix(p.String(), "Line") }, cmp.Ignore())
	if diff := cmp.Diff(before, after, lines, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("means something else (-before +after):\n%s\n%s", diff, out)
	}
	again, problems := manifest.Canonical(out)
	if len(problems) > 0 || !bytes.Equal(again, out) {
		t.Errorf("is changed again: %v\n%s", problems, cmp.Diff(string(out), string(again)))
	}
	return out
}

func TestCanonical(t *testing.T) {
	cases(t, "fmt", func(t *testing.T, base string, data []byte) {
		golden(t, base+".formatted", canonical(t, data))
	})
}

// TestCanonicalKeepsTheMeaning brings every good file in order.
func TestCanonicalKeepsTheMeaning(t *testing.T) {
	cases(t, "good", func(t *testing.T, _ string, data []byte) {
		out := canonical(t, data)
		for _, text := range comments(string(data)) {
			if !strings.Contains(string(out), text) {
				t.Errorf("the comment %q is lost", text)
			}
		}
	})
	examples(t, func(t *testing.T, data []byte) {
		if out := canonical(t, data); !bytes.Equal(out, data) {
			t.Errorf("an example is not in canonical form:\n%s", cmp.Diff(string(data), string(out)))
		}
	})
}

// comments lists what follows a # in a text.
func comments(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		if _, note, found := strings.Cut(line, "#"); found {
			out = append(out, strings.TrimSpace(note))
		}
	}
	return out
}

func TestCanonicalRefusesWhatIsNoYAML(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		line int
	}{
		"indented":  {"pre_build:\n  image: a\n    volumes: []\n", 3},
		"bytes":     {"a: \xff\n", 1},
		"tabs":      {"pre_build: [a,\n\tb]\n\tpost_build: []\n", 3},
		"documents": {"a: 1\n---\nb: 2\n", 2},
	} {
		t.Run(name, func(t *testing.T) {
			out, problems := manifest.Canonical([]byte(tt.text))
			if manifest.Errors(problems) != 1 || problems[0].Line != tt.line || string(out) != tt.text {
				t.Errorf("%v, %q", problems, out)
			}
		})
	}
}

// TestCanonicalKeepsScalars holds the text of values that are easily lost.
func TestCanonicalKeepsScalars(t *testing.T) {
	for _, value := range []string{
		"0755", "1.10", "yes", "~", "''", `"a\tb"`, "'it''s'", "|\n    a\n\n     b\n", "|-\n    a\n", "|+\n    a\n\n\n", ">\n    a\n    b\n\n      c\n",
		"|2\n      a\n    b\n", "a\n    b\n\n    c", "\"a\n\n   b\\\n   c \\\n  d\"", "'a\n\n  b'", "[a,\n b, 'c\n\n d']", "{a: [1, 2,\n# note\n3], \"b\":'c'}",
		"&x a", "!!str 1", "|\n    # no comment\n", "|\n    a  \n      \n    b\n", "a # note", "[it's, \"#\", 'a # b'] # note", "|+\n    a\n\n  # note\n",
		"|\n    a\n    ", "|-\n    a\n\n      ", "|+\n    a\n    ",
	} {
		for _, frame := range []string{"k:   V", "k:\n    l:  V", "-  V", "k:\n-   l:   V", "k:\n    -   -   V", "?  k\n:   V", "- ?   k\n  :   V\n  ? - l\n  :   - m"} {
			text := strings.Replace(frame, "V", value, 1)
			var before, after any
			if yaml.Unmarshal([]byte(text), &before) != nil {
				continue // not every value may stand everywhere
			}
			out, problems := manifest.Canonical([]byte(text))
			if err := yaml.Unmarshal(out, &after); err != nil || len(problems) > 0 {
				t.Errorf("%q becomes %q: %v, %v", text, out, err, problems)
			} else if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("%q becomes %q", text, out)
			} else if again, _ := manifest.Canonical(out); !bytes.Equal(again, out) {
				t.Errorf("%q becomes %q, and that %q", text, out, again)
			}
		}
	}
}

// FuzzCanonical: whatever the bytes, what comes out means the same, and
// nothing changes it again.
func FuzzCanonical(f *testing.F) {
	corpus(f)
	files, err := filepath.Glob("testdata/fmt/*.yml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		out, problems := manifest.Canonical(data)
		if len(problems) > 0 {
			if !bytes.Equal(out, data) {
				t.Fatal("a file that is refused is changed")
			}
			checkProblems(t, problems, data)
			return
		}
		before, first := manifest.Parse(data)
		after, second := manifest.Parse(out)
		if (before == nil) != (after == nil) || len(first) != len(second) {
			t.Fatalf("%q becomes %q: %v %v", data, out, first, second)
		}
		lines := cmp.FilterPath(func(p cmp.Path) bool { return strings.HasSuffix(p.String(), "Line") }, cmp.Ignore())
		if diff := cmp.Diff(before, after, lines); diff != "" {
			t.Fatalf("%q becomes %q: %s", data, out, diff)
		}
		again, problems := manifest.Canonical(out)
		if !bytes.Equal(again, out) {
			t.Fatalf("%q becomes %q, and that %q %v", data, out, again, problems)
		}
	})
}
