package trigger

import "cyclone/pkg/cyclone"

// skipReason says why an event is stored as skipped, or "". Who asks for a run
// in a comment gets it.
func skipReason(h *cyclone.Hook) string {
	if h.Kind == cyclone.KindComment {
		return ""
	}
	if h.PullRequest != nil {
		if m := cyclone.SkipMark(h.PullRequest.Title); m != "" {
			return "the pull request's title says " + m
		}
	}
	if m := cyclone.SkipMark(h.Commit.Message); m != "" {
		return "the commit's message says " + m
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
