package scmtest

import (
	"errors"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"cyclone/pkg/cyclone"
)

// hash is that of a commit, or a revision of Subversion.
var hash = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64}|r[1-9][0-9]{0,15})$`)

// maxIgnored is how long the reason for ignoring a delivery may be, in bytes.
const maxIgnored = 300

// Check holds what Parse returned against what every hook promises.
func Check(t *testing.T, hook *cyclone.Hook, err error) {
	t.Helper()
	switch {
	case err != nil && !errors.Is(err, cyclone.ErrInvalid):
		t.Errorf("error %q is not ErrInvalid", err)
	case err != nil && hook != nil:
		t.Error("both a hook and an error")
	case err == nil && hook == nil:
		t.Error("neither a hook nor an error")
	}
	if err != nil || hook == nil {
		return
	}
	oneLine(t, "actor", hook.Actor)
	oneLine(t, "reason", hook.Ignored)
	oneLine(t, "repository", strings.Join(hook.Repositories, " "))
	if len(hook.Ignored) > maxIgnored {
		t.Errorf("the reason has %d bytes", len(hook.Ignored))
	}
	if hook.Ignored == "" {
		checkCommit(t, hook)
		checkKind(t, hook)
		checkRef(t, hook)
	}
}

// oneLine: what can reach a header or a log has no line breaks or the like.
func oneLine(t *testing.T, what, s string) {
	t.Helper()
	if strings.ContainsFunc(s, unicode.IsControl) {
		t.Errorf("%s %q holds a control character", what, s)
	}
}

func checkCommit(t *testing.T, hook *cyclone.Hook) {
	t.Helper()
	if hook.Action != cyclone.ActionStart && hook.Action != cyclone.ActionCancel {
		t.Errorf("action is %q", hook.Action)
	}
	if hook.Via != "" && hook.Via != cyclone.ViaPoll && hook.Via != cyclone.ViaMissed {
		t.Errorf("via is %q", hook.Via)
	}
	for _, sha := range []string{hook.Commit.SHA, hook.Before} {
		if sha != "" && (!hash.MatchString(sha) || strings.Trim(sha, "0") == "") {
			t.Errorf("%q is neither a hash nor a revision", sha)
		}
	}
	oneLine(t, "author", hook.Commit.Author)
	oneLine(t, "committer", hook.Committer)
	if u, err := url.Parse(hook.Commit.URL); err != nil || hook.Commit.URL != "" && u.Scheme != "http" && u.Scheme != "https" {
		t.Errorf("URL %q is no web page", hook.Commit.URL)
	}
}

func checkKind(t *testing.T, hook *cyclone.Hook) {
	t.Helper()
	ok, pr := false, hook.PullRequest
	switch hook.Kind {
	case cyclone.KindPush:
		ok = hook.Branch != "" && hook.Tag == "" && pr == nil && hook.Commit.SHA != ""
	case cyclone.KindTag, cyclone.KindRelease:
		ok = hook.Tag != "" && hook.Branch == "" && pr == nil
	case cyclone.KindPullRequest:
		ok = pr != nil && pr.Number > 0 && hook.Commit.SHA != ""
	case cyclone.KindComment:
		ok = pr != nil && pr.Number > 0 && hook.Actor != "" && hook.Action == cyclone.ActionStart
	}
	if !ok {
		t.Errorf("kind %q does not fit branch %q, tag %q, pull request %+v, commit %q, actor %q",
			hook.Kind, hook.Branch, hook.Tag, pr, hook.Commit.SHA, hook.Actor)
	}
	comment := hook.Comment == cyclone.CommentTest || hook.Comment == cyclone.CommentRetest
	if comment != (hook.Kind == cyclone.KindComment) {
		t.Errorf("kind %q does not fit command %q", hook.Kind, hook.Comment)
	}
	if pr != nil {
		oneLine(t, "title", pr.Title)
	}
}

// checkRef: a ref is the one of the branch, tag or pull request, and none that
// git would take for an option.
func checkRef(t *testing.T, hook *cyclone.Hook) {
	t.Helper()
	oneLine(t, "ref", hook.Ref)
	want := "refs/heads/" + hook.Branch
	switch hook.Kind {
	case cyclone.KindTag, cyclone.KindRelease:
		want = "refs/tags/" + hook.Tag
	case cyclone.KindPullRequest, cyclone.KindComment:
		if hook.PullRequest == nil {
			return
		}
		number := "/" + strconv.Itoa(hook.PullRequest.Number) + "/head"
		want = "refs/pull" + number
		if strings.HasPrefix(hook.Ref, "refs/merge-requests/") {
			want = "refs/merge-requests" + number
		}
	}
	if hook.Ref != want {
		t.Errorf("ref is %q, not %q", hook.Ref, want)
	}
	for _, name := range []string{hook.Branch, hook.Tag} {
		if strings.HasPrefix(name, "-") {
			t.Errorf("name %q is an option", name)
		}
	}
}
