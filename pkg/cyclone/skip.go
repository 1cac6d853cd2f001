package cyclone

import "strings"

// skipMarks in a commit's message or a pull request's title ask for no run,
// however they are capitalized: those that people know from forges, and ours.
var skipMarks = []string{
	"[skip ci]", "[ci skip]", "[no ci]", "[skip-ci]", "[ci-skip]", "[skip cyclone]", "[cyclone skip]",
}

// skipTrailer is a trailer that asks for no run: "skip-checks: true".
const skipTrailer = "skip-checks"

// SkipMark is what in a commit's message, or a pull request's title, asks for no
// run; empty when nothing does.
func SkipMark(text string) string {
	lower := strings.ToLower(text)
	for _, m := range skipMarks {
		if strings.Contains(lower, m) {
			return m
		}
	}
	if hasSkipTrailer(text) {
		return skipTrailer + ": true"
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
