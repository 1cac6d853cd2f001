package github

import (
	"fmt"
	"strings"

	"cyclone/pkg/cyclone"
)

// maxCommits is how many commits GitHub lists in a push at most; a list of
// that length may have been cut off.
const maxCommits = 2048

func push(p node) (*cyclone.Hook, error) {
	ref := p.at("ref").text()
	branch, isBranch := strings.CutPrefix(ref, "refs/heads/")
	tag, isTag := strings.CutPrefix(ref, "refs/tags/")
	switch {
	case ref == "":
		return nil, cyclone.Invalid("ref", "is missing")
	case !isBranch && !isTag:
		return ignored(p, "ref "+shorten(ref)+" is neither a branch nor a tag"), nil
	}
	short, err := name(node{branch}, "ref")
	if isTag {
		short, err = name(node{tag}, "ref")
	}
	if err != nil {
		return nil, err
	}
	if p.at("deleted").truth() || strings.Trim(p.at("after").text(), "0") == "" && p.at("after").text() != "" {
		return ignored(p, strings.TrimPrefix(ref, "refs/")+" was deleted"), nil
	}
	if isTag {
		return tagPush(p, ref, short)
	}
	return branchPush(p, ref, short)
}

func branchPush(p node, ref, branch string) (*cyclone.Hook, error) {
	sha, err := hash(p.at("after"), "after")
	if err != nil {
		return nil, err
	}
	return &cyclone.Hook{
		Kind: cyclone.KindPush, Action: cyclone.ActionStart, Actor: actor(p), Repositories: repositories(p),
		Ref: ref, Branch: branch, Commit: headCommit(p, sha), Before: replaced(p), Changed: changed(p),
	}, nil
}

// replaced is the commit that a push replaced. Zeros stand for none, and what
// is no hash is not handed on: git is asked about it.
func replaced(p node) string {
	before := p.at("before").text()
	if !isHash(before) || strings.Trim(before, "0") == "" {
		return ""
	}
	return before
}

// tagPush takes the commit from head_commit: for an annotated tag "after" is
// the hash of the tag object.
func tagPush(p node, ref, tag string) (*cyclone.Hook, error) {
	at := p.at("head_commit", "id")
	if at.text() == "" {
		at = p.at("after")
	}
	sha, err := hash(at, "head_commit.id")
	if err != nil {
		return nil, err
	}
	return &cyclone.Hook{
		Kind: cyclone.KindTag, Action: cyclone.ActionStart, Actor: actor(p), Repositories: repositories(p),
		Ref: ref, Tag: tag, Commit: headCommit(p, sha),
	}, nil
}

func headCommit(p node, sha string) cyclone.Commit {
	head := p.at("head_commit")
	if head.at("id").text() != sha {
		return cyclone.Commit{SHA: sha}
	}
	return cyclone.Commit{
		SHA: sha, Message: head.at("message").text(),
		Author: author(head.at("author")), URL: head.at("url").text(),
	}
}

// changed are the paths that a push touched, or nil when the payload does not
// tell all: for a new branch or a forced push its commits are not the
// difference to what was there before, and long lists are cut off.
func changed(p node) []string {
	commits, _ := p.at("commits").list()
	if p.at("created").truth() || p.at("forced").truth() || len(commits) == 0 || len(commits) >= maxCommits {
		return nil
	}
	var paths []string
	seen := map[string]bool{}
	for _, c := range commits {
		for _, key := range []string{"added", "modified", "removed"} {
			files, ok := c.at(key).list()
			if !ok {
				return nil
			}
			for _, f := range files {
				if path := f.text(); path != "" && !seen[path] {
					seen[path] = true
					paths = append(paths, path)
				}
			}
		}
	}
	return paths
}

func pullRequest(p node) (*cyclone.Hook, error) {
	pr := p.at("pull_request")
	number := pr.at("number").number()
	if number < 1 || number > 1<<31-1 {
		return nil, cyclone.Invalid("pull_request.number", "is missing or not a number")
	}
	if why := notStarting(p, number); why != "" {
		return ignored(p, why), nil
	}
	sha, err := hash(pr.at("head", "sha"), "pull_request.head.sha")
	if err != nil {
		return nil, err
	}
	source, err := name(pr.at("head", "ref"), "pull_request.head.ref")
	if err != nil {
		return nil, err
	}
	target, err := name(pr.at("base", "ref"), "pull_request.base.ref")
	if err != nil {
		return nil, err
	}
	hook := &cyclone.Hook{
		Kind: cyclone.KindPullRequest, Action: cyclone.ActionStart, Actor: actor(p), Repositories: repositories(p),
		Ref: fmt.Sprintf("refs/pull/%d/head", number), Branch: source,
		Commit: cyclone.Commit{SHA: sha, URL: commitURL(pr, sha)},
		PullRequest: &cyclone.PullRequest{
			Number: int(number), Title: pr.at("title").text(),
			SourceBranch: source, TargetBranch: target, Fork: fork(pr),
		},
	}
	if p.at("action").text() == "closed" {
		hook.Action = cyclone.ActionCancel
	}
	return hook, nil
}

// notStarting says why a pull_request delivery is of no interest, or nothing.
func notStarting(p node, number int64) string {
	action := p.at("action").text()
	switch action {
	case "closed":
		return ""
	case "opened", "reopened", "synchronize", "ready_for_review":
	case "edited":
		if p.at("changes", "base", "ref", "from").text() == "" {
			return fmt.Sprintf("pull request #%d was edited, but not its target branch", number)
		}
	default:
		return "pull_request deliveries of action " + shorten(action) + " start nothing"
	}
	if p.at("pull_request", "draft").truth() {
		return fmt.Sprintf("pull request #%d is a draft", number)
	}
	return ""
}

// fork reports whether the commits come from another repository. What is not
// known (a deleted fork, a strange payload) counts as a fork: the safe side.
func fork(pr node) bool {
	head, base := pr.at("head", "repo"), pr.at("base", "repo")
	if h, b := head.at("id").number(), base.at("id").number(); h != 0 && b != 0 {
		return h != b
	}
	h, b := head.at("full_name").text(), base.at("full_name").text()
	return h == "" || h != b
}

func commitURL(pr node, sha string) string {
	page := pr.at("html_url").text()
	if page == "" {
		return ""
	}
	return page + "/commits/" + sha
}

// release does not know the commit: target_commitish names where the tag was
// to be made, not where it is. The worker asks git.
func release(p node) (*cyclone.Hook, error) {
	if action := p.at("action").text(); action != "published" {
		return ignored(p, "release deliveries of action "+shorten(action)+" start nothing"), nil
	}
	tag, err := name(p.at("release", "tag_name"), "release.tag_name")
	if err != nil {
		return nil, err
	}
	return &cyclone.Hook{
		Kind: cyclone.KindRelease, Action: cyclone.ActionStart, Actor: actor(p), Repositories: repositories(p),
		Ref: "refs/tags/" + tag, Tag: tag,
	}, nil
}
