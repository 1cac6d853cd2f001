package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"cyclone/pkg/cachedir"
	"cyclone/pkg/cyclone"
)

// Cache is where a worker keeps the paths that steps name with `cache`. Events
// of forks read it and never write.
type Cache struct {
	// Dir is the folder of the project, the same for all its events. The
	// engine must see it under the same path.
	Dir string
	// Direct is set where no overlay may be mounted, because the engine would
	// not see it: what is kept is copied instead.
	Direct bool
}

// caches are what a run has of its project's cache.
type caches struct {
	session *cachedir.Session
	begun   error // why there is no session; nil while nobody asked
	scratch string
	inTree  []*cached // shown until the end of the run
	closing sync.WaitGroup
}

// stepCaches are the caches of a step while it runs.
type stepCaches struct {
	open  []*cached
	image string // of the step
}

// cached is one path while a step, or the rest of the run, sees it.
type cached struct {
	path string // in the container
	key  string
	rel  string // in the source tree; empty outside of it
	held *cachedir.Held
	work string // a folder of its own

	shown   bool
	content string // what the step writes to: all of it, or the upper of an overlay
	overlay bool
	mount   string // where it is mounted outside of the tree; empty for nowhere
	mounted bool   // in the tree
	// late is the step whose content is to be published once no service can
	// write to it any more.
	late *step
}

// openCaches gives the step's container what its cache paths held after the
// last event, by adding mounts to spec or by filling folders of the source
// tree. A cache that cannot be had is said and costs time, nothing else.
func (r *run) openCaches(_ context.Context, s *step, c cyclone.Step, spec *cyclone.ContainerSpec) (*stepCaches, error) {
	open := &stepCaches{image: spec.Image}
	if len(c.Cache) == 0 {
		return open, nil
	}
	if err := r.beginCaches(); err != nil {
		s.say("Cache %s: not used: %v", strings.Join(c.Cache, ", "), err)
		return open, nil
	}
	r.publishLate()
	for _, p := range c.Cache {
		e, err := r.cacheAt(p, spec, open)
		if err == nil && !e.shown {
			err = r.firstShow(s, e)
		}
		if err != nil {
			s.say("Cache %s: not used: %v", p, err)
			continue
		}
		open.open = append(open.open, e)
		if e.rel == "" && e.content != "" {
			spec.Mounts = append(spec.Mounts, cyclone.Mount{Source: firstOf(e.mount, e.content), Target: e.path})
		}
	}
	return open, nil
}

// beginCaches opens the project's cache when a step asks for it first.
func (r *run) beginCaches() error {
	k := &r.caches
	if k.session != nil || k.begun != nil {
		return k.begun
	}
	if r.Cache == nil {
		k.begun = cyclone.NotFound("nothing is kept between events here")
		return k.begun
	}
	k.session, k.begun = cachedir.Begin(r.Cache.Dir, r.readsOnly())
	if k.begun != nil {
		r.Log.Warn("the project's cache cannot be used", "error", k.begun)
		return k.begun
	}
	if k.scratch = k.session.Work; k.scratch == "" {
		k.scratch, k.begun = os.MkdirTemp(r.Dir, "caches-")
	}
	return k.begun
}

// readsOnly reports whether the event must leave the cache as it is.
func (r *run) readsOnly() bool { return r.job.Event.FromFork() }

// firstShow makes a path show what is kept, and says what that is.
func (r *run) firstShow(s *step, e *cached) error {
	held, err := r.caches.session.Open(e.key)
	if err != nil {
		return err
	}
	if held == nil {
		s.say("Cache %s: empty", e.path)
		if r.readsOnly() {
			return nil // nobody would have what the step leaves there
		}
	} else {
		from := "an earlier run"
		if held.Event > 0 {
			from = fmt.Sprintf("event #%d", held.Event)
		}
		s.say("Cache %s: %s from %s", e.path, inUnits(held.Size), from)
	}
	e.held, e.shown = held, true
	if err := r.show(e); err != nil {
		r.hide(e)
		return err
	}
	if e.rel != "" {
		r.caches.inTree = append(r.caches.inTree, e)
	}
	return nil
}

// closeCaches keeps what the step left in its cache paths when it succeeded.
func (r *run) closeCaches(ctx context.Context, s *step, k *stepCaches, ok bool) error {
	if len(k.open) == 0 {
		return nil
	}
	// Folders of the tree are about to be mounted anew, or looked through.
	if err := r.outputs.packed(ctx); err != nil {
		ok = false
	}
	for _, e := range k.open {
		r.openUp(ctx, s, k, e)
		switch {
		case !ok || r.readsOnly():
		case e.rel != "" && s.stage == cyclone.StageIntegration:
			// Services may have the tree mounted, and with it the folder.
			e.late = s
			continue
		default:
			r.publish(s, e)
		}
		if e.rel == "" {
			r.hide(e)
		}
	}
	return nil
}

// publishLate publishes what could not be while services ran.
func (r *run) publishLate() {
	for _, e := range r.caches.inTree {
		if s := e.late; s != nil {
			e.late = nil
			r.publish(s, e)
			s.close()
		}
	}
}

// dropCaches ends the use of all caches. Nothing of the run's is mounted in
// the source tree any more when it returns.
func (r *run) dropCaches() {
	k := &r.caches
	if k.session == nil {
		return
	}
	if r.Engine.Err() == nil { // with it, all that ran has ended
		r.publishLate()
	}
	for _, e := range k.inTree {
		r.hide(e)
	}
	k.closing.Go(func() {
		if k.session.Work == "" && k.scratch != "" {
			_ = os.RemoveAll(k.scratch) // goes with the worker's folder otherwise
		}
		if err := k.session.Close(); err != nil {
			r.Log.Warn("cannot clear away after the use of the cache", "error", err)
		}
	})
}

// publish keeps a path's content, says so, and goes on showing it where it is
// in the tree.
func (r *run) publish(s *step, e *cached) {
	err := r.publishContent(s, e)
	if err != nil {
		s.say("Cache %s: not kept: %v", e.path, err)
		r.Log.Warn("cannot keep a cache", "path", e.path, "error", err)
	}
}

func (r *run) publishContent(s *step, e *cached) error {
	folder, err := r.takeContent(e)
	if err != nil {
		return errors.Join(err, r.reshow(e))
	}
	if folder == "" {
		s.say("Cache %s: unchanged", e.path)
		return r.reshow(e)
	}
	size, filled, err := cachedir.Trim(folder)
	if err != nil {
		return err
	}
	e.held.Release()
	e.held = nil
	limit := r.job.CacheLimit
	switch {
	case !filled:
		s.say("Cache %s: left empty", e.path)
	case limit > 0 && size > limit:
		s.say("Cache %s: not kept: %s are more than the limit of %s", e.path, inUnits(size), inUnits(limit))
	default:
		return r.keepContent(s, e, folder, size)
	}
	err = r.caches.session.Drop(e.key)
	if e.rel != "" && e.content != "" {
		return errors.Join(err, r.showFolder(e, folder))
	}
	return err
}

func (r *run) keepContent(s *step, e *cached, folder string, size cyclone.Size) error {
	session := r.caches.session
	held, err := session.Publish(e.key, folder, cachedir.Info{Path: e.path, Size: size, Event: r.job.Event.Number})
	if err != nil {
		if e.rel != "" && e.content != "" {
			err = errors.Join(err, r.showFolder(e, folder)) // for the stages to come
		}
		return err
	}
	e.held = held
	s.say("Cache %s: kept: %s", e.path, inUnits(size))
	gone, err := session.Evict(r.job.CacheLimit)
	for _, g := range gone {
		s.say("Cache %s: removed, it was unused for longest and the limit is %s", g.Path, inUnits(r.job.CacheLimit))
	}
	return errors.Join(err, r.reshow(e))
}
