package gitea

import (
	"fmt"
	"strings"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/payload"
)

// maxCommits is how many commits Gitea lists in a push unless its
// configuration says otherwise; versions that do not tell how many there are
// may have cut a list of that length.
const maxCommits = 5

func push(p *pushed) (*cyclone.Hook, error) {
	branch, isBranch := strings.CutPrefix(p.Ref, "refs/heads/")
	tag, isTag := strings.CutPrefix(p.Ref, "refs/tags/")
	switch {
	case p.Ref == "":
		return nil, cyclone.Invalid("ref", "is missing")
	case isBranch:
		return branchPush(p, branch)
	case isTag:
		return tagPush(p, tag)
	}
	return p.ignored("ref %s is neither a branch nor a tag", payload.Short(p.Ref)), nil
}

func branchPush(p *pushed, branch string) (*cyclone.Hook, error) {
	branch, err := payload.Name("ref", branch)
	if err != nil {
		return nil, err
	}
	if payload.IsZero(p.After) {
		return p.ignored("branch %s was deleted", payload.Short(branch)), nil
	}
	sha, err := payload.Hash("after", p.After)
	if err != nil {
		return nil, err
	}
	if p.Before == sha {
		return p.ignored("a test delivery: nothing was pushed; the webhook works"), nil
	}
	hook := p.fill(p.hook(cyclone.KindPush), sha)
	hook.Branch = branch
	hook.Before, hook.Changed = payload.Before(p.Before), changed(p)
	return hook, nil
}

// tagPush takes the commit from head_commit: for an annotated tag "after" is
// the hash of the tag object.
func tagPush(p *pushed, tag string) (*cyclone.Hook, error) {
	tag, err := payload.Name("ref", tag)
	if err != nil {
		return nil, err
	}
	if payload.IsZero(p.After) {
		return p.ignored("tag %s was deleted", payload.Short(tag)), nil
	}
	at := p.HeadCommit.ID
	if at == "" {
		at = p.After
	}
	sha, err := payload.Hash("head_commit.id", at)
	if err != nil {
		return nil, err
	}
	hook := p.fill(p.hook(cyclone.KindTag), sha)
	hook.Tag = tag
	return hook, nil
}

// fill writes into hook what was pushed.
func (p *pushed) fill(hook *cyclone.Hook, sha string) *cyclone.Hook {
	head := payload.Find(sha, append([]payload.Commit{p.HeadCommit}, p.Commits...)...)
	hook.Ref, hook.Commit, hook.Committer = p.Ref, head.Word(), head.Address()
	return hook
}

// changed are the paths that a push touched, or nil when the payload does not
// tell all: a new branch has no difference to what was there before, and long
// lists are cut off.
func changed(p *pushed) []string {
	n := int64(len(p.Commits))
	if payload.IsZero(p.Before) || p.TotalCommits != 0 && p.TotalCommits != n || p.TotalCommits == 0 && n >= maxCommits {
		return nil
	}
	return payload.Changed(p.Commits)
}

func pullRequest(p *pullRequested) (*cyclone.Hook, error) {
	pr := &p.PullRequest
	if pr.Number < 1 || pr.Number > 1<<31-1 {
		return nil, cyclone.Invalid("pull_request.number", "is missing or not a number")
	}
	if why := notStarting(p); why != "" {
		return p.ignored("%s", why), nil
	}
	sha, err := payload.Hash("pull_request.head.sha", pr.Head.SHA)
	if err != nil {
		return nil, err
	}
	source, err := payload.Name("pull_request.head.ref", pr.Head.Ref)
	if err != nil {
		return nil, err
	}
	target, err := payload.Name("pull_request.base.ref", pr.Base.Ref)
	if err != nil {
		return nil, err
	}
	hook := p.hook(cyclone.KindPullRequest)
	hook.Ref, hook.Branch = headRef(pr.Number), source
	hook.Commit = cyclone.Commit{SHA: sha, URL: commitURL(pr, sha)}
	hook.PullRequest = &cyclone.PullRequest{
		Number: int(pr.Number), Title: payload.Line(pr.Title),
		SourceBranch: source, TargetBranch: target, Fork: pr.fork(),
	}
	if p.Action == "closed" {
		hook.Action = cyclone.ActionCancel
	}
	return hook, nil
}

func headRef(number int64) string { return fmt.Sprintf("refs/pull/%d/head", number) }

// notStarting says why a pull_request delivery is of no interest, or nothing.
func notStarting(p *pullRequested) string {
	pr := &p.PullRequest
	switch p.Action {
	case "closed":
		return ""
	case "opened", "reopened", "synchronized":
	case "edited":
		if p.Changes.Ref.From == "" && !p.ready() {
			return fmt.Sprintf("pull request #%d was edited, but not its target branch", pr.Number)
		}
	default:
		return "pull_request deliveries of action " + payload.Short(p.Action) + " start nothing"
	}
	if pr.draft() {
		return fmt.Sprintf("pull request #%d is a draft", pr.Number)
	}
	return ""
}

// ready reports whether the pull request was a draft until its title was
// edited, which is how one becomes ready in Gitea.
func (p *pullRequested) ready() bool {
	return draftTitle(p.Changes.Title.From) && !p.PullRequest.draft()
}

func (p *pullData) draft() bool { return p.Draft || draftTitle(p.Title) }

// draftTitle reports whether a title begins with one of the marks by which
// Gitea knows drafts, unless its configuration has others.
func draftTitle(title string) bool {
	title = strings.ToLower(strings.TrimSpace(title))
	return strings.HasPrefix(title, "wip:") || strings.HasPrefix(title, "[wip]")
}

// fork reports whether the commits come from another repository. What is not
// known (a deleted fork, a strange payload) counts as a fork: the safe side.
func (p *pullData) fork() bool {
	head, base := p.Head.repository(), p.Base.repository()
	return head == 0 || head != base
}

func commitURL(pr *pullData, sha string) string {
	if pr.HTMLURL == "" {
		return ""
	}
	return payload.Link(pr.HTMLURL + "/commits/" + sha)
}

// issueComment is about a comment on an issue or a pull request. Which commit
// that is about, and whether its author may ask for anything, is not in the
// payload.
func issueComment(p *commented) (*cyclone.Hook, error) {
	command, author := payload.Command(p.Comment.Body), p.Comment.User
	switch {
	case p.Action != "created":
		return p.ignored("issue_comment deliveries of action %s start nothing", payload.Short(p.Action)), nil
	case !p.IsPull && p.Issue.PullRequest == nil:
		return p.ignored("the comment is on an issue, not on a pull request"), nil
	case command == "":
		return p.ignored("the comment has no line /test or /retest"), nil
	case author.bot():
		return p.ignored("the comment is by a bot, %s", author.name()), nil
	case p.Issue.State == "closed":
		return p.ignored("the comment is on pull request #%d, which is closed", p.Issue.Number), nil
	case p.Issue.Number < 1 || p.Issue.Number > 1<<31-1:
		return nil, cyclone.Invalid("issue.number", "is missing or not a number")
	case author.name() == "":
		return nil, cyclone.Invalid("comment.user.login", "is missing, so nobody knows whether its author may ask for this")
	}
	hook := p.hook(cyclone.KindComment)
	hook.Actor, hook.Comment, hook.Ref = author.name(), command, headRef(p.Issue.Number)
	// A fork, as long as nothing else is known.
	hook.PullRequest = &cyclone.PullRequest{Number: int(p.Issue.Number), Title: payload.Line(p.Issue.Title), Fork: true}
	return hook, nil
}

// release does not know the commit: target_commitish names where the tag was
// to be made, not where it is. The worker asks git.
func release(p *released) (*cyclone.Hook, error) {
	switch {
	case p.Action != "published":
		return p.ignored("release deliveries of action %s start nothing", payload.Short(p.Action)), nil
	case p.Release.Draft:
		return p.ignored("the release is a draft"), nil
	}
	tag, err := payload.Name("release.tag_name", p.Release.TagName)
	if err != nil {
		return nil, err
	}
	hook := p.hook(cyclone.KindRelease)
	hook.Ref, hook.Tag = "refs/tags/"+tag, tag
	return hook, nil
}
