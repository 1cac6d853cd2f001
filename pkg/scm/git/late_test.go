package git_test

import (
	"errors"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
)

// onLook calls do when the log says that something is looked for again.
type onLook struct {
	recorder
	once sync.Once
	do   func()
}

func (o *onLook) Write(stream cyclone.Stream, p []byte) {
	o.recorder.Write(stream, p)
	if strings.Contains(string(p), "looking again in") {
		o.once.Do(o.do)
	}
}

// What is not there when the clone begins comes while it is patient.
func TestLate(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	w := s.repository(t, "orders")
	first := w.commit("file", "one", "First")
	w.git("checkout", "-q", "-b", "topic")
	w.git("commit", "-q", "--allow-empty", "-m", "Topic")
	topic := w.git("rev-parse", "HEAD")
	unknown := w.git("commit-tree", "-p", first, "-m", "Nobody has it yet", "HEAD^{tree}")
	stale := w.git("commit-tree", "-p", first, "-m", "Merge of what was", "HEAD^{tree}")
	merge := w.git("commit-tree", "-p", first, "-p", topic, "-m", "Merge", "HEAD^{tree}")
	w.git("push", "-q", "origin", stale+":refs/pull/7/merge")
	for name, tt := range map[string]struct {
		spec cyclone.CloneSpec
		push string
		want string
		says string
	}{
		"commit":     {cyclone.CloneSpec{Ref: "refs/heads/topic", SHA: unknown}, unknown + ":refs/heads/topic", unknown, "commit " + unknown + " is not in refs/heads/topic of"},
		"ref":        {cyclone.CloneSpec{Ref: "refs/heads/later"}, first + ":refs/heads/later", first, "refs/heads/later is not in"},
		"merge":      {cyclone.CloneSpec{Ref: "refs/pull/8/merge", SHA: topic, Merge: true}, merge + ":refs/pull/8/merge", merge, "refs/pull/8/merge, the merge of the pull request, is not in"},
		"next merge": {cyclone.CloneSpec{Ref: "refs/pull/7/merge", SHA: topic, Merge: true}, "+" + merge + ":refs/pull/7/merge", merge, "the merge of commit " + topic + " is not at refs/pull/7/merge of"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.spec.URL, tt.spec.Dir, tt.spec.Patience = s.url("orders"), t.TempDir(), time.Minute
			out := &onLook{do: func() {
				// Not t.Fatal: this is the clone's own goroutine in no test.
				cmd := exec.Command("git", "-C", w.dir, "push", "-q", "origin", tt.push)
				if text, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%v: %s", err, text)
				}
			}}
			got, err := fast().Clone(t.Context(), tt.spec, out)
			if err != nil || got.SHA != tt.want {
				t.Fatalf("%+v, %v\n%s", got, err, out.all())
			}
			if !strings.Contains(out.all(), tt.says) {
				t.Errorf("the log does not say %q:\n%s", tt.says, out.all())
			}
			if head := strings.TrimSpace(execute(t, tt.spec.Dir, "git", "rev-parse", "HEAD")); head != tt.want {
				t.Errorf("%s is checked out, not %s", head, tt.want)
			}
		})
	}
}

func TestNeverThere(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	w := s.repository(t, "orders")
	first := w.commit("file", "one", "First")
	gone := w.commit("file", "two", "Forced away")
	w.git("reset", "-q", "--hard", first)
	w.git("push", "-q", "--force", "origin", "HEAD")
	execute(t, s.dir, "git", "-C", "orders.git", "reflog", "expire", "--expire=now", "--all")
	execute(t, s.dir, "git", "-C", "orders.git", "gc", "-q", "--prune=now")
	for name, tt := range map[string]struct {
		spec cyclone.CloneSpec
		says string
	}{
		"commit": {cyclone.CloneSpec{Ref: "refs/heads/main", SHA: gone}, "commit " + gone + " is not in refs/heads/main of " + s.url("orders") + " after 0.1 s; it may have been removed by a forced push"},
		"ref":    {cyclone.CloneSpec{Ref: "refs/heads/gone"}, "refs/heads/gone is not in " + s.url("orders") + " after 0.1 s"},
		"merge":  {cyclone.CloneSpec{Ref: "refs/pull/9/merge", SHA: first, Merge: true}, "after 0.1 s; the pull request conflicts with its target branch"},
		"stale":  {cyclone.CloneSpec{Ref: "refs/heads/main", SHA: gone, Merge: true}, "the merge of commit " + gone + " is not at refs/heads/main"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.spec.URL, tt.spec.Patience = s.url("orders"), 100*time.Millisecond
			_, _, out, err := clone(t, tt.spec)
			if !errors.Is(err, cyclone.ErrNotFound) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v\nwant %s", err, tt.says)
			}
			if n := strings.Count(out.all(), "looking again in"); n != 1 {
				t.Errorf("it was looked for again %d times:\n%s", n, out.all())
			}
		})
	}
	t.Run("other failures do not wait", func(t *testing.T) {
		t.Parallel()
		_, _, out, err := clone(t, cyclone.CloneSpec{URL: s.url("nothing"), Patience: time.Hour})
		if !errors.Is(err, cyclone.ErrNotFound) || strings.Contains(out.all(), "looking again") {
			t.Errorf("%v\n%s", err, out.all())
		}
	})
}

// A pull request's commit is fetched from the repository it was made for,
// whatever fork it comes from.
func TestPullRequestOfAFork(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	w := s.repository(t, "orders")
	w.commit("file", "one", "First")
	w.git("checkout", "-q", "-b", "fix")
	w.git("commit", "-q", "--allow-empty", "-m", "Of a stranger")
	sha := w.git("rev-parse", "HEAD")
	w.git("commit", "-q", "--allow-empty", "-m", "Newer")
	for _, ref := range []string{"refs/pull/7/head", "refs/merge-requests/7/head"} {
		w.git("push", "-q", "origin", "HEAD:"+ref)
		for _, old := range []bool{false, true} {
			s.oldOnly.Store(old)
			got, _, out, err := clone(t, cyclone.CloneSpec{URL: s.url("orders"), Ref: ref, SHA: sha})
			if err != nil || got.SHA != sha {
				t.Errorf("%s: %+v, %v\n%s", ref, got, err, out.all())
			}
		}
	}
}
