package progress

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cyclone/pkg/cyclone"
)

// What stands at the forge follows the event instead of its end: whenever what
// is to be told changes, the notices of the forge become due again, and an
// attempt tells the state that the event has then. So many changes in a row are
// told once, an older one is never told after a newer one, and what failed is
// told by the next attempt, whatever has happened since.

// commentPause is how often the comment on a pull request is written at most
// while the event runs.
const commentPause = 10 * time.Second

// state is what the forge is to be told about an event; empty while there is
// nothing to be told, because nobody knows the commit.
func state(e *cyclone.Event) string {
	switch {
	case e.Commit.SHA == "":
		return ""
	case e.Status == cyclone.StatusRunning:
		return string(e.Status) + "/" + string(lastStage(e))
	}
	return string(e.Status)
}

// lastStage is the stage that began last: between two stages there is nothing
// new to be told.
func lastStage(e *cyclone.Event) cyclone.Stage {
	last := cyclone.StageClone
	for _, s := range e.Stages {
		if s.StartedAt != nil || s.Status == cyclone.StatusRunning {
			last = s.Name
		}
	}
	return last
}

// retell makes the notices of the forge due when what they tell has changed,
// and reports whether it has. It belongs to every write of an event.
func (p *Progress) retell(ctx context.Context, e *cyclone.Event) (bool, error) {
	now := state(e)
	if now == e.Run.Told {
		return false, nil
	}
	e.Run.Told = now
	if now == "" || p.Status == nil && p.Comment == nil {
		return true, nil
	}
	project, err := p.Projects.Find(ctx, e.Project)
	if errors.Is(err, cyclone.ErrNotFound) {
		return true, nil
	}
	if err != nil {
		return true, fmt.Errorf("find project %s: %w", e.Project, err)
	}
	if p.Status != nil && p.StatusWanted(project, e) {
		p.due(e, noticeStatus)
	}
	if p.Comment != nil && p.CommentWanted(project, e) {
		p.due(e, noticeComment)
	}
	return true, nil
}

// due makes a notice of the forge due. One that is undone stays as it is: an
// attempt at it is under way, and two would overtake one another, or it was
// put off. Of one that is done NextAt says until when it rests.
func (p *Progress) due(e *cyclone.Event, name string) {
	n := notice(e, name)
	if n == nil {
		e.Run.Notices = append(e.Run.Notices, cyclone.Notice{Name: name, NextAt: p.now()})
		return
	}
	if !n.Done {
		return
	}
	n.Done, n.Attempts = false, 0
	if now := p.now(); n.NextAt.Before(now) || e.Status.Final() {
		n.NextAt = now
	}
}

// ofForge reports whether a notice tells how far an event is.
func ofForge(name string) bool { return name == noticeStatus || name == noticeComment }

// rest is how long a notice that was told rests.
func rest(e *cyclone.Event, name string) time.Duration {
	if name == noticeComment && !e.Status.Final() {
		return commentPause
	}
	return 0
}

// Kick makes Run look at once for what is due.
func (p *Progress) Kick() { p.kicked() }
