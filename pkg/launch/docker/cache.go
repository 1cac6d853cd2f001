package docker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"

	"cyclone/pkg/cyclone"
)

const (
	// cacheDir is where a worker finds the project's cached paths, workDir
	// where its source tree is when the engine's volume lasts.
	cacheDir = "/var/lib/cyclone-cache"
	workDir  = "/var/lib/cyclone-work"

	roleCache  = "cache" // of LabelRole
	labelEpoch = "cyclone.epoch"
	labelKind  = "cyclone.kind"

	// sizesTime bounds the question how large volumes are: the engine looks
	// at every file of theirs.
	sizesTime = time.Minute
)

var _ cyclone.CacheKeeper = (*Launcher)(nil)

// caches are the volumes that a worker gets of what its project keeps.
type caches struct {
	paths, engine string // names; empty for none
	readOnly      bool
	labels        func(cyclone.CacheKind) map[string]string
}

// caches chooses a worker's volumes. An inner engine's data belong to one
// worker at a time: the volume that was used last, of those that no container
// has, or a new one. Release must be called once the container is made.
func (l *Launcher) caches(ctx context.Context, api *client.Client, w cyclone.WorkerSpec) (c caches, release func(), err error) {
	release = func() {}
	if w.Cache == nil {
		return c, release, nil
	}
	epoch := strconv.FormatInt(w.Cache.Epoch, 10)
	c.labels = func(kind cyclone.CacheKind) map[string]string {
		return map[string]string{
			cyclone.LabelRole: roleCache, cyclone.LabelServer: l.ServerID, cyclone.LabelProject: string(w.Project),
			labelEpoch: epoch, labelKind: string(kind),
		}
	}
	c.paths = strings.Join([]string{"cyclone-cache", l.ServerID, string(w.Project), epoch}, "-")
	c.readOnly = w.Cache.ReadOnly
	if c.readOnly {
		l.touch(c.paths)
		return c, release, nil
	}
	c.engine, err = l.reserve(ctx, api, strings.Join([]string{"cyclone-engine", l.ServerID, string(w.Project), epoch}, "-")+"-",
		l.kept(labelKind+"="+string(cyclone.CacheEngine), cyclone.LabelProject+"="+string(w.Project), labelEpoch+"="+epoch))
	l.touch(c.paths, c.engine)
	return c, func() { l.unreserve(c.engine) }, err
}

// kept selects the volumes in which this installation keeps something.
func (l *Launcher) kept(labels ...string) filters.Args {
	args := filters.NewArgs(filters.Arg("label", cyclone.LabelRole+"="+roleCache), filters.Arg("label", cyclone.LabelServer+"="+l.ServerID))
	for _, label := range labels {
		args.Add("label", label)
	}
	return args
}

// reserve finds a volume that nobody has and keeps others from finding it.
func (l *Launcher) reserve(ctx context.Context, api *client.Client, prefix string, selected filters.Args) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	list, err := api.VolumeList(ctx, volume.ListOptions{Filters: selected})
	if err != nil {
		return "", err
	}
	taken, err := l.taken(ctx, api)
	if err != nil {
		return "", err
	}
	best, there := "", map[string]bool{}
	for _, v := range list.Volumes {
		there[v.Name] = true
		if !taken[v.Name] && !l.reserved[v.Name] && (best == "" || l.usedAt(v).After(l.used[best])) {
			best = v.Name
		}
	}
	for n := 1; best == ""; n++ {
		if name := prefix + strconv.Itoa(n); !there[name] && !l.reserved[name] {
			best = name
		}
	}
	if l.reserved == nil {
		l.reserved = map[string]bool{}
	}
	l.reserved[best] = true
	return best, nil
}

func (l *Launcher) unreserve(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.reserved, name)
}

// taken are the volumes that workers' containers have, ended ones too.
func (l *Launcher) taken(ctx context.Context, api *client.Client) (map[string]bool, error) {
	list, err := api.ContainerList(ctx, container.ListOptions{All: true, Filters: l.mine()})
	if err != nil {
		return nil, err
	}
	taken := map[string]bool{}
	for _, c := range list {
		for _, m := range c.Mounts {
			taken[m.Name] = true
		}
	}
	return taken, nil
}

// touch notes that volumes are used now.
func (l *Launcher) touch(names ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range names {
		l.note(name, time.Now())
	}
}

func (l *Launcher) note(name string, at time.Time) {
	if l.used == nil {
		l.used = map[string]time.Time{}
	}
	l.used[name] = at
}

// usedAt is when a volume was used last, as far as this launcher knows; it
// cannot be written on a volume, so an earlier one's knowledge is with whoever
// asked it. l.mu is held.
func (l *Launcher) usedAt(v *volume.Volume) time.Time {
	at, known := l.used[v.Name]
	if !known {
		// An unreadable time counts as very long ago.
		at, _ = time.Parse(time.RFC3339, v.CreatedAt)
		l.note(v.Name, at)
	}
	return at
}

// Caches lists the volumes in which this installation keeps something. Sizes
// are 0 when the engine needs too long to find them out.
func (l *Launcher) Caches(ctx context.Context) ([]cyclone.Cache, error) {
	api, err := l.engine()
	if err != nil {
		return nil, err
	}
	list, err := api.VolumeList(ctx, volume.ListOptions{Filters: l.kept()})
	if err != nil {
		return nil, fmt.Errorf("list caches: %w", l.unavailable(err))
	}
	if len(list.Volumes) == 0 {
		return nil, nil
	}
	taken, err := l.taken(ctx, api)
	if err != nil {
		return nil, fmt.Errorf("list caches: %w", l.unavailable(err))
	}
	sizes := l.sizes(ctx, api)
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []cyclone.Cache
	for _, v := range list.Volumes {
		// Without a number it is of no epoch, and so of none that is used.
		epoch, err := strconv.ParseInt(v.Labels[labelEpoch], 10, 64)
		if err != nil {
			epoch = -1
		}
		c := cyclone.Cache{
			ID: v.Name, Project: cyclone.ProjectName(v.Labels[cyclone.LabelProject]), Kind: cyclone.CacheKind(v.Labels[labelKind]),
			Epoch: epoch, Size: sizes[v.Name], InUse: taken[v.Name] || l.reserved[v.Name],
		}
		if c.InUse {
			l.note(v.Name, time.Now())
		}
		c.UsedAt = cyclone.Stamp(l.usedAt(v))
		found = append(found, c)
	}
	slices.SortFunc(found, func(a, b cyclone.Cache) int { return strings.Compare(a.ID, b.ID) })
	return found, nil
}

// sizes are those of volumes, by name; nil when they cannot be had.
func (l *Launcher) sizes(ctx context.Context, api *client.Client) map[string]cyclone.Size {
	ctx, stop := context.WithTimeout(ctx, sizesTime)
	defer stop()
	used, err := api.DiskUsage(ctx, types.DiskUsageOptions{Types: []types.DiskUsageObject{types.VolumeObject}})
	if err != nil {
		if l.Log != nil {
			l.Log.Warn("the sizes of caches are not known", "node", l.Node, "error", err)
		}
		return nil
	}
	sizes := map[string]cyclone.Size{}
	for _, v := range used.Volumes {
		if v.UsageData != nil && v.UsageData.Size > 0 {
			sizes[v.Name] = cyclone.Size(v.UsageData.Size)
		}
	}
	return sizes
}

// RemoveCache removes one of the volumes that Caches lists. ErrConflict while
// a worker has it; one that is gone, or not ours, is no error.
func (l *Launcher) RemoveCache(ctx context.Context, id string) error {
	api, err := l.engine()
	if err != nil {
		return err
	}
	v, err := api.VolumeInspect(ctx, id)
	if cerrdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove cache %s: %w", id, l.unavailable(err))
	}
	if v.Labels[cyclone.LabelRole] != roleCache || v.Labels[cyclone.LabelServer] != l.ServerID {
		return nil
	}
	err = api.VolumeRemove(ctx, id, false)
	switch {
	case err == nil, cerrdefs.IsNotFound(err):
		return nil
	case cerrdefs.IsConflict(err):
		return errors.Join(cyclone.Conflict("cache %s is in use", id), err)
	}
	return fmt.Errorf("remove cache %s: %w", id, l.unavailable(err))
}

// mounts are a worker's volumes, and the variables that tell it of them.
func (c caches) mounts(worker map[string]string) (mounts []mount.Mount, env []string) {
	if c.engine == "" {
		mounts = append(mounts, anonymous(storageDir, worker))
	} else {
		mounts = append(mounts, c.volume(c.engine, storageDir, cyclone.CacheEngine), anonymous(workDir, worker))
		env = append(env, "CYCLONE_WORK_DIR="+workDir)
	}
	if c.paths != "" {
		m := c.volume(c.paths, cacheDir, cyclone.CachePaths)
		m.ReadOnly = c.readOnly
		mounts = append(mounts, m)
		env = append(env, "CYCLONE_CACHE_DIR="+cacheDir)
	}
	return mounts, env
}

// volume mounts a volume that lasts; one that is not there is made with the
// container.
func (c caches) volume(name, target string, kind cyclone.CacheKind) mount.Mount {
	return mount.Mount{
		Type: mount.TypeVolume, Source: name, Target: target,
		VolumeOptions: &mount.VolumeOptions{NoCopy: true, Labels: c.labels(kind)},
	}
}
