package worker_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/worker"
)

// entries makes a tar of a text: a line is the type of an entry, its name, and
// what it links to or has in it, with | between. What begins with "raw:" is
// the tar itself.
func entries(text string) []byte {
	if raw, ok := strings.CutPrefix(text, "raw:"); ok {
		return []byte(raw)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for line := range strings.SplitSeq(text, "\n") {
		if line == "" {
			continue
		}
		name, rest, _ := strings.Cut(line[1:], "|")
		h := &tar.Header{Typeflag: line[0], Name: name, Mode: 0o644}
		switch h.Typeflag {
		case tar.TypeReg:
			h.Size = int64(len(rest))
		case tar.TypeDir:
			h.Mode = 0o755
		default:
			h.Linkname = rest
		}
		if w.WriteHeader(h) == nil && h.Typeflag == tar.TypeReg {
			_, _ = w.Write([]byte(rest)) // memory takes it
		}
	}
	_ = w.Close() // a tar that is cut off is one to try too
	return b.Bytes()
}

// FuzzExtract holds extraction to: whatever a tar has in it, nothing outside of
// the tree is made, changed or linked to, and nothing in it is a device.
func FuzzExtract(f *testing.F) {
	for _, seed := range []string{
		"5d/\n0d/a|content\n2d/l|a\n1d/h|d/a", "0../../evil|x", "0/etc/evil|x", "2a|/etc/passwd", "2a|..\n0a/evil|x",
		"5d/\n2d/x|../..\n2d/y|x\n0d/y/evil|x", "1a|../../etc/passwd", "1a|b", "3null|", "6fifo|", "2a|a\n0a|x",
		"5d/\n0d|x\n0d/a|y", "0a|x\n5a/\n0a/b|y", "2out|.\n5out/\n0out/../../evil|x", "0" + strings.Repeat("n/", 200) + "|x",
		"0" + strings.Repeat("n", 300) + "|x", "0a\x00b|x", "0.|x", "0..|x", "2..|x", "raw:" + string(entries("0a|x"))[:600],
	} {
		f.Add(seed, "out", "")
		f.Add(seed, ".", "**")
		f.Add(seed, "tree/a", "*")
	}
	f.Fuzz(func(t *testing.T, text, to, glob string) {
		if !fs.ValidPath(to) {
			to = "out" // resolve lets no other through
		}
		base := t.TempDir()
		tree := filepath.Join(base, "a", "tree")
		for _, dir := range []string{tree, filepath.Join(base, "etc")} {
			if err := os.MkdirAll(dir, 0o750); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range []string{"evil", "a/evil", "etc/passwd"} {
			if err := os.WriteFile(filepath.Join(base, name), []byte("as it was"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		// What an earlier step may have left in the tree.
		if err := os.Symlink("../..", filepath.Join(tree, "up")); err != nil {
			t.Fatal(err)
		}
		before := around(t, base, tree)
		_, _ = worker.Extract(tree, to, glob, bytes.NewReader(entries(text))) // either is right
		if after := around(t, base, tree); after != before {
			t.Errorf("outside of the tree:\n%s\nwas\n%s", after, before)
		}
		checkTree(t, tree)
	})
}

// around describes what is beside the tree.
func around(t *testing.T, base, tree string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(base, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if p == tree {
			return fs.SkipDir
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		content := []byte{}
		if info.Mode().IsRegular() {
			content, err = os.ReadFile(p)
		}
		fmt.Fprintf(&b, "%s %v %q\n", p, info.Mode(), content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// checkTree holds everything in the tree to being a folder, a file of its own
// or a link that stays within.
func checkTree(t *testing.T, tree string) {
	t.Helper()
	root, err := os.OpenRoot(tree)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	err = fs.WalkDir(root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch {
		case p == "up", d.IsDir(), d.Type().IsRegular():
			return nil
		case d.Type() != fs.ModeSymlink:
			t.Errorf("%s is %v", p, d.Type())
			return nil
		}
		target, err := root.Readlink(p)
		if err == nil && (path.IsAbs(target) || !fs.ValidPath(path.Join(path.Dir(p), target))) {
			t.Errorf("%s is a link to %s", p, target)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// FuzzSplitter holds what two streams print at the same time to: however the
// bytes are cut and mixed, each stream's lines are those of its own text, in
// order and marked; text without returns and overlong lines comes back as it
// was; and little is held.
func FuzzSplitter(f *testing.F) {
	f.Add("a\nb", "c\nd\n", uint64(1))
	f.Add("10%\r20%\r\n", "\n\n", uint64(2))
	f.Add(strings.Repeat("long ", 30_000), strings.Repeat("\r", 100_000)+"x", uint64(3))
	f.Add("\x1ecyclone \x1e\n", "\xff\xfe\n\xc3", uint64(4))
	f.Fuzz(func(t *testing.T, out, err string, seed uint64) {
		s := &server{}
		j := worker.NewJournal(s, 0, nil)
		to, end := j.Output(cyclone.StageBuild, "build")
		random := rand.New(rand.NewPCG(seed, 0))
		rest := map[cyclone.Stream]string{cyclone.Stdout: out, cyclone.Stderr: err}
		streams := []cyclone.Stream{cyclone.Stdout, cyclone.Stderr}
		for rest[streams[0]]+rest[streams[1]] != "" {
			name := streams[random.IntN(2)]
			text := rest[name]
			n := random.IntN(len(text) + 1)
			to.Write(name, []byte(text[:n]))
			rest[name] = text[n:]
			if held := j.Unfinished(); held > 2*(worker.MaxLine+1) {
				t.Errorf("%d bytes are held", held)
			}
		}
		end()
		if err := j.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, name := range streams {
			var got []string
			for _, l := range s.lines {
				if l.Stream == name {
					got = append(got, l.Text)
				}
			}
			checkStream(t, map[cyclone.Stream]string{cyclone.Stdout: out, cyclone.Stderr: err}[name], got)
		}
	})
}

// checkStream holds the lines of a stream against its text.
func checkStream(t *testing.T, text string, got []string) {
	t.Helper()
	if want := split(t, nil, text); !slices.Equal(got, want) {
		t.Errorf("%q became %q, alone and whole it becomes %q", text, got, want)
	}
	var whole []string
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if strings.Contains(line, "\r") || len(line) > worker.MaxLine {
			return
		}
		whole = append(whole, strings.ToValidUTF8(line, "\uFFFD"))
	}
	if !slices.Equal(got, whole) {
		t.Errorf("%q became %q", text, got)
	}
}

// FuzzOutputs holds outputs to: what is accepted goes to a place of the source
// tree, and is taken from one path of the container.
func FuzzOutputs(f *testing.F) {
	for _, text := range []string{"bin/app", "/go/bin/app", "a:b", "a:b/", "/x:/y", "../x", "a:../b", "**/*.txt", "/**", "a/../../b:c", ":", "a:", ":a", "/src/a", "/mnt/*.so:lib", ".", "/", "a\x00b:c\nd", "[", "a/[/b", "//a//b/"} {
		f.Add(text, "/src")
		f.Add(text, "/")
	}
	f.Fuzz(func(t *testing.T, text, base string) {
		base = path.Clean("/" + base)
		from, to, tree, inTree, err := worker.ResolveOutput(text, base)
		if err != nil {
			return
		}
		if !path.IsAbs(from) || path.Clean(from) != from {
			t.Errorf("from %q", from)
		}
		if !fs.ValidPath(to) {
			t.Errorf("to %q", to)
		}
		// What is no UTF-8 stands in no caicloud.yml.
		if inTree && utf8.ValidString(from) && !fs.ValidPath(tree) {
			t.Errorf("in the tree at %q", tree)
		}
		if inTree != (under(from, "/src") || under(from, "/mnt")) {
			t.Errorf("%s in the tree: %v", from, inTree)
		}
		worker.GlobMatch(from, strings.Repeat("a/", 200)+to) // ends soon
	})
}

func under(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }
