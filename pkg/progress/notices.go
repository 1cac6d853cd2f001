package progress

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"cyclone/pkg/cyclone"
)

// The notices. Each is worked off on its own.
const (
	noticeRelease = "release" // remove the worker from its node
	noticeMail    = cyclone.NoticeMail
	noticeStatus  = cyclone.NoticeStatus
)

const (
	// releaseDelay lets a worker read that its result arrived and end by itself.
	releaseDelay = time.Second
	// launchDelay lets the launch of a worker end whose event is over already.
	launchDelay = 3 * time.Second
	// noticeTime bounds one attempt at a notice. Until it is over nobody else
	// tries.
	noticeTime = 90 * time.Second
	// atOnce bounds the notices that are tried at the same time, apart from
	// releases: slow mail servers must not keep workers alive.
	atOnce = 16
	// dueAtOnce bounds how many events are looked at in one round. It leaves
	// room beside those that wait for another node's server.
	dueAtOnce = 500
	// partingTime is how long notices on their way may take when the server ends.
	partingTime = 10 * time.Second
)

// delays between the attempts at a notice; after the last one it is given up.
var delays = []time.Duration{
	5 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour,
}

// plan lists what is to be told about an event that is about to be final.
func (p *Progress) plan(ctx context.Context, e *cyclone.Event, now, release time.Time) ([]cyclone.Notice, error) {
	var notices []cyclone.Notice
	if e.Worker.ID != "" {
		notices = append(notices, cyclone.Notice{Name: noticeRelease, NextAt: release})
	}
	wanted, err := p.mailWanted(ctx, e)
	if wanted {
		notices = append(notices, cyclone.Notice{Name: noticeMail, NextAt: now})
	}
	if err != nil || p.Status == nil {
		return notices, err
	}
	project, err := p.Projects.Find(ctx, e.Project)
	if errors.Is(err, cyclone.ErrNotFound) {
		return notices, nil
	}
	if err == nil && p.StatusWanted(project, e) {
		notices = append(notices, cyclone.Notice{Name: noticeStatus, NextAt: now})
	}
	return notices, err
}

func (p *Progress) mailWanted(ctx context.Context, e *cyclone.Event) (bool, error) {
	project, err := p.Projects.Find(ctx, e.Project)
	if errors.Is(err, cyclone.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	mail := project.Notifications.Email
	if p.Mail == nil || mail == nil || len(mail.Recipients) == 0 {
		return false, nil
	}
	return p.wanted(ctx, mail.When, e)
}

// bad are the statuses that count as a failure for notices.
var bad = []cyclone.Status{cyclone.StatusFailure, cyclone.StatusError, cyclone.StatusTimeout}

// wanted applies a notice's rule to a final event.
func (p *Progress) wanted(ctx context.Context, when cyclone.When, e *cyclone.Event) (bool, error) {
	failed := slices.Contains(bad, e.Status)
	switch when {
	case cyclone.WhenNever:
		return false, nil
	case cyclone.WhenFailure:
		return failed, nil
	case cyclone.WhenChange:
		if !failed && e.Status != cyclone.StatusSuccess {
			return false, nil
		}
		failedBefore, err := p.failedBefore(ctx, e)
		return failed != failedBefore, err
	}
	return true, nil
}

// failedBefore reports whether the project's event before e failed; canceled
// and skipped ones do not count, and no event before counts as a success.
func (p *Progress) failedBefore(ctx context.Context, e *cyclone.Event) (bool, error) {
	q := cyclone.EventQuery{
		Project: e.Project, Statuses: append([]cyclone.Status{cyclone.StatusSuccess}, bad...),
		Page: cyclone.Page{Limit: 50},
	}
	for {
		l, err := p.Events.List(ctx, q)
		if err != nil {
			return false, err
		}
		for _, other := range l.Items {
			if other.Number < e.Number {
				return other.Status != cyclone.StatusSuccess, nil
			}
		}
		if l.Next == "" {
			return false, nil
		}
		q.Cursor = l.Next
	}
}

// kicks is the channel that wakes Run.
func (p *Progress) kicks() chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.kick == nil {
		p.kick = make(chan struct{}, 1)
	}
	return p.kick
}

func (p *Progress) kicked() {
	select {
	case p.kicks() <- struct{}{}:
	default: // it is awake already
	}
}

// ear remembers since when workers could be heard: not while this server did
// not run, or was paused, nor while the store was out of reach, which keeps
// them from renewing their leases.
type ear struct{ since, last time.Time }

// pause is how long a round may be late before the server must have been paused.
const pause = cyclone.LeaseTime / 2

func (r *ear) awake(now time.Time) {
	if now.Sub(r.last) > pause {
		r.since = now
	}
	r.last = now
}

func (r *ear) deaf(now time.Time) { r.since, r.last = now, now }

// Run works off what is due until ctx ends: notices of final events, those of
// a server that ended before included, and running events whose worker does
// not obey. It returns nil after the notices on their way are done.
func (p *Progress) Run(ctx context.Context) error {
	ear := &ear{since: p.now(), last: p.now()}
	t := time.NewTicker(cmp.Or(p.Tick, DefaultTick))
	defer t.Stop()
	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, atOnce)
	for {
		ear.awake(p.now())
		err := errors.Join(p.passOn(ctx), p.forgetEnded(ctx), p.endOverdue(ctx, ear.since), p.tellDue(ctx, &running, slots))
		if err != nil {
			ear.deaf(p.now())
		}
		p.complain(ctx, err)
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		case <-p.kicks():
		}
	}
}

// tellDue starts an attempt at every notice that is due, as far as there are
// free slots.
func (p *Progress) tellDue(ctx context.Context, running *sync.WaitGroup, slots chan struct{}) error {
	now := p.now()
	due, err := p.Queue.NoticesDue(ctx, now, dueAtOnce)
	if err != nil {
		return fmt.Errorf("list due notices: %w", err)
	}
	foreign := map[string]bool{} // nodes that are left to other servers
	for _, e := range due {
		for _, n := range e.Run.Notices {
			if n.Done || n.NextAt.After(now) || n.Name == noticeRelease && p.others(ctx, e.Worker.Node, foreign) {
				continue
			}
			free := func() {}
			if n.Name != noticeRelease {
				select {
				case slots <- struct{}{}:
					free = func() { <-slots }
				default:
					continue // the next round finds it again
				}
			}
			running.Go(func() {
				defer free()
				p.tell(ctx, e.ID, n.Name)
			})
		}
	}
	return nil
}

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
	if err := p.saveNotice(save, id, name, told); err != nil {
		p.Log.Error("cannot save outcome of notice", "event", id, "notice", name, "told", told == nil, "error", err)
	}
}

// claimNotice takes one attempt at a notice. Invariant: each is told exactly
// once on success: the compare-and-set of the claim lets one attempt at a
// time through, and one that succeeded marks it done.
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
		return p.status(ctx, e)
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

// status sets the result at the forge, if the project is still there.
func (p *Progress) status(ctx context.Context, e *cyclone.Event) error {
	project, err := p.Projects.Find(ctx, e.Project)
	if errors.Is(err, cyclone.ErrNotFound) || p.Status == nil {
		return nil
	}
	if err != nil {
		return err
	}
	return p.Status.Notify(ctx, project, e)
}

// hopeless reports whether trying again would change nothing: whoever was to
// be told does not take it, or is not there.
func hopeless(err error) bool {
	return errors.Is(err, cyclone.ErrForbidden) || errors.Is(err, cyclone.ErrInvalid) ||
		errors.Is(err, cyclone.ErrNotFound) || errors.Is(err, errNodeGone)
}

// saveNotice writes down how an attempt went and when the next one is.
func (p *Progress) saveNotice(ctx context.Context, id cyclone.EventID, name string, told error) error {
	gaveUp := false
	_, err := p.change(ctx, id, func(e *cyclone.Event) error {
		n := notice(e, name)
		if n == nil {
			return nil
		}
		if told == nil {
			n.Done, n.Error = true, ""
			return nil
		}
		n.Error = told.Error()
		if gaveUp = n.Attempts > len(delays) || hopeless(told); gaveUp {
			n.Done = true
			return nil
		}
		n.NextAt = p.now().Add(delays[n.Attempts-1])
		return nil
	})
	p.Metrics.Notice(name, outcomeOf(told, gaveUp))
	if told != nil {
		p.Log.Warn("notice failed", "event", id, "notice", name, "gave up", gaveUp, "error", told)
	}
	return err
}
