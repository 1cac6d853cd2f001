package manifest_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"cyclone/pkg/manifest"
)

// allocated is how many bytes a function allocates, all together.
func allocated(what func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	what()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestTooLongFilesAreNotRead: what is too long is refused for its length alone,
// without a copy of it, let alone a tree.
func TestTooLongFilesAreNotRead(t *testing.T) {
	data := []byte(strings.Repeat("pre_build: {image: 'a:1', commands: [x]}\n", 10<<20/41))
	for name, read := range map[string]func(){
		"Parse": func() {
			if pipeline, problems := manifest.Parse(data); pipeline != nil || len(problems) != 1 || problems[0].Line != 1 {
				t.Errorf("got %v", problems)
			}
		},
		"Expand": func() {
			if _, problems := manifest.Expand(data, manifest.Values{}); len(problems) != 1 {
				t.Errorf("got %v", problems)
			}
		},
		"Fix": func() {
			if _, ok := manifest.Fix(data); ok {
				t.Error("is repaired")
			}
		},
	} {
		if n := allocated(read); n > 64<<10 {
			t.Errorf("%s allocates %d bytes for a file of %d", name, n, len(data))
		}
	}
}

// hostile are shapes that are cheap to write and could be dear to read.
func hostile(size int) map[string]string {
	fill := func(s string) string { return strings.Repeat(s, size/len(s)) }
	return map[string]string{
		"brackets":   strings.Repeat("[", size),
		"braces":     fill("{"),
		"closed":     "build: [" + fill("[],") + "]",
		"items":      "deploy:\n" + fill("- a\n"),
		"questions":  fill("? "),
		"anchors":    "deploy:\n" + fill("- &a b\n"),
		"aliases":    "x-a: &a b\ndeploy:\n" + fill("- *a\n"),
		"quotes":     fill("'"),
		"colons":     fill(": "),
		"keys":       fill("a: b\n"),
		"own keys":   numbered("key%d: b\n", size),
		"near keys":  "pre_build:\n  image: a:1\n" + numbered("  comands%d: b\n", size),
		"tabs":       fill("\t"),
		"tab lines":  fill("\ta:\n"),
		"tab items":  "a:\n" + fill("\t- b\n"),
		"indents":    fill("a:\n "),
		"misaligned": fill("a: b\n  c: d\n"),
		"merges":     "x-a: &a {b: c}\npre_build:\n" + fill("  <<: *a\n"),
		"comments":   "a: b\n" + fill("# x\n") + "  c: d\n",
		"documents":  fill("---\n"),
		"dollars":    "post_build: {image: a:1, commands: x, environment: {A: '" + fill("${-}") + "'}}",
		"one value":  "pre_build: {image: " + fill("x") + "}",
		"bombs":      bomb(9, 9),
		"merge bomb": bomb(40, 2) + "pre_build: {<<: [*a39, *a38]}\n",
		"not UTF-8":  fill("a") + "\xff",
		"NUL":        fill("a") + "\x00",
	}
}

// numbered repeats a line with numbers in it.
func numbered(line string, size int) string {
	var b strings.Builder
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, line, i)
	}
	return b.String()
}

// bomb is a file whose aliases stand for width to the power of depth values.
func bomb(depth, width int) string {
	var b strings.Builder
	b.WriteString("x-a0: &a0 {k: v}\n")
	for i := 1; i < depth; i++ {
		fmt.Fprintf(&b, "x-a%d: &a%d {", i, i)
		for j := range width {
			fmt.Fprintf(&b, "k%d: *a%d, ", j, i-1)
		}
		b.WriteString("}\n")
	}
	fmt.Fprintf(&b, "pre_build: *a%d\n", depth-1)
	return b.String()
}

// TestHostileFilesAreRefusedInBounds: each has a located problem, and costs no
// more memory than so many times its size.
func TestHostileFilesAreRefusedInBounds(t *testing.T) {
	const most = 600 // the YAML library's tree alone is a hundred times the text
	const tries = 40 // Fix reads what it tries: eight widths of a tab, and keys below keys
	for name, text := range hostile(16 << 10) {
		n := allocated(func() {
			pipeline, problems := manifest.Parse([]byte(text))
			if pipeline != nil || len(problems) == 0 || problems[0].Line < 1 || problems[0].Column < 1 {
				t.Errorf("%s: is accepted: %v", name, problems)
			}
		})
		if n > most*uint64(len(text))+1<<20 {
			t.Errorf("%s: %d bytes for a file of %d", name, n, len(text))
		}
		if n := allocated(func() { manifest.Fix([]byte(text)) }); n > tries*most*uint64(len(text))+1<<20 {
			t.Errorf("%s: Fix takes %d bytes for a file of %d", name, n, len(text))
		}
	}
}

// TestCostGrowsWithTheSize compares the memory that shapes take with that of
// twice as much of them: what grows with the square would take four times.
func TestCostGrowsWithTheSize(t *testing.T) {
	small, large := hostile(16<<10), hostile(32<<10)
	for name := range small {
		once := allocated(func() { manifest.Parse([]byte(small[name])) })
		twice := allocated(func() { manifest.Parse([]byte(large[name])) })
		if twice > 3*once+1<<20 {
			t.Errorf("%s: %d bytes, and %d for twice the size", name, once, twice)
		}
	}
}
