package trigger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cyclone/pkg/cyclone"
)

// commentAge is how old a comment on a pull request of a fork may be when its
// forge is asked at last: the head may be another one than its author saw.
const commentAge = 10 * time.Minute

// commentIsOut: somebody asks for a run in a comment who may not, or of what
// cannot run. It fills in the pull request, which the payload does not tell.
func commentIsOut(ctx context.Context, m *matter) (string, error) {
	h := m.hook
	if h.Kind != cyclone.KindComment {
		return "", nil
	}
	if h.Actor == "" {
		return fmt.Sprintf("/%s is for those who may write to the repository, and the payload does not say who asks", h.Comment), nil
	}
	number := h.PullRequest.Number
	may, err := ask(ctx, m, func(ctx context.Context) (bool, error) { return m.Asks.MayWrite(ctx, m.project, h.Actor) })
	if err != nil {
		return commentMute(h, "who may write to the repository", err)
	}
	if !may {
		return fmt.Sprintf("/%s is for those who may write to the repository, and %s may not", h.Comment, h.Actor), nil
	}
	info, err := ask(ctx, m, func(ctx context.Context) (*cyclone.PullRequestInfo, error) {
		return m.Asks.PullRequest(ctx, m.project, number)
	})
	if err != nil {
		return commentMute(h, fmt.Sprintf("pull request #%d", number), err)
	}
	if why := m.stale(info); why != "" {
		return why, nil
	}
	h.PullRequest = &info.PullRequest
	h.Ref, h.Branch, h.Commit = info.Ref, info.SourceBranch, info.Head
	return "", refuse(checkRef(h))
}

// commentMute is what becomes of a comment when the forge does not tell
// something.
func commentMute(h *cyclone.Hook, what string, err error) (string, error) {
	var mute *mute
	if errors.As(err, &mute) {
		return fmt.Sprintf("/%s was not answered, because the forge cannot be asked about %s: %s", h.Comment, what, mute.why), nil
	}
	return "", fmt.Errorf("ask about %s: %w", what, err)
}

// stale says why a comment does not hold for the pull request as it is now.
// Only what its author saw of a fork counts as approved.
func (m *matter) stale(info *cyclone.PullRequestInfo) string {
	h := m.hook
	switch {
	case !info.Open:
		return fmt.Sprintf("pull request #%d is closed", info.Number)
	case !info.Fork || h.Comment != cyclone.CommentTest:
	case h.Commit.SHA != "" && h.Commit.SHA != info.Head.SHA:
		return fmt.Sprintf("pull request #%d has another commit since the comment; look at it and comment /test again", info.Number)
	case m.Now().Sub(m.delivery.ReceivedAt) > commentAge:
		return fmt.Sprintf("the forge could not be asked about pull request #%d for %s, and its commit may be another one since; look at it and comment /test again",
			info.Number, cyclone.Duration(commentAge))
	}
	return ""
}

// retest runs the latest event of the pull request again, when it has not
// succeeded.
func (m *matter) retest(ctx context.Context) error {
	d := m.delivery
	e, err := m.Events.FindByKey(ctx, firstKey(d)) // of an earlier attempt
	if errors.Is(err, cyclone.ErrNotFound) {
		e, d.Ignored, err = m.runAgain(ctx)
	}
	if err != nil {
		return fmt.Errorf("run again what failed: %w", err)
	}
	if e != nil {
		d.Events = []cyclone.EventID{e.ID}
	}
	return nil
}

// runAgain creates the event, or says why it does not.
func (m *matter) runAgain(ctx context.Context) (*cyclone.Event, string, error) {
	number := m.hook.PullRequest.Number
	last, err := m.latest(ctx)
	if err != nil {
		return nil, "", err
	}
	if last == nil {
		return nil, fmt.Sprintf("pull request #%d has no event that could run again; /test starts one", number), nil
	}
	switch last.Status {
	case cyclone.StatusFailure, cyclone.StatusError, cyclone.StatusTimeout, cyclone.StatusCanceled:
		e, err := m.rerun(ctx, m.project, last, rerunWish{actor: m.hook.Actor, delivery: m.delivery})
		return e, "", err
	case cyclone.StatusSuccess:
		return nil, fmt.Sprintf("event #%d, the latest of pull request #%d, succeeded; /test runs all once more", last.Number, number), nil
	case cyclone.StatusSkipped:
		return nil, fmt.Sprintf("event #%d, the latest of pull request #%d, was skipped; /test runs it", last.Number, number), nil
	}
	return nil, fmt.Sprintf("event #%d, the latest of pull request #%d, is still %s", last.Number, number, last.Status), nil
}

// latest is the latest event of the pull request, or nil.
func (m *matter) latest(ctx context.Context) (*cyclone.Event, error) {
	number := m.hook.PullRequest.Number
	list, err := m.Events.List(ctx, cyclone.EventQuery{Project: m.project.Name, Branch: m.hook.Branch, Page: cyclone.Page{Limit: lookBack}})
	if err != nil {
		return nil, fmt.Errorf("list events: %w", err)
	}
	for _, e := range list.Items {
		if e.PullRequest != nil && e.PullRequest.Number == number {
			return e, nil
		}
	}
	return nil, nil
}
