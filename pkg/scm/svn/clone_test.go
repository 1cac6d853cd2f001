package svn_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/scm/svn"
)

const odd = "Grüße an @42 & 100%41" // a name that needs every escape

func TestCheckOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("shop")
	w.commit("shop", "Begin", map[string]string{"trunk/file": "one", "branches/": "", "tags/": ""})
	second := w.commit("shop", "Fix the thïng\n\nBecause <of> & \"it\".", map[string]string{"trunk/file": "two", "trunk/" + odd + "/" + odd + ".txt": "odd"})
	w.did(w.Copy(t.Context(), "shop", "trunk", "branches/"+odd))
	w.did(w.Copy(t.Context(), "shop", "trunk", "tags/v1.0"))
	w.commit("shop", "On the branch", map[string]string{"branches/" + odd + "/file": "branch"})
	last := w.commit("shop", "Third", map[string]string{"trunk/file": "three"})
	w.create("flat")
	flat := w.commit("flat", "Flat", map[string]string{"file": "flat", "deep/trunk/file": "deep"})

	for name, tt := range map[string]struct {
		repository, path, ref, sha, file string
		want                             cyclone.Commit
	}{
		"trunk":             {"shop", "", "refs/heads/trunk", "r2", "two", cyclone.Commit{SHA: "r2", Author: "alice", Message: "Fix the thïng\n\nBecause <of> & \"it\"."}},
		"head of trunk":     {"shop", "", "refs/heads/trunk", "", "three", cyclone.Commit{SHA: "r6", Author: "alice", Message: "Third"}},
		"nothing said":      {"shop", "", "", "", "three", cyclone.Commit{SHA: "r6", Author: "alice", Message: "Third"}},
		"another's commit":  {"shop", "", "refs/heads/trunk", "r5", "two", cyclone.Commit{SHA: "r5", Author: "alice", Message: "Fix the thïng\n\nBecause <of> & \"it\"."}},
		"branch":            {"shop", "", "refs/heads/" + odd, "r5", "branch", cyclone.Commit{SHA: "r5", Author: "alice", Message: "On the branch"}},
		"head of branch":    {"shop", "", odd, "", "branch", cyclone.Commit{SHA: "r5", Author: "alice", Message: "On the branch"}},
		"tag":               {"shop", "", "refs/tags/v1.0", "r4", "two", cyclone.Commit{SHA: "r4", Author: "alice", Message: "Copy trunk to tags/v1.0"}},
		"URL of the trunk":  {"shop", "/trunk", "refs/heads/trunk", "r1", "one", cyclone.Commit{SHA: "r1", Author: "alice", Message: "Begin"}},
		"URL of a branch":   {"shop", "/branches/" + strings.ReplaceAll(odd, "%", "%25"), "refs/heads/trunk", "", "branch", cyclone.Commit{SHA: "r5", Author: "alice", Message: "On the branch"}},
		"URL of a tag":      {"shop", "/tags/v1.0/", "refs/tags/v1.0", "", "two", cyclone.Commit{SHA: "r4", Author: "alice", Message: "Copy trunk to tags/v1.0"}},
		"no trunk":          {"flat", "", "refs/heads/trunk", "r1", "flat", cyclone.Commit{SHA: "r1", Author: "alice", Message: "Flat"}},
		"trunk of a folder": {"flat", "/deep", "", "", "deep", cyclone.Commit{SHA: "r1", Author: "alice", Message: "Flat"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, dir, out, err := clone(t, cyclone.CloneSpec{URL: w.URL(tt.repository) + tt.path, Ref: tt.ref, SHA: tt.sha})
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Fatalf("%v\n%s\n%s", err, diff, out.all())
			}
			if text := content(t, dir, "file"); text != tt.file {
				t.Errorf("the file holds %q", text)
			}
			if tt.file == "two" || tt.file == "three" || tt.file == "branch" {
				content(t, dir, filepath.Join(odd, odd+".txt"))
			}
			if !strings.Contains(out.all(), "Checked out "+got.SHA) {
				t.Errorf("the log does not say what came:\n%s", out.all())
			}
		})
	}
	if second != 2 || last != 6 || flat != 1 {
		t.Errorf("revisions %d, %d, %d", second, last, flat)
	}
}

func TestNotThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("shop")
	w.commit("shop", "Begin", map[string]string{"trunk/file": "one", "branches/": "", "tags/": ""})
	w.commit("shop", "Gone", map[string]string{"branches/gone/file": "x"})
	w.did(w.Remove(t.Context(), "shop", "branches/gone"))
	for name, tt := range map[string]struct{ path, ref, sha, says string }{
		"revision":       {"/shop", "", "r99", "revision r99 is not in " + w.URL("shop") + " after 0.05 s"},
		"branch":         {"/shop", "refs/heads/none", "", "/shop/branches/none is not in the repository after 0.05 s"},
		"branch then":    {"/shop", "refs/heads/gone", "r1", "/branches/gone is not in revision r1"},
		"removed branch": {"/shop", "refs/heads/gone", "", "/branches/gone is not in the repository"},
		"tag":            {"/shop", "refs/tags/none", "r2", "/tags/none is not in revision r2"},
		"repository":     {"/nothing", "", "", "no Subversion repository"},
		"folder":         {"/shop/none", "", "r2", "is not in revision r2"},
		"file":           {"/shop/trunk/file", "", "", "is a file"},
		"another line":   {"/shop/trunk", "refs/heads/x", "", "is one line of development"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := strings.TrimSuffix(w.URL("x"), "/x")
			_, _, out, err := clone(t, cyclone.CloneSpec{URL: base + tt.path, Ref: tt.ref, SHA: tt.sha, Patience: 50 * time.Millisecond})
			if !errors.Is(err, cyclone.ErrNotFound) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v, want %s\n%s", err, tt.says, out.all())
			}
		})
	}
	got, dir, _, err := clone(t, cyclone.CloneSpec{URL: w.URL("shop"), Ref: "refs/heads/gone", SHA: "r2"})
	if err != nil || got.SHA != "r2" || content(t, dir, "file") != "x" {
		t.Errorf("a branch that was removed later: %+v, %v", got, err)
	}
}

func TestLate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("shop")
	w.commit("shop", "Begin", map[string]string{"trunk/file": "one"})
	var once sync.Once
	out := &recorder{do: func(line string) {
		if strings.Contains(line, "looking again in") {
			once.Do(func() {
				if _, err := w.Commit(t.Context(), "shop", "Later", map[string][]byte{"trunk/file": []byte("two")}); err != nil {
					t.Error(err)
				}
			})
		}
	}}
	dir := t.TempDir()
	got, err := fast().Clone(t.Context(), cyclone.CloneSpec{URL: w.URL("shop"), SHA: "r2", Dir: dir, Patience: time.Minute}, out)
	if err != nil || got.SHA != "r2" || got.Message != "Later" || content(t, dir, "file") != "two" {
		t.Errorf("%+v, %v\n%s", got, err, out.all())
	}
}

const secret = "s3cret pass:w%rd'\"$HOME`\\"

func TestCredentials(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("shop")
	w.commit("shop", "Begin", map[string]string{"trunk/file": "one"})
	if err := w.Close("shop", "alice", secret); err != nil {
		t.Fatal(err)
	}
	// A spy in svn's place notes what other processes of the machine can see.
	spyDir := t.TempDir()
	spy := filepath.Join(spyDir, "svn")
	script := "#!/bin/sh\n(tr '\\0' '\\n' < /proc/$$/cmdline; env) >> " + spyDir + "/seen\nexec svn \"$@\"\n"
	if err := os.WriteFile(spy, []byte(script), 0o700); err != nil { //#nosec G306 -- it is a program
		t.Fatal(err)
	}
	c := fast()
	c.Command = spy
	dir, out := t.TempDir(), &recorder{}
	if _, err := c.Clone(t.Context(), cyclone.CloneSpec{URL: w.URL("shop"), Dir: dir, Username: "alice", Password: secret}, out); err != nil {
		t.Fatalf("%v\n%s", err, out.all())
	}
	if strings.Contains(out.all(), secret) {
		t.Error("the password is in the log")
	}
	if seen := content(t, spyDir, "seen"); strings.Contains(seen, secret) || !strings.Contains(seen, "checkout") {
		t.Errorf("other processes see:\n%s", seen)
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.Contains(content(t, "", path), secret) {
			t.Errorf("the password stands in %s", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, login := range map[string][2]string{"wrong password": {"alice", "nope"}, "wrong user": {"bob", secret}, "none": {}} {
		_, _, out, err := clone(t, cyclone.CloneSpec{URL: w.URL("shop"), Username: login[0], Password: login[1], Patience: time.Hour})
		if !errors.Is(err, cyclone.ErrForbidden) || !strings.Contains(err.Error(), w.URL("shop")) {
			t.Errorf("%s: %v\n%s", name, err, out.all())
		}
	}
}

func TestExternalsAreNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("shop")
	w.commit("shop", "Begin", map[string]string{"trunk/lib/file": "one"})
	w.did(w.Set(t.Context(), "shop", "trunk/lib", "svn:externals", "http://example.com/evil evil\n^/trunk same"))
	_, dir, out, err := clone(t, cyclone.CloneSpec{URL: w.URL("shop")})
	if err != nil || !strings.Contains(out.all(), `not fetched: 1 folders have some, the first is "lib"`) {
		t.Errorf("%v\n%s", err, out.all())
	}
	for _, name := range []string{"evil", "same"} {
		if _, err := os.Stat(filepath.Join(dir, "lib", name)); err == nil {
			t.Errorf("the external %s came", name)
		}
	}
}

func TestMissingProgram(t *testing.T) {
	t.Parallel()
	c := &svn.Cloner{Command: "cyclone-no-such-svn"}
	_, err := c.Clone(t.Context(), cyclone.CloneSpec{URL: "svn://127.0.0.1:1/x", Dir: t.TempDir()}, &recorder{})
	if !errors.Is(err, cyclone.ErrUnavailable) || !strings.Contains(err.Error(), "cyclone-no-such-svn") || !strings.Contains(err.Error(), "not installed") {
		t.Error(err)
	}
}

func TestChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("shop")
	w.commit("shop", "Begin", map[string]string{"trunk/docs/a b": "1", "trunk/gone/x": "1", "trunk/kept": "1", "branches/": ""})
	w.did(w.Copy(t.Context(), "shop", "trunk", "branches/"+odd))
	w.commit("shop", "Change", map[string]string{"trunk/docs/a b": "2", "trunk/new/" + odd + "/f@1": "1", "trunk/gone": "-", "branches/" + odd + "/docs/a b": "9"})
	w.did(w.Set(t.Context(), "shop", "trunk", "note", "only a property"))
	for _, tt := range []struct {
		path, ref, sha, base, want string
		err                        error
	}{
		{"", "refs/heads/trunk", "r3", "r2", "docs/a b|gone/x|new/" + odd + "/f@1", nil},
		{"/trunk", "refs/heads/trunk", "r3", "r1", "docs/a b|gone/x|new/" + odd + "/f@1", nil},
		{"", "refs/heads/" + odd, "r3", "r2", "docs/a b", nil},
		{"", "refs/heads/trunk", "r4", "r3", "", nil},
		{"", "refs/heads/trunk", "r3", "r3", "", nil},
		{"", "refs/heads/" + odd, "r3", "r1", "docs/a b|gone/x|kept", nil}, // it was not there
		{"", "refs/heads/trunk", "r3", "", "", cyclone.ErrNotFound},
		{"", "refs/heads/trunk", "r3", "refs/heads/main", "", cyclone.ErrInvalid},
		{"", "refs/heads/trunk", "r3", "r99", "", cyclone.ErrNotFound},
	} {
		got, err := fast().Changed(t.Context(), cyclone.CloneSpec{URL: w.URL("shop") + tt.path, Ref: tt.ref, SHA: tt.sha}, "", tt.base)
		if !errors.Is(err, tt.err) || strings.Join(slices.Sorted(slices.Values(got)), "|") != tt.want {
			t.Errorf("%s %s..%s: %q, %v, want %q", tt.ref, tt.base, tt.sha, got, err, tt.want)
		}
	}
}

func TestHeads(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("shop")
	w.commit("shop", "Begin", map[string]string{"trunk/file": "one", "branches/readme": "no branch", "tags/": ""})
	w.did(w.Copy(t.Context(), "shop", "trunk", "branches/"+odd))
	w.did(w.Copy(t.Context(), "shop", "trunk", "tags/v1"))
	w.commit("shop", "On the branch", map[string]string{"branches/" + odd + "/file": "two"})
	w.create("flat")
	w.commit("flat", "Flat", map[string]string{"file": "1"})
	w.create("empty")
	for url, want := range map[string]*cyclone.Heads{
		w.URL("shop"):              {Default: "trunk", Refs: map[string]string{"refs/heads/trunk": "r1", "refs/heads/" + odd: "r4", "refs/tags/v1": "r3"}},
		w.URL("shop") + "/trunk":   {Default: "trunk", Refs: map[string]string{"refs/heads/trunk": "r1"}},
		w.URL("shop") + "/tags/v1": {Refs: map[string]string{"refs/tags/v1": "r3"}},
		w.URL("flat"):              {Default: "trunk", Refs: map[string]string{"refs/heads/trunk": "r1"}},
		w.URL("empty"):             {Default: "trunk", Refs: map[string]string{"refs/heads/trunk": "r0"}},
	} {
		got, err := fast().Heads(t.Context(), cyclone.CloneSpec{URL: url})
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", url, err, diff)
		}
	}
	for _, n := range []int{0, 1} { // what Heads tells can be checked out
		ref := []string{"refs/heads/" + odd, "refs/tags/v1"}[n]
		if _, _, out, err := clone(t, cyclone.CloneSpec{URL: w.URL("shop"), Ref: ref, SHA: "r" + strconv.Itoa(4-n)}); err != nil {
			t.Errorf("%s: %v\n%s", ref, err, out.all())
		}
	}
}
