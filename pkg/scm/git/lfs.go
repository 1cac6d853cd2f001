package git

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"cyclone/pkg/cyclone"
)

// lfsSettings make git-lfs work without its traces in anybody's settings. Its
// login is git's: a server on another host gets none.
var lfsSettings = []string{
	"filter.lfs.smudge=git-lfs smudge -- %f", "filter.lfs.clean=git-lfs clean -- %f", "filter.lfs.process=git-lfs filter-process", "filter.lfs.required=true",
	"lfs.basictransfersonly=true", "lfs.ssh.automultiplex=false", "lfs.locksverify=false", "lfs.dialtimeout=20",
}

// usesLFS is the search for a folder's rule that gives files to Git LFS.
var usesLFS = []string{"grep", "--quiet", "--fixed-strings", "-e", "filter=lfs", "HEAD", "--", ":(top,glob)**/.gitattributes"}

// largeFiles brings the files that Git LFS keeps. Where it is not installed,
// its pointers stay.
func (r *run) largeFiles(ctx context.Context) error {
	if _, err := r.git(ctx, usesLFS...); err != nil {
		return noMatch(ctx, err)
	}
	if _, err := exec.LookPath("git-lfs"); err != nil {
		r.say("Files of Git LFS stay pointers: git-lfs is not installed here")
		return nil
	}
	r.say("Fetching the files of Git LFS")
	r.lfs = true
	defer func() { r.lfs = false }()
	f, err := r.remoteGit(ctx, "lfs", "pull", "origin")
	if err == nil {
		return nil
	}
	doing := fmt.Sprintf("fetch the files of Git LFS of %s at %s", r.from.shown, r.what())
	if f.kind == missing || f.kind == absent {
		return cyclone.NotFound("%s: a file is not on the LFS server: %s", doing, f.summary())
	}
	return f.explain(doing)
}

// noMatch is what git grep's error means: exit code 1 says that there is none.
func noMatch(ctx context.Context, err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 && ctx.Err() == nil {
		return nil
	}
	return fmt.Errorf("look for files of Git LFS: %w", err)
}

// largeFilesOfSubmodules does the same for the submodules that were fetched.
func (r *run) largeFilesOfSubmodules(ctx context.Context) error {
	text, err := r.git(ctx, "submodule", "--quiet", "foreach", "--quiet", "--recursive", `printf '%s\000' "$displaypath"`)
	if err != nil {
		return fmt.Errorf("list the submodules: %w", err)
	}
	for path := range strings.SplitSeq(strings.TrimRight(text, "\x00"), "\x00") {
		if path == "" {
			continue
		}
		in := *r
		in.spec.Dir = filepath.Join(r.spec.Dir, path)
		if err := in.largeFiles(ctx); err != nil {
			return fmt.Errorf("submodule %s: %w", path, err)
		}
	}
	return nil
}
