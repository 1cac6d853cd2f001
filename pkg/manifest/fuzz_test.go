package manifest_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/manifest"
)

// examples runs check for every example that is shipped.
func examples(t *testing.T, check func(t *testing.T, data []byte)) {
	t.Helper()
	files, err := filepath.Glob("../../api/examples/*.yml")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d examples: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			check(t, data)
		})
	}
}

// corpus adds every file of testdata to what fuzzing starts from.
func corpus(f *testing.F) {
	f.Helper()
	files, err := filepath.Glob("testdata/*/*.yml")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
}

// FuzzParse: whatever the bytes, there is a pipeline or a located error, never
// both, never a panic, and the same one every time.
func FuzzParse(f *testing.F) {
	corpus(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		pipeline, problems := manifest.Parse(data)
		if (pipeline == nil) != (manifest.Errors(problems) > 0) {
			t.Fatalf("pipeline %v with problems %v", pipeline, problems)
		}
		checkProblems(t, problems, data)
		again, _ := manifest.Parse(data)
		if diff := cmp.Diff(pipeline, again); diff != "" {
			t.Fatal(diff)
		}
		checkPaths(t, pipeline)
		for _, p := range manifest.Trusted(pipeline) {
			_ = manifest.Format("f", p, data) // must not panic
		}
	})
}

// FuzzFix: a repaired file needs no repair, has all its lines and comments, and
// one that was right means what it meant.
func FuzzFix(f *testing.F) {
	corpus(f)
	f.Fuzz(func(t *testing.T, data []byte) { checkFix(t, data) })
}

// checkFix holds Fix to what it promises.
func checkFix(t *testing.T, data []byte) {
	t.Helper()
	fixed, ok := manifest.Fix(data)
	if ok == bytes.Equal(fixed, data) {
		t.Fatalf("Fix says %v of %q", ok, fixed)
	}
	if !ok {
		return
	}
	if again, more := manifest.Fix(fixed); more {
		t.Fatalf("%q\nbecomes %q\nbecomes %q", data, fixed, again)
	}
	before, _ := manifest.Parse(data)
	after, problems := manifest.Parse(fixed)
	if diff := cmp.Diff(before, after); before != nil && diff != "" {
		t.Fatalf("%q\nbecomes %q: %v\n%s", data, fixed, problems, diff)
	}
	if diff := cmp.Diff(commentLines(data), commentLines(fixed)); diff != "" {
		t.Fatalf("%q\nbecomes %q\n%s", data, fixed, diff)
	}
	if bytes.Count(data, []byte("\n")) != bytes.Count(fixed, []byte("\n")) {
		t.Fatalf("%q\nbecomes %q", data, fixed)
	}
}

// commentLines are the lines that hold nothing else.
func commentLines(data []byte) []string {
	var out []string
	for line := range strings.Lines(strings.TrimPrefix(string(data), "\xef\xbb\xbf")) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "#") {
			out = append(out, line)
		}
	}
	return out
}

// checkProblems holds problems to what Format and the API need.
func checkProblems(t *testing.T, problems []cyclone.Problem, data []byte) {
	t.Helper()
	lines, last := 1, cyclone.Problem{}
	for _, end := range []string{"\n", "\r", "\u0085", "\u2028", "\u2029"} { // YAML knows all of them
		lines += bytes.Count(data, []byte(end))
	}
	for _, p := range problems {
		if p.Line < 1 || p.Column < 1 || p.Line > lines+1 || p.Message == "" {
			t.Fatalf("problem without a place or text in %d lines: %+v", lines, p)
		}
		if p.Line < last.Line || p.Line == last.Line && p.Column < last.Column {
			t.Fatalf("not in order: %+v after %+v", p, last)
		}
		last = p
		if text := manifest.Format("f", p, data); strings.ContainsAny(text, "\x00\x1b\r") {
			t.Fatalf("control characters in %q", text)
		}
	}
}

// checkPaths holds a pipeline to what may be joined with the source tree.
func checkPaths(t *testing.T, p *cyclone.Pipeline) {
	t.Helper()
	if p == nil {
		return
	}
	for _, b := range p.Build {
		if !filepath.IsLocal(b.ContextDir) || !filepath.IsLocal(filepath.Join(b.ContextDir, b.Dockerfile)) {
			t.Fatalf("build %+v leaves the repository", b)
		}
	}
	for _, s := range p.PreBuild {
		for _, v := range s.Volumes {
			if !filepath.IsAbs(v.Source) && !filepath.IsLocal(v.Source) {
				t.Fatalf("volume %q leaves the repository", v.Source)
			}
		}
	}
	if _, err := json.Marshal(p); err != nil {
		t.Fatal(err)
	}
}

// FuzzExpand: values go in exactly once and unchanged, $$ and ${} are the only
// things that are touched, and no value can bring a path outside in.
func FuzzExpand(f *testing.F) {
	for _, s := range []string{"", "$", "$$", "${A}", "${", "}", "../..", "a${A}b$$c", "$${A}", "${B}", "/etc", "\x00", "构"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, text, with string) {
		values := manifest.Values{Variables: map[string]string{"A": with}, Secrets: map[string]string{"s": with}}

		if got, ok := environment(t, strings.ReplaceAll(text, "$", "$$"), values); ok && got != text {
			t.Fatalf("escaped %q becomes %q", text, got)
		}
		if !strings.Contains(text, "$") {
			if got, ok := environment(t, text+"${A}"+text+"${S}", values); ok && got != text+with+text+with {
				t.Fatalf("%q with %q becomes %q", text, with, got)
			}
		}
		_, _ = environment(t, text, values)

		// The second secret is not there: its reference stays, and must be as harmless.
		p, _ := manifest.Expand([]byte("build: {context_dir: 'x/${A}${T}', dockerfile_name: '${T}/y/${A}', secrets: {T: t}}"), values)
		if p != nil && !filepath.IsLocal(filepath.Join(p.Build[0].ContextDir, p.Build[0].Dockerfile)) {
			t.Fatalf("%+v leaves the repository", p.Build[0])
		}
	})
}

// environment expands a text as the value of a variable.
func environment(t *testing.T, text string, values manifest.Values) (string, bool) {
	t.Helper()
	quoted, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	literal := strings.ReplaceAll(string(quoted), "\u0085", `\u0085`) // a line end to YAML, unless it is escaped
	file := "post_build: {image: 'a:1', commands: x, secrets: {S: s}, environment: {E: " + literal + "}}"
	p, problems := manifest.Expand([]byte(file), values)
	if (p == nil) != (manifest.Errors(problems) > 0) {
		t.Fatalf("pipeline %v with problems %v", p, problems)
	}
	if p == nil {
		return "", false
	}
	// JSON replaces what is not UTF-8, so such a text has no exact answer.
	return p.PostBuild[0].Environment[0].Value, strings.ToValidUTF8(text, "") == text
}
