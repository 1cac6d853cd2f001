package github

import (
	"fmt"
	"strings"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/payload"
)

// maxCommits is how many commits GitHub lists in a push at most; a list of
// that length may have been cut off.
const maxCommits = 2048

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
	return p.ignored("ref %s is neither a branch nor a tag", shorten(p.Ref)), nil
}

// gone reports whether a push deleted its ref.
func (p *pushed) gone() bool { return p.Deleted || payload.IsZero(p.After) }

func branchPush(p *pushed, branch string) (*cyclone.Hook, error) {
	branch, err := payload.Name("ref", branch)
	if err != nil {
		return nil, err
	}
	if p.gone() {
		return p.ignored("branch %s was deleted", shorten(branch)), nil
	}
	sha, err := payload.Hash("after", p.After)
	if err != nil {
		return nil, err
	}
	hook := p.hook(cyclone.KindPush)
	p.fill(hook, sha)
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
	if p.gone() {
		return p.ignored("tag %s was deleted", shorten(tag)), nil
	}
	if p.HeadCommit.ID == "" {
		p.HeadCommit.ID = p.After
	}
	sha, err := payload.Hash("head_commit.id", p.HeadCommit.ID)
	if err != nil {
		return nil, err
	}
	hook := p.hook(cyclone.KindTag)
	p.fill(hook, sha)
	hook.Tag = tag
	return hook, nil
}

// fill writes into hook what was pushed.
func (p *pushed) fill(hook *cyclone.Hook, sha string) {
	head := payload.Find(sha, p.HeadCommit)
	hook.Ref, hook.Commit, hook.Committer = p.Ref, head.Word(), head.Address()
}

// changed are the paths that a push touched, or nil when the payload does not
// tell all: for a new branch or a forced push its commits are not the
// difference to what was there before, and long lists are cut off.
func changed(p *pushed) []string {
	if p.Created || p.Forced || len(p.Commits) >= maxCommits || payload.IsZero(p.Before) {
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
		SourceBranch: source, TargetBranch: target, Fork: fork(pr),
	}
	if p.Action == "closed" {
		hook.Action = cyclone.ActionCancel
	}
	return hook, nil
}

func headRef(number int64) string { return fmt.Sprintf("refs/pull/%d/head", number) }

// notStarting says why a pull_request delivery is of no interest, or nothing.
func notStarting(p *pullRequested) string {
	switch p.Action {
	case "closed":
		return ""
	case "opened", "reopened", "synchronize", "ready_for_review":
	case "edited":
		if p.Changes.Base.Ref.From == "" {
			return fmt.Sprintf("pull request #%d was edited, but not its target branch", p.PullRequest.Number)
		}
	default:
		return "pull_request deliveries of action " + shorten(p.Action) + " start nothing"
	}
	if p.PullRequest.Draft {
		return fmt.Sprintf("pull request #%d is a draft", p.PullRequest.Number)
	}
	return ""
}

// fork reports whether the commits come from another repository. What is not
// known (a deleted fork, a strange payload) counts as a fork: the safe side.
func fork(pr *pullData) bool {
	head, base := pr.Head.Repo, pr.Base.Repo
	if head.ID != 0 && base.ID != 0 {
		return head.ID != base.ID
	}
	return head.FullName == "" || head.FullName != base.FullName
}

func commitURL(pr *pullData, sha string) string {
	if pr.HTMLURL == "" {
		return ""
	}
	return payload.Link(pr.HTMLURL + "/commits/" + sha)
}

// issueComment is about a comment on an issue or a pull request. Which commit that
// is about, and whether its author may ask for anything, is not in the payload.
func issueComment(p *commented) (*cyclone.Hook, error) {
	command, author := payload.Command(p.Comment.Body), p.Comment.User
	switch {
	case p.Action != "created":
		return p.ignored("issue_comment deliveries of action %s start nothing", shorten(p.Action)), nil
	case p.Issue.PullRequest == nil:
		return p.ignored("the comment is on an issue, not on a pull request"), nil
	case command == "":
		return p.ignored("the comment has no line /test or /retest"), nil
	case author.Type == "Bot" || strings.HasSuffix(author.Login, "[bot]"):
		return p.ignored("the comment is by a bot, %s", shorten(author.Login)), nil
	case p.Issue.State == "closed":
		return p.ignored("the comment is on pull request #%d, which is closed", p.Issue.Number), nil
	case p.Issue.Number < 1 || p.Issue.Number > 1<<31-1:
		return nil, cyclone.Invalid("issue.number", "is missing or not a number")
	case payload.Line(author.Login) == "":
		return nil, cyclone.Invalid("comment.user.login", "is missing, so nobody knows whether its author may ask for this")
	}
	hook := p.hook(cyclone.KindComment)
	hook.Actor, hook.Comment, hook.Ref = payload.Line(author.Login), command, headRef(p.Issue.Number)
	// A fork, as long as nothing else is known.
	hook.PullRequest = &cyclone.PullRequest{Number: int(p.Issue.Number), Title: payload.Line(p.Issue.Title), Fork: true}
	return hook, nil
}

// release does not know the commit: target_commitish names where the tag was
// to be made, not where it is. The worker asks git.
func release(p *released) (*cyclone.Hook, error) {
	if p.Action != "published" {
		return p.ignored("release deliveries of action %s start nothing", shorten(p.Action)), nil
	}
	tag, err := payload.Name("release.tag_name", p.Release.TagName)
	if err != nil {
		return nil, err
	}
	hook := p.hook(cyclone.KindRelease)
	hook.Ref, hook.Tag = "refs/tags/"+tag, tag
	return hook, nil
}
