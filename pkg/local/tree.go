package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"cyclone/pkg/cyclone"
)

// Tree is a cyclone.Cloner that copies a working tree as it is on the disk:
// what git tracks and what it does not ignore, those of submodules too, or
// without git everything but the folders of version control. What steps do to
// the copy does not reach the original.
type Tree struct{ Source *Source }

// versionControl are folders that are not part of the source.
var versionControl = []string{".git", ".hg", ".svn", ".bzr", "CVS"}

// copiers is how many files are copied at a time.
const copiers = 8

// Clone implements cyclone.Cloner. Of s only Dir counts.
func (t Tree) Clone(ctx context.Context, s cyclone.CloneSpec, out cyclone.Output) (cyclone.Commit, error) {
	var files []string
	var err error
	if t.Source.Git {
		files, err = listGit(ctx, t.Source.Root, "")
	} else {
		files, err = listAll(ctx, t.Source.Root)
	}
	if err != nil {
		return cyclone.Commit{}, fmt.Errorf("list the files of %s: %w", t.Source.Root, err)
	}
	c := &copying{from: t.Source.Root, to: s.Dir}
	if err := c.copyAll(ctx, files); err != nil {
		return cyclone.Commit{}, fmt.Errorf("copy the %s: %w", t.Source, err)
	}
	text := fmt.Sprintf("Copied the %s: %d files, %s\n", t.Source, c.count, bytesText(c.size))
	for _, left := range c.leftOut {
		text += "Left out: " + left + " is neither a file nor a folder nor a link\n"
	}
	out.Write(cyclone.System, []byte(text))
	return t.Source.Commit, nil
}

// listGit lists what git sees in a working tree, by path from its root and
// under a prefix: files, links, and folders of repositories that are empty.
func listGit(ctx context.Context, root, prefix string) ([]string, error) {
	dir := filepath.Join(root, prefix)
	text, err := gitIn(ctx, dir, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	if err != nil {
		return nil, err
	}
	var out []string
	seen := map[string]bool{}
	for _, name := range entries(text) {
		name = filepath.Join(prefix, strings.TrimSuffix(name, "/"))
		if seen[name] { // in conflict: git lists each version
			continue
		}
		seen[name] = true
		info, err := os.Lstat(filepath.Join(root, name))
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, errNotFolder):
			continue // deleted, and git was not told yet
		case err != nil:
			return nil, err
		case !info.IsDir():
			out = append(out, name)
			continue
		}
		// A submodule, or a repository in the tree: git does not look into it.
		if _, err := os.Lstat(filepath.Join(root, name, ".git")); err != nil {
			out = append(out, name) // one that is not checked out
			continue
		}
		inner, err := listGit(ctx, root, name)
		if err != nil {
			return nil, err
		}
		out = append(append(out, name), inner...)
	}
	return out, nil
}

// listAll lists everything below a folder but what version control keeps.
func listAll(ctx context.Context, root string) ([]string, error) {
	var out []string
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if d.IsDir() && slices.Contains(versionControl, d.Name()) && p != root {
			return fs.SkipDir
		}
		if rel, err := filepath.Rel(root, p); err == nil && rel != "." {
			out = append(out, rel)
		}
		return nil
	})
	return out, err
}

// copying is a copy of a tree that is under way.
type copying struct {
	from, to string

	mu      sync.Mutex
	count   int
	size    cyclone.Size
	leftOut []string
	failed  error
	folders map[string]fs.FileMode
}

// copyAll copies the entries of a list, several at a time.
func (c *copying) copyAll(ctx context.Context, files []string) error {
	c.folders = map[string]fs.FileMode{}
	for _, name := range files {
		if err := c.folder(filepath.Dir(name)); err != nil {
			return err
		}
	}
	next := make(chan string)
	var busy sync.WaitGroup
	for range copiers {
		busy.Go(func() {
			for name := range next {
				c.note(c.entry(name))
			}
		})
	}
	for _, name := range files {
		if ctx.Err() != nil || c.broken() {
			break
		}
		next <- name
	}
	close(next)
	busy.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errors.Join(c.failed, c.finishFolders())
}

func (c *copying) note(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed == nil {
		c.failed = err
	}
}

func (c *copying) broken() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed != nil
}

// folder makes a folder and those above it. They get their modes at the end:
// files still have to be written into them.
func (c *copying) folder(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var missing []string
	for ; name != "."; name = filepath.Dir(name) {
		if _, known := c.folders[name]; known {
			break
		}
		missing = append(missing, name)
	}
	for _, name := range slices.Backward(missing) {
		info, err := os.Lstat(filepath.Join(c.from, name))
		if err != nil {
			return err
		}
		if err := os.Mkdir(filepath.Join(c.to, name), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		c.folders[name] = info.Mode().Perm()
	}
	return nil
}

func (c *copying) finishFolders() error {
	for name, mode := range c.folders {
		if err := os.Chmod(filepath.Join(c.to, name), mode|0o700); err != nil {
			return err
		}
	}
	return nil
}

// entry copies one file, link or folder.
func (c *copying) entry(name string) error {
	from, to := filepath.Join(c.from, name), filepath.Join(c.to, name)
	info, err := os.Lstat(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it went meanwhile
	}
	if err != nil {
		return err
	}
	var size int64
	switch {
	case info.IsDir():
		return c.folder(name)
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		if err := os.Symlink(target, to); err != nil {
			return err
		}
	case info.Mode().IsRegular():
		if size, err = copyFile(from, to, info); err != nil {
			return err
		}
	default:
		c.mu.Lock()
		defer c.mu.Unlock()
		c.leftOut = append(c.leftOut, name)
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count++
	c.size += cyclone.Size(size)
	return nil
}

// bytesText is a size for people.
func bytesText(n cyclone.Size) string {
	switch {
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}
