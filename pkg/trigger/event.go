package trigger

import (
	"context"
	"errors"
	"fmt"

	"cyclone/pkg/cyclone"
)

// event writes down what a hook asks for. Its CreatedAt is when the delivery
// arrived, so that one handled late is not newer than what came after it.
func (m *matter) event() (*cyclone.Event, error) {
	d, p, h := m.delivery, m.project, m.hook
	e, err := m.blank(p, cyclone.Trigger{Kind: h.Kind, Actor: h.Actor, Delivery: d.ID, Via: h.Via})
	if err != nil {
		return nil, err
	}
	e.Ref, e.Branch, e.Tag, e.Commit, e.PullRequest = h.Ref, h.Branch, h.Tag, h.Commit.Short(), h.PullRequest
	e.CreatedAt = cyclone.Stamp(d.ReceivedAt)
	e.Run.Key = firstKey(d)
	if h.Via != "" {
		e.Run.Key = noticedKey(p.Name, h)
	}
	e.Run.Stages = wantedStages(p, h.Kind)
	e.Run.Before, e.Run.Changed = h.Before, few(h.Changed)
	e.Version = e.DefaultVersion()
	e.Image = m.image(p, e.Version)
	m.judge(e)
	return e, nil
}

// judge says whether an event runs at once. A comment that asks for it, by
// somebody who may write, is an approval.
func (m *matter) judge(e *cyclone.Event) {
	h := m.hook
	if why := skipReason(h); why != "" {
		now := cyclone.Stamp(m.Now())
		e.Status, e.Reason, e.FinishedAt = cyclone.StatusSkipped, why, &now
	} else if why := blockReason(m.project, h.PullRequest); why != "" {
		e.Status, e.Reason = cyclone.StatusBlocked, why
		if h.Kind == cyclone.KindComment {
			e.Status, e.Reason = cyclone.StatusPending, fmt.Sprintf("approved by %s with /%s", h.Actor, h.Comment)
		}
	}
}

// Bounds of the paths that are kept of a push.
const (
	maxChanged      = 3000
	maxChangedBytes = 256 << 10
)

// few is a list of paths, or nil (unknown) when it is too long to be kept: the
// worker asks git then.
func few(paths []string) []string {
	size := 0
	for _, p := range paths {
		size += len(p)
	}
	if len(paths) > maxChanged || size > maxChangedBytes {
		return nil
	}
	return paths
}

// wantedStages is the list that the project's trigger names, or nil.
func wantedStages(p *cyclone.Project, kind cyclone.TriggerKind) []cyclone.Stage {
	tr := p.Triggers
	switch {
	case kind == cyclone.KindPush && tr.Push != nil:
		return tr.Push.Stages
	case kind == cyclone.KindTag && tr.Tag != nil:
		return tr.Tag.Stages
	case kind == cyclone.KindRelease && tr.Release != nil:
		return tr.Release.Stages
	case aboutRequests(kind) && tr.PullRequest != nil:
		return tr.PullRequest.Stages
	}
	return nil
}

// image is what the event's build will be called.
func (t *Trigger) image(p *cyclone.Project, version string) cyclone.Image {
	name := p.Image
	if name == "" && t.Registry != "" {
		name = t.Registry + "/" + string(p.Name)
	}
	if name == "" {
		name = string(p.Name)
	}
	return cyclone.Image{Name: name, Tag: version}
}

// supersede cancels what is older than e, of the same kind, and about the same
// branch or pull request, unless it has begun to deploy. Tags, releases and
// what people started by hand are never superseded.
func (t *Trigger) supersede(ctx context.Context, e *cyclone.Event) error {
	if e.PullRequest == nil && e.Branch == "" {
		return nil
	}
	_, err := t.endWhere(ctx, e.Project, fmt.Sprintf("superseded by event #%d", e.Number), t.Progress.Supersede, func(old *cyclone.Event) bool {
		older := old.CreatedAt.Before(e.CreatedAt) || old.CreatedAt.Equal(e.CreatedAt) && old.Number < e.Number
		return older && old.ID != e.ID && sameOrigin(old, e) && sameSource(old, e)
	})
	return err
}

// aboutRequests: deliveries of these kinds are about pull requests.
func aboutRequests(kind cyclone.TriggerKind) bool {
	return kind == cyclone.KindPullRequest || kind == cyclone.KindComment
}

// sameOrigin: what a comment asked for and what a pull request did itself are
// about the same.
func sameOrigin(a, b *cyclone.Event) bool {
	return a.Origin() == b.Origin() || aboutRequests(a.Origin()) && aboutRequests(b.Origin())
}

// sameSource: of the same pull request, or both of the same branch.
func sameSource(a, b *cyclone.Event) bool {
	if a.PullRequest == nil || b.PullRequest == nil {
		return a.PullRequest == nil && b.PullRequest == nil && a.Branch == b.Branch && a.Tag == "" && b.Tag == ""
	}
	return a.PullRequest.Number == b.PullRequest.Number
}

// closed ends the events of a pull request that was closed or merged.
func (m *matter) closed(ctx context.Context) error {
	d, n := m.delivery, m.hook.PullRequest.Number
	why := fmt.Sprintf("pull request #%d was closed", n)
	ended, err := m.endWhere(ctx, d.Project, why, m.Progress.Cancel, func(e *cyclone.Event) bool {
		return e.PullRequest != nil && e.PullRequest.Number == n && !e.CreatedAt.After(d.ReceivedAt)
	})
	if err != nil {
		return err
	}
	d.Ignored = fmt.Sprintf("%s: %d events canceled", why, ended)
	return nil
}

var unfinished = []cyclone.Status{cyclone.StatusPending, cyclone.StatusBlocked, cyclone.StatusRunning}

// ending is a way to end an event.
type ending func(ctx context.Context, id cyclone.EventID, reason string) (*cyclone.Event, error)

// endWhere ends the project's unfinished events that match and says how many.
// One that is over meanwhile, or must not be ended, is no error.
func (t *Trigger) endWhere(ctx context.Context, p cyclone.ProjectName, why string, end ending, match func(*cyclone.Event) bool) (int, error) {
	found, err := t.unfinished(ctx, p)
	if err != nil {
		return 0, err
	}
	count := 0
	for _, e := range found {
		if !match(e) {
			continue
		}
		_, err := end(ctx, e.ID, why)
		if errors.Is(err, cyclone.ErrConflict) || errors.Is(err, cyclone.ErrNotFound) {
			continue
		}
		if err != nil {
			return count, fmt.Errorf("cancel event %s: %w", e.ID, err)
		}
		count++
	}
	return count, nil
}

// unfinished reads all pages before anything is changed, since a change moves
// what the later pages hold.
func (t *Trigger) unfinished(ctx context.Context, p cyclone.ProjectName) ([]*cyclone.Event, error) {
	q := cyclone.EventQuery{Project: p, Statuses: unfinished, Page: cyclone.Page{Limit: 200}}
	var all []*cyclone.Event
	for {
		l, err := t.Events.List(ctx, q)
		if err != nil {
			return nil, fmt.Errorf("list unfinished events: %w", err)
		}
		all = append(all, l.Items...)
		if l.Next == "" {
			return all, nil
		}
		q.Cursor = l.Next
	}
}
