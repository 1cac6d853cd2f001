package embedded_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/store/embedded"
	"cyclone/pkg/store/storetest"
)

// Not parallel: it looks at the memory of the whole process.
func TestFilesStream(t *testing.T) {
	storetest.Streams(t, parts(open(t, t.TempDir())), 64<<20)
}

// contents are the paths of all contents in a data folder.
func contents(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(filepath.Join(dir, "files"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func put(t *testing.T, s *embedded.Store, event cyclone.EventID, path, content string) {
	t.Helper()
	f := cyclone.File{Event: event, Kind: cyclone.FileArtifact, Path: path}
	if _, err := s.Files.Put(t.Context(), f, strings.NewReader(content)); err != nil {
		t.Fatal(err)
	}
}

// over creates an event that is over.
func over(t *testing.T, s *embedded.Store, project cyclone.ProjectName) cyclone.EventID {
	t.Helper()
	e := &cyclone.Event{Project: project, Status: cyclone.StatusSuccess}
	if err := s.Events.Create(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	return e.ID
}

// The disk holds as many contents as there are files, whatever became of the
// others, under names that say nothing, for the owner alone.
func TestContentsOnDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	if err := s.Projects.Create(t.Context(), &cyclone.Project{Name: "orders"}); err != nil {
		t.Fatal(err)
	}
	one, two := over(t, s, "orders"), over(t, s, "orders")
	name := regexp.MustCompile(`/files/([0-9a-f])/([0-9a-f]{32})$`)
	for _, step := range []struct {
		what string
		do   func() error
		want int
	}{
		{"put", func() error { put(t, s, one, "../not: ä"[3:], "text"); put(t, s, two, "b/c", ""); return nil }, 2},
		{"replace", func() error { put(t, s, two, "b/c", "more"); return nil }, 2},
		{"broken put", func() error {
			broken := errors.New("broken")
			_, err := s.Files.Put(t.Context(), cyclone.File{Event: one, Kind: cyclone.FileReport, Path: "d"}, iotest.ErrReader(broken))
			if !errors.Is(err, broken) {
				return err
			}
			return nil
		}, 2},
		{"delete event", func() error { return s.Events.Delete(t.Context(), one) }, 1},
		{"many", func() error {
			for i := range 30 {
				put(t, s, two, strings.Repeat("x", i+1), "text")
			}
			return nil
		}, 31},
		{"delete project", func() error { return s.Projects.Delete(t.Context(), "orders") }, 0},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.what, err)
		}
		there := contents(t, dir)
		if len(there) != step.want {
			t.Errorf("after %s there are %d contents, want %d", step.what, len(there), step.want)
		}
		for _, path := range there {
			info, err := os.Stat(path)
			if err != nil || info.Mode() != 0o600 || !name.MatchString(filepath.ToSlash(path)) {
				t.Errorf("content %s: %v, %v", path, info, err)
			}
		}
	}
}

// What a process that ended left behind goes when the folder is opened again;
// what somebody else put there stays.
func TestSweep(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := embedded.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, over(t, s, "orders"), "kept", "text")
	put(t, s, "gone", "of an event that is gone", "text")
	kept := contents(t, dir)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(dir, "files", "a", "notes.txt")
	for _, path := range []string{filepath.Join(dir, "files", "a", "a"+strings.Repeat("0", 31)), filepath.Join(dir, "files", "f", strings.Repeat("f", 32)), foreign} {
		if err := os.WriteFile(path, []byte("left behind"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s = open(t, dir)
	left := contents(t, dir)
	if len(kept) != 2 || len(left) != 2 || left[0] != foreign && left[1] != foreign {
		t.Errorf("contents were %v and are %v; want one of them, and %s", kept, left, foreign)
	}
	if files, err := s.Files.List(t.Context(), "gone", ""); err != nil || len(files) != 0 {
		t.Errorf("files of an event that is gone: %v, %v", files, err)
	}
}

// A content that somebody removed by hand is said to be missing.
func TestLostContent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	put(t, s, "e", "a", "text")
	lost := contents(t, dir)[0]
	if err := os.Remove(lost); err != nil {
		t.Fatal(err)
	}
	_, _, err := s.Files.Open(t.Context(), "e", cyclone.FileArtifact, "a")
	if err == nil || errors.Is(err, cyclone.ErrNotFound) || !strings.Contains(err.Error(), lost) {
		t.Errorf("the error is %v; want one that names %s", err, lost)
	}
	put(t, s, "e", "a", "anew")
	if _, content, err := s.Files.Open(t.Context(), "e", cyclone.FileArtifact, "a"); err != nil || content.Close() != nil {
		t.Errorf("put again: %v", err)
	}
	if err := s.Files.Delete(t.Context(), "e"); err != nil {
		t.Error(err)
	}
}

// BenchmarkPut measures a content of 256 MiB, to be compared with a copy that
// is synchronised with the disk.
func BenchmarkPut(b *testing.B) {
	const size = 256 << 20
	from := filepath.Join(b.TempDir(), "from")
	if err := os.WriteFile(from, make([]byte, size), 0o600); err != nil {
		b.Fatal(err)
	}
	s := open(b, b.TempDir())
	b.Run("put", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			content, err := os.Open(from)
			if err != nil {
				b.Fatal(err)
			}
			_, err = s.Files.Put(b.Context(), cyclone.File{Event: "e", Kind: cyclone.FileArtifact, Path: "a"}, content)
			if err := errors.Join(err, content.Close()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("open and read", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			_, content, err := s.Files.Open(b.Context(), "e", cyclone.FileArtifact, "a")
			if err != nil {
				b.Fatal(err)
			}
			_, err = io.Copy(io.Discard, content)
			if err := errors.Join(err, content.Close()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("copy", func(b *testing.B) {
		b.SetBytes(size)
		to := filepath.Join(b.TempDir(), "to")
		for b.Loop() {
			if err := copyFile(from, to); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// copyFile copies as cp does, but until it is on the disk.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // only read
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{in}, make([]byte, 1<<20))
	return errors.Join(err, out.Sync(), out.Close())
}

// BenchmarkFiles measures small files, and the list of 1,000.
func BenchmarkFiles(b *testing.B) {
	s := open(b, b.TempDir())
	n := 0
	b.Run("put 1 KB", func(b *testing.B) {
		for b.Loop() {
			n++
			f := cyclone.File{Event: "e", Kind: cyclone.FileArtifact, Path: strings.Repeat("x/", n%500) + "x"}
			if _, err := s.Files.Put(b.Context(), f, strings.NewReader(strings.Repeat("x", 1000))); err != nil {
				b.Fatal(err)
			}
		}
	})
	for i := range 1000 {
		f := cyclone.File{Event: "f", Kind: cyclone.FileArtifact, Path: fmt.Sprintf("dist/assets/file-%d.js", i), Stage: cyclone.StageBuild, Step: "web"}
		if _, err := s.Files.Put(b.Context(), f, strings.NewReader("x")); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("list 1000", func(b *testing.B) {
		for b.Loop() {
			if l, err := s.Files.List(b.Context(), "f", ""); err != nil || len(l) != 1000 {
				b.Fatal(len(l), err)
			}
		}
	})
}
