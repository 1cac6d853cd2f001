package dispatch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cyclone/pkg/cyclone"
)

const (
	// tidyEvery is how often the node is asked what it keeps, which may cost
	// it some work; glanceEvery how often it is looked for projects whose
	// caches were cleared, and tightEvery how often the node is asked while its
	// disk is short.
	tidyEvery   = 10 * time.Minute
	glanceEvery = time.Minute
	tightEvery  = 20 * time.Second
	// tidyTime bounds one round of it.
	tidyTime = 5 * time.Minute
)

// janitor removes what a node need not keep any more.
type janitor struct {
	// Under Dispatcher.mu.
	seen  []cyclone.Cache // as of the last look, or what the store knows of it
	known bool            // seen is of this server, or was looked for in the store
	busy  bool

	// The loop's own.
	asked   time.Time // when all was last looked at
	glanced time.Time // when it was last looked for cleared caches
}

// seenCaches is what the node kept when somebody last looked.
func (d *Dispatcher) seenCaches() []cyclone.Cache {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.caches.seen)
}

// recall takes over what another server, or this one before its restart, saw.
func (d *Dispatcher) recall(stored []cyclone.Cache) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.caches.known {
		d.caches.seen, d.caches.known = slices.Clone(stored), true
	}
}

// tidyNow looks after the node's caches in the background when it is time:
// every ten minutes, soon after some were cleared, and when space is short.
func (d *Dispatcher) tidyNow(ctx context.Context) {
	keeper, can := d.Launcher.(cyclone.CacheKeeper)
	if !can || d.Capacity == 0 {
		return
	}
	j, now := &d.caches, d.Now()
	all := now.Sub(j.asked) >= tidyEvery || now.Sub(j.asked) >= tightEvery && d.tight()
	if !all && now.Sub(j.glanced) < glanceEvery || !d.beginTidy(true) {
		return
	}
	j.glanced = now
	if all {
		j.asked = now
	}
	d.busy.Go(func() {
		defer d.beginTidy(false)
		ctx, stop := context.WithTimeout(ctx, tidyTime)
		defer stop()
		if err := d.tidy(ctx, keeper, all); err != nil && ctx.Err() == nil {
			d.Log.Warn("caches are not looked after; trying again later", "node", d.Node, "error", err)
		}
	})
}

func (d *Dispatcher) beginTidy(begins bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if begins && d.caches.busy {
		return false
	}
	d.caches.busy = begins
	return true
}

// tight reports whether the node's disk is about to be too full for work, as
// of the last look, and whether there is something to be removed.
func (d *Dispatcher) tight() bool {
	n := d.beaten
	return n.Disk != nil && n.Disk.Free < d.wanted() && len(n.Caches) > 0
}

// wanted is the free space below which caches go: a quarter more than the
// node needs to take work, so that it need not refuse any for their sake.
func (d *Dispatcher) wanted() cyclone.Size { return d.MinFree + d.MinFree/4 }

// tidy removes caches that nobody will use again, and then, while there is too
// much of them or too little space, those unused for longest. Unless all is
// asked for, it does so only when something was cleared.
func (d *Dispatcher) tidy(ctx context.Context, keeper cyclone.CacheKeeper, all bool) error {
	before := d.seenCaches()
	if !all {
		old, err := d.outdated(ctx, before)
		if err != nil || len(old) == 0 {
			return err
		}
	}
	if d.Launcher.Ready(ctx) != nil {
		return nil
	}
	found, err := keeper.Caches(ctx)
	if err != nil {
		return err
	}
	remember(found, before)
	old, err := d.outdated(ctx, found)
	if err != nil {
		return err
	}
	found, failed := d.discard(ctx, keeper, found, old)
	found, err = d.trim(ctx, keeper, found)
	d.mu.Lock()
	d.caches.seen, d.caches.known = found, true
	d.mu.Unlock()
	d.Metrics.Caches(d.Node, total(found))
	return errors.Join(failed, err)
}

// remember lets what was seen before correct when caches were used: a node
// whose server was restarted may know no more than when they were made.
func remember(found, before []cyclone.Cache) {
	used := map[string]time.Time{}
	for _, c := range before {
		used[c.ID] = c.UsedAt
	}
	for i := range found {
		if at := used[found[i].ID]; at.After(found[i].UsedAt) {
			found[i].UsedAt = at
		}
	}
}

// cacheEpoch is the epoch of a project's caches on nodes. It counts from when
// the project was made: one of the same name that was deleted before had
// others, which are not this one's to see.
func cacheEpoch(p *cyclone.Project) int64 { return p.CreatedAt.UnixMilli() + p.CacheEpoch }

// outdated are the ids of caches of projects that are gone, or of another
// epoch than theirs.
func (d *Dispatcher) outdated(ctx context.Context, caches []cyclone.Cache) ([]string, error) {
	projects := map[cyclone.ProjectName]*cyclone.Project{}
	var old []string
	for _, c := range caches {
		p, known := projects[c.Project]
		if !known {
			var err error
			p, err = d.Projects.Find(ctx, c.Project)
			if err != nil && !errors.Is(err, cyclone.ErrNotFound) {
				return nil, fmt.Errorf("find project %s: %w", c.Project, err)
			}
			projects[c.Project] = p
		}
		if d.NoCache || p == nil || c.Epoch != cacheEpoch(p) {
			old = append(old, c.ID)
		}
	}
	return old, nil
}

// discard removes caches and returns those that are left. One in use stays
// until the next time.
func (d *Dispatcher) discard(ctx context.Context, keeper cyclone.CacheKeeper, caches []cyclone.Cache, ids []string) ([]cyclone.Cache, error) {
	var left []cyclone.Cache
	var failed error
	for _, c := range caches {
		if c.InUse || !slices.Contains(ids, c.ID) {
			left = append(left, c)
			continue
		}
		err := keeper.RemoveCache(ctx, c.ID)
		if err == nil {
			d.Log.Info("cache removed", "node", d.Node, "project", c.Project, "cache", c.ID)
			continue
		}
		left = append(left, c)
		if !errors.Is(err, cyclone.ErrConflict) {
			failed = errors.Join(failed, err)
		}
	}
	return left, failed
}

// trim removes the caches unused for longest while they are larger than they
// may be, or the disk is short.
func (d *Dispatcher) trim(ctx context.Context, keeper cyclone.CacheKeeper, caches []cyclone.Cache) ([]cyclone.Cache, error) {
	order := slices.Clone(caches)
	slices.SortFunc(order, func(a, b cyclone.Cache) int {
		return cmp.Or(a.UsedAt.Compare(b.UsedAt), cmp.Compare(a.ID, b.ID))
	})
	var failed error
	for _, c := range order {
		if !d.tooMuch(ctx, caches) {
			break
		}
		var err error
		caches, err = d.discard(ctx, keeper, caches, []string{c.ID})
		failed = errors.Join(failed, err)
	}
	return caches, failed
}

func (d *Dispatcher) tooMuch(ctx context.Context, caches []cyclone.Cache) bool {
	if d.CacheTotal > 0 && total(caches) > d.CacheTotal {
		return true
	}
	disk, err := d.Launcher.Disk(ctx)
	return err == nil && disk.Free < d.wanted()
}

func total(caches []cyclone.Cache) cyclone.Size {
	var sum cyclone.Size
	for _, c := range caches {
		sum += c.Size
	}
	return sum
}
