package poll

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/metrics"
)

const (
	// most bounds the deliveries that one look makes; the rest of what it found
	// is found again by the next, which then follows soon.
	most = 100
	soon = 10 * time.Second
	// onItsWay is how long a webhook may take: what looks like a missed one is
	// handled after that, and then found to be known if it came.
	onItsWay = 2 * time.Minute
	// apart are two daily comparisons at least, so that the first may be at any
	// time.
	apart = day / 2
)

// look looks at a project's repository, if it is time, and returns when to
// look again.
func (r *rounds) look(ctx context.Context, w *watch, p *cyclone.Project) (time.Time, error) {
	via, every := how(p)
	switch via {
	case cyclone.ViaPoll:
		more, err := r.compare(ctx, w, p, via)
		return r.coming(p, every, more, 0), err
	case cyclone.ViaMissed:
		return r.daily(ctx, w, p)
	}
	return r.Now().Add(longestWait), nil // the next list forgets it
}

// daily compares once a day, at the project's own time of it.
func (r *rounds) daily(ctx context.Context, w *watch, p *cyclone.Project) (time.Time, error) {
	mark, last, err := r.compared(ctx, p.Name)
	if err != nil {
		return time.Time{}, err
	}
	now := r.Now()
	if next := following(p.Name, day, last.Add(apart)); !last.After(now) && next.After(now) {
		return next, nil
	}
	more, err := r.compare(ctx, w, p, cyclone.ViaMissed)
	if err != nil || more {
		return r.coming(p, day, more, apart), err
	}
	mark.Value = []byte(now.UTC().Format(time.RFC3339))
	if err := r.Marks.Put(ctx, mark); err != nil && !errors.Is(err, cyclone.ErrConflict) {
		return time.Time{}, fmt.Errorf("write when the repository was compared: %w", err)
	}
	return r.coming(p, day, false, apart), nil
}

// coming is when to look at a project the next time, but not before a span has
// passed.
func (r *rounds) coming(p *cyclone.Project, every time.Duration, more bool, apart time.Duration) time.Time {
	if more {
		return r.Now().Add(soon)
	}
	return following(p.Name, every, r.Now().Add(apart))
}

// compared is when a repository was last compared to find missed webhooks;
// zero for never.
func (r *rounds) compared(ctx context.Context, name cyclone.ProjectName) (*cyclone.Mark, time.Time, error) {
	mark, err := r.Marks.Find(ctx, name, markCompared)
	if errors.Is(err, cyclone.ErrNotFound) {
		return &cyclone.Mark{Project: name, Name: markCompared}, time.Time{}, nil
	}
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("read when the repository was compared: %w", err)
	}
	last, err := time.Parse(time.RFC3339, string(mark.Value))
	if err != nil {
		return mark, time.Time{}, nil // as if never; it is written anew
	}
	return mark, last, nil
}

// compare reads the heads of a repository and makes deliveries of what changed
// since the last look. It reports whether there is more.
func (r *rounds) compare(ctx context.Context, w *watch, p *cyclone.Project, via string) (more bool, err error) {
	refs, err := r.heads(ctx, p, via)
	if err != nil || digestOf(p.Repository.URL, refs) == w.seen {
		return false, err
	}
	mark, old, err := r.remembered(ctx, p.Name)
	if err != nil {
		return false, err
	}
	if old.URL != p.Repository.URL { // the first look
		return false, r.remember(ctx, w, mark, &memory{URL: p.Repository.URL, Refs: refs})
	}
	if len(refs) == 0 {
		// It has lost everything, or does not work as it should. What it shows
		// when it is back is compared with what there was.
		return false, nil
	}
	changes, more := differences(old.Refs, refs)
	if err := r.deliver(ctx, p, via, changes); err != nil {
		return false, err
	}
	return more, r.remember(ctx, w, mark, &memory{URL: old.URL, Refs: advanced(old.Refs, refs, changes, more)})
}

// heads reads the branches and tags of a project's repository.
func (r *rounds) heads(ctx context.Context, p *cyclone.Project, via string) (map[string]string, error) {
	tool := "git"
	if p.Repository.Type == "svn" {
		tool = "svn"
	}
	reader, ok := r.Heads[tool]
	if !ok {
		return nil, cyclone.Unavailable("this server cannot look at repositories of %s", tool)
	}
	credential, err := r.Credentials.Credential(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("open the repository's credential: %w", err)
	}
	var learned []string
	heads, err := reader.Heads(ctx, cyclone.CloneSpec{
		URL: p.Repository.URL, Username: credential.Username, Password: credential.Password,
		HostKeys: p.Repository.HostKeys, Learned: func(keys []string) { learned = keys },
	})
	if err != nil {
		return nil, fmt.Errorf("read branches and tags: %w", err)
	}
	r.Metrics.Look(via, metrics.LookDone)
	return heads.Refs, r.learn(ctx, p, learned)
}

// learn keeps the keys of an ssh host that was seen for the first time. Who
// wrote the project meanwhile may have kept them too: the next look will see.
func (r *rounds) learn(ctx context.Context, p *cyclone.Project, keys []string) error {
	if len(keys) == 0 || len(p.Repository.HostKeys) > 0 {
		return nil
	}
	p.Repository.HostKeys = keys
	if err := r.Projects.Replace(ctx, p); err != nil && !errors.Is(err, cyclone.ErrConflict) {
		return fmt.Errorf("keep the host's keys: %w", err)
	}
	r.Log.Info("ssh host seen for the first time; its keys are trusted from now on", "project", p.Name, "keys", keys)
	return nil
}
