package progress

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"cyclone/pkg/cyclone"
)

// tell makes one attempt at a notice and saves how it went.
func (p *Progress) tell(ctx context.Context, id cyclone.EventID, name string) {
	// The attempt goes on for a little when the server ends, and its outcome
	// is saved in any case.
	work, stop := context.WithTimeout(context.WithoutCancel(ctx), noticeTime)
	defer stop()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(partingTime, stop) })()

	e, err := p.claimNotice(work, id, name)
	if err != nil {
		// Of an event that retention removed meanwhile there is nothing to be told.
		if !errors.Is(err, cyclone.ErrConflict) && !errors.Is(err, cyclone.ErrNotFound) {
			p.Log.Warn("cannot claim notice", "event", id, "notice", name, "error", err)
		}
		return
	}
	told := p.attempt(work, e, name)
	save, stopSave := context.WithTimeout(context.WithoutCancel(ctx), partingTime)
	defer stopSave()
	if err := p.saveNotice(save, e, name, told); err != nil {
		p.Log.Error("cannot save outcome of notice", "event", id, "notice", name, "told", told == nil, "error", err)
	}
}

// claimNotice takes one attempt at a notice. Invariant: each is told exactly
// once on success (those of the forge: once for each state): the
// compare-and-set of the claim lets one attempt at a time through, and one that
// succeeded marks it done.
func (p *Progress) claimNotice(ctx context.Context, id cyclone.EventID, name string) (*cyclone.Event, error) {
	return p.change(ctx, id, func(e *cyclone.Event) error {
		n := notice(e, name)
		if n == nil || n.Done || n.NextAt.After(p.now()) {
			return cyclone.Conflict("notice %s of event %s is not due", name, id)
		}
		n.Attempts++
		n.NextAt = p.now().Add(noticeTime + partingTime)
		return nil
	})
}

func notice(e *cyclone.Event, name string) *cyclone.Notice {
	i := slices.IndexFunc(e.Run.Notices, func(n cyclone.Notice) bool { return n.Name == name })
	if i < 0 {
		return nil
	}
	return &e.Run.Notices[i]
}

// attempt does what the notice is for.
func (p *Progress) attempt(ctx context.Context, e *cyclone.Event, name string) error {
	switch name {
	case noticeRelease:
		return p.remove(ctx, e.Worker)
	case noticeMail:
		return p.mail(ctx, e)
	case noticeStatus:
		return p.toForge(ctx, e, p.Status)
	case noticeComment:
		return p.toForge(ctx, e, p.Comment)
	}
	return cyclone.NotFound("no notice is called %q", name)
}

// mail sends the summary if it is still wanted: the project may have changed,
// or gone and with it whom to tell, and the notice of an event that was skipped
// from the start was planned without asking.
func (p *Progress) mail(ctx context.Context, e *cyclone.Event) error {
	wanted, err := p.mailWanted(ctx, e)
	if err != nil || !wanted {
		return err
	}
	project, err := p.Projects.Find(ctx, e.Project)
	if err != nil {
		return err
	}
	return p.Mail.Notify(ctx, project, e)
}

// toForge tells the forge how far the event is, if the project is still there.
func (p *Progress) toForge(ctx context.Context, e *cyclone.Event, forge cyclone.Notifier) error {
	project, err := p.Projects.Find(ctx, e.Project)
	if errors.Is(err, cyclone.ErrNotFound) || forge == nil {
		return nil
	}
	if err != nil {
		return err
	}
	return forge.Notify(ctx, project, e)
}

// hopeless reports whether trying again would change nothing: whoever was to
// be told does not take it, or is not there.
func hopeless(err error) bool {
	return errors.Is(err, cyclone.ErrForbidden) || errors.Is(err, cyclone.ErrInvalid) ||
		errors.Is(err, cyclone.ErrNotFound) || errors.Is(err, errNodeGone)
}

// saveNotice writes down how an attempt went and when the next one is. before
// is the event as the attempt told it.
func (p *Progress) saveNotice(ctx context.Context, before *cyclone.Event, name string, told error) error {
	var outcome string
	claimed, repeated, again := notice(before, name), false, false
	_, err := p.change(ctx, before.ID, func(e *cyclone.Event) error {
		n := notice(e, name)
		if n == nil || n.Done || !n.NextAt.Equal(claimed.NextAt) {
			outcome = outcomeOf(told, false)
			return nil // the claim ran out, and somebody else has it
		}
		repeated = told != nil && n.Error == told.Error()
		outcome = outcomeOf(told, p.settle(e, n, told))
		if again = ofForge(name) && e.Run.Told != before.Run.Told; again {
			// The event went on meanwhile, so this was not its last state.
			p.due(e, name)
		}
		return nil
	})
	if again {
		p.kicked()
	}
	p.Metrics.Notice(name, outcome)
	if told != nil {
		level := slog.LevelWarn
		if repeated {
			level = slog.LevelDebug // it was said before
		}
		p.Log.Log(ctx, level, "notice failed", "event", before.ID, "notice", name, "outcome", outcome, "error", told)
	}
	return err
}

// settle notes in the notice how an attempt went, and reports whether it is
// given up.
func (p *Progress) settle(e *cyclone.Event, n *cyclone.Notice, told error) (gaveUp bool) {
	if told == nil {
		n.Done, n.Error, n.NextAt = true, "", p.now().Add(rest(e, n.Name))
		return false
	}
	n.Error = told.Error()
	wait := cyclone.RetryAfter(told)
	if wait > 0 && p.patient(e) {
		n.Attempts = min(n.Attempts, refusedAttempts)
		wait = min(wait, longestWait)
	}
	if n.Attempts > len(delays) || hopeless(told) {
		n.Done = true
		return true
	}
	n.NextAt = p.now().Add(max(wait, delays[n.Attempts-1]))
	return false
}

// A forge that says when to come again is asked then, and that does not count
// as one of the limited attempts, but for how soon it is asked at the earliest.
const (
	refusedAttempts = 4
	longestWait     = 2 * time.Hour
	// longestPatience is for how long after the event's end that goes on.
	longestPatience = 24 * time.Hour
)

func (p *Progress) patient(e *cyclone.Event) bool {
	return e.FinishedAt == nil || p.now().Sub(*e.FinishedAt) < longestPatience
}
