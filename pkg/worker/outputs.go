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

// wanted is one entry of outputs, resolved.
type wanted struct {
	text string // as written
	from string // absolute path or glob in the container
	to   string // path in the source tree; for a glob, of the folder
	// tree is from as a path of the source tree, when the container has it
	// from there; then the file is at its place already or copied within.
	tree   string
	inTree bool
}

// takeOutputs copies a step's outputs into the source tree.
func (r *run) takeOutputs(ctx context.Context, s *step, c cyclone.Step, spec cyclone.ContainerSpec, id string) error {
	if len(c.Outputs) == 0 {
		return nil
	}
	base := spec.WorkingDir
	if base == "" {
		image, err := r.Images.Inspect(ctx, spec.Image)
		if err != nil {
			return err
		}
		base = firstOf(image.WorkingDir, "/")
	}
	for _, text := range c.Outputs {
		w, err := r.resolve(s, text, base, spec)
		if err != nil {
			return err
		}
		n, err := r.take(ctx, w, id)
		switch {
		case errors.Is(err, cyclone.ErrNotFound), err == nil && n == 0:
			return failure(s.stage, s.name, "output %q is missing: there is no %s in the container", text, w.from)
		case err != nil && strings.Contains(err.Error(), "path escapes from parent"): // os.Root has no error value for it
			return failure(s.stage, s.name, "output %q would leave the source tree", text)
		case err != nil:
			return fmt.Errorf("output %q: %w", text, err)
		}
		s.say("Output %s -> %s", text, w.to)
	}
	return nil
}

// resolve says where an output is and where it goes.
func (r *run) resolve(s *step, text, base string, spec cyclone.ContainerSpec) (wanted, error) {
	from, to, renamed := strings.Cut(text, ":")
	w := wanted{text: text, from: path.Clean(path.Join(base, from)), to: path.Clean(from)}
	if path.IsAbs(from) {
		w.from, w.to = path.Clean(from), path.Base(path.Clean(from))
	}
	if isGlob(from) {
		w.to = "."
		if !path.IsAbs(from) {
			w.to = globBase(path.Clean(from))
		}
	}
	if renamed {
		w.to = path.Clean(to)
		if strings.HasSuffix(to, "/") && !isGlob(from) {
			w.to = path.Join(to, path.Base(w.from))
		}
	}
	if !fs.ValidPath(w.to) {
		return w, failure(s.stage, s.name, "output %q would leave the source tree", text)
	}
	for _, m := range spec.Mounts {
		rest, below := strings.CutPrefix(w.from+"/", strings.TrimSuffix(m.Target, "/")+"/")
		if host, ours := strings.CutPrefix(m.Source+"/", r.tree+"/"); below && ours {
			w.tree, w.inTree = path.Clean(path.Join(host, rest)), true
		}
	}
	return w, nil
}

// globBase is the part of a glob before its first wildcard.
func globBase(glob string) string {
	parts := strings.Split(glob, "/")
	for i, p := range parts {
		if isGlob(p) {
			return path.Clean(strings.Join(append([]string{"."}, parts[:i]...), "/"))
		}
	}
	return path.Dir(glob)
}

// take copies one output and returns how many files and folders it was.
func (r *run) take(ctx context.Context, w wanted, id string) (int, error) {
	if w.inTree && !isGlob(w.from) && w.tree == w.to {
		return r.checkInPlace(w.tree)
	}
	if w.inTree && isGlob(w.from) && globBase(w.tree) == w.to {
		return r.checkGlob(w.tree)
	}
	from := w.from
	if isGlob(from) {
		from = globBase(from)
		if !path.IsAbs(from) {
			from = "/" + from
		}
	}
	archive, err := r.Containers.CopyOut(ctx, id, from)
	if err != nil {
		return 0, err
	}
	x := extraction{root: r.root, to: w.to}
	if isGlob(w.from) {
		x.glob = strings.TrimPrefix(strings.TrimPrefix(w.from, from), "/")
	}
	err = x.extract(archive)
	return x.count, errors.Join(err, archive.Close())
}

// checkInPlace looks at an output that is in the source tree already.
func (r *run) checkInPlace(name string) (int, error) {
	info, err := r.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		// WalkDir would follow this one.
		target, err := r.root.Readlink(name)
		if err != nil {
			return 0, err
		}
		return 1, checkLink(name, target)
	}
	count := 0
	err = fs.WalkDir(r.root.FS(), name, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return pathReason(err)
		}
		count++
		if d.Type()&fs.ModeSymlink == 0 {
			return nil
		}
		target, err := r.root.Readlink(p)
		if err != nil {
			return pathReason(err)
		}
		return checkLink(p, target)
	})
	return count, err
}

// checkGlob looks at outputs that are in the source tree already.
func (r *run) checkGlob(glob string) (int, error) {
	count := 0
	base := globBase(glob)
	if _, err := r.root.Stat(base); errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	err := fs.WalkDir(r.root.FS(), base, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return pathReason(err)
		}
		if !globMatch(glob, p) {
			return nil
		}
		n, err := r.checkInPlace(p)
		count += n
		if err == nil && d.IsDir() {
			return fs.SkipDir
		}
		return err
	})
	return count, err
}

// checkLink refuses a symbolic link that leads out of the source tree.
func checkLink(name, target string) error {
	if path.IsAbs(target) || !fs.ValidPath(path.Join(path.Dir(name), target)) {
		return cyclone.Invalid(name, "is a symbolic link to %s, which leaves the source tree", target)
	}
	return nil
}

// extraction writes a container's tar into the source tree. Nothing it does
// leaves root, whatever names and links the tar has.
type extraction struct {
	root *os.Root
	to   string // where the tar's first entry goes; for a glob, its content
	glob string // of the entries to take, below the first; empty for all
	base string // name of the first entry
	// taken are the entries that matched the glob: what is below goes too.
	taken []string
	count int
}

func (x *extraction) extract(r io.Reader) error {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read files of the container: %w", err)
		}
		name := path.Clean("/" + h.Name)[1:]
		if x.base == "" {
			x.base = firstOf(name, ".")
			x.intoFolder(h)
		}
		dest, ok := x.place(name)
		if !ok {
			continue
		}
		if !fs.ValidPath(dest) {
			return cyclone.Invalid(h.Name, "would leave the source tree")
		}
		if err := x.entry(dest, h, t); err != nil {
			return err
		}
		x.count++
	}
}

// intoFolder makes a single file go into the folder that has its name, as cp
// does, instead of taking the folder's place.
func (x *extraction) intoFolder(first *tar.Header) {
	if first.Typeflag == tar.TypeDir || x.glob != "" {
		return
	}
	if info, err := x.root.Lstat(x.to); err == nil && info.IsDir() {
		x.to = path.Join(x.to, x.base)
	}
}

// place is where an entry goes; false when it is not wanted.
func (x *extraction) place(name string) (string, bool) {
	rest := name
	if x.base != "." {
		below, ok := strings.CutPrefix(name+"/", x.base+"/")
		if !ok {
			return "", false // tars of an engine have one root
		}
		rest = strings.TrimSuffix(below, "/")
	}
	if x.glob != "" && !x.wants(rest) {
		return "", false
	}
	return path.Join(x.to, rest), true
}

// wants reports whether an entry matches the glob or is below one that did.
func (x *extraction) wants(rest string) bool {
	if rest == "" {
		return false
	}
	for _, t := range x.taken {
		if strings.HasPrefix(rest, t+"/") {
			return true
		}
	}
	if !globMatch(x.glob, rest) {
		return false
	}
	x.taken = append(x.taken, rest)
	return true
}

// entry writes one entry over whatever is there.
func (x *extraction) entry(dest string, h *tar.Header, content io.Reader) error {
	err := x.write(dest, h, content)
	var p *fs.PathError
	if errors.As(err, &p) && !diskFull(err) && !errors.Is(err, cyclone.ErrInvalid) {
		return cyclone.Invalid(dest, "cannot be written into the source tree: %v", p.Err)
	}
	return err
}

func (x *extraction) write(dest string, h *tar.Header, content io.Reader) error {
	mode := h.FileInfo().Mode() & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
	if h.Typeflag == tar.TypeDir {
		return x.folder(dest, mode)
	}
	if err := x.clear(dest); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeReg:
		return x.file(dest, mode, h, content)
	case tar.TypeSymlink:
		if err := checkLink(dest, h.Linkname); err != nil {
			return err
		}
		return x.root.Symlink(h.Linkname, dest)
	case tar.TypeLink:
		target, ok := x.place(path.Clean("/" + h.Linkname)[1:])
		if !ok || !fs.ValidPath(target) {
			return cyclone.Invalid(dest, "is a link to %s, which is not part of the output", h.Linkname)
		}
		return x.root.Link(target, dest)
	}
	return cyclone.Invalid(dest, "is neither a file nor a folder nor a link")
}

// clear removes what is in the way of a file and makes its folder.
func (x *extraction) clear(dest string) error {
	if err := x.root.RemoveAll(dest); err != nil {
		return err
	}
	return x.root.MkdirAll(path.Dir(dest), 0o755)
}

func (x *extraction) folder(dest string, mode fs.FileMode) error {
	if info, err := x.root.Lstat(dest); err == nil && !info.IsDir() {
		if err := x.root.Remove(dest); err != nil {
			return err
		}
	}
	if err := x.root.MkdirAll(dest, 0o755); err != nil {
		return err
	}
	if dest == "." {
		return nil // the source tree keeps its own mode
	}
	// Files still have to be written into it.
	return x.root.Chmod(dest, mode|0o700)
}

func (x *extraction) file(dest string, mode fs.FileMode, h *tar.Header, content io.Reader) error {
	f, err := x.root.OpenFile(dest, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, content); err != nil {
		return errors.Join(fmt.Errorf("copy %s: %w", dest, err), f.Close())
	}
	// After the content: writing would clear the setuid bit.
	if err := errors.Join(f.Chmod(mode), f.Close()); err != nil {
		return err
	}
	return x.root.Chtimes(dest, h.ModTime, h.ModTime)
}
