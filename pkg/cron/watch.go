package cron

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/schedule"
)

const (
	// prefix begins the names of the marks.
	prefix = "cron/"
	// news is how long ago a trigger may have been written that is seen for the
	// first time: its slots since then are not in the past. Of one written
	// before that nobody knows since when it is there.
	news = time.Minute
	// future is how far ahead a mark may lie. One further ahead was written by
	// a server whose clock was wrong, and would silence the trigger until then.
	future = time.Hour
)

// project is what is known of one project, and of which writing of it.
type project struct {
	created  time.Time
	revision int64
	watches  map[string]*watch // by the name of their mark
}

// of reports whether all is known of a project as it is now.
func (k *project) of(p *cyclone.Project) bool {
	if k == nil || k.revision != p.Revision || !k.created.Equal(p.CreatedAt) {
		return false
	}
	for _, w := range k.watches {
		if w.stale {
			return false
		}
	}
	return true
}

// watch is one trigger whose slots are waited for.
type watch struct {
	project  cyclone.ProjectName
	trigger  cyclone.CronTrigger
	schedule *schedule.Schedule
	mark     *cyclone.Mark
	done     time.Time // all slots up to here are done with, as the mark says
	next     time.Time // when there is something to do
	stale    bool      // the trigger or its mark was removed meanwhile
	failures int       // attempts since the last that went well
	trouble  string    // what was last logged as wrong
}

// markName names the mark of a trigger. It is another as soon as the trigger
// says something else.
func markName(t cyclone.CronTrigger) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{t.Schedule, t.Timezone, t.Branch}, "\n")))
	return prefix + hex.EncodeToString(sum[:12])
}

// know returns what is known of a project, of which the stored marks are read
// when it is new or was written since. Beside an error it is what was known before.
func (r *rounds) know(ctx context.Context, p *cyclone.Project) (*project, error) {
	old := r.projects[p.Name]
	if old.of(p) {
		return old, nil
	}
	if old == nil {
		old = &project{}
	}
	marks, err := r.marks(ctx, p.Name)
	if err != nil {
		return old, err
	}
	fresh := &project{created: p.CreatedAt, revision: p.Revision, watches: map[string]*watch{}}
	for _, t := range p.Triggers.Cron {
		name := markName(t)
		if fresh.watches[name] != nil {
			continue // the same once more
		}
		w, err := r.watch(ctx, p, t, marks[name])
		if err != nil {
			return old, err
		}
		if w != nil {
			fresh.watches[name] = w
		}
		delete(marks, name)
	}
	// A trigger that is there again later must not find what it was before.
	for name := range marks {
		if err := r.Marks.Delete(ctx, p.Name, name); err != nil && !errors.Is(err, cyclone.ErrNotFound) {
			return old, fmt.Errorf("forget %s: %w", name, err)
		}
	}
	return fresh, nil
}

func (r *rounds) marks(ctx context.Context, name cyclone.ProjectName) (map[string]*cyclone.Mark, error) {
	list, err := r.Marks.List(ctx, name, prefix)
	if err != nil {
		return nil, fmt.Errorf("list marks: %w", err)
	}
	all := map[string]*cyclone.Mark{}
	for _, m := range list {
		all[m.Name] = m
	}
	return all, nil
}

// watch begins to wait for the slots of a trigger; nil when its schedule cannot
// be read, as the API would not have taken it.
func (r *rounds) watch(ctx context.Context, p *cyclone.Project, t cyclone.CronTrigger, mark *cyclone.Mark) (*watch, error) {
	s, err := schedule.Parse(t.Schedule, t.Timezone)
	if err != nil {
		r.Log.Warn("cron trigger cannot fire; correct it in the project", "project", p.Name, "schedule", t.Schedule, "timezone", t.Timezone, "error", err)
		return nil, nil
	}
	now := r.Now()
	w := &watch{project: p.Name, trigger: t, schedule: s, mark: mark}
	if mark != nil {
		w.done, err = time.Parse(time.RFC3339Nano, string(mark.Value))
		if err != nil || w.done.After(now.Add(future)) {
			r.Log.Warn("what a cron trigger fired last is not to be believed; it goes on from now", "project", p.Name,
				"schedule", t.Schedule, "stored", string(mark.Value))
			w.done = now
		}
	} else {
		w.mark = &cyclone.Mark{Project: p.Name, Name: markName(t)}
		if err := r.save(ctx, w, begin(p, now)); err != nil {
			return nil, err
		}
	}
	w.next = s.Next(w.done)
	return w, nil
}

// begin is since when a trigger is there that is seen for the first time now.
func begin(p *cyclone.Project, now time.Time) time.Time {
	if p.UpdatedAt.Before(now.Add(-news)) || p.UpdatedAt.After(now) {
		return now
	}
	return p.UpdatedAt
}

// save writes that all slots up to a time are done with.
func (r *rounds) save(ctx context.Context, w *watch, done time.Time) error {
	m := *w.mark
	m.Value = []byte(done.UTC().Format(time.RFC3339Nano))
	if err := r.Marks.Put(ctx, &m); err != nil {
		return fmt.Errorf("write mark %s: %w", m.Name, err)
	}
	w.mark, w.done = &m, done
	return nil
}
