package storetest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"cyclone/pkg/cyclone"
)

// artifact is a file of event "e" of which nothing is known yet.
func artifact(path string) cyclone.File {
	return cyclone.File{Event: "e", Kind: cyclone.FileArtifact, Path: path, Stage: cyclone.StageBuild, Step: "web", CreatedAt: at(0)}
}

// put stores a file and returns what was stored.
func put(t testing.TB, s Stores, f cyclone.File, content string) cyclone.File {
	t.Helper()
	return must1(s.Files.Put(t.Context(), f, strings.NewReader(content)))(t)
}

// read opens a file and reads all of it.
func read(t testing.TB, s Stores, f cyclone.File) (cyclone.File, string) {
	t.Helper()
	found, content, err := s.Files.Open(t.Context(), f.Event, f.Kind, f.Path)
	must(t, err)
	data := must1(io.ReadAll(content))(t)
	must(t, content.Close())
	return found, string(data)
}

// holds checks that a file is there with this content, and all that is said of it.
func holds(t testing.TB, s Stores, f cyclone.File, content string) {
	t.Helper()
	found, data := read(t, s, f)
	if data != content {
		t.Errorf("content of %s is %d bytes, %.40q; want %d, %.40q", f.Path, len(data), data, len(content), content)
	}
	sum := sha256.Sum256([]byte(content))
	f.Size, f.SHA256 = cyclone.Size(len(content)), hex.EncodeToString(sum[:])
	same(t, stored(f), found, "file "+f.Path)
}

// kept are the paths of event "e".
func kept(t testing.TB, s Stores, kind cyclone.FileKind) []string {
	t.Helper()
	paths := []string{}
	for _, f := range must1(s.Files.List(t.Context(), "e", kind))(t) {
		paths = append(paths, f.Path)
	}
	return paths
}

// noise is n bytes that no store can make smaller.
func noise(n int) string {
	b := make([]byte, n)
	dice := rand.NewChaCha8([32]byte{1})
	_, _ = dice.Read(b) // never fails
	return string(b)
}

var files = []clause{
	{"a file comes back with size and sum, byte for byte", func(t *testing.T, s Stores) {
		for name, content := range map[string]string{"empty": "", "one": "\x00", "text": "ä世\r\n\xff", "large": noise(2<<20 + 17)} {
			f := artifact(name)
			got := put(t, s, f, content)
			found, _ := read(t, s, f)
			same(t, found, got, "what Put returned of "+name)
			holds(t, s, f, content)
		}
		same(t, []string{"empty", "large", "one", "text"}, kept(t, s, cyclone.FileArtifact), "paths")
	}},
	{"CreatedAt is set where it is zero", func(t *testing.T, s Stores) {
		f := artifact("a")
		f.CreatedAt = time.Time{}
		before := cyclone.Stamp(time.Now())
		got := put(t, s, f, "x")
		if got.CreatedAt.Before(before) || got.CreatedAt.After(time.Now()) {
			t.Errorf("created at %v, which is not now", got.CreatedAt)
		}
		same(t, []cyclone.File{got}, must1(s.Files.List(t.Context(), "e", ""))(t), "files")
	}},
	{"Put over a file replaces all of it", func(t *testing.T, s Stores) {
		put(t, s, artifact("a"), noise(1<<20))
		f := artifact("a")
		f.Stage, f.Step, f.CreatedAt = cyclone.StageIntegration, "other", at(9)
		put(t, s, f, "new")
		holds(t, s, f, "new")
		same(t, []string{"a"}, kept(t, s, ""), "paths")
	}},
	{"kinds and events are apart", func(t *testing.T, s Stores) {
		for _, event := range []cyclone.EventID{"e", "f", "ee"} {
			for _, kind := range []cyclone.FileKind{cyclone.FileArtifact, cyclone.FileReport, cyclone.FileOutput} {
				f := artifact("same")
				f.Event, f.Kind = event, kind
				put(t, s, f, string(event)+string(kind))
			}
		}
		f := artifact("same")
		f.Event, f.Kind = "f", cyclone.FileReport
		holds(t, s, f, "freport")
		must(t, s.Files.Delete(t.Context(), "e"))
		holds(t, s, f, "freport")
		f.Event = "ee"
		holds(t, s, f, "eereport")
	}},
	{"List is by kind and path, byte by byte, and never nil", listFiles},
	{"paths that are valid are kept as they are", func(t *testing.T, s Stores) {
		paths := []string{
			"a", "a/b", "a/b/c", "A", "...", "..a", ".hidden", "a b", " ", "$a.b", "%2e%2e", "世界/ä", "e\u0301", "*?[", "con:", "-rf",
			strings.Repeat("x", 1024), strings.Repeat("d/", 500) + "x",
		}
		for _, path := range paths {
			put(t, s, artifact(path), "of "+path)
		}
		for _, path := range paths {
			holds(t, s, artifact(path), "of "+path)
		}
		slices.Sort(paths)
		same(t, paths, kept(t, s, cyclone.FileArtifact), "paths")
	}},
	{"a path that leads elsewhere, an unknown kind or no event is ErrInvalid", func(t *testing.T, s Stores) {
		for _, path := range []string{"", ".", "..", "../a", "a/../b", "/a", "a/", "a//b", "./a", "a\x00b", "a\nb", `a\b`, "\xff", strings.Repeat("x", 1025)} {
			_, err := s.Files.Put(t.Context(), artifact(path), strings.NewReader("x"))
			is(t, err, cyclone.ErrInvalid, fmt.Sprintf("path %.20q", path))
			_, _, err = s.Files.Open(t.Context(), "e", cyclone.FileArtifact, path)
			is(t, err, cyclone.ErrNotFound, fmt.Sprintf("Open of path %.20q", path))
		}
		f := artifact("a")
		f.Kind = "other"
		_, err := s.Files.Put(t.Context(), f, strings.NewReader("x"))
		is(t, err, cyclone.ErrInvalid, "kind")
		for _, id := range []cyclone.EventID{"", "../e"} {
			f = artifact("a")
			f.Event = id
			_, err = s.Files.Put(t.Context(), f, strings.NewReader("x"))
			is(t, err, cyclone.ErrInvalid, "event")
		}
		same(t, []string{}, kept(t, s, ""), "paths")
	}},
	{"what is not there is ErrNotFound", func(t *testing.T, s Stores) {
		put(t, s, artifact("a/b"), "x")
		for _, path := range []string{"a", "a/b/c", "A/b", "b"} {
			_, _, err := s.Files.Open(t.Context(), "e", cyclone.FileArtifact, path)
			is(t, err, cyclone.ErrNotFound, path)
		}
		_, _, err := s.Files.Open(t.Context(), "e", cyclone.FileOutput, "a/b")
		is(t, err, cyclone.ErrNotFound, "another kind")
		_, _, err = s.Files.Open(t.Context(), "f", cyclone.FileArtifact, "a/b")
		is(t, err, cyclone.ErrNotFound, "another event")
	}},
	{"a content that fails in the middle changes nothing, and its error is the caller's", brokenContent},
	{"Put ends with its context", func(t *testing.T, s Stores) {
		ctx, stop := context.WithCancelCause(t.Context())
		enough := errors.New("enough")
		content := readerFunc(func(p []byte) (int, error) { stop(enough); return len(p), nil }) // it never ends by itself
		_, err := s.Files.Put(ctx, artifact("a"), io.LimitReader(content, 8<<20))
		is(t, err, enough, "Put")
		same(t, []string{}, kept(t, s, ""), "paths")
	}},
	{"a content is read from anywhere, as often as wanted", seekFile},
	{"Delete removes all files of an event; none is no error", func(t *testing.T, s Stores) {
		must(t, s.Files.Delete(t.Context(), "e"))
		for i := range 30 {
			put(t, s, artifact(numbered(i)), "x")
		}
		must(t, s.Files.Delete(t.Context(), "e"))
		same(t, []string{}, kept(t, s, ""), "paths")
		_, _, err := s.Files.Open(t.Context(), "e", cyclone.FileArtifact, numbered(1))
		is(t, err, cyclone.ErrNotFound, "Open of a deleted file")
		must(t, s.Files.Delete(t.Context(), "e"))
		put(t, s, artifact(numbered(1)), "anew")
		holds(t, s, artifact(numbered(1)), "anew")
	}},
	{"16 who put one path: all succeed and one is kept whole", func(t *testing.T, s Stores) {
		contents := make([]string, 16)
		for i := range contents {
			contents[i] = strings.Repeat(numbered(i), 2000+i)
		}
		for _, err := range together(16, func(i int) error {
			_, err := s.Files.Put(t.Context(), artifact("a"), strings.NewReader(contents[i]))
			return err
		}) {
			must(t, err)
		}
		_, got := read(t, s, artifact("a"))
		if !slices.Contains(contents, got) {
			t.Errorf("what is kept, %d bytes, nobody put", len(got))
		}
		holds(t, s, artifact("a"), got)
		same(t, []string{"a"}, kept(t, s, ""), "paths")
	}},
	{"16 who put a path each: all are kept", func(t *testing.T, s Stores) {
		for _, err := range together(16, func(i int) error {
			_, err := s.Files.Put(t.Context(), artifact(numbered(i)), strings.NewReader(numbered(i)))
			return err
		}) {
			must(t, err)
		}
		for i := range 16 {
			holds(t, s, artifact(numbered(i)), numbered(i))
		}
	}},
	{"who reads while a file is replaced reads one version whole", replacedMeanwhile},
}

func listFiles(t *testing.T, s Stores) {
	if none := must1(s.Files.List(t.Context(), "e", ""))(t); none == nil || len(none) != 0 {
		t.Errorf("no files are %v; want an empty list", none)
	}
	var want, reports []string
	for _, kind := range []cyclone.FileKind{cyclone.FileReport, cyclone.FileArtifact} {
		for _, path := range []string{"b", "世", "a/z", "a.b", "a", "B", "a b", "ä"} {
			f := artifact(path)
			f.Kind = kind
			put(t, s, f, "x")
			want = append(want, string(kind)+" "+path)
			if kind == cyclone.FileReport {
				reports = append(reports, path)
			}
		}
	}
	slices.SortFunc(want, func(a, b string) int { // by kind, then by path
		kindA, pathA, _ := strings.Cut(a, " ")
		kindB, pathB, _ := strings.Cut(b, " ")
		return strings.Compare(kindA+"\x00"+pathA, kindB+"\x00"+pathB)
	})
	slices.Sort(reports)
	var got []string
	for _, f := range must1(s.Files.List(t.Context(), "e", ""))(t) {
		got = append(got, string(f.Kind)+" "+f.Path)
	}
	same(t, want, got, "all files")
	same(t, reports, kept(t, s, cyclone.FileReport), "reports")
	same(t, []string{}, kept(t, s, cyclone.FileOutput), "outputs")
}

type readerFunc func(p []byte) (int, error)

func (r readerFunc) Read(p []byte) (int, error) { return r(p) }

func brokenContent(t *testing.T, s Stores) {
	put(t, s, artifact("old"), "old")
	broken := errors.New("the connection broke")
	for _, n := range []int{0, 1, 1<<20 + 1} {
		content := func() io.Reader { return io.MultiReader(strings.NewReader(noise(n)), iotest.ErrReader(broken)) }
		for _, path := range []string{"old", "new"} {
			_, err := s.Files.Put(t.Context(), artifact(path), content())
			is(t, err, broken, fmt.Sprintf("Put that breaks after %d bytes", n))
		}
	}
	same(t, []string{"old"}, kept(t, s, ""), "paths")
	holds(t, s, artifact("old"), "old")
	put(t, s, artifact("new"), "new")
	holds(t, s, artifact("new"), "new")
}

func seekFile(t *testing.T, s Stores) {
	want := noise(2<<20 + 3)
	put(t, s, artifact("a"), want)
	_, content, err := s.Files.Open(t.Context(), "e", cyclone.FileArtifact, "a")
	must(t, err)
	size := int64(len(want))
	same(t, size, must1(content.Seek(0, io.SeekEnd))(t), "place of the end")
	same(t, 0, len(must1(io.ReadAll(content))(t)), "bytes after the end")
	for _, c := range []struct {
		offset int64
		whence int
		at     int64
		n      int64
	}{
		{0, io.SeekStart, 0, 10}, {1 << 20, io.SeekStart, 1 << 20, 1}, {1<<20 - 1, io.SeekStart, 1<<20 - 1, 2},
		{-100, io.SeekEnd, size - 100, 200}, {-1 << 20, io.SeekCurrent, size - 1<<20, 5}, {-5, io.SeekCurrent, size - 1<<20, 5},
		{0, io.SeekStart, 0, size + 1}, {size + 5, io.SeekStart, size + 5, 3}, {1<<20 + 7, io.SeekStart, 1<<20 + 7, 1 << 19},
	} {
		same(t, c.at, must1(content.Seek(c.offset, c.whence))(t), "place")
		got := must1(io.ReadAll(io.LimitReader(content, c.n)))(t)
		from, to := min(c.at, size), min(c.at+c.n, size)
		if string(got) != want[from:to] {
			t.Errorf("%d bytes from %d on are not what was put there", c.n, c.at)
		}
	}
	_, err = content.Seek(-1, io.SeekStart)
	if err == nil {
		t.Error("a place before the beginning was found")
	}
	must(t, content.Close())
}

func replacedMeanwhile(t *testing.T, s Stores) {
	const long = 300_000
	version := func(i int) string { return strings.Repeat(numbered(i), long) }
	put(t, s, artifact("a"), version(0))
	_, old, err := s.Files.Open(t.Context(), "e", cyclone.FileArtifact, "a")
	must(t, err)
	first := make([]byte, 5)
	must1(io.ReadFull(old, first))(t)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				_, data := read(t, s, artifact("a"))
				if want := strings.Repeat(data[:5], long); data != want {
					t.Errorf("%d bytes that begin with %s are of several versions", len(data), data[:5])
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for i := range 4 {
		put(t, s, artifact("a"), version(i+1))
	}
	close(stop)
	readers.Wait()
	rest := must1(io.ReadAll(old))(t)
	if string(first)+string(rest) != version(0) {
		t.Errorf("who had it open before read %d bytes that are not the old version", 5+len(rest))
	}
	must(t, old.Close())
}
