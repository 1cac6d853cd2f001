package github

import (
	"fmt"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/payload"
)

// common is what all deliveries say.
type common struct {
	Action     string         `json:"action"`
	Sender     sender         `json:"sender"`
	Pusher     payload.Person `json:"pusher"`
	Repository struct {
		CloneURL string `json:"clone_url"`
		SSHURL   string `json:"ssh_url"`
		GitURL   string `json:"git_url"`
		HTMLURL  string `json:"html_url"`
		SVNURL   string `json:"svn_url"`
	} `json:"repository"`
}

type sender struct {
	Login string `json:"login"`
	Type  string `json:"type"` // "User", "Bot"
}

func (c *common) actor() string {
	if c.Sender.Login != "" {
		return payload.Line(c.Sender.Login)
	}
	return payload.Line(c.Pusher.Name)
}

// hook begins a hook with who did it and all the URLs by which the payload
// names its repository.
func (c *common) hook(kind cyclone.TriggerKind) *cyclone.Hook {
	r := c.Repository
	return &cyclone.Hook{
		Kind: kind, Action: cyclone.ActionStart, Actor: c.actor(),
		Repositories: payload.URLs(r.CloneURL, r.SSHURL, r.GitURL, r.HTMLURL, r.SVNURL),
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
	Ref        string           `json:"ref"`
	Before     string           `json:"before"`
	After      string           `json:"after"`
	Created    bool             `json:"created"`
	Deleted    bool             `json:"deleted"`
	Forced     bool             `json:"forced"`
	Commits    []payload.Commit `json:"commits"`
	HeadCommit payload.Commit   `json:"head_commit"`
}

type pullRequested struct {
	common
	PullRequest pullData `json:"pull_request"`
	Changes     struct {
		Base struct {
			Ref struct {
				From string `json:"from"`
			} `json:"ref"`
		} `json:"base"`
	} `json:"changes"`
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
	Ref  string `json:"ref"`
	SHA  string `json:"sha"`
	Repo struct {
		ID       int64  `json:"id"`
		FullName string `json:"full_name"`
	} `json:"repo"`
}

type commented struct {
	common
	Issue struct {
		Number      int64  `json:"number"`
		Title       string `json:"title"`
		State       string `json:"state"`
		PullRequest *struct {
			URL string `json:"url"`
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
	} `json:"release"`
}
