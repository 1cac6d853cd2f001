package worker

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"cyclone/pkg/cyclone"
)

// extraction writes a container's tar into the source tree. Nothing it does
// leaves root, whatever names and links the tar has.
type extraction struct {
	root *os.Root // nil when nothing is written
	to   string   // where the tar's first entry goes; for a glob, its content
	glob string   // of the entries to take, below the first; empty for all
	base string   // name of the first entry
	// taken are the entries that matched the glob: what is below goes too.
	taken map[string]bool
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
		dest, ok := x.begin(path.Clean("/" + h.Name)[1:], h)
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

// begin takes the next entry and says where it goes; false when it is not wanted.
func (x *extraction) begin(name string, h *tar.Header) (string, bool) {
	if x.base == "" {
		x.base = firstOf(name, ".")
		x.intoFolder(h)
	}
	return x.place(name)
}

// places are what was extracted: of a folder only itself.
func (x *extraction) places() []string {
	switch {
	case x.count == 0:
		return nil
	case x.glob == "":
		return []string{x.to}
	}
	var out []string
	for taken := range x.taken {
		out = append(out, path.Join(x.to, taken))
	}
	slices.Sort(out)
	return out
}

// intoFolder makes a single file go into the folder that has its name, as cp
// does, instead of taking the folder's place.
func (x *extraction) intoFolder(first *tar.Header) {
	if first.Typeflag == tar.TypeDir || x.glob != "" || x.root == nil {
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
	for above := path.Dir(rest); above != "."; above = path.Dir(above) {
		if x.taken[above] {
			return true
		}
	}
	if !globMatch(x.glob, rest) {
		return false
	}
	if x.taken == nil {
		x.taken = map[string]bool{}
	}
	x.taken[rest] = true
	return true
}

// entry writes one entry over whatever is there.
func (x *extraction) entry(dest string, h *tar.Header, content io.Reader) error {
	err := x.write(dest, h, content)
	if err == nil || diskFull(err) || errors.Is(err, cyclone.ErrInvalid) {
		return err
	}
	var p *fs.PathError
	if errors.As(err, &p) {
		return cyclone.Invalid(dest, "cannot be written into the source tree: %v", p.Err)
	}
	var l *os.LinkError
	if errors.As(err, &l) {
		return cyclone.Invalid(dest, "cannot be a link to %s in the source tree: %v", h.Linkname, l.Err)
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
