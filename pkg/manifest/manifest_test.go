package manifest_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/manifest"
)

// parse fails the test when a file that is meant to be right is not.
func parse(t *testing.T, text string) *cyclone.Pipeline {
	t.Helper()
	pipeline, problems := manifest.Parse([]byte(text))
	if pipeline == nil {
		t.Fatalf("has errors:\n%s", formatted(problems, []byte(text)))
	}
	return pipeline
}

func TestEmptyFileDoesNothing(t *testing.T) {
	for _, text := range []string{"", "\n", "# only a comment\n", "---\n", "{}", "~", "x-note: nothing\n"} {
		pipeline, problems := manifest.Parse([]byte(text))
		if pipeline == nil || !pipeline.Empty() || len(problems) > 0 {
			t.Errorf("%q: %+v, %v", text, pipeline, problems)
		}
	}
}

func TestSeedPreBuildHasOneErrorOnLine3(t *testing.T) {
	cases(t, "fix", func(t *testing.T, base string, data []byte) {
		if !strings.HasSuffix(base, "seed_pre_build") {
			return
		}
		_, problems := manifest.Parse(data)
		if len(problems) != 1 || problems[0].Line != 3 || problems[0].Column != 12 || problems[0].Path != "pre_build.volumes" {
			t.Fatalf("got %+v", problems)
		}
		if !strings.Contains(problems[0].Message, `align the keys with "image"`) {
			t.Errorf("the message gives no advice: %s", problems[0].Message)
		}
		fixed, _ := manifest.Fix(data)
		want := []cyclone.Step{{
			Name: "pre_build", Image: "golang:v1.5.3", Commands: []string{"ls", "pwd"}, Outputs: []string{"file1", "dir2"},
			Volumes:     []cyclone.Volume{{Source: ".", Target: "/root"}},
			Environment: []cyclone.Variable{{Name: "key", Value: "value"}},
			Line:        1,
		}}
		if diff := cmp.Diff(want, parse(t, string(fixed)).PreBuild); diff != "" {
			t.Error(diff)
		}
	})
}

// TestStepRoles holds which key is allowed where: what is not carried out in
// a place must not be accepted there.
func TestStepRoles(t *testing.T) {
	const pre, integration, service, post = "pre_build", "integration", "service", "post_build"
	keys := map[string]struct {
		value   string
		allowed []string
	}{
		"links":         {"[db]", []string{integration, service}},
		"outputs":       {"[a]", []string{pre}},
		"wait_for":      {"{port: 1}", []string{service}},
		"timeout":       {"1m", []string{pre, integration, post}},
		"retries":       {"1", []string{pre, integration, post}},
		"allow_failure": {"true", []string{pre, integration, post}},
		"when":          {"{branch: main}", []string{pre, integration, post}},
		"volumes":       {"[.:/src]", []string{pre, integration, service, post}},
		"secrets":       {"[A]", []string{pre, integration, service, post}},
		"privileged":    {"true", []string{pre, integration, service, post}},
		"cache":         {"[a]", []string{pre, integration, post}},
		"artifacts":     {"[a]", []string{pre, integration, post}},
		"reports":       {"{junit: a}", []string{pre, integration, post}},
	}
	frames := map[string]string{
		pre:         "pre_build: {image: 'a:1', commands: x, KEY}",
		integration: "integration: {image: 'a:1', commands: x, KEY, services: {db: {image: 'a:1'}}}",
		service:     "integration: {image: 'a:1', commands: x, services: {db: {image: 'a:1'}, s: {image: 'a:1', KEY}}}",
		post:        "post_build: {image: 'a:1', commands: x, KEY}",
	}
	for key, k := range keys {
		for place, frame := range frames {
			_, problems := manifest.Parse([]byte(strings.Replace(frame, "KEY", key+": "+k.value, 1)))
			if allowed := slices.Contains(k.allowed, place); (manifest.Errors(problems) == 0) != allowed {
				t.Errorf("%s in %s: allowed must be %v: %v", key, place, allowed, problems)
			}
		}
	}
}

func TestProblemsAreSortedAndAllThere(t *testing.T) {
	var b strings.Builder
	for i := range 150 {
		fmt.Fprintf(&b, "unknown%d: 1\n", 149-i)
	}
	_, problems := manifest.Parse([]byte(b.String()))
	if len(problems) != 150 {
		t.Fatalf("%d problems, not 150", len(problems))
	}
	for i, p := range problems {
		if p.Line != i+1 || p.Column != 1 {
			t.Fatalf("problem %d is at %d:%d", i, p.Line, p.Column)
		}
	}
}

func TestVeryManyProblemsAreCut(t *testing.T) {
	text := strings.Repeat("- x\n", 5000)
	_, problems := manifest.Parse([]byte("pre_build: {image: 'a:1', commands: x}\ndeploy:\n" + text))
	if len(problems) != 201 || manifest.Errors(problems) != 201 {
		t.Fatalf("%d problems, %d errors", len(problems), manifest.Errors(problems))
	}
	if last := problems[200]; !strings.Contains(last.Message, "4800 more") {
		t.Errorf("the last one says %q", last.Message)
	}
}

func TestSizeIsBounded(t *testing.T) {
	right := []byte("# " + strings.Repeat("x", manifest.MaxSize-3) + "\n")
	if _, problems := manifest.Parse(right); len(problems) > 0 {
		t.Errorf("%d bytes are refused: %v", len(right), problems)
	}
	_, problems := manifest.Parse(append(right, '\n'))
	if manifest.Errors(problems) != 1 || problems[0].Line != 1 {
		t.Errorf("one byte more: %v", problems)
	}
}

func TestDuplicateKeyInAnchorIsReportedOnce(t *testing.T) {
	_, problems := manifest.Parse([]byte("x-s: &s {image: 'a:1', image: 'b:1', commands: x}\npre_build: *s\npost_build: *s\n"))
	if len(problems) != 1 {
		t.Errorf("got %v", problems)
	}
}

func TestTrusted(t *testing.T) {
	pipeline := parse(t, `
pre_build:
  lint: {image: 'a:1', commands: x, privileged: true}
  test: {image: 'a:1', commands: x, volumes: [".:/src", ./a:/a]}
integration:
  image: a:1
  commands: x
  volumes: [/etc:/etc:ro]
  services:
    db: {image: 'a:1', devices: [/dev/kvm, /dev/sda]}
post_build: {image: 'a:1', commands: x, privileged: false}
`)
	var got []string
	for _, p := range manifest.Trusted(pipeline) {
		got = append(got, fmt.Sprintf("%d %s", p.Line, p.Path))
	}
	want := []string{"3 pre_build.lint.privileged", "5 integration.volumes",
		"10 integration.services.db.devices", "10 integration.services.db.devices"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if manifest.Trusted(nil) != nil || len(manifest.Trusted(&cyclone.Pipeline{})) > 0 {
		t.Error("an empty pipeline needs trust")
	}
}

func TestFixLeavesAlone(t *testing.T) {
	for _, text := range []string{
		"", "pre_build: {image: a}\n", "pre_build: [\n", "a: 'b\n  c: d\n", "\xff\xfe", "a: b\n   \tc: d\n",
		"pre_build:\n  commands: echo a: b\n", strings.Repeat("x", manifest.MaxSize+1),
	} {
		if got, ok := manifest.Fix([]byte(text)); ok || !bytes.Equal(got, []byte(text)) {
			t.Errorf("%.40q becomes %.40q, %v", text, got, ok)
		}
	}
}

func TestFormat(t *testing.T) {
	problem := cyclone.Problem{Line: 2, Column: 10, Path: "pre_build.image", Severity: cyclone.SeverityWarning, Message: "is odd", Hint: "do this"}
	long := "pre_build:\n  image: " + strings.Repeat("x", 300) + "\n"
	for name, c := range map[string]struct {
		problem cyclone.Problem
		source  string
		want    string
	}{
		"no source":     {problem, "", "f:2:10: warning: pre_build.image: is odd\n  hint: do this"},
		"with line":     {problem, "pre_build:\r\n  image: abc\r\n", "f:2:10: warning: pre_build.image: is odd\n  hint: do this\n  2 |   image: abc\n    |          ^"},
		"beyond":        {cyclone.Problem{Line: 9, Column: 1, Message: "m"}, "a\n", "f:9:1: m"},
		"tab":           {cyclone.Problem{Line: 1, Column: 2, Message: "m"}, "\ta", "f:1:2: m\n  1 | \ta\n    | \t^"},
		"wide":          {cyclone.Problem{Line: 1, Column: 3, Message: "m"}, "构建x", "f:1:3: m\n  1 | 构建x\n    |     ^"},
		"escape":        {cyclone.Problem{Line: 1, Column: 1, Message: "m\x1b[31m"}, "\x1b[2Ja", "f:1:1: m\uFFFD[31m\n  1 | \uFFFD[2Ja\n    | ^"},
		"credential":    {cyclone.Problem{Line: 1, Column: 8, Message: "m"}, "token: abc", "f:1:8: m\n  1 | token: ***\n    |        ^"},
		"reference":     {cyclone.Problem{Line: 1, Column: 8, Message: "m"}, "token: ${A}", "f:1:8: m\n  1 | token: ${A}\n    |        ^"},
		"next line":     {cyclone.Problem{Line: 2, Column: 3, Message: "m"}, "token: |\n  abc", "f:2:3: m\n  2 |   ***\n    |   ^"},
		"behind it":     {cyclone.Problem{Line: 1, Column: 30, Message: "m"}, "{token: abcdefghijklm, image: A}", "f:1:30: m\n  1 | {token: ***\n    |         ^"},
		"by its form":   {cyclone.Problem{Line: 1, Column: 1, Message: "m"}, "run ghp_" + strings.Repeat("a1", 20), "f:1:1: m\n  1 | run ***\n    | ^"},
		"mark":          {cyclone.Problem{Line: 1, Column: 4, Message: "m"}, "e\u0301 x", "f:1:4: m\n  1 | e\u0301 x\n    |   ^"},
		"old Mac":       {cyclone.Problem{Line: 2, Column: 1, Message: "m"}, "a\rb\rc", "f:2:1: m\n  2 | b\n    | ^"},
		"separator":     {cyclone.Problem{Line: 3, Column: 1, Message: "m"}, "a\u2028b\r\nc\n", "f:3:1: m\n  3 | c\n    | ^"},
		"mark of order": {cyclone.Problem{Line: 1, Column: 1, Message: "m"}, "\xef\xbb\xbfa", "f:1:1: m\n  1 | a\n    | ^"},
		"long": {cyclone.Problem{Line: 2, Column: 200, Message: "m"}, long,
			"f:2:200: m\n  2 | ..." + strings.Repeat("x", 110) + "...\n    | " + strings.Repeat(" ", 63) + "^"},
	} {
		if diff := cmp.Diff(c.want, manifest.Format("f", c.problem, []byte(c.source))); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

func TestExamplesParse(t *testing.T) {
	examples(t, func(t *testing.T, data []byte) {
		_, problems := manifest.Parse(data)
		if len(problems) > 0 {
			t.Errorf("has problems:\n%s", formatted(problems, data))
		}
	})
}
