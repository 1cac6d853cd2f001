package trigger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"cyclone/pkg/cyclone"
)

// check says why a delivery starts nothing, or "".
type check func(ctx context.Context, m *matter) (string, error)

// checks are asked in this order; the first that objects decides. Those that
// may have to ask the forge are the last.
var checks = []check{
	plain(notAsked),
	plain(kindIsOff),
	plain(branchIsOut),
	plain(tagIsOut),
	plain(ownCommit),
	ownTag,
	knownAlready,
	commentIsOut,
	plain(targetIsOut),
	pathsAreOut,
}

// plain is a check that needs nothing but the project and the hook.
func plain(c func(p *cyclone.Project, h *cyclone.Hook) string) check {
	return func(_ context.Context, m *matter) (string, error) { return c(m.project, m.hook), nil }
}

// ignore runs the list of checks.
func (m *matter) ignore(ctx context.Context) (string, error) {
	for _, c := range checks {
		if why, err := c(ctx, m); why != "" || err != nil {
			return why, err
		}
	}
	return "", nil
}

// notAsked: the driver itself saw that there is nothing to do.
func notAsked(_ *cyclone.Project, h *cyclone.Hook) string { return h.Ignored }

func kindIsOff(p *cyclone.Project, h *cyclone.Hook) string {
	tr, kind := p.Triggers, h.Kind
	if kind == cyclone.KindComment { // on a pull request
		kind = cyclone.KindPullRequest
	}
	on := map[cyclone.TriggerKind]bool{
		cyclone.KindPush:        tr.Push == nil || !tr.Push.Disabled,
		cyclone.KindTag:         tr.Tag == nil || !tr.Tag.Disabled,
		cyclone.KindRelease:     tr.Release != nil && tr.Release.Enabled,
		cyclone.KindPullRequest: tr.PullRequest != nil && tr.PullRequest.Enabled,
	}
	// A closed pull request ends its events even when no new ones are wanted.
	if on[kind] || h.Action == cyclone.ActionCancel {
		return ""
	}
	return fmt.Sprintf("the project's trigger for %s is off", strings.ReplaceAll(string(kind), "_", " "))
}

func branchIsOut(p *cyclone.Project, h *cyclone.Hook) string {
	if h.Kind != cyclone.KindPush || p.Triggers.Push == nil || matches(p.Triggers.Push.Branches, h.Branch) {
		return ""
	}
	return fmt.Sprintf("branch %s does not match the project's branches %s", h.Branch, quote(p.Triggers.Push.Branches))
}

func tagIsOut(p *cyclone.Project, h *cyclone.Hook) string {
	if h.Kind != cyclone.KindTag || p.Triggers.Tag == nil || matches(p.Triggers.Tag.Patterns, h.Tag) {
		return ""
	}
	return fmt.Sprintf("tag %s does not match the project's patterns %s", h.Tag, quote(p.Triggers.Tag.Patterns))
}

func targetIsOut(p *cyclone.Project, h *cyclone.Hook) string {
	if h.Action == cyclone.ActionCancel || h.PullRequest == nil || p.Triggers.PullRequest == nil ||
		h.Comment == cyclone.CommentRetest || matches(p.Triggers.PullRequest.Branches, h.PullRequest.TargetBranch) {
		return ""
	}
	return fmt.Sprintf("target branch %s does not match the project's branches for pull requests %s",
		h.PullRequest.TargetBranch, quote(p.Triggers.PullRequest.Branches))
}

const (
	// pathTries is how often the forge is asked for changed paths before the
	// event runs without them, and pathWait the longest wait for its answer: a
	// push is not to wait for an hour only because it may concern nobody.
	pathTries = 3
	pathWait  = time.Minute
)

// pathsAreOut: none of the changed paths is one the project asks for. Where
// the payload does not tell all of them the forge is asked, and where it does
// not tell them either the event runs: too much is better than too little.
func pathsAreOut(ctx context.Context, m *matter) (string, error) {
	h, globs, of := m.hook, m.pathGlobs(), "paths"
	if len(globs) == 0 {
		return "", nil
	}
	if h.PullRequest != nil {
		of = "paths for pull requests"
	}
	if h.Changed == nil {
		var err error
		if h.Changed, err = m.changed(ctx); h.Changed == nil || err != nil {
			return "", err
		}
	}
	wanted := func(path string) bool { return matches(globs, path) }
	if slices.ContainsFunc(h.Changed, wanted) {
		return "", nil
	}
	return fmt.Sprintf("none of the %d changed paths matches the project's %s %s", len(h.Changed), of, quote(globs)), nil
}

// pathGlobs are those that the delivery's paths must match.
func (m *matter) pathGlobs() []string {
	h, tr := m.hook, m.project.Triggers
	switch {
	case h.Action == cyclone.ActionCancel || h.Comment == cyclone.CommentRetest:
	case h.Kind == cyclone.KindPush && tr.Push != nil:
		return tr.Push.Paths
	case h.PullRequest != nil && tr.PullRequest != nil:
		return tr.PullRequest.Paths
	}
	return nil
}

// changed asks the forge for the changed paths; nil when they stay unknown.
func (m *matter) changed(ctx context.Context) ([]string, error) {
	h, number := m.hook, 0
	switch {
	case skipReason(h) != "":
		return nil, nil // it will not run in any case
	case h.PullRequest != nil:
		number = h.PullRequest.Number
	case h.Before == "" || h.Commit.SHA == "":
		return nil, nil // a new branch differs from nothing
	}
	paths, err := ask(ctx, m, func(ctx context.Context) ([]string, error) {
		return m.Asks.Changed(ctx, m.project, h.Before, h.Commit.SHA, number)
	})
	var mute *mute
	var unanswered *unanswered
	switch {
	case errors.As(err, &mute):
		return nil, nil
	case errors.As(err, &unanswered) && (m.delivery.Attempts+1 >= pathTries || cyclone.RetryAfter(err) > pathWait):
		m.Log.Warn("changed paths stay unknown, so the event runs", "project", m.project.Name, "delivery", m.delivery.ID, "error", err)
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("ask for changed paths: %w", err)
	}
	return paths, nil
}

// matches reports whether a name fits a list of globs, in which * stays
// within one path element and ** does not. Globs beginning with ! exclude; a
// list with nothing but such, or an empty one, includes all else.
func matches(globs []string, name string) bool {
	included, any := false, false
	for _, g := range globs {
		if out, ok := strings.CutPrefix(g, "!"); ok {
			if matchesOne(out, name) {
				return false
			}
			continue
		}
		any = true
		included = included || matchesOne(g, name)
	}
	return included || !any
}

// matchesOne takes a glob that is no glob literally.
func matchesOne(glob, name string) bool {
	ok, err := doublestar.Match(glob, name)
	return ok || err != nil && glob == name
}

func quote(globs []string) string { return `"` + strings.Join(globs, `", "`) + `"` }
