package worker

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"cyclone/pkg/cyclone"
)

// found is a file that is to be kept.
type found struct {
	path  string // under which it is kept
	place string // where it was, for people
	size  cyclone.Size
	open  func() (io.ReadCloser, error)
}

// find returns the regular files that a glob names, those below a folder that
// it names among them. It says which it leaves out.
func (k *keeping) find(ctx context.Context, glob string) ([]*found, error) {
	if k.base == "" {
		base, err := k.run.workingDir(ctx, k.spec)
		if err != nil {
			return nil, err
		}
		k.base = base
	}
	w := k.run.locate(glob, k.base, k.spec)
	if !fs.ValidPath(w.to) { // above the working directory
		if w.to = path.Base(w.from); isGlob(w.from) {
			w.to = "."
		}
	}
	if w.inTree {
		return k.inTree(w)
	}
	return k.inContainer(ctx, w)
}

// inTree finds files in the source tree.
func (k *keeping) inTree(w wanted) ([]*found, error) {
	base, pattern := w.tree, ""
	if isGlob(w.tree) {
		base = globBase(w.tree)
		pattern = w.tree
	}
	info, err := k.run.root.Lstat(base)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		k.s.say("Warning: %s is left out: %v", base, pathReason(err)) // a link of the path leads out of the tree
		return nil, nil
	case info.Mode()&fs.ModeSymlink != 0:
		k.leaveOut(base, info.Mode())
		return nil, nil
	}
	var out []*found
	within := "" // the folder that the glob names and the walk is in
	err = fs.WalkDir(k.run.root.FS(), base, func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrInvalid) { // its name is no text
			k.s.say("Warning: %q is left out: it is no name that can be kept", p)
			return nil
		}
		if err != nil {
			return pathReason(err)
		}
		if d.IsDir() && p == ".git" && base == "." {
			return fs.SkipDir // what git keeps there is nobody's artifact
		}
		below := within != "" && strings.HasPrefix(p, within+"/")
		if pattern != "" && !below && !globMatch(pattern, p) {
			return nil
		}
		if d.IsDir() {
			if !below {
				within = p
			}
			return nil
		}
		rest := strings.TrimPrefix(strings.TrimPrefix(p, base), "/")
		if base == "." {
			rest = p
		}
		f, err := k.treeFile(path.Join(w.to, rest), p, d)
		if f != nil {
			out = append(out, f)
		}
		return errors.Join(err, k.tooMany(out))
	})
	return out, err
}

// treeFile is a file of the source tree; nil when it is left out.
func (k *keeping) treeFile(as, p string, d fs.DirEntry) (*found, error) {
	if !d.Type().IsRegular() {
		k.leaveOut(p, d.Type())
		return nil, nil
	}
	info, err := d.Info()
	if err != nil {
		return nil, pathReason(err)
	}
	root := k.run.root
	return &found{path: as, place: p, size: cyclone.Size(info.Size()), open: func() (io.ReadCloser, error) {
		f, err := root.Open(p)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", p, pathReason(err))
		}
		return f, nil
	}}, nil
}

// leftOutNamed is how many files that are left out are named.
const leftOutNamed = 10

func (k *keeping) leaveOut(p string, mode fs.FileMode) {
	if k.leftOut++; k.leftOut > leftOutNamed {
		return
	}
	what := "a device"
	switch {
	case mode&fs.ModeSymlink != 0:
		what = "a link"
	case mode&fs.ModeNamedPipe != 0:
		what = "a pipe"
	case mode&fs.ModeSocket != 0:
		what = "a socket"
	}
	k.s.say("Warning: %s is left out: it is %s and no file", p, what)
}

// inContainer finds files in the container and copies them to the worker.
func (k *keeping) inContainer(ctx context.Context, w wanted) ([]*found, error) {
	from, glob := w.container()
	archive, err := k.run.Containers.CopyOut(ctx, k.id, from)
	if errors.Is(err, cyclone.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	x := &extraction{to: w.to, glob: glob}
	out, err := k.unpack(tar.NewReader(archive), x, path.Dir(from))
	return out, errors.Join(err, archive.Close())
}

// unpack copies the wanted files of a container's tar to the worker. above is
// the folder of its first entry.
func (k *keeping) unpack(t *tar.Reader, x *extraction, above string) ([]*found, error) {
	var out []*found
	known := map[string]*found{} // by name in the tar
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read files of the container: %w", err)
		}
		name := path.Clean("/" + h.Name)[1:]
		as, ok := x.begin(name, h)
		if !ok || h.Typeflag == tar.TypeDir {
			continue
		}
		f := &found{path: as, place: path.Join(above, name)}
		if same := known[path.Clean("/" + h.Linkname)[1:]]; h.Typeflag == tar.TypeLink && same != nil {
			f.size, f.open = same.size, same.open
		} else if h.Typeflag != tar.TypeReg {
			k.leaveOut(f.place, h.FileInfo().Mode()|linkMode(h))
			continue
		} else if err := k.spool(f, h.Size, t); err != nil {
			return nil, err
		}
		known[name] = f
		out = append(out, f)
		if err := k.tooMany(out); err != nil {
			return nil, err
		}
	}
}

// tooMany holds what a glob names to a bound.
func (k *keeping) tooMany(files []*found) error {
	if len(files) <= keepMost {
		return nil
	}
	return failure(k.s.stage, k.s.name, "more than %d files are to be kept; pack them into an archive", keepMost)
}

// linkMode makes a hard link to something that is not kept a link.
func linkMode(h *tar.Header) fs.FileMode {
	if h.Typeflag == tar.TypeLink {
		return fs.ModeSymlink
	}
	return 0
}

// spool copies a file to the worker, so that it can be sent again.
func (k *keeping) spool(f *found, size int64, content io.Reader) error {
	f.size = cyclone.Size(size)
	if limit := k.run.job.FileLimit; limit > 0 && f.size > limit {
		f.open = func() (io.ReadCloser, error) { return nil, errNotSpooled } // its size is enough to refuse it
		return nil
	}
	if k.spooled == nil {
		file, err := newSpool(k.run.Dir)
		if err != nil {
			return err
		}
		k.spooled = file
	}
	at := k.end
	n, err := io.Copy(k.spooled, content)
	k.end += n
	if err != nil {
		return fmt.Errorf("copy %s: %w", f.place, err)
	}
	file := k.spooled
	f.open = func() (io.ReadCloser, error) { return io.NopCloser(io.NewSectionReader(file, at, n)), nil }
	return nil
}

var errNotSpooled = errors.New("the file is too large to be kept")

// drop removes what was copied to the worker.
func (k *keeping) drop() {
	if k.spooled != nil {
		_ = k.spooled.Close() // nothing of it is needed any more
	}
	if k.leftOut > leftOutNamed {
		k.s.say("Warning: %d more are left out", k.leftOut-leftOutNamed)
	}
}

// newSpool makes a file of the worker for what goes to the server. It has no
// name, so that nothing is left of it when it is closed.
func newSpool(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "kept-")
	if err != nil {
		return nil, fmt.Errorf("make a file for what is kept: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("make a file for what is kept: %w", err), f.Close())
	}
	return f, nil
}
