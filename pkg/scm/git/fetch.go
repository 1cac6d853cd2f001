package git

import (
	"context"
	"fmt"
	"strings"

	"cyclone/pkg/cyclone"
)

// deepenBy is how many commits the second look for a commit goes back.
const deepenBy = "100"

// fetch brings the wanted commit here and returns its full hash.
func (r *run) fetch(ctx context.Context) (string, error) {
	if r.spec.SHA == "" {
		return r.fetchHead(ctx)
	}
	if whole(r.spec.SHA) {
		f, err := r.fetchFrom(ctx, "--depth=1", r.spec.SHA)
		if err == nil {
			return r.spec.SHA, nil
		}
		if f.kind != missing {
			return "", r.explain(f)
		}
		// Either the server has no such commit or it gives none by hash.
	}
	return r.search(ctx)
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

// search looks for the commit where the server does not give it by its hash:
// ever deeper in the ref, then in every branch and tag.
func (r *run) search(ctx context.Context) (string, error) {
	const all = "+refs/heads/*:refs/remotes/origin/*"
	var looks [][]string
	if r.spec.Ref != "" {
		looks = [][]string{{"--depth=1", r.spec.Ref}, {"--depth=" + deepenBy, r.spec.Ref}, {unshallow, r.spec.Ref}}
	}
	looks = append(looks, []string{unshallow, all, "+refs/tags/*:refs/tags/*"})
	for i, look := range looks {
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
	return cyclone.NotFound("commit %s does not exist in %s; it may have been removed by a forced push", r.spec.SHA, where)
}

// explain turns a failed fetch into an error for people.
func (r *run) explain(f *failure) error {
	if f.kind == missing {
		if r.spec.SHA != "" {
			return r.notThere()
		}
		return cyclone.NotFound("%s does not exist in %s", strings.TrimPrefix(r.what(), "the head of "), r.from.shown)
	}
	return f.explain(fmt.Sprintf("clone %s at %s", r.from.shown, r.what()))
}
