package cachedir_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cachedir"
)

// files makes a tree: "name" -> content, "name/" a folder, "name -> target" a
// link.
func files(t *testing.T, dir string, all map[string]string) {
	t.Helper()
	for name, content := range all {
		path := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		switch {
		case strings.HasSuffix(name, "/"):
			err = errors.Join(err, os.MkdirAll(path, 0o755))
		case strings.HasPrefix(content, "-> "):
			err = errors.Join(err, os.Symlink(content[3:], path))
		default:
			err = errors.Join(err, os.WriteFile(path, []byte(content), 0o644))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// shown is what files made, as seen now.
func shown(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || path == dir {
			return err
		}
		name := strings.TrimPrefix(path, dir+"/")
		switch {
		case info.IsDir():
			all[name+"/"] = ""
		case info.Mode()&os.ModeSymlink != 0:
			target, err := os.Readlink(path)
			all[name] = "-> " + target
			return err
		default:
			text, err := os.ReadFile(path)
			all[name] = string(text)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func root(t *testing.T, dir string) *os.Root {
	t.Helper()
	r, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func TestCopyKeepsWhatMatters(t *testing.T) {
	t.Parallel()
	from, base, to := t.TempDir(), t.TempDir(), t.TempDir()
	files(t, from, map[string]string{"a": "1", "d/b": "22", "d/e/": "", "l": "-> /etc/passwd", "d/up": "-> ../../.."})
	then := time.Date(2020, 1, 2, 3, 4, 5, 6000, time.UTC)
	for _, name := range []string{"a", "d/b", "d"} {
		if err := os.Chtimes(filepath.Join(from, name), then, then); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Chmod(filepath.Join(from, "a"), 0o711|os.ModeSetuid), syscall.Mkfifo(filepath.Join(from, "pipe"), 0o600)); err != nil {
		t.Fatal(err)
	}
	// The same file is linked, another of the same size is not.
	if err := cachedir.Copy(root(t, from), root(t, base), ""); err != nil {
		t.Fatal(err)
	}
	files(t, base, map[string]string{"d/b": "xx"})
	if err := cachedir.Copy(root(t, from), root(t, to), base); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"a": "1", "d/": "", "d/b": "22", "d/e/": "", "l": "-> /etc/passwd", "d/up": "-> ../../.."}
	if diff := cmp.Diff(want, shown(t, to)); diff != "" {
		t.Error(diff)
	}
	for name, linked := range map[string]bool{"a": true, "d/b": false} {
		x, err1 := os.Stat(filepath.Join(to, name))
		y, err2 := os.Stat(filepath.Join(base, name))
		if err := errors.Join(err1, err2); err != nil || os.SameFile(x, y) != linked {
			t.Errorf("%s is a link: %v, %v", name, !linked, err)
		}
	}
	info, err := os.Stat(filepath.Join(to, "a"))
	if err != nil || info.Mode() != 0o711|os.ModeSetuid || !info.ModTime().Equal(then) {
		t.Errorf("a: %v, %v", info, err)
	}
	if info, err = os.Stat(filepath.Join(to, "d")); err != nil || !info.ModTime().Equal(then) {
		t.Errorf("d: %v, %v", info, err)
	}
}

func TestSameSeesChanges(t *testing.T) {
	t.Parallel()
	changes := map[string]func(dir string) error{
		"":        func(string) error { return nil },
		"content": func(dir string) error { return os.WriteFile(filepath.Join(dir, "d/b"), []byte("xxx"), 0o600) },
		"time":    func(dir string) error { return os.Chtimes(filepath.Join(dir, "d/b"), time.Now(), time.Now()) },
		"mode":    func(dir string) error { return os.Chmod(filepath.Join(dir, "d/b"), 0o755) },
		"gone":    func(dir string) error { return os.Remove(filepath.Join(dir, "d/b")) },
		"new":     func(dir string) error { return os.WriteFile(filepath.Join(dir, "d/c"), nil, 0o600) },
		"link": func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, "l")), os.Symlink("other", filepath.Join(dir, "l")))
		},
		"renamed": func(dir string) error { return os.Rename(filepath.Join(dir, "d/b"), filepath.Join(dir, "d/c")) },
		"kind": func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, "d/b")), os.Mkdir(filepath.Join(dir, "d/b"), 0o700))
		},
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := t.TempDir(), t.TempDir()
			files(t, a, map[string]string{"d/b": "22", "l": "-> x"})
			then := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
			if err := os.Chtimes(filepath.Join(a, "d/b"), then, then); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(cachedir.Copy(root(t, a), root(t, b), ""), change(b)); err != nil {
				t.Fatal(err)
			}
			if same, err := cachedir.Same(root(t, a), root(t, b)); err != nil || same != (name == "") {
				t.Errorf("same: %v, %v", same, err)
			}
		})
	}
}

// What a real overlay shows and what Complete makes of its folders are the
// same, whatever was done in it.
func TestCompleteIsWhatTheOverlayShowed(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("mounting an overlay needs root")
	}
	base := overlayBase(t)
	lower, upper, work, merged := filepath.Join(base, "lower"), filepath.Join(base, "upper"), filepath.Join(base, "work"), filepath.Join(base, "merged")
	for _, dir := range []string{lower, upper, work, merged} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	files(t, lower, map[string]string{
		"same": "1", "changed": "1", "removed": "1", "dir/same": "1", "dir/removed": "1", "dir/deep/x": "1",
		"gone/x": "1", "again/old": "1", "file-to-dir": "1", "dir-to-file/x": "1", "link": "-> same", "moved": "1", "emptied/x": "1",
	})
	options := "lowerdir=" + lower + ",upperdir=" + upper + ",workdir=" + work + ",redirect_dir=off,metacopy=off,index=off"
	if err := syscall.Mount("overlay", merged, "overlay", 0, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(merged, syscall.MNT_DETACH) }) // it is gone, unless the test broke off
	at := func(name string) string { return filepath.Join(merged, name) }
	err := errors.Join(
		os.WriteFile(at("changed"), []byte("2"), 0o600), os.Remove(at("removed")), os.Remove(at("dir/removed")),
		os.RemoveAll(at("gone")), os.RemoveAll(at("again")), os.Mkdir(at("again"), 0o755), os.WriteFile(at("again/new"), nil, 0o600),
		os.Remove(at("file-to-dir")), os.Mkdir(at("file-to-dir"), 0o755), os.RemoveAll(at("dir-to-file")), os.WriteFile(at("dir-to-file"), nil, 0o600),
		os.Remove(at("link")), os.Symlink("dir", at("link")), os.Rename(at("moved"), at("dir/moved")), os.Remove(at("emptied/x")),
		os.MkdirAll(at("made/deep"), 0o755), os.WriteFile(at("made/deep/x"), []byte("3"), 0o600), os.Chmod(at("dir/deep"), 0o700),
	)
	if err != nil {
		t.Fatal(err)
	}
	want := shown(t, merged)
	if err := syscall.Unmount(merged, 0); err != nil {
		t.Fatal(err)
	}
	if err := cachedir.Complete(upper, lower); err != nil {
		t.Fatal(err)
	}
	if _, filled, err := cachedir.Trim(upper); err != nil || !filled {
		t.Errorf("filled %v, %v", filled, err)
	}
	if diff := cmp.Diff(want, shown(t, upper)); diff != "" {
		t.Errorf("the overlay (-) and what was made of it (+):\n%s", diff)
	}
	if info, err := os.Stat(filepath.Join(upper, "dir/deep")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("dir/deep: %v, %v", info, err)
	}
	x, err1 := os.Stat(filepath.Join(upper, "dir/same"))
	y, err2 := os.Stat(filepath.Join(lower, "dir/same"))
	if err := errors.Join(err1, err2); err != nil || !os.SameFile(x, y) {
		t.Errorf("dir/same was copied, not linked (%v)", err)
	}
}

// overlayBase is a folder that an overlay may be on, which not every file
// system for temporary files is.
func overlayBase(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestTrimRemovesWhatIsNoContent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if size, filled, err := cachedir.Trim(dir); err != nil || filled || size != 0 {
		t.Errorf("an empty folder: %d, %v, %v", size, filled, err)
	}
	files(t, dir, map[string]string{"a": strings.Repeat("x", 100<<10), "d/l": "-> a"})
	if err := syscall.Mkfifo(filepath.Join(dir, "d/pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	size, filled, err := cachedir.Trim(dir)
	if err != nil || !filled || size < 100<<10 || size > 200<<10 {
		t.Errorf("%d bytes, filled %v, %v", size, filled, err)
	}
	if diff := cmp.Diff([]string{"d/l"}, names(shown(t, filepath.Join(dir, "d")), "d/")); diff != "" {
		t.Error(diff)
	}
}

func names(all map[string]string, prefix string) []string {
	var out []string
	for name := range all {
		out = append(out, prefix+name)
	}
	return out
}
