package trigger

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"cyclone/pkg/cyclone"
)

// lookBack is how many of the latest events and deliveries are looked at to
// find what is about the same thing, and tagBack that for a tag, whose sender
// waits for the answer: an event tags while it runs.
const (
	lookBack = 200
	tagBack  = 50
)

// ownCommit: what a step commits and pushes must not start the next event, and
// that the next.
func ownCommit(_ *cyclone.Project, h *cyclone.Hook) string {
	if h.Kind != cyclone.KindPush || !strings.EqualFold(strings.Trim(h.Committer, "<> "), cyclone.CommitterEmail) {
		return ""
	}
	return fmt.Sprintf("the commit was made by a step: its committer is %s", cyclone.CommitterEmail)
}

// ownTag: an event that tags the commit it builds with its own version must not
// start another one of that.
func ownTag(ctx context.Context, m *matter) (string, error) {
	h := m.hook
	if h.Kind != cyclone.KindTag || h.Commit.SHA == "" {
		return "", nil
	}
	list, err := m.Events.List(ctx, cyclone.EventQuery{
		Project: m.project.Name, Statuses: []cyclone.Status{cyclone.StatusRunning, cyclone.StatusSuccess},
		Page: cyclone.Page{Limit: tagBack},
	})
	if err != nil {
		return "", fmt.Errorf("list events: %w", err)
	}
	for _, e := range list.Items {
		if e.Version == h.Tag && e.Tag != h.Tag && e.Commit.SHA == h.Commit.SHA {
			return fmt.Sprintf("event #%d made it: tag %s is its version, of the same commit", e.Number, h.Tag), nil
		}
	}
	return "", nil
}

// noticedKey is the key of the event that polling starts for a commit of a ref.
func noticedKey(p cyclone.ProjectName, h *cyclone.Hook) string {
	sum := sha256.Sum256([]byte(h.Ref + "\n" + h.Commit.SHA))
	return "noticed/" + string(p) + "/" + hex.EncodeToString(sum[:])
}

// knownAlready: a webhook told of what polling found, or polling found what a
// webhook tells now.
func knownAlready(ctx context.Context, m *matter) (string, error) {
	switch {
	case m.hook.Commit.SHA == "":
		return "", nil
	case m.hook.Via != "":
		return m.toldBefore(ctx)
	case m.hook.Kind == cyclone.KindPush, m.hook.Kind == cyclone.KindTag:
		return m.noticedBefore(ctx)
	}
	return "", nil
}

// toldBefore looks for any event or delivery about the same.
func (m *matter) toldBefore(ctx context.Context) (string, error) {
	h := m.hook
	events, err := m.Events.List(ctx, cyclone.EventQuery{Project: m.project.Name, Branch: h.Branch, Page: cyclone.Page{Limit: lookBack}})
	if err != nil {
		return "", fmt.Errorf("list events: %w", err)
	}
	for _, e := range events.Items {
		// Its own event is there when an earlier attempt made it.
		if e.Ref == h.Ref && e.Commit.SHA == h.Commit.SHA && e.Trigger.Delivery != m.delivery.ID {
			return fmt.Sprintf("already known: event #%d is of the same commit of %s", e.Number, h.Ref), nil
		}
	}
	deliveries, err := m.Deliveries.List(ctx, m.project.Name, cyclone.Page{Limit: lookBack})
	if err != nil {
		return "", fmt.Errorf("list deliveries: %w", err)
	}
	for _, d := range deliveries.Items {
		same := d.Ref == h.Ref && d.Commit == h.Commit.SHA
		if same && d.HandledAt != nil && d.Error == "" && (d.ID != m.delivery.ID || d.SCM != m.delivery.SCM) {
			return fmt.Sprintf("already known: delivery %s told of the same commit of %s", d.ID, h.Ref), nil
		}
	}
	return "", nil
}

// noticedBefore looks for the event that polling started. It must still be the
// latest state of its branch: what was replaced since and is pushed once more
// runs once more.
func (m *matter) noticedBefore(ctx context.Context) (string, error) {
	h := m.hook
	found, err := m.Events.FindByKey(ctx, noticedKey(m.project.Name, h))
	if errors.Is(err, cyclone.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("find event: %w", err)
	}
	if h.Before != "" && h.Before != found.Run.Before {
		since, err := m.Events.List(ctx, cyclone.EventQuery{
			Project: m.project.Name, Branch: h.Branch, Since: found.CreatedAt, Page: cyclone.Page{Limit: lookBack},
		})
		if err != nil {
			return "", fmt.Errorf("list events: %w", err)
		}
		for _, e := range since.Items {
			if e.Ref == h.Ref && e.Commit.SHA == h.Before && e.Number > found.Number {
				return "", nil
			}
		}
	}
	return fmt.Sprintf("already known: event #%d was started when the push was found without its webhook", found.Number), nil
}
