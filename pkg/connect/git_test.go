package connect_test

import (
	"os/exec"
	"path/filepath"
	"testing"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/scm/git"
)

// A repository is looked at with git itself: it is found, with its default
// branch, and its branches are listed; one that is not there is told.
func TestRealGit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Heads["git"] = &git.Cloner{Files: true}
	folder := filepath.Join(t.TempDir(), "orders.git")
	for _, args := range [][]string{
		{"init", "-q", "-b", "develop", folder},
		{"-C", folder, "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-q", "--allow-empty", "-m", "first"},
		{"-C", folder, "branch", "release/1"},
	} {
		if out, err := exec.CommandContext(t.Context(), "git", args...).CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
	}
	p := w.project("git", "file://"+folder, "")
	p.Poll = cyclone.Duration(3e11)
	info, err := w.Check(t.Context(), p, "")
	if err != nil || info.DefaultBranch != "develop" {
		t.Fatalf("got %+v, %v", info, err)
	}
	p.Repository.DefaultBranch = info.DefaultBranch
	if made := w.connect(p); len(made.Problems) != 0 {
		t.Errorf("problems: %q", made.Problems)
	}
	list, err := w.Branches(t.Context(), p, "", cyclone.Page{})
	if err != nil || len(list.Items) != 2 || list.Items[1].Name != "release/1" || len(list.Items[1].Commit) != 40 {
		t.Errorf("branches %+v, %v", list, err)
	}
	p.Repository.URL += "-gone"
	_, err = w.Connect(t.Context(), p)
	w.wantError(err, cyclone.ErrNotFound)
}
