package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"cyclone/pkg/cyclone"
)

// changedTime is how long git may take to find out what an event changed.
const changedTime = 2 * time.Minute

// changer is a cyclone.Cloner that can say what a commit changed.
type changer interface {
	// Changed returns the paths in which the commit s.SHA, checked out in dir,
	// differs from base: a commit, or for a ref ("refs/heads/main") the last
	// commit that both have in common.
	Changed(ctx context.Context, s cyclone.CloneSpec, dir, base string) ([]string, error)
}

// changes are the paths that the event changed, found out when first asked for.
type changes struct {
	mu    sync.Mutex
	asked bool
	paths []string
	err   error // why they are not known
}

// shallRun reports whether a step's `when` lets it run in this event; what there
// is to say goes to say.
func (r *run) shallRun(ctx context.Context, m *cyclone.Match, say func(format string, args ...any)) (bool, error) {
	if !r.mayMatch(m) {
		say("Skipped: `when` does not match this event.")
		return false, nil
	}
	if m == nil || len(m.Paths) == 0 {
		return true, nil
	}
	paths, err := r.changed(ctx)
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	if err != nil {
		say("when.paths: the changed files are not known (%v); the step runs", err)
		return true, nil
	}
	if path, ok := firstMatch(m.Paths, paths); ok {
		say("when.paths: %s has changed", path)
		return true, nil
	}
	say("Skipped: none of the %d changed files matches `when.paths`.", len(paths))
	return false, nil
}

// mayMatch reports whether all of a `when` matches but perhaps its paths.
func (r *run) mayMatch(m *cyclone.Match) bool {
	if m == nil {
		return true
	}
	e := r.job.Event
	// A rerun is what it repeats, too: it would else leave out what that did.
	kinds := []string{string(e.Trigger.Kind), firstOf(string(r.job.Origin), string(e.Trigger.Kind))}
	return globsMatch(m.Branch, e.Branch) && globsMatch(m.Tag, e.Tag) && globsMatch(m.Event, kinds...)
}

// firstMatch is the first path that matches the globs.
func firstMatch(globs, paths []string) (string, bool) {
	for _, p := range paths {
		if globsMatch(globs, p) {
			return p, true
		}
	}
	return "", false
}

// changed are the paths that the event changed: as the forge said it, else as
// git does.
func (r *run) changed(ctx context.Context) ([]string, error) {
	if r.job.Changed != nil {
		return r.job.Changed, nil
	}
	r.changes.mu.Lock()
	defer r.changes.mu.Unlock()
	if !r.changes.asked {
		r.changes.paths, r.changes.err = r.askGit(ctx)
		r.changes.asked = ctx.Err() == nil
	}
	return r.changes.paths, r.changes.err
}

func (r *run) askGit(ctx context.Context) ([]string, error) {
	e := r.job.Event
	base := r.job.Before
	if e.PullRequest != nil {
		base = "refs/heads/" + e.PullRequest.TargetBranch
	}
	if base == "" {
		return nil, errors.New("nobody said which commit was there before")
	}
	cloner, err := r.Cloner(r.job.Project.Repository.Type)
	if err != nil {
		return nil, err
	}
	git, ok := cloner.(changer)
	if !ok {
		return nil, fmt.Errorf("repositories of type %s do not tell", r.job.Project.Repository.Type)
	}
	ctx, cancel := context.WithTimeout(ctx, changedTime)
	defer cancel()
	s := r.cloneSpec()
	s.SHA, s.Merge, s.Ref = r.commit().SHA, false, e.Ref
	return git.Changed(ctx, s, r.tree, base)
}
