package git

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"cyclone/pkg/cyclone"
)

// deepenings are how far back the last common commit is looked for: so many
// commits, and then so many more each time. (git's --depth does not deepen a
// history that is shorter than it.)
var deepenings = []string{"--depth=50", "--deepen=450", "--deepen=4500"}

// Changed returns the paths in which the commit s.SHA, which Clone has checked
// out in dir, differs from base: from a commit when base is its hash, else
// from the last commit that s.SHA and the ref base ("refs/heads/main") have in
// common. A file that was moved counts with its old and its new path.
//
// Only commits and folders are fetched, and nothing in dir changes. The errors
// are those of Clone; ErrNotFound also when base is gone, and when the last
// common commit lies too far back.
func (c *Cloner) Changed(ctx context.Context, s cyclone.CloneSpec, dir, base string) ([]string, error) {
	if base == "" || whole(base) && strings.Trim(base, "0") == "" {
		return nil, cyclone.NotFound("there was no commit before")
	}
	// A repository of its own, which borrows what the clone has.
	own, err := os.MkdirTemp("", "cyclone-changed-")
	if err != nil {
		return nil, fmt.Errorf("find what changed: %w", err)
	}
	defer func() { _ = os.RemoveAll(own) }() // there is nothing in it that anybody needs
	s.Dir = own
	r, err := c.start(s, quiet{})
	if err != nil {
		return nil, err
	}
	defer r.end()
	if !whole(s.SHA) || !hashPattern.MatchString(s.SHA) {
		return nil, cyclone.Invalid("commit", "%q is not the whole hash of a commit", s.SHA)
	}
	if whole(base) && !hashPattern.MatchString(base) || !whole(base) && !validRef(base) {
		return nil, cyclone.Invalid("base", "%q is neither the hash of a commit nor a ref", base)
	}
	paths, err := r.changed(ctx, dir, base)
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return paths, err
}

// quiet drops what git prints.
type quiet struct{}

// Write implements cyclone.Output.
func (quiet) Write(cyclone.Stream, []byte) {}

func (r *run) changed(ctx context.Context, dir, base string) ([]string, error) {
	if _, err := r.git(ctx, "init", "--quiet", "--bare", "--template="); err != nil {
		return nil, fmt.Errorf("find what changed: %w", err)
	}
	if _, err := r.git(ctx, "remote", "add", "origin", r.spec.URL); err != nil {
		return nil, fmt.Errorf("find what changed: %w", err)
	}
	before, err := r.before(ctx, base)
	if err != nil {
		return nil, err
	}
	if err := r.borrow(dir); err != nil {
		return nil, err
	}
	// What a server left out is not asked for again: there is no need of it.
	text, err := r.git(ctx, "diff-tree", "-r", "-z", "--name-only", "--no-renames", "--no-ext-diff", before, r.spec.SHA)
	if err != nil {
		return nil, fmt.Errorf("compare %s with %s: %w", r.spec.SHA, before, err)
	}
	return strings.FieldsFunc(text, func(c rune) bool { return c == 0 }), nil
}

// borrow makes the objects of the clone known. It comes after all fetches:
// those would take the shallow history of the clone for a whole one.
func (r *run) borrow(dir string) error {
	objects, err := filepath.Abs(filepath.Join(dir, ".git", "objects"))
	if err != nil {
		return fmt.Errorf("find what changed: %w", err)
	}
	info := filepath.Join(r.spec.Dir, "objects", "info")
	if err := os.MkdirAll(info, 0o750); err != nil {
		return fmt.Errorf("find what changed: %w", err)
	}
	if err := os.WriteFile(filepath.Join(info, "alternates"), []byte(objects+"\n"), 0o600); err != nil {
		return fmt.Errorf("find what changed: %w", err)
	}
	return nil
}

// before brings the commit here that is compared with.
func (r *run) before(ctx context.Context, base string) (string, error) {
	if !whole(base) {
		return r.common(ctx, base)
	}
	f, err := r.trees(ctx, "--depth=1", base)
	if err == nil {
		return base, nil
	}
	if f.kind == missing {
		return "", cyclone.NotFound("commit %s, which was there before, is not in %s any more", base, r.from.shown)
	}
	return "", f.explain("fetch commit " + base)
}

// trees fetches commits and folders without the content of files.
func (r *run) trees(ctx context.Context, depth string, what ...string) (*failure, error) {
	args := []string{"fetch", "--progress", "--no-tags", depth, "--filter=blob:none", "origin"}
	return r.remoteGit(ctx, append(args, what...)...)
}

// common finds the last commit that the wanted one has in common with a ref.
func (r *run) common(ctx context.Context, ref string) (string, error) {
	const theirs = "refs/cyclone/base"
	for _, depth := range deepenings {
		f, err := r.trees(ctx, depth, r.spec.SHA, "+"+ref+":"+theirs)
		if err != nil && f.kind == missing && r.spec.Ref != "" {
			// Perhaps the server gives no commits by their hash.
			f, err = r.trees(ctx, depth, r.spec.Ref, "+"+ref+":"+theirs)
		}
		if err != nil && f.kind == missing {
			return "", cyclone.NotFound("%s has no %s", r.from.shown, ref)
		}
		if err != nil {
			return "", f.explain("fetch " + ref)
		}
		if sha, err := r.git(ctx, "merge-base", r.spec.SHA, theirs); err == nil {
			return strings.TrimSpace(sha), nil
		}
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
	}
	return "", cyclone.NotFound("the last commit in common with %s lies more than 5000 commits back", ref)
}
