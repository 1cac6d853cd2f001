package cachedir_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cachedir"
	"cyclone/pkg/cyclone"
)

func begin(t *testing.T, dir string) *cachedir.Session {
	t.Helper()
	s, err := cachedir.Begin(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeSession(t, s) })
	return s
}

func closeSession(t *testing.T, s *cachedir.Session) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// write makes a folder with one file of a size.
func write(t *testing.T, s *cachedir.Session, text string, kib int) string {
	t.Helper()
	dir, err := os.MkdirTemp(s.Work, "test-")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "file"), []byte(text+strings.Repeat(".", kib<<10)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func publish(t *testing.T, s *cachedir.Session, key, text string, kib int) {
	t.Helper()
	held, err := s.Publish(key, write(t, s, text, kib), cachedir.Info{Path: key, Size: cyclone.Size(kib << 10), Event: 7})
	if err != nil {
		t.Fatal(err)
	}
	held.Release()
}

// read is what is published under a key; empty for nothing.
func read(t *testing.T, s *cachedir.Session, key string) string {
	t.Helper()
	held, err := s.Open(key)
	if err != nil {
		t.Fatal(err)
	}
	if held == nil {
		return ""
	}
	defer held.Release()
	return content(t, held)
}

func content(t *testing.T, held *cachedir.Held) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(held.Data, "file"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimRight(string(text), ".")
}

// under lists the folders and files that match, but for links to others.
func under(t *testing.T, pattern ...string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(pattern...))
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(found, func(path string) bool { return strings.Contains(path, "/current") })
}

func TestPublishedContentIsSeen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := begin(t, dir)
	if got := read(t, s, "k"); got != "" {
		t.Errorf("of a new folder: %q", got)
	}
	publish(t, s, "k", "one", 0)
	old, err := s.Open("k")
	if err != nil || old.Event != 7 {
		t.Fatalf("%+v, %v", old, err)
	}
	other := begin(t, dir)
	publish(t, other, "k", "two", 0)
	if got := read(t, s, "k"); got != "two" {
		t.Errorf("after the second: %q", got)
	}
	if got := content(t, old); got != "one" {
		t.Errorf("who holds the first sees %q", got)
	}
	if n := len(under(t, dir, "entries/k/*/data")); n != 2 {
		t.Errorf("%d generations while one is held", n)
	}
	old.Release()
	closeSession(t, begin(t, dir)) // which sweeps
	if n := len(under(t, dir, "entries/k/*/data")); n != 1 {
		t.Errorf("%d generations after the release", n)
	}
}

// Whoever only reads needs nothing that can be written, and leaves no trace.
func TestReadingChangesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	empty, err := cachedir.Begin(filepath.Join(dir, "none"), true)
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, empty, "k"); got != "" {
		t.Errorf("of nothing: %q", got)
	}
	closeSession(t, empty)
	s := begin(t, dir)
	publish(t, s, "k", "one", 0)
	before := tree(t, dir)
	reader, err := cachedir.Begin(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, reader, "k"); got != "one" {
		t.Errorf("the reader sees %q", got)
	}
	closeSession(t, reader)
	if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
		t.Errorf("the reader changed something:\n%s", diff)
	}
}

func tree(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Name() != "info.json" { // which is settled in the background
			all = append(all, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestEvictionTakesTheUnusedFirst(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := begin(t, dir)
	for _, key := range []string{"a", "b", "c", "d"} {
		publish(t, s, key, key, 100)
	}
	long := time.Now().Add(-time.Hour)
	for i, key := range []string{"b", "a", "d", "c"} {
		age(t, dir, key, long.Add(time.Duration(i)*time.Minute))
	}
	held, err := s.Open("b") // the oldest, but in use
	if err != nil {
		t.Fatal(err)
	}
	defer held.Release()
	age(t, dir, "b", long)
	gone, err := s.Evict(250 << 10)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, g := range gone {
		names = append(names, g.Path)
	}
	if diff := cmp.Diff([]string{"a", "d"}, names); diff != "" {
		t.Errorf("evicted:\n%s", diff)
	}
	if got := read(t, s, "a") + read(t, s, "b") + read(t, s, "c") + read(t, s, "d"); got != "bc" {
		t.Errorf("left: %q", got)
	}
	if gone, err := s.Evict(0); err != nil || len(gone) > 0 {
		t.Errorf("without a limit: %v, %v", gone, err)
	}
}

// age sets when an entry was used last.
func age(t *testing.T, dir, key string, at time.Time) {
	t.Helper()
	for _, path := range under(t, dir, "entries", key, "*", "info.json") {
		waitFor(t, func() bool { // settling writes it anew
			text, err := os.ReadFile(path)
			return err == nil && strings.Contains(string(text), `"settled":true`)
		})
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
}

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not within 20 s")
		}
	}
}

func TestDroppedIsGone(t *testing.T) {
	t.Parallel()
	s := begin(t, t.TempDir())
	publish(t, s, "k", "one", 0)
	if err := s.Drop("k"); err != nil {
		t.Fatal(err)
	}
	if got := read(t, s, "k"); got != "" {
		t.Errorf("after Drop: %q", got)
	}
	if err := s.Drop("k"); err != nil {
		t.Errorf("again: %v", err)
	}
}

// The content of an earlier boot is used only when it is known to have
// reached the disk.
func TestUnsettledContentOfAnotherBootIsNotUsed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := begin(t, dir)
	publish(t, s, "k", "one", 0)
	age(t, dir, "k", time.Now())
	found := under(t, dir, "entries/k/*/info.json")
	if len(found) != 1 {
		t.Fatal(found)
	}
	for _, tt := range []struct{ settled, want string }{{"true", "one"}, {"false", ""}} {
		text := fmt.Sprintf(`{"path":"k","size":1,"boot":"another","settled":%s}`, tt.settled)
		if err := os.WriteFile(found[0], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := read(t, s, "k"); got != tt.want {
			t.Errorf("settled %s: %q", tt.settled, got)
		}
	}
}

// What a user that was killed left is removed by the next one, whatever it
// was in the middle of.
func TestDeadUsersLeaveNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := begin(t, dir)
	publish(t, s, "k", "one", 0)
	dead := filepath.Join(dir, "sessions", "dead")
	for _, path := range []string{filepath.Join(dead, "upper"), filepath.Join(dir, "trash", "x"), filepath.Join(dir, "entries/k/half")} {
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{filepath.Join(dead, "lock"), filepath.Join(dir, "entries/k/half/lock")} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("half", filepath.Join(dir, "entries/k/current.new")); err != nil {
		t.Fatal(err)
	}
	next := begin(t, dir)
	if n := len(under(t, dir, "sessions/*")); n != 2 {
		t.Errorf("%d sessions, want the two that live", n)
	}
	if got := read(t, next, "k"); got != "one" {
		t.Errorf("published: %q", got)
	}
	publish(t, next, "k", "two", 0)
	closeSession(t, next)
	if n := len(under(t, dir, "trash/*")); n != 0 {
		t.Errorf("%d things in the trash", n)
	}
	if n := len(under(t, dir, "entries/k/*")); n != 1 {
		t.Errorf("%d generations", n)
	}
}

func TestUsageAndRemove(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "p")
	s, err := cachedir.Begin(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	publish(t, s, "a", "a", 10)
	publish(t, s, "b", "b", 20)
	size, used, inUse, err := cachedir.Usage(dir)
	if err != nil || size != 30<<10 || !inUse || time.Since(used) > time.Minute {
		t.Errorf("%d bytes, used %s, in use %v, %v", size, used, inUse, err)
	}
	if err := cachedir.Remove(dir); !errors.Is(err, cyclone.ErrConflict) {
		t.Errorf("removal while in use: %v", err)
	}
	closeSession(t, s)
	if _, _, inUse, err := cachedir.Usage(dir); err != nil || inUse {
		t.Errorf("after the end: in use %v, %v", inUse, err)
	}
	for range 2 { // one that is gone is no error
		if err := cachedir.Remove(dir); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}
