// Package poll looks at repositories to find the pushes that no webhook told
// of: of projects that ask for it every few minutes, of all others at a forge
// once a day, since a webhook can get lost.
//
// It compares branches and tags with those of the look before. For each that
// is new or another it stores a delivery like those that webhooks bring, and
// only then remembers what it saw: whoever dies in between finds the same
// change again and makes the same delivery, which is refused as known. The
// first look at a repository only remembers.
//
// It decides nothing: whether a delivery becomes an event, and whether the
// webhook came after all, is package trigger's to say. It clones nothing and
// knows no forge's API.
package poll

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/lead"
	"cyclone/pkg/metrics"
)

// DefaultTick is how often Run sees to what is due.
const DefaultTick = time.Second

const (
	// atOnce bounds the looks that are under way at the same time.
	atOnce = 4
	// lookTime bounds one look.
	lookTime = time.Minute
	// listEvery is how often the projects are gone through for those that are
	// new, changed or gone, and listTime bounds that.
	listEvery = 10 * time.Second
	listTime  = 20 * time.Second
	// partingTime is for giving the lease back.
	partingTime = 5 * time.Second
)

// Poll looks at repositories. Fill the fields, then call Run.
type Poll struct {
	Projects   cyclone.ProjectStore
	Marks      cyclone.MarkStore
	Deliveries cyclone.DeliveryStore
	// Heads read repositories: "git", for all types but svn, and "svn".
	Heads       map[string]cyclone.HeadReader
	Credentials cyclone.CredentialSource
	// Lease lets one of several servers do it; nil for the only server.
	Lease *lead.Lease
	// Metrics is optional.
	Metrics *metrics.Metrics
	Log     *slog.Logger
	Now     func() time.Time
	// Tick is DefaultTick when zero.
	Tick time.Duration
	// Kick tells that there are deliveries to be handled; optional.
	Kick func()
}

// Run looks at what is due until ctx ends. It always returns nil, after the
// looks under way are done: what fails is logged and tried again.
func (p *Poll) Run(ctx context.Context) error {
	r := &rounds{Poll: p, slots: make(chan struct{}, atOnce)}
	tick := time.NewTicker(cmp.Or(p.Tick, DefaultTick))
	defer tick.Stop()
	for {
		r.complain(ctx, r.round(ctx))
		select {
		case <-ctx.Done():
			r.running.Wait()
			return p.leave(ctx)
		case <-tick.C:
		}
	}
}

// leave gives the lease back, so that another server need not wait for its end.
func (p *Poll) leave(ctx context.Context) error {
	parting, stop := context.WithTimeout(context.WithoutCancel(ctx), partingTime)
	defer stop()
	if err := p.Lease.Release(parting); err != nil {
		p.Log.Warn("cannot give back the lease of polling; it runs out by itself", "error", err)
	}
	return nil
}

// rounds is what Run keeps between its rounds.
type rounds struct {
	*Poll
	running sync.WaitGroup
	slots   chan struct{}

	all     map[cyclone.ProjectName]*watch // nil until this server leads
	listAt  time.Time                      // when to go through the projects again
	listed  error                          // what came of the last time
	trouble string                         // what was last logged as wrong
}

// round begins the looks that are due, as far as there are free slots.
func (r *rounds) round(ctx context.Context) error {
	limited, stop := context.WithTimeout(ctx, listTime)
	defer stop()
	held, err := r.Lease.Held(limited)
	if err != nil || !held {
		r.all, r.listAt = nil, time.Time{}
		return err
	}
	if now := r.Now(); !now.Before(r.listAt) || r.listAt.Sub(now) > listEvery { // a clock was set back
		r.listAt = now.Add(listEvery)
		r.listed = r.list(limited)
	}
	for _, w := range r.due() {
		select {
		case r.slots <- struct{}{}:
		default:
			return r.listed // the next round goes on
		}
		w.begin()
		r.running.Go(func() {
			defer func() { <-r.slots }()
			r.attempt(ctx, w)
		})
	}
	return r.listed
}

// due are those to look at now, the longest due first.
func (r *rounds) due() []*watch {
	now := r.Now()
	var all []*watch
	for _, w := range r.all {
		if w.isDue(now) {
			all = append(all, w)
		}
	}
	slices.SortFunc(all, func(a, b *watch) int {
		return cmp.Or(a.when().Compare(b.when()), cmp.Compare(a.name, b.name))
	})
	return all
}

// list goes through all projects for those to look at.
func (r *rounds) list(ctx context.Context) error {
	fresh := r.all == nil
	if fresh {
		r.all = map[cyclone.ProjectName]*watch{}
	}
	there := map[cyclone.ProjectName]bool{}
	for page := (cyclone.Page{Limit: 200}); ; {
		list, err := r.Projects.List(ctx, page)
		if err != nil {
			return fmt.Errorf("list projects: %w", err)
		}
		for _, p := range list.Items {
			if via, _ := how(p); via != "" {
				there[p.Name] = true
				r.watch(p, fresh)
			}
		}
		if page.Cursor = list.Next; list.Next == "" {
			break
		}
	}
	maps.DeleteFunc(r.all, func(name cyclone.ProjectName, _ *watch) bool { return !there[name] })
	return nil
}

// watch begins to look at a project, or looks again when it was written anew. A
// server that has just begun to lead looks at all projects: not all at once.
func (r *rounds) watch(p *cyclone.Project, fresh bool) {
	w := r.all[p.Name]
	switch {
	case w == nil || !w.created.Equal(p.CreatedAt):
		w = &watch{name: p.Name, created: p.CreatedAt, next: r.Now()}
		if fresh {
			w.next = w.next.Add(beginning(p))
		}
		r.all[p.Name] = w
	case w.revision != p.Revision:
		w.again(r.Now())
	}
	w.revision = p.Revision
}

// complain logs what keeps projects from being gone through, once, and that it
// is over.
func (r *rounds) complain(ctx context.Context, err error) {
	text := ""
	if err != nil && ctx.Err() == nil {
		text = err.Error()
	}
	switch text {
	case r.trouble:
		return
	case "":
		r.Log.Info("repositories are looked at again")
	default:
		r.Log.Warn("cannot find out which repositories to look at", "error", err)
	}
	r.trouble = text
}

// attempt looks at a project's repository and says when to look again.
func (r *rounds) attempt(ctx context.Context, w *watch) {
	limited, stop := context.WithTimeoutCause(ctx, lookTime, cyclone.Unavailable("the repository did not answer within %s", cyclone.Duration(lookTime)))
	defer stop()
	p, err := r.Projects.Find(limited, w.name)
	switch {
	case errors.Is(err, cyclone.ErrNotFound):
		w.end(r.Now().Add(longestWait)) // the next list forgets it
		return
	case err != nil: // a store that is away is told by whoever lists the projects
		w.end(r.Now().Add(firstWait))
		return
	}
	next, err := r.look(limited, w, p)
	if ctx.Err() != nil {
		w.end(r.Now())
		return
	}
	r.judge(w, p, next, err)
}

// judge says when to look again, later each time as long as it fails.
func (r *rounds) judge(w *watch, p *cyclone.Project, next time.Time, err error) {
	if err == nil {
		if w.trouble != "" {
			r.Log.Info("repository can be looked at again", "project", w.name)
		}
		w.failures, w.trouble = 0, ""
		w.end(next)
		return
	}
	via, every := how(p)
	r.Metrics.Look(via, metrics.LookFailed)
	wait := pause(w.failures, every, cyclone.RetryAfter(err))
	w.failures++
	if text := err.Error(); text != w.trouble {
		w.trouble = text
		r.Log.Warn("cannot look at repository; it is tried again", "project", w.name, "via", via, "next", cyclone.Duration(wait.Round(time.Second)), "error", err)
	}
	w.end(r.Now().Add(wait))
}
