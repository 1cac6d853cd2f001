// Package git checks commits out with the git command: shallow, at the pinned
// commit, with submodules and the files of Git LFS, over http, https and ssh
// only; and it reads the heads of repositories without cloning them.
//
// Credentials reach git through an inherited pipe (http, https) or an agent
// that lives in this process (ssh). They never stand in a URL, in .git/config,
// in process arguments, in an environment or on disk, and they are given to
// the repository's own host alone.
//
// It understands no webhooks and knows no forge: those are github, gitlab and
// gitea beside it.
package git

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/sshagent"
)

// DefaultStall is how long git may print nothing while it fetches.
const DefaultStall = 60 * time.Second

// Cloner is a cyclone.Cloner over the git command. The zero value works.
type Cloner struct {
	// Command is the git program; "git" by default.
	Command string
	// Pauses are the times to wait before each new try after the network
	// failed; 1 s and 3 s when nil, so that there are three tries.
	Pauses []time.Duration
	// Stall is how long a fetch may make no progress at all before the host
	// counts as unreachable; DefaultStall when zero.
	Stall time.Duration
	// Files lets it clone repositories on this machine's disk too
	// (file:///path), for somebody who may read them anyway. Submodules are
	// still fetched over the network alone.
	Files bool
}

var (
	_ cyclone.Cloner     = (*Cloner)(nil)
	_ cyclone.HeadReader = (*Cloner)(nil)
)

// Clone checks s.SHA out in s.Dir, or the head of s.Ref (of the repository
// when that is empty too), and returns the commit. An s.SHA that is shorter
// than a whole hash is looked up in the history of s.Ref. With s.Merge it is
// the merge at s.Ref, once that has s.SHA as a parent.
//
// Errors: ErrInvalid for a URL, ref or commit that may not be used,
// ErrNotFound for a repository, ref or commit that is not there (for as long as
// s.Patience says), ErrForbidden for credentials that are missing or wrong and
// for a host with another key than s.HostKeys, ErrUnavailable for a host that
// does not answer after three tries, and context.Cause(ctx) when ctx ended.
func (c *Cloner) Clone(ctx context.Context, s cyclone.CloneSpec, out cyclone.Output) (cyclone.Commit, error) {
	r, err := c.start(s, out)
	if err != nil {
		return cyclone.Commit{}, err
	}
	defer r.end()
	commit, err := r.clone(ctx)
	if err != nil && ctx.Err() != nil {
		return cyclone.Commit{}, fmt.Errorf("clone %s: %w", r.from.shown, context.Cause(ctx))
	}
	return commit, err
}

// run is one call of Clone, Changed or Heads.
type run struct {
	cloner *Cloner
	spec   cyclone.CloneSpec
	from   remote
	out    cyclone.Output
	ssh    *sshagent.Session // nil for other transports

	inSubmodules bool // they are being fetched
	lfs          bool // git-lfs takes part
}

// start checks what is asked for and prepares ssh; end must follow.
func (c *Cloner) start(s cyclone.CloneSpec, out cyclone.Output) (*run, error) {
	from, err := check(s, c.Files)
	if err != nil {
		return nil, err
	}
	r := &run{cloner: c, spec: s, from: from, out: out}
	if from.ssh {
		r.ssh, err = sshagent.Open(sshagent.Options{Host: from.host, Port: from.port, Key: s.Password, HostKeys: s.HostKeys})
		if err != nil {
			return nil, fmt.Errorf("log in at %s: %w", from.shown, err)
		}
	}
	return r, nil
}

func (r *run) end() {
	if r.ssh != nil {
		r.ssh.Close()
	}
}

// learn tells the host's keys that were seen for the first time, once the host
// has shown that it has what was asked for.
func (r *run) learn() {
	if r.ssh == nil || r.spec.Learned == nil {
		return
	}
	if keys := r.ssh.Learned(); len(keys) > 0 {
		r.spec.Learned(keys)
	}
}

func (r *run) clone(ctx context.Context) (cyclone.Commit, error) {
	r.say("Cloning %s at %s", r.from.shown, r.what())
	for _, args := range [][]string{
		{"init", "--quiet", "--template="},
		{"remote", "add", "origin", r.spec.URL},
	} {
		if _, err := r.git(ctx, args...); err != nil {
			return cyclone.Commit{}, fmt.Errorf("prepare %s for the source: %w", r.spec.Dir, err)
		}
	}
	sha, err := r.fetch(ctx)
	if err != nil {
		return cyclone.Commit{}, err
	}
	r.learn()
	if _, err := r.git(ctx, "checkout", "--quiet", "--force", "--detach", sha); err != nil {
		return cyclone.Commit{}, fmt.Errorf("check %s of %s out: %w", sha, r.from.shown, err)
	}
	for _, add := range []func(context.Context) error{r.largeFiles, r.submodules} {
		if err := add(ctx); err != nil {
			return cyclone.Commit{}, err
		}
	}
	commit, err := r.describe(ctx, sha)
	if err == nil {
		r.say("Checked out %s %s", commit.ShortSHA(), firstLine(commit.Message))
	}
	return commit, err
}

// what names the thing to check out for people.
func (r *run) what() string {
	switch {
	case r.spec.Merge:
		return r.spec.Ref + ", the merge of commit " + r.spec.SHA
	case r.spec.SHA != "" && r.spec.Ref != "":
		return "commit " + r.spec.SHA + " of " + r.spec.Ref
	case r.spec.SHA != "":
		return "commit " + r.spec.SHA
	case r.spec.Ref != "":
		return "the head of " + r.spec.Ref
	}
	return "the head of its default branch"
}

func (r *run) say(format string, args ...any) {
	r.out.Write(cyclone.System, []byte(fmt.Sprintf(format, args...)+"\n"))
}

// submodules fetches the submodules of the commit that is checked out, as
// shallow as their servers allow.
func (r *run) submodules(ctx context.Context) error {
	if !r.spec.Submodules {
		return nil
	}
	_, err := os.Lstat(filepath.Join(r.spec.Dir, ".gitmodules"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for submodules: %w", err)
	}
	r.say("Fetching submodules")
	r.inSubmodules = true
	update := []string{"submodule", "update", "--init", "--recursive", "--force", "--progress"}
	f, err := r.remoteGit(ctx, append(update, "--depth=1")...)
	if err != nil && f.kind == missing {
		// A server that gives no single commits: take the whole history. What
		// was fetched must go first, since shallow repositories stay shallow.
		if err := r.forgetSubmodules(ctx); err != nil {
			return err
		}
		f, err = r.remoteGit(ctx, update...)
	}
	if err != nil {
		return f.explain(fmt.Sprintf("fetch the submodules of %s at %s", r.from.shown, r.what()))
	}
	return r.largeFilesOfSubmodules(ctx)
}

func (r *run) forgetSubmodules(ctx context.Context) error {
	if _, err := r.git(ctx, "submodule", "deinit", "--all", "--force"); err != nil {
		return fmt.Errorf("begin again with submodules: %w", err)
	}
	if err := os.RemoveAll(filepath.Join(r.spec.Dir, ".git", "modules")); err != nil {
		return fmt.Errorf("begin again with submodules: %w", err)
	}
	return nil
}

// describe reads the commit that was checked out.
func (r *run) describe(ctx context.Context, sha string) (cyclone.Commit, error) {
	text, err := r.git(ctx, "log", "-1", "--no-show-signature", "--encoding=UTF-8", "--format=%H%n%an <%ae>%n%ce%n%B", sha)
	if err != nil {
		return cyclone.Commit{}, fmt.Errorf("read commit %s: %w", sha, err)
	}
	parts := strings.SplitN(text, "\n", 4)
	if len(parts) < 4 {
		return cyclone.Commit{}, fmt.Errorf("read commit %s: git printed %q", sha, text)
	}
	valid := func(s string) string { return strings.ToValidUTF8(strings.TrimSpace(s), "\uFFFD") }
	return cyclone.Commit{SHA: parts[0], Author: valid(parts[1]), Committer: valid(parts[2]), Message: valid(parts[3])}, nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
