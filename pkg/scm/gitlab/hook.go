package gitlab

import (
	"fmt"
	"strings"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/payload"
)

// maxCommits is how many commits GitLab lists in a push at most.
const maxCommits = 20

func branchPush(p *pushed) (*cyclone.Hook, error) {
	branch, ok := strings.CutPrefix(p.Ref, "refs/heads/")
	if !ok {
		return p.elsewhere("branch")
	}
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
	hook := p.fill(p.hook(cyclone.KindPush), sha)
	hook.Branch = branch
	hook.Before, hook.Changed = payload.Before(p.Before), changed(p)
	return hook, nil
}

// elsewhere is the answer to a push of something else than its kind says.
func (p *pushed) elsewhere(what string) (*cyclone.Hook, error) {
	if p.Ref == "" {
		return nil, cyclone.Invalid("ref", "is missing")
	}
	return p.ignored("ref %s is no %s", payload.Short(p.Ref), what), nil
}

// tagPush takes the commit from checkout_sha: for an annotated tag "after" is
// the hash of the tag object.
func tagPush(p *pushed) (*cyclone.Hook, error) {
	tag, ok := strings.CutPrefix(p.Ref, "refs/tags/")
	if !ok {
		return p.elsewhere("tag")
	}
	tag, err := payload.Name("ref", tag)
	if err != nil {
		return nil, err
	}
	if payload.IsZero(p.After) {
		return p.ignored("tag %s was deleted", payload.Short(tag)), nil
	}
	at := p.CheckoutSHA
	if at == "" {
		at = p.After
	}
	sha, err := payload.Hash("checkout_sha", at)
	if err != nil {
		return nil, err
	}
	hook := p.fill(p.hook(cyclone.KindTag), sha)
	hook.Tag = tag
	return hook, nil
}

// fill writes into hook what was pushed.
func (p *pushed) fill(hook *cyclone.Hook, sha string) *cyclone.Hook {
	head := payload.Find(sha, p.Commits...)
	hook.Ref, hook.Commit, hook.Committer = p.Ref, head.Word(), committer(head)
	return hook
}

// committer is who committed c, as far as GitLab tells: it names authors only,
// and most people commit what they wrote.
func committer(c payload.Commit) string {
	if address := c.Address(); address != "" {
		return address
	}
	c.Committer = c.Author
	return c.Address()
}

// changed are the paths that a push touched, or nil when the payload does not
// tell all: a new branch has no difference to what was there before, and of
// more than twenty commits GitLab lists the last ones.
func changed(p *pushed) []string {
	n := int64(len(p.Commits))
	if payload.IsZero(p.Before) || p.TotalCommits != 0 && p.TotalCommits != n || p.TotalCommits == 0 && n >= maxCommits {
		return nil
	}
	return payload.Changed(p.Commits)
}

func mergeRequest(p *mergeRequested) (*cyclone.Hook, error) {
	mr := &p.Attributes
	if mr.IID < 1 || mr.IID > 1<<31-1 {
		return nil, cyclone.Invalid("object_attributes.iid", "is missing or not a number")
	}
	if why := notStarting(p); why != "" {
		return p.ignored("%s", why), nil
	}
	sha, err := payload.Hash("object_attributes.last_commit.id", mr.LastCommit.ID)
	if err != nil {
		return nil, err
	}
	source, err := payload.Name("object_attributes.source_branch", mr.SourceBranch)
	if err != nil {
		return nil, err
	}
	target, err := payload.Name("object_attributes.target_branch", mr.TargetBranch)
	if err != nil {
		return nil, err
	}
	hook := p.hook(cyclone.KindPullRequest)
	hook.Ref, hook.Branch = headRef(mr.IID), source
	hook.Commit, hook.Committer = payload.Find(sha, mr.LastCommit).Word(), committer(mr.LastCommit)
	hook.PullRequest = &cyclone.PullRequest{
		Number: int(mr.IID), Title: payload.Line(mr.Title),
		SourceBranch: source, TargetBranch: target, Fork: mr.fork(),
	}
	if mr.Action == "close" || mr.Action == "merge" {
		hook.Action = cyclone.ActionCancel
	}
	return hook, nil
}

func headRef(iid int64) string { return fmt.Sprintf("refs/merge-requests/%d/head", iid) }

// notStarting says why a delivery about a merge request is of no interest, or
// nothing.
func notStarting(p *mergeRequested) string {
	mr := &p.Attributes
	switch mr.Action {
	case "close", "merge":
		return ""
	case "open", "reopen":
	case "update":
		if mr.OldRev == "" && !p.retargeted() && !p.ready() {
			return fmt.Sprintf("merge request !%d was updated, but neither its commits nor its target branch", mr.IID)
		}
	default:
		return "deliveries of action " + payload.Short(mr.Action) + " on a merge request start nothing"
	}
	if mr.draft() {
		return fmt.Sprintf("merge request !%d is a draft", mr.IID)
	}
	return ""
}

func (p *mergeRequested) retargeted() bool {
	c := p.Changes.Target
	return c.Previous != "" && c.Previous != p.Attributes.TargetBranch
}

// ready reports whether the merge request was a draft until now. Older
// versions tell by the title only.
func (p *mergeRequested) ready() bool {
	c := p.Changes
	return (c.Draft.Previous || c.WIP.Previous || draftTitle(c.Title.Previous)) && !p.Attributes.draft()
}

func (m *mergeRequestData) draft() bool { return m.Draft || m.WIP || draftTitle(m.Title) }

// draftTitle reports whether a title begins with one of the marks by which
// GitLab knows drafts.
func draftTitle(title string) bool {
	title = strings.ToLower(strings.TrimSpace(title))
	for _, mark := range []string{"draft:", "[draft]", "(draft)", "wip:", "[wip]"} {
		if strings.HasPrefix(title, mark) {
			return true
		}
	}
	return false
}

// fork reports whether the commits come from another project. What is not
// known counts as a fork: the safe side.
func (m *mergeRequestData) fork() bool { return m.SourceID == 0 || m.SourceID != m.TargetID }

// note is about a comment. Which commit is the head by now, and whether its
// author may ask for anything, is not in the payload.
func note(p *noted) (*cyclone.Hook, error) {
	command, mr, author := payload.Command(p.Attributes.Note), &p.MergeRequest, payload.Line(p.User.Username)
	switch {
	case p.Attributes.Action != "" && p.Attributes.Action != "create":
		return p.ignored("deliveries of action %s on a note start nothing", payload.Short(p.Attributes.Action)), nil
	case p.Attributes.Type != "MergeRequest":
		return p.ignored("the note is not on a merge request"), nil
	case command == "":
		return p.ignored("the note has no line /test or /retest"), nil
	case p.Attributes.System || botName.MatchString(author):
		return p.ignored("the note is by a bot, %s", payload.Short(author)), nil
	case mr.State == "closed" || mr.State == "merged":
		return p.ignored("the note is on merge request !%d, which is %s", mr.IID, mr.State), nil
	case mr.IID < 1 || mr.IID > 1<<31-1:
		return nil, cyclone.Invalid("merge_request.iid", "is missing or not a number")
	case author == "":
		return nil, cyclone.Invalid("user.username", "is missing, so nobody knows whether the author may ask for this")
	}
	hook := p.hook(cyclone.KindComment)
	hook.Actor, hook.Comment, hook.Ref = author, command, headRef(mr.IID)
	hook.PullRequest = &cyclone.PullRequest{Number: int(mr.IID), Title: payload.Line(mr.Title), Fork: mr.fork()}
	return hook, nil
}

func release(p *released) (*cyclone.Hook, error) {
	if p.Action != "create" {
		return p.ignored("release deliveries of action %s start nothing", payload.Short(p.Action)), nil
	}
	tag, err := payload.Name("tag", p.Tag)
	if err != nil {
		return nil, err
	}
	hook := p.hook(cyclone.KindRelease)
	hook.Ref, hook.Tag = "refs/tags/"+tag, tag
	// Without a commit the worker asks git.
	if sha, err := payload.Hash("commit.id", p.Commit.ID); err == nil {
		hook.Commit, hook.Committer = payload.Find(sha, p.Commit).Word(), committer(p.Commit)
	}
	return hook, nil
}
