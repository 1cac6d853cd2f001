package git

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/patience"
)

// deepenBy is how many commits the second look for a commit goes back.
const deepenBy = "100"

// fetch brings the wanted commit here and returns its full hash. What is not
// there is looked for again until the patience is over: forges tell of a push
// before all of their servers show it, and compute merges in their own time.
func (r *run) fetch(ctx context.Context) (string, error) {
	return patience.Look(ctx, r.spec.Patience, r.say, r.look)
}

// look fetches the wanted commit and returns its full hash, or a patience.Late
// when it is not there. The last look is thorough.
func (r *run) look(ctx context.Context, last bool) (string, error) {
	switch {
	case r.spec.Merge:
		return r.fetchMerge(ctx)
	case r.spec.SHA == "":
		return r.fetchHead(ctx)
	}
	thorough := last
	if whole(r.spec.SHA) {
		f, err := r.fetchFrom(ctx, "--depth=1", r.spec.SHA)
		if err == nil {
			return r.spec.SHA, nil
		}
		if f.kind != missing {
			return "", r.explain(f)
		}
		// Either the server has no such commit, or it gives none by its hash
		// and says so: then the history is the only place to look.
		thorough = thorough || !strings.Contains(strings.ToLower(f.text), "not our ref")
	}
	return r.search(ctx, thorough)
}

// whole reports whether a hash is complete: SHA-1 or SHA-256.
func whole(sha string) bool { return len(sha) == 40 || len(sha) == 64 }

// fetchHead fetches the head of the ref, or of the repository.
func (r *run) fetchHead(ctx context.Context) (string, error) {
	ref := r.spec.Ref
	if ref == "" {
		ref = "HEAD"
	}
	if f, err := r.fetchFrom(ctx, "--depth=1", ref); err != nil {
		return "", r.explain(f)
	}
	sha, err := r.git(ctx, "rev-parse", "--verify", "FETCH_HEAD^{commit}")
	if err != nil {
		return "", cyclone.NotFound("%s of %s is not a commit", ref, r.from.shown)
	}
	return strings.TrimSpace(sha), nil
}

// fetchMerge fetches the forge's merge of a pull request. It counts only when
// it is the merge of the wanted commit: forges compute it some time after a
// push, and keep the old one while the new one conflicts.
func (r *run) fetchMerge(ctx context.Context) (string, error) {
	const why = "the pull request conflicts with its target branch, has moved on, or the forge offers no merges of pull requests (then turn triggers.pullRequest.merge of the project off)"
	if f, err := r.fetchFrom(ctx, "--depth=1", r.spec.Ref); err != nil {
		if f.kind == missing {
			return "", &patience.Late{What: r.spec.Ref + ", the merge of the pull request, is not in " + r.from.shown, Why: why}
		}
		return "", r.explain(f)
	}
	// The object itself names all parents, however shallow the history is.
	text, err := r.git(ctx, "cat-file", "commit", "FETCH_HEAD")
	if err != nil {
		return "", fmt.Errorf("read the merge %s of %s: %w", r.spec.Ref, r.from.shown, err)
	}
	if !slices.ContainsFunc(parents(text), func(p string) bool { return strings.HasPrefix(p, r.spec.SHA) }) {
		return "", &patience.Late{What: "the merge of commit " + r.spec.SHA + " is not at " + r.spec.Ref + " of " + r.from.shown, Why: why}
	}
	sha, err := r.git(ctx, "rev-parse", "--verify", "FETCH_HEAD^{commit}")
	if err != nil {
		return "", fmt.Errorf("read the merge %s of %s: %w", r.spec.Ref, r.from.shown, err)
	}
	return strings.TrimSpace(sha), nil
}

// parents are those of a commit as git stores it.
func parents(commit string) []string {
	header, _, _ := strings.Cut(commit, "\n\n")
	var all []string
	for line := range strings.Lines(header) {
		if sha, ok := strings.CutPrefix(line, "parent "); ok {
			all = append(all, strings.TrimSpace(sha))
		}
	}
	return all
}

// search looks for the commit where the server does not give it by its hash:
// ever deeper in the ref, then in every branch and tag. A look that is not
// thorough leaves out what may take long.
func (r *run) search(ctx context.Context, thorough bool) (string, error) {
	const all = "+refs/heads/*:refs/remotes/origin/*"
	var looks [][]string
	if r.spec.Ref != "" {
		looks = [][]string{{"--depth=1", r.spec.Ref}, {"--depth=" + deepenBy, r.spec.Ref}, {unshallow, r.spec.Ref}}
	}
	looks = append(looks, []string{unshallow, all, "+refs/tags/*:refs/tags/*"})
	for i, look := range looks {
		if look[0] == unshallow && !thorough {
			break
		}
		if i > 0 || r.spec.Ref == "" {
			r.say("The server does not give commit %s by itself; fetching more of the history", r.spec.SHA)
		}
		f, err := r.fetchFrom(ctx, look...)
		if err != nil && f.kind != missing {
			return "", r.explain(f)
		}
		if sha, ok := r.here(ctx); ok {
			return sha, nil
		}
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
	}
	return "", r.notThere()
}

// unshallow stands for git's option of that name, which git refuses for a
// history that is complete already.
const unshallow = "--unshallow"

func (r *run) fetchFrom(ctx context.Context, args ...string) (*failure, error) {
	if args[0] == unshallow {
		// The greatest depth that git knows is what --unshallow means.
		args = append([]string{"--depth=2147483647"}, args[1:]...)
	}
	return r.remoteGit(ctx, append([]string{"fetch", "--progress", "--no-tags", args[0], "origin"}, args[1:]...)...)
}

// here returns the wanted commit's full hash when it has been fetched.
func (r *run) here(ctx context.Context) (string, bool) {
	sha, err := r.git(ctx, "rev-parse", "--verify", "--quiet", r.spec.SHA+"^{commit}")
	return strings.TrimSpace(sha), err == nil
}

func (r *run) notThere() error {
	where := r.from.shown
	if r.spec.Ref != "" {
		where = r.spec.Ref + " of " + where
	}
	return &patience.Late{What: "commit " + r.spec.SHA + " is not in " + where, Why: "it may have been removed by a forced push"}
}

// explain turns a failed fetch into an error for people.
func (r *run) explain(f *failure) error {
	if f.kind != missing {
		return f.explain(fmt.Sprintf("clone %s at %s", r.from.shown, r.what()))
	}
	if r.spec.SHA != "" {
		return r.notThere()
	}
	what := strings.TrimPrefix(r.what(), "the head of ")
	return &patience.Late{What: what + " is not in " + r.from.shown, Why: "it may have been removed, or its name is wrong"}
}
