package trigger

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"cyclone/pkg/cyclone"
)

// check says why a hook starts nothing, or "".
type check func(p *cyclone.Project, h *cyclone.Hook) string

// checks are asked in this order; the first that objects decides.
var checks = []check{
	notAsked,
	kindIsOff,
	branchIsOut,
	tagIsOut,
	targetIsOut,
	pathsAreOut,
}

// ignore runs the list of checks.
func (t *Trigger) ignore(p *cyclone.Project, h *cyclone.Hook) string {
	for _, c := range checks {
		if why := c(p, h); why != "" {
			return why
		}
	}
	return ""
}

// notAsked: the driver itself saw that there is nothing to do.
func notAsked(_ *cyclone.Project, h *cyclone.Hook) string { return h.Ignored }

func kindIsOff(p *cyclone.Project, h *cyclone.Hook) string {
	tr := p.Triggers
	on := map[cyclone.TriggerKind]bool{
		cyclone.KindPush:        tr.Push == nil || !tr.Push.Disabled,
		cyclone.KindTag:         tr.Tag == nil || !tr.Tag.Disabled,
		cyclone.KindRelease:     tr.Release != nil && tr.Release.Enabled,
		cyclone.KindPullRequest: tr.PullRequest != nil && tr.PullRequest.Enabled,
	}
	// A closed pull request ends its events even when no new ones are wanted.
	if on[h.Kind] || h.Action == cyclone.ActionCancel {
		return ""
	}
	return fmt.Sprintf("the project's trigger for %s is off", strings.ReplaceAll(string(h.Kind), "_", " "))
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
		matches(p.Triggers.PullRequest.Branches, h.PullRequest.TargetBranch) {
		return ""
	}
	return fmt.Sprintf("target branch %s does not match the project's branches %s",
		h.PullRequest.TargetBranch, quote(p.Triggers.PullRequest.Branches))
}

// pathsAreOut: none of the changed paths is one the project asks for. When the
// forge does not tell all of them, the event runs: too much is better than
// too little.
func pathsAreOut(p *cyclone.Project, h *cyclone.Hook) string {
	if h.Kind != cyclone.KindPush || p.Triggers.Push == nil || h.Changed == nil || len(p.Triggers.Push.Paths) == 0 {
		return ""
	}
	wanted := func(path string) bool { return matches(p.Triggers.Push.Paths, path) }
	if slices.ContainsFunc(h.Changed, wanted) {
		return ""
	}
	return fmt.Sprintf("none of the %d changed paths matches the project's paths %s", len(h.Changed), quote(p.Triggers.Push.Paths))
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

// skipMarks in a commit's message or a pull request's title ask for no run.
var skipMarks = []string{"[skip ci]", "[ci skip]", "[skip cyclone]"}

// skipReason says why an event is stored as skipped, or "".
func skipReason(h *cyclone.Hook) string {
	if h.PullRequest != nil {
		if m := skipMark(h.PullRequest.Title); m != "" {
			return "the pull request's title says " + m
		}
	}
	if m := skipMark(h.Commit.Message); m != "" {
		return "the commit's message says " + m
	}
	return ""
}

func skipMark(text string) string {
	text = strings.ToLower(text)
	for _, m := range skipMarks {
		if strings.Contains(text, m) {
			return m
		}
	}
	return ""
}

// blockReason says why an event waits for approval, or "".
func blockReason(p *cyclone.Project, pr *cyclone.PullRequest) string {
	approval := ""
	if p.Triggers.PullRequest != nil {
		approval = p.Triggers.PullRequest.Approval
	}
	switch {
	case pr == nil || approval == "never":
		return ""
	case approval == "always":
		return "every pull request waits for approval"
	case pr.Fork:
		return "the pull request comes from a fork and waits for approval"
	}
	return ""
}
