package gitea

import (
	"fmt"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/payload"
)

// common is what all deliveries say.
type common struct {
	Action     string `json:"action"`
	Sender     sender `json:"sender"`
	Pusher     sender `json:"pusher"`
	Repository struct {
		CloneURL string `json:"clone_url"`
		SSHURL   string `json:"ssh_url"`
		HTMLURL  string `json:"html_url"`
	} `json:"repository"`
}

// sender is an account. Old versions know no login.
type sender struct {
	Login    string `json:"login"`
	Username string `json:"username"`
}

func (s sender) name() string {
	if s.Login != "" {
		return payload.Line(s.Login)
	}
	return payload.Line(s.Username)
}

// bot reports whether it is the account of Gitea's or Forgejo's own pipelines.
func (s sender) bot() bool { return s.name() == "gitea-actions" || s.name() == "forgejo-actions" }

// hook begins a hook with who did it and all the URLs by which the payload
// names its repository.
func (c *common) hook(kind cyclone.TriggerKind) *cyclone.Hook {
	actor, r := c.Sender.name(), c.Repository
	if actor == "" {
		actor = c.Pusher.name()
	}
	return &cyclone.Hook{
		Kind: kind, Action: cyclone.ActionStart, Actor: actor,
		Repositories: payload.URLs(r.CloneURL, r.SSHURL, r.HTMLURL),
	}
}

// ignored is a hook that starts nothing.
func (c *common) ignored(why string, args ...any) *cyclone.Hook {
	hook := c.hook("")
	hook.Action, hook.Ignored = "", fmt.Sprintf(why, args...)
	return hook
}

type pushed struct {
	common
	Ref          string           `json:"ref"`
	Before       string           `json:"before"`
	After        string           `json:"after"`
	Commits      []payload.Commit `json:"commits"`
	TotalCommits int64            `json:"total_commits"` // not sent by old versions
	HeadCommit   payload.Commit   `json:"head_commit"`
}

type pullRequested struct {
	common
	PullRequest pullData `json:"pull_request"`
	Changes     struct {
		Ref   from `json:"ref"` // the target branch
		Title from `json:"title"`
	} `json:"changes"`
}

type from struct {
	From string `json:"from"`
}

type pullData struct {
	Number  int64    `json:"number"`
	Title   string   `json:"title"`
	HTMLURL string   `json:"html_url"`
	Draft   bool     `json:"draft"`
	Head    pullSide `json:"head"`
	Base    pullSide `json:"base"`
}

// pullSide is one of the two branches of a pull request.
type pullSide struct {
	Ref    string `json:"ref"`
	SHA    string `json:"sha"`
	RepoID int64  `json:"repo_id"`
	Repo   struct {
		ID int64 `json:"id"`
	} `json:"repo"`
}

func (s pullSide) repository() int64 {
	if s.Repo.ID != 0 {
		return s.Repo.ID
	}
	return s.RepoID
}

type commented struct {
	common
	IsPull bool `json:"is_pull"`
	Issue  struct {
		Number      int64  `json:"number"`
		Title       string `json:"title"`
		State       string `json:"state"`
		PullRequest *struct {
			Merged bool `json:"merged"`
		} `json:"pull_request"` // nil for a plain issue
	} `json:"issue"`
	Comment struct {
		Body string `json:"body"`
		User sender `json:"user"`
	} `json:"comment"`
}

type released struct {
	common
	Release struct {
		TagName string `json:"tag_name"`
		Draft   bool   `json:"draft"`
	} `json:"release"`
}
