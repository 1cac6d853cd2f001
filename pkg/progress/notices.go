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
	noticeComment = cyclone.NoticeComment
)

const (
	// releaseDelay lets a worker read that its result arrived and end by itself.
	releaseDelay = time.Second
	// launchDelay lets the launch of a worker end whose event is over already.
	launchDelay = 3 * time.Second
	// noticeTime bounds one attempt at a notice. Until it is over nobody else
	// tries.
	noticeTime = 90 * time.Second
	// dueAtOnce bounds how many events are looked at in one round, mostDue where
	// many of them can only be passed over: those that wait for another node's
	// server, or for a forge that does not answer.
	dueAtOnce = 500
	mostDue   = 8000
	// partingTime is how long notices on their way may take when the server ends.
	partingTime = 10 * time.Second
	// roundPause is the least time between two rounds of Run: many events at
	// once are looked at together.
	roundPause = 50 * time.Millisecond
)

// delays between the attempts at a notice; after the last one it is given up.
var delays = []time.Duration{
	5 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour,
}

// plan lists what is to be told about an event that is about to be final. What
// its forge is told goes on.
func (p *Progress) plan(ctx context.Context, e *cyclone.Event, now, release time.Time) ([]cyclone.Notice, error) {
	var notices []cyclone.Notice
	for _, n := range e.Run.Notices {
		if ofForge(n.Name) {
			notices = append(notices, n)
		}
	}
	if e.Worker.ID != "" {
		notices = append(notices, cyclone.Notice{Name: noticeRelease, NextAt: release})
	}
	wanted, err := p.mailWanted(ctx, e)
	if wanted {
		notices = append(notices, cyclone.Notice{Name: noticeMail, NextAt: now})
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

// Run works off what is due until ctx ends: notices, those of a server that
// ended before included, and running events whose worker does not obey. It
// returns nil after the notices on their way are done.
func (p *Progress) Run(ctx context.Context) error {
	ear := &ear{since: p.now(), last: p.now()}
	t := time.NewTicker(cmp.Or(p.Tick, DefaultTick))
	defer t.Stop()
	var running sync.WaitGroup
	defer running.Wait()
	lanes := &lanes{kick: p.kicked, depth: dueAtOnce}
	for {
		began := time.Now()
		ear.awake(p.now())
		err := errors.Join(p.passOn(ctx), p.forgetEnded(ctx), p.endOverdue(ctx, ear.since), p.tellDue(ctx, &running, lanes))
		if err != nil {
			ear.deaf(p.now())
		}
		p.complain(ctx, err)
		if !p.waitKicked(ctx, t, began, &running, lanes) {
			return nil
		}
	}
}

// waitKicked waits for the next tick and tells meanwhile what becomes due. What
// goes wrong with that the next round finds too. It reports false when ctx ends.
func (p *Progress) waitKicked(ctx context.Context, t *time.Ticker, began time.Time, running *sync.WaitGroup, lanes *lanes) bool {
	for {
		took := time.Since(began)
		select {
		case <-ctx.Done():
			return false
		case <-t.C:
			return true
		case <-p.kicks():
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(max(roundPause, 4*took) - time.Since(began)): // long rounds take no more than a part of the time
		}
		began = time.Now()
		_ = p.tellDue(ctx, running, lanes)
	}
}

// tellDue starts an attempt at every notice that is due, as far as there is
// room.
func (p *Progress) tellDue(ctx context.Context, running *sync.WaitGroup, lanes *lanes) error {
	now := p.now()
	due, err := p.Queue.NoticesDue(ctx, now, lanes.depth)
	if err != nil {
		return fmt.Errorf("list due notices: %w", err)
	}
	foreign := map[string]bool{} // nodes that are left to other servers
	passed := 0
	for _, e := range due {
		for _, n := range e.Run.Notices {
			if n.Done || n.NextAt.After(now) {
				continue
			}
			if n.Name == noticeRelease && p.others(ctx, e.Worker.Node, foreign) {
				passed++
				continue
			}
			leave, free := lanes.enter(e.Project, n.Name)
			if !free {
				passed++
				continue // the next round finds it again
			}
			running.Go(func() {
				defer leave()
				p.tell(ctx, e.ID, n.Name)
			})
		}
	}
	lanes.look(len(due), passed)
	return nil
}
