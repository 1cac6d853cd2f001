package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"sync"

	"cyclone/pkg/cyclone"
)

// Files takes the files of a run: artifacts go to a folder of the person's,
// outputs to where the next run finds them, reports are counted by the worker
// and go nowhere.
type Files struct {
	// Artifacts is where artifacts go, made when there is one; empty for
	// nowhere. Nothing is ever written outside of it.
	Artifacts string
	// Last keeps the outputs; nil for nowhere.
	Last *Last

	mu    sync.Mutex
	count int
	size  cyclone.Size
}

// Artifacts are how many the run had, and their bytes.
func (f *Files) artifacts() (count int, size cyclone.Size) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count, f.size
}

func (f *Files) put(ctx context.Context, file cyclone.File, open func() (io.ReadCloser, error)) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if !cyclone.ValidFilePath(file.Path) {
		return cyclone.Invalid("path", "%.200q cannot name a file", file.Path)
	}
	switch {
	case file.Kind == cyclone.FileArtifact:
		if f.Artifacts != "" {
			if err := f.write(f.Artifacts, file.Path, open); err != nil {
				return fmt.Errorf("write artifact into %s: %w", f.Artifacts, err)
			}
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.count++
		f.size += file.Size
	case file.Kind == cyclone.FileOutput && f.Last != nil:
		folder, err := f.Last.begin()
		if err == nil {
			err = f.write(folder, file.Path, open)
		}
		if err != nil {
			return fmt.Errorf("keep outputs: %w", err)
		}
	}
	return nil
}

// write writes a file below a folder, which no link in it leads out of.
func (f *Files) write(folder, name string, open func() (io.ReadCloser, error)) error {
	if err := os.MkdirAll(folder, 0o755); err != nil { //#nosec G301 -- the person's own umask decides
		return err
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }() // it only named the folder
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	content, err := open()
	if err != nil {
		return err
	}
	// What is there may be a link, or a file that somebody reads.
	if err := root.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return errors.Join(err, content.Close())
	}
	to, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return errors.Join(err, content.Close())
	}
	_, err = io.Copy(to, content)
	return errors.Join(err, to.Close(), content.Close())
}

// open returns an output of the last run.
func (f *Files) open(kind cyclone.FileKind, name string) (io.ReadCloser, error) {
	if kind != cyclone.FileOutput || f.Last == nil || !cyclone.ValidFilePath(name) {
		return nil, cyclone.NotFound("the last local run has kept no %s %s", kind, name)
	}
	return f.Last.output(name)
}
