package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"cyclone/pkg/cyclone"
)

// Source is what a run is about: a working tree, or a ref of a repository.
type Source struct {
	// Root is the folder that the source tree is a copy of.
	Root string
	// Git is set when Root is the top of a git working tree.
	Git bool
	// Ref is what somebody asked for; empty for the working tree as it is.
	Ref string
	// FullRef is its name in the repository ("refs/heads/main"), or that of
	// the branch that is checked out; empty when there is none.
	FullRef string
	Commit  cyclone.Commit // zero before the first commit, and without git
	// Changes counts the files that differ from Commit; 0 for a Ref.
	Changes int

	gitDir string // of the repository
	origin string // URL of the remote
}

// OpenSource looks at a folder, which may be anywhere in a working tree. With a
// ref it must be a git repository's: ErrNotFound when the ref is not there.
func OpenSource(ctx context.Context, dir, ref string) (*Source, error) {
	abs, err := filepath.Abs(dir)
	if err == nil {
		abs, err = filepath.EvalSymlinks(abs)
	}
	if err != nil {
		return nil, cyclone.NotFound("%s: %v", dir, reason(err))
	}
	if info, err := os.Stat(abs); err != nil || !info.IsDir() {
		return nil, cyclone.NotFound("%s is not a folder", dir)
	}
	s := &Source{Root: abs, Ref: ref}
	places, err := s.git(ctx, "rev-parse", "--show-toplevel", "--git-common-dir")
	if err != nil {
		return s.withoutGit(err)
	}
	top, common, _ := strings.Cut(strings.TrimSuffix(places, "\n"), "\n")
	if !filepath.IsAbs(common) {
		common = filepath.Join(abs, common)
	}
	s.Root, s.Git, s.gitDir = top, true, common
	return s, s.ask(ctx)
}

// withoutGit is a folder that git says nothing of: there is no repository, or
// it cannot be read.
func (s *Source) withoutGit(why error) (*Source, error) {
	for dir := s.Root; ; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			return nil, fmt.Errorf("read the repository %s: %w", dir, why)
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	if s.Ref != "" {
		return nil, cyclone.NotFound("%s is not in a git repository, so there is no ref %s", s.Root, s.Ref)
	}
	return s, nil
}

// ask asks git everything at once.
func (s *Source) ask(ctx context.Context) error {
	name := "HEAD"
	if s.Ref != "" {
		name = s.Ref
		if strings.HasPrefix(name, "-") {
			return cyclone.NotFound("%q is not a branch, a tag or a commit", name)
		}
	}
	var commit, full, status string
	var failed error
	var asking sync.WaitGroup
	asking.Go(func() {
		commit, failed = s.git(ctx, "log", "-1", "--no-show-signature", "--encoding=UTF-8", "--format=%H%n%an <%ae>%n%B", "--end-of-options", name)
	})
	asking.Go(func() {
		if s.Ref != "" {
			full, _ = s.git(ctx, "rev-parse", "--symbolic-full-name", "--verify", "--quiet", s.Ref) // a hash has none
		} else {
			full, _ = s.git(ctx, "symbolic-ref", "--quiet", "HEAD") // a detached one has none
		}
	})
	asking.Go(func() { s.origin, _ = s.git(ctx, "config", "--get", "remote.origin.url") }) // there may be none
	if s.Ref == "" {
		asking.Go(func() {
			status, _ = s.git(ctx, "status", "--porcelain", "-z", "--untracked-files=normal", "--no-renames")
		})
	}
	asking.Wait()
	if s.Ref != "" && (failed != nil || commit == "") {
		return cyclone.NotFound("there is no branch, tag or commit %s in %s", s.Ref, s.Root)
	}
	s.FullRef, s.origin = strings.TrimSpace(full), strings.TrimSpace(s.origin)
	s.Changes = strings.Count(status, "\x00")
	if parts := strings.SplitN(commit, "\n", 3); failed == nil && len(parts) == 3 {
		valid := func(text string) string { return strings.ToValidUTF8(strings.TrimSpace(text), "\uFFFD") }
		s.Commit = cyclone.Commit{SHA: parts[0], Author: valid(parts[1]), Message: valid(parts[2])}
	}
	return nil
}

// Branch is the branch that the ref, or the working tree, is at.
func (s *Source) Branch() string {
	name, _ := strings.CutPrefix(s.FullRef, "refs/heads/")
	if name == s.FullRef {
		return ""
	}
	return name
}

// Tag is the tag that the ref is.
func (s *Source) Tag() string {
	name, ok := strings.CutPrefix(s.FullRef, "refs/tags/")
	if !ok {
		return ""
	}
	return name
}

// String says what the source is, for people.
func (s *Source) String() string {
	switch {
	case s.Ref != "":
		return s.Ref + " at " + s.Commit.ShortSHA()
	case !s.Git:
		return "folder " + s.Root
	case s.Commit.SHA == "":
		return "working tree without a commit"
	case s.Changes == 0:
		return "working tree at " + s.Commit.ShortSHA()
	case s.Changes == 1:
		return "working tree at " + s.Commit.ShortSHA() + " with 1 change"
	}
	return fmt.Sprintf("working tree at %s with %d changes", s.Commit.ShortSHA(), s.Changes)
}

// Read returns a file of the source by its path from the root; ErrNotFound
// when there is none.
func (s *Source) Read(ctx context.Context, name string) ([]byte, error) {
	if s.Ref != "" {
		text, err := s.git(ctx, "cat-file", "blob", s.Commit.SHA+":"+filepath.ToSlash(name))
		if err != nil {
			return nil, cyclone.NotFound("there is no %s in %s", name, s)
		}
		return []byte(text), nil
	}
	data, err := os.ReadFile(filepath.Join(s.Root, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, cyclone.NotFound("there is no %s in %s", name, s.Root)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, reason(err))
	}
	return data, nil
}

// Changed are the paths in which the source differs from where its branch began:
// the last commit in common with the remote's default branch, or for that
// branch itself with what was pushed.
func (s *Source) Changed(ctx context.Context) ([]string, error) {
	if !s.Git || s.Commit.SHA == "" {
		return nil, cyclone.NotFound("without a commit nothing is known to have changed")
	}
	base := ""
	for _, candidate := range []string{"refs/remotes/origin/HEAD", "refs/remotes/origin/main", "refs/remotes/origin/master"} {
		if sha, err := s.git(ctx, "merge-base", s.Commit.SHA, candidate); err == nil {
			base = strings.TrimSpace(sha)
			break
		}
	}
	if base == "" {
		return nil, cyclone.NotFound("the repository has no remote branch to compare with; name the paths")
	}
	args := []string{"diff", "--name-only", "-z", "--no-renames", base}
	if s.Ref != "" {
		args = append(args, s.Commit.SHA)
	}
	text, err := s.git(ctx, append(args, "--")...)
	if err != nil {
		return nil, fmt.Errorf("ask what has changed: %w", err)
	}
	paths := entries(text)
	if s.Ref == "" {
		more, err := s.git(ctx, "ls-files", "-z", "--others", "--exclude-standard")
		if err != nil {
			return nil, fmt.Errorf("ask what has changed: %w", err)
		}
		paths = append(paths, entries(more)...)
	}
	return append([]string{}, paths...), nil
}

// entries splits what git ends with zero bytes.
func entries(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == 0 })
}

var unfit = regexp.MustCompile(`[^a-z0-9._-]+`)

// Name is what the project is called: as its remote, or else as its folder.
func (s *Source) Name() cyclone.ProjectName {
	for _, from := range []string{s.origin, s.Root} {
		name := strings.TrimSuffix(strings.TrimRight(from, "/"), ".git")
		name = name[strings.LastIndexAny(name, "/:")+1:]
		name = unfit.ReplaceAllString(strings.ToLower(name), "-")
		name = strings.Trim(name[:min(len(name), 40)], "._-")
		if cyclone.ValidName(name) {
			return cyclone.ProjectName(name)
		}
	}
	return "local"
}

// git runs git in the root and returns what it printed.
func (s *Source) git(ctx context.Context, args ...string) (string, error) {
	return gitIn(ctx, s.Root, args...)
}

// misleading are variables by which git would look at another repository: a
// hook of git runs with them.
var misleading = []string{"GIT_DIR=", "GIT_WORK_TREE=", "GIT_INDEX_FILE=", "GIT_PREFIX=", "GIT_COMMON_DIR=", "GIT_NAMESPACE=", "GIT_OBJECT_DIRECTORY="}

func gitIn(ctx context.Context, dir string, args ...string) (string, error) {
	var out, problems bytes.Buffer
	// The person's hooks and monitors have no part in this.
	cmd := exec.CommandContext(ctx, "git", append([]string{"-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"}, args...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &problems
	for _, pair := range os.Environ() {
		if !hasPrefix(pair, misleading) {
			cmd.Env = append(cmd.Env, pair)
		}
	}
	cmd.Env = append(cmd.Env, "LC_ALL=C", "GIT_OPTIONAL_LOCKS=0")
	if err := cmd.Run(); err != nil {
		said := strings.TrimSpace(problems.String())
		if first, _, more := strings.Cut(said, "\n"); more {
			said = first
		}
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, said)
	}
	return out.String(), nil
}

func hasPrefix(s string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

// reason is an error of the file system without the path, which is said already.
func reason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
