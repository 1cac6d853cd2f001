package cyclone

import (
	"io/fs"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Origin is the kind of trigger whose rules hold for e: its own, or for a
// rerun that of the event which the chain of reruns began with.
func (e *Event) Origin() TriggerKind {
	if e.Run.Origin != "" {
		return e.Run.Origin
	}
	return e.Trigger.Kind
}

// FromFork reports whether e is about a pull request of another repository,
// whose author must reach no secret and no cluster.
func (e *Event) FromFork() bool { return e.PullRequest != nil && e.PullRequest.Fork }

// Source is the shortest name, for people, of where e's commit comes from.
func (e *Event) Source() string {
	switch {
	case e.PullRequest != nil:
		return "PR " + strconv.Itoa(e.PullRequest.Number)
	case e.Tag != "":
		return e.Tag
	case e.Branch != "":
		return e.Branch
	}
	return e.Ref
}

// DefaultStages are the stages that run for e when nobody named others: all,
// but for pull requests neither post_build nor deploy.
func (e *Event) DefaultStages() []Stage {
	if e.PullRequest != nil {
		return []Stage{StageClone, StagePreBuild, StageBuild, StageIntegration}
	}
	return append([]Stage(nil), Stages...)
}

// DefaultVersion is the version of e when nobody named another: the tag,
// pr-<n>-<short sha> or ci-<short sha>, fit to be a Docker tag. It is empty as
// long as it depends on a commit that is not known yet (a manual event of a
// branch's head); the worker asks again after its clone.
func (e *Event) DefaultVersion() string {
	if e.Tag != "" {
		if v := DockerTag(e.Tag); v != "" {
			return v
		}
	}
	if e.Commit.SHA == "" {
		return ""
	}
	if e.PullRequest != nil {
		return DockerTag("pr-" + strconv.Itoa(e.PullRequest.Number) + "-" + e.Commit.ShortSHA())
	}
	return DockerTag("ci-" + e.Commit.ShortSHA())
}

// DockerTag makes s fit Docker's grammar of tags, [A-Za-z0-9_][A-Za-z0-9_.-]{0,127}:
// every other character becomes "-", and what may not begin a tag is cut off.
// It is empty when nothing is left.
func DockerTag(s string) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '.', r == '-':
			return r
		}
		return '-'
	}, s)
	clean = strings.TrimLeft(clean, ".-")
	return clean[:min(128, len(clean))]
}

// maxMessage is the most bytes of a commit's message that are kept: lists of
// events carry them all.
const maxMessage = 16 << 10

// Short is the commit with at most 16 KiB of its message.
func (c Commit) Short() Commit {
	if len(c.Message) > maxMessage {
		c.Message = strings.ToValidUTF8(c.Message[:maxMessage], "") + "..."
	}
	return c
}

// maxFilePath is the most bytes in the path of a kept file.
const maxFilePath = 1024

// ValidFilePath reports whether p may name a kept file: a clean relative path
// of printable text that leads nowhere else, with / between folders.
func ValidFilePath(p string) bool {
	if p == "." || len(p) > maxFilePath || !fs.ValidPath(p) || strings.Contains(p, `\`) {
		return false
	}
	return !strings.ContainsFunc(p, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError })
}
