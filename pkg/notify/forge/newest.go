package forge

import (
	"context"
	"fmt"
	"time"

	"cyclone/pkg/cyclone"
)

// Several events may be about one commit or pull request, and each is told by
// whoever comes to it. So that the newest one's state stands in the end,
// whoever writes looks whether there is a newer one before and after: what
// another wrote meanwhile may be under what he wrote himself.

// turns bounds how often one call writes.
const turns = 4

// subject selects the events that share a status or a comment with an event.
type subject func(a, b *cyclone.Event) bool

func sameCommit(a, b *cyclone.Event) bool { return a.Commit.SHA == b.Commit.SHA }

func samePullRequest(a, b *cyclone.Event) bool {
	return a.PullRequest != nil && b.PullRequest != nil && a.PullRequest.Number == b.PullRequest.Number
}

// follow has e written if it is the newest of its subject, and then what is
// newer by then.
func (n *Notifier) follow(ctx context.Context, e *cyclone.Event, same subject, write func(*cyclone.Event) error) error {
	var written *cyclone.Event
	for range turns {
		newest, err := n.newest(ctx, e, same)
		switch {
		case err != nil:
			return err
		case written == nil && newest.ID != e.ID, written != nil && told(newest, written, e):
			return nil
		}
		if err := write(newest); err != nil {
			return err
		}
		written = newest
	}
	return nil
}

// told reports whether nothing is left to be told of newest. That e itself went
// on meanwhile is told by another call.
func told(newest, written, e *cyclone.Event) bool {
	return newest.ID == written.ID && (newest.ID == e.ID || newest.Run.Told == written.Run.Told && newest.Status == written.Status)
}

// Bounds of looking for other events of the project.
const (
	pageSize = 100
	maxPages = 20
	// skippedPages: how many events before a skipped one may have the result
	// that it must not hide.
	skippedPages = 3
)

// newest is the newest event of e's subject, skipped ones apart, by the time at
// which the forge or a person asked for it. A skipped e is the newest only when
// there is no other.
func (n *Notifier) newest(ctx context.Context, e *cyclone.Event, same subject) (*cyclone.Event, error) {
	q := cyclone.EventQuery{Project: e.Project, Since: e.CreatedAt, Page: cyclone.Page{Limit: pageSize}}
	pages := maxPages
	if e.Status == cyclone.StatusSkipped {
		q.Since, pages = time.Time{}, skippedPages
	}
	for range pages {
		l, err := n.Events.List(ctx, q)
		if err != nil {
			return nil, fmt.Errorf("look for newer events: %w", err)
		}
		for _, other := range l.Items { // newest first
			if other.Status != cyclone.StatusSkipped && same(e, other) {
				return other, nil
			}
		}
		if l.Next == "" {
			break
		}
		q.Cursor = l.Next
	}
	return e, nil
}
