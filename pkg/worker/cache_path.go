package worker

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"cyclone/pkg/cachedir"
	"cyclone/pkg/cyclone"
)

// cacheAt finds the place of a cache path; one that the run shows already is
// returned as it is.
func (r *run) cacheAt(p string, spec *cyclone.ContainerSpec, open *stepCaches) (*cached, error) {
	if !path.IsAbs(p) {
		p = path.Join(firstOf(spec.WorkingDir, workspace), p)
	}
	e := &cached{path: path.Clean(p)}
	if e.path == "/" {
		return nil, cyclone.Invalid("cache", "the whole container cannot be kept")
	}
	for _, other := range open.open {
		if within(e.path, other.path) || within(other.path, e.path) {
			return nil, cyclone.Invalid("cache", "it and %s are one in the other", other.path)
		}
	}
	source, inside := treePath(r.tree, spec.Mounts, e.path)
	if !inside {
		e.key = cachedir.Key(e.path)
		return e, nil
	}
	return r.cacheInTree(e, source)
}

// cacheInTree finds the folder of a cache path in the source tree, and makes
// it when it is missing.
func (r *run) cacheInTree(e *cached, rel string) (*cached, error) {
	if err := r.root.MkdirAll(rel, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, pathReason(err)
	}
	if info, err := r.root.Stat(rel); err != nil {
		return nil, pathReason(err)
	} else if !info.IsDir() {
		return nil, cyclone.Invalid("cache", "it is no folder")
	}
	place, err := r.inTree(rel)
	if err != nil {
		return nil, err
	}
	if e.rel, err = filepath.Rel(r.tree, place); err != nil || e.rel == "." || strings.HasPrefix(e.rel, "..") {
		return nil, cyclone.Invalid("cache", "the source tree itself cannot be kept")
	}
	e.key = cachedir.Key("./" + e.rel)
	for _, shown := range r.caches.inTree {
		switch {
		case shown.rel == e.rel:
			return shown, nil
		case within(e.rel, shown.rel) || within(shown.rel, e.rel):
			return nil, cyclone.Invalid("cache", "it and %s are one in the other", shown.path)
		}
	}
	return e, nil
}

// treePath is where a container's path is in the source tree; false when it
// is not there.
func treePath(tree string, mounts []cyclone.Mount, p string) (string, bool) {
	best := -1
	for i, m := range mounts {
		if within(p, m.Target) && (best < 0 || len(path.Clean(m.Target)) >= len(path.Clean(mounts[best].Target))) {
			best = i
		}
	}
	if best < 0 || !within(mounts[best].Source, tree) {
		return "", false
	}
	rest := strings.TrimPrefix(p, path.Clean(mounts[best].Target))
	rel, err := filepath.Rel(tree, filepath.Join(mounts[best].Source, rest))
	return rel, err == nil
}

// within reports whether a path is a folder or something in it.
func within(p, folder string) bool {
	folder = strings.TrimSuffix(path.Clean(folder), "/")
	return p == folder || strings.HasPrefix(p, folder+"/")
}

// inUnits is a size as people read it.
func inUnits(s cyclone.Size) string {
	switch {
	case s >= 10<<30:
		return fmt.Sprintf("%d GiB", s>>30)
	case s >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(s)/(1<<30))
	case s >= 1<<20:
		return fmt.Sprintf("%d MiB", s>>20)
	}
	return fmt.Sprintf("%d KiB", (s+1023)>>10)
}
