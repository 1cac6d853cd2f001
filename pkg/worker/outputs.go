package worker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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

// takeOutputs copies a step's outputs into the source tree and returns where
// they are in it.
func (r *run) takeOutputs(ctx context.Context, s *step, c cyclone.Step, spec cyclone.ContainerSpec, id string) ([]string, error) {
	if len(c.Outputs) == 0 {
		return nil, nil
	}
	base, err := r.workingDir(ctx, spec)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, text := range c.Outputs {
		w, err := r.resolve(s, text, base, spec)
		if err != nil {
			return nil, err
		}
		taken, err := r.take(ctx, w, id)
		switch {
		case errors.Is(err, cyclone.ErrNotFound), err == nil && len(taken) == 0:
			return nil, failure(s.stage, s.name, "output %q is missing: there is no %s in the container", text, w.from)
		case err != nil && strings.Contains(err.Error(), "path escapes from parent"): // os.Root has no error value for it
			return nil, failure(s.stage, s.name, "output %q would leave the source tree", text)
		case err != nil:
			return nil, fmt.Errorf("output %q: %w", text, err)
		}
		s.say("Output %s -> %s", text, w.to)
		all = append(all, taken...)
	}
	return all, nil
}

// workingDir is what relative paths of a container are below.
func (r *run) workingDir(ctx context.Context, spec cyclone.ContainerSpec) (string, error) {
	if spec.WorkingDir != "" {
		return spec.WorkingDir, nil
	}
	image, err := r.Images.Inspect(ctx, spec.Image)
	if err != nil {
		return "", err
	}
	return firstOf(image.WorkingDir, "/"), nil
}

// resolve says where an output is and where it goes.
func (r *run) resolve(s *step, text, base string, spec cyclone.ContainerSpec) (wanted, error) {
	from, to, renamed := strings.Cut(text, ":")
	w := r.locate(from, base, spec)
	w.text = text
	if renamed {
		w.to = path.Clean(to)
		if strings.HasSuffix(to, "/") && !isGlob(from) {
			w.to = path.Join(to, path.Base(w.from))
		}
	}
	if !fs.ValidPath(w.to) {
		return w, failure(s.stage, s.name, "output %q would leave the source tree", text)
	}
	return w, nil
}

// locate says where a path or glob of a container is, and where it goes unless
// somebody says otherwise.
func (r *run) locate(from, base string, spec cyclone.ContainerSpec) wanted {
	w := wanted{text: from, from: path.Clean(path.Join(base, from)), to: path.Clean(from)}
	if path.IsAbs(from) {
		w.from, w.to = path.Clean(from), path.Base(path.Clean(from))
	}
	if isGlob(from) {
		w.to = "."
		if !path.IsAbs(from) {
			w.to = globBase(path.Clean(from))
		}
	}
	for _, m := range spec.Mounts {
		rest, below := strings.CutPrefix(w.from+"/", strings.TrimSuffix(m.Target, "/")+"/")
		if host, ours := strings.CutPrefix(m.Source+"/", r.tree+"/"); below && ours {
			w.tree, w.inTree = path.Clean(path.Join(host, rest)), true
		}
	}
	return w
}

// container is the path to copy out of the container, and the glob of what is
// wanted below it; empty for all.
func (w wanted) container() (from, glob string) {
	if !isGlob(w.from) {
		return w.from, ""
	}
	from = globBase(w.from)
	if !path.IsAbs(from) {
		from = "/" + from
	}
	return from, strings.TrimPrefix(strings.TrimPrefix(w.from, from), "/")
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

// take copies one output and returns the files and folders that it is; what is
// below such a folder belongs to it.
func (r *run) take(ctx context.Context, w wanted, id string) ([]string, error) {
	if w.inTree && !isGlob(w.from) && w.tree == w.to {
		n, err := r.checkInPlace(w.tree)
		return []string{w.tree}[:min(n, 1)], err
	}
	if w.inTree && isGlob(w.from) && globBase(w.tree) == w.to {
		return r.checkGlob(w.tree)
	}
	from, glob := w.container()
	archive, err := r.Containers.CopyOut(ctx, id, from)
	if err != nil {
		return nil, err
	}
	x := extraction{root: r.root, to: w.to, glob: glob}
	err = x.extract(archive)
	return x.places(), errors.Join(err, archive.Close())
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

// checkGlob looks at outputs that are in the source tree already, and returns
// them.
func (r *run) checkGlob(glob string) ([]string, error) {
	var out []string
	base := globBase(glob)
	if _, err := r.root.Stat(base); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	err := fs.WalkDir(r.root.FS(), base, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return pathReason(err)
		}
		if !globMatch(glob, p) {
			return nil
		}
		_, err = r.checkInPlace(p)
		out = append(out, p)
		if err == nil && d.IsDir() {
			return fs.SkipDir
		}
		return err
	})
	return out, err
}

// checkLink refuses a symbolic link that leads out of the source tree.
func checkLink(name, target string) error {
	if path.IsAbs(target) || !fs.ValidPath(path.Join(path.Dir(name), target)) {
		return cyclone.Invalid(name, "is a symbolic link to %s, which leaves the source tree", target)
	}
	return nil
}
