package local

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"cyclone/pkg/cyclone"
)

// Ref is a cyclone.Cloner that takes a commit out of a repository on this
// machine's disk, and its submodules out of theirs. It asks no network.
type Ref struct {
	Source *Source
	// Git clones from file:// URLs.
	Git cyclone.Cloner
}

// Clone implements cyclone.Cloner. Of s only Dir counts.
func (r Ref) Clone(ctx context.Context, s cyclone.CloneSpec, out cyclone.Output) (cyclone.Commit, error) {
	commit, err := r.Git.Clone(ctx, cyclone.CloneSpec{URL: fileURL(r.Source.gitDir), SHA: r.Source.Commit.SHA, Dir: s.Dir}, out)
	if err != nil {
		return commit, err
	}
	return commit, r.submodules(ctx, s.Dir, "", out)
}

// fileURL is a folder as git's URL of a repository.
func fileURL(dir string) string { return (&url.URL{Scheme: "file", Path: dir}).String() }

// submodules takes those of a checked out tree out of the working tree's.
func (r Ref) submodules(ctx context.Context, dir, prefix string, out cyclone.Output) error {
	text, err := gitIn(ctx, filepath.Join(dir, prefix), "ls-files", "-z", "--stage")
	if err != nil {
		return fmt.Errorf("look for submodules: %w", err)
	}
	for _, entry := range entries(text) {
		// "160000 <sha> 0\t<path>"
		about, name, _ := strings.Cut(entry, "\t")
		words := strings.Fields(about)
		if len(words) < 2 || words[0] != "160000" || !filepath.IsLocal(name) {
			continue
		}
		name = filepath.Join(prefix, name)
		from, err := gitIn(ctx, filepath.Join(r.Source.Root, name), "rev-parse", "--path-format=absolute", "--show-toplevel", "--git-common-dir")
		top, repository, _ := strings.Cut(strings.TrimSpace(from), "\n")
		if err != nil || top != filepath.Join(r.Source.Root, name) {
			return cyclone.NotFound("the submodule %s is not checked out in %s; run: git submodule update --init", name, r.Source.Root)
		}
		spec := cyclone.CloneSpec{URL: fileURL(repository), SHA: words[1], Dir: filepath.Join(dir, name)}
		if _, err := r.Git.Clone(ctx, spec, out); err != nil {
			return fmt.Errorf("take submodule %s: %w", name, err)
		}
		if err := r.submodules(ctx, dir, name, out); err != nil {
			return err
		}
	}
	return nil
}
