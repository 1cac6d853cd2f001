package trigger

import (
	"strings"

	"cyclone/pkg/cyclone"
)

// skipMarks in a commit's message or a pull request's title ask for no run,
// however they are capitalized: those that people know from forges, and ours.
var skipMarks = []string{
	"[skip ci]", "[ci skip]", "[no ci]", "[skip-ci]", "[ci-skip]", "[skip cyclone]", "[cyclone skip]",
}

// skipTrailer is a trailer that asks for no run: "skip-checks: true".
const skipTrailer = "skip-checks"

// skipReason says why an event is stored as skipped, or "". Who asks for a run
// in a comment gets it.
func skipReason(h *cyclone.Hook) string {
	if h.Kind == cyclone.KindComment {
		return ""
	}
	if h.PullRequest != nil {
		if m := skipMark(h.PullRequest.Title); m != "" {
			return "the pull request's title says " + m
		}
	}
	if m := skipMark(h.Commit.Message); m != "" {
		return "the commit's message says " + m
	}
	if hasSkipTrailer(h.Commit.Message) {
		return "the commit's message says " + skipTrailer + ": true"
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

// hasSkipTrailer looks through the lines at the end of a message, back to the
// first that is empty.
func hasSkipTrailer(message string) bool {
	for rest := strings.TrimSpace(message); rest != ""; {
		last := strings.LastIndexByte(rest, '\n')
		line := strings.TrimSpace(rest[last+1:])
		if line == "" {
			return false
		}
		name, value, _ := strings.Cut(line, ":")
		if strings.EqualFold(strings.TrimSpace(name), skipTrailer) && strings.EqualFold(strings.TrimSpace(value), "true") {
			return last >= 0 // a subject is no trailer
		}
		rest = rest[:max(last, 0)]
	}
	return false
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
