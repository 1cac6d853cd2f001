package process

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"cyclone/pkg/cachedir"
	"cyclone/pkg/cyclone"
)

// cachesDir holds a folder per project and epoch. Workers' ids never begin
// with a dot.
const cachesDir = ".caches"

var _ cyclone.CacheKeeper = (*Launcher)(nil)

// cacheDir is the folder of a worker's cached paths; empty for none. Images
// and layers are the shared engine's own.
func (l *Launcher) cacheDir(w cyclone.WorkerSpec) string {
	if w.Cache == nil || !cyclone.ValidName(string(w.Project)) {
		return ""
	}
	return filepath.Join(l.Dir, cachesDir, string(w.Project), strconv.FormatInt(w.Cache.Epoch, 10))
}

// Caches lists the folders of cached paths.
func (l *Launcher) Caches(context.Context) ([]cyclone.Cache, error) {
	dirs, err := filepath.Glob(filepath.Join(l.Dir, cachesDir, "*", "*"))
	if err != nil {
		return nil, fmt.Errorf("list caches: %w", err)
	}
	var found []cyclone.Cache
	for _, dir := range dirs {
		project, number := filepath.Base(filepath.Dir(dir)), filepath.Base(dir)
		epoch, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			continue // nothing of ours
		}
		c := cyclone.Cache{ID: project + "/" + number, Project: cyclone.ProjectName(project), Kind: cyclone.CachePaths, Epoch: epoch}
		if c.Size, c.UsedAt, c.InUse, err = cachedir.Usage(dir); err != nil {
			return nil, fmt.Errorf("list caches: %w", err)
		}
		if info, err := os.Stat(dir); err == nil && c.UsedAt.IsZero() {
			c.UsedAt = info.ModTime() // nothing was published yet
		}
		c.UsedAt = cyclone.Stamp(c.UsedAt)
		found = append(found, c)
	}
	return found, nil
}

// RemoveCache removes one of the folders that Caches lists. ErrConflict while
// a worker uses it; one that is gone is no error.
func (l *Launcher) RemoveCache(_ context.Context, id string) error {
	project, number, _ := strings.Cut(id, "/")
	if _, err := strconv.ParseInt(number, 10, 64); err != nil || !cyclone.ValidName(project) {
		return cyclone.Invalid("cache", "%q names none", id)
	}
	dir := filepath.Join(l.Dir, cachesDir, project, number)
	if err := cachedir.Remove(dir); err != nil {
		return err
	}
	_ = os.Remove(filepath.Dir(dir)) // refused while there are others of the project
	return nil
}
