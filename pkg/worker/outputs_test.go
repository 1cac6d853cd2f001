package worker_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest"
	"cyclone/pkg/worker"
)

func file(name, content string, mode int64) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, PAXRecords: map[string]string{cyclonetest.ContentRecord: content}}
}

func link(kind byte, name, to string) tar.Header {
	return tar.Header{Typeflag: kind, Name: name, Linkname: to, Mode: 0o777}
}

func folder(name string) tar.Header {
	return tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755}
}

func TestHostileOutputs(t *testing.T) {
	tests := map[string][]tar.Header{
		"parent":           {file("../../evil", "x", 0o600)},
		"absolute link":    {folder("dir/"), link(tar.TypeSymlink, "dir/a", "/etc/passwd")},
		"link to parent":   {folder("dir/"), link(tar.TypeSymlink, "dir/a", "../../outside")},
		"through a link":   {folder("dir/"), link(tar.TypeSymlink, "dir/a", "../.."), file("dir/a/evil", "x", 0o600)},
		"hard link":        {folder("dir/"), link(tar.TypeLink, "dir/a", "../../outside")},
		"hard link beyond": {folder("dir/"), link(tar.TypeLink, "dir/a", "/etc/passwd")},
		"device":           {folder("dir/"), {Typeflag: tar.TypeChar, Name: "dir/null", Devmajor: 1, Devminor: 3}},
		"through the tree": {folder("dir/"), file("dir/out/evil", "x", 0o600)},
	}
	for name, headers := range tests {
		t.Run(name, func(t *testing.T) {
			base := t.TempDir()
			tree := filepath.Join(base, "a", "tree")
			if err := os.MkdirAll(filepath.Join(tree, "dir"), 0o750); err != nil {
				t.Fatal(err)
			}
			// What an earlier step may have left.
			if err := os.Symlink(base, filepath.Join(tree, "dir", "out")); err != nil {
				t.Fatal(err)
			}
			_, err := worker.Extract(tree, "dir", "", bytes.NewReader(cyclonetest.Tar(headers)))
			if name != "parent" && !errors.Is(err, cyclone.ErrInvalid) {
				t.Errorf("%v is no ErrInvalid", err)
			}
			entries, err := os.ReadDir(base)
			if err != nil || len(entries) != 1 {
				t.Errorf("written outside of the tree: %v", entries)
			}
			if entries, _ := os.ReadDir(filepath.Join(base, "a")); len(entries) != 1 {
				t.Errorf("written outside of the tree: %v", entries)
			}
		})
	}
}

func TestOutputsReplace(t *testing.T) {
	tree := t.TempDir()
	for name, content := range map[string]string{"bin/app": strings.Repeat("old", 1000), "bin/keep": "kept"} {
		p := filepath.Join(tree, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	headers := []tar.Header{
		folder("out/"), file("out/app", "new", 0o751), link(tar.TypeSymlink, "out/latest", "app"),
		link(tar.TypeLink, "out/same", "out/app"), file("out/deep/er/x", "x", 0o644),
	}
	n, err := worker.Extract(tree, "bin", "", bytes.NewReader(cyclonetest.Tar(headers)))
	if err != nil || n != 5 {
		t.Fatalf("%d entries, %v", n, err)
	}
	for name, want := range map[string]string{"bin/app": "new", "bin/latest": "new", "bin/same": "new", "bin/keep": "kept", "bin/deep/er/x": "x"} {
		got, err := os.ReadFile(filepath.Join(tree, name))
		if err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if info, err := os.Stat(filepath.Join(tree, "bin/app")); err != nil || info.Mode() != 0o751 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestOutputGlob(t *testing.T) {
	tree := t.TempDir()
	headers := []tar.Header{
		folder("dist/"), file("dist/a.txt", "a", 0o600), file("dist/b.bin", "b", 0o600),
		folder("dist/c.txt/"), file("dist/c.txt/inner", "c", 0o600),
	}
	if _, err := worker.Extract(tree, "out", "*.txt", bytes.NewReader(cyclonetest.Tar(headers))); err != nil {
		t.Fatal(err)
	}
	var got []string
	_ = filepath.WalkDir(tree, func(p string, d fs.DirEntry, _ error) error {
		if !d.IsDir() {
			got = append(got, strings.TrimPrefix(p, tree+"/"))
		}
		return nil
	})
	if s := strings.Join(got, " "); s != "out/a.txt out/c.txt/inner" {
		t.Error(s)
	}
}

func TestOutputsOfAContainer(t *testing.T) {
	tests := []struct{ name, output, path, want string }{
		{"absolute", "/go/bin/app", "/go/bin/app", "app"},
		{"renamed", "/go/bin/app:publish/server", "/go/bin/app", "publish/server"},
		{"into a folder", "/go/bin/app:publish/", "/go/bin/app", "publish/app"},
		{"into an existing folder", "/go/bin/app:docs", "/go/bin/app", "docs/app"},
		{"into the root", "/go/bin/app:.", "/go/bin/app", "app"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, "pre_build:\n  image: alpine\n  commands: ['true']\n  outputs: ['"+tt.output+"']\npost_build:\n  image: alpine\n  commands: ['cat "+tt.want+"']\n",
				map[string]string{"docs/readme": "r"})
			r.engine.Files[tt.path] = []tar.Header{file("app", "the program", 0o755)}
			if result := r.run(t); result.Status != cyclone.StatusSuccess {
				t.Fatalf("%s: %s", result.Status, result.Reason)
			}
			if !strings.Contains(r.server.log(), "post_build| the program") {
				t.Errorf("the log lacks the output:\n%s", r.server.log())
			}
		})
	}
}
