package gitlab

import (
	"fmt"
	"regexp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/payload"
)

// common is what all deliveries say. Pushes name who pushed at the top, other
// deliveries in user.
type common struct {
	UserUsername string `json:"user_username"`
	UserName     string `json:"user_name"`
	User         struct {
		Username string `json:"username"`
		Name     string `json:"name"`
	} `json:"user"`
	Project    addresses `json:"project"`
	Repository addresses `json:"repository"`
}

// addresses are the URLs by which a repository is named.
type addresses struct {
	HTTPURL  string `json:"git_http_url"`
	SSHURL   string `json:"git_ssh_url"`
	WebURL   string `json:"web_url"`
	Homepage string `json:"homepage"`
}

// hook begins a hook with who did it and all the URLs by which the payload
// names its repository.
func (c *common) hook(kind cyclone.TriggerKind) *cyclone.Hook {
	p, r := c.Project, c.Repository
	return &cyclone.Hook{
		Kind: kind, Action: cyclone.ActionStart, Actor: c.actor(),
		Repositories: payload.URLs(p.HTTPURL, p.SSHURL, p.WebURL, r.HTTPURL, r.SSHURL, r.Homepage),
	}
}

func (c *common) actor() string {
	for _, name := range []string{c.UserUsername, c.User.Username, c.UserName, c.User.Name} {
		if name != "" {
			return payload.Line(name)
		}
	}
	return ""
}

// ignored is a hook that starts nothing.
func (c *common) ignored(why string, args ...any) *cyclone.Hook {
	hook := c.hook("")
	hook.Action, hook.Ignored = "", fmt.Sprintf(why, args...)
	return hook
}

// botName is how GitLab names the users of access tokens.
var botName = regexp.MustCompile(`^(project|group)_[0-9]+_bot(_|[0-9]*$)`)

type pushed struct {
	common
	Ref          string           `json:"ref"`
	Before       string           `json:"before"`
	After        string           `json:"after"`
	CheckoutSHA  string           `json:"checkout_sha"`
	Commits      []payload.Commit `json:"commits"`
	TotalCommits int64            `json:"total_commits_count"`
}

type mergeRequested struct {
	common
	Attributes mergeAttributes `json:"object_attributes"`
	Changes    struct {
		Target change     `json:"target_branch"`
		Title  change     `json:"title"`
		Draft  flagChange `json:"draft"`
		WIP    flagChange `json:"work_in_progress"`
	} `json:"changes"`
}

type mergeAttributes struct {
	mergeRequestData
	Action string `json:"action"`
	OldRev string `json:"oldrev"` // only of an update that brought commits
	URL    string `json:"url"`
}

type change struct {
	Previous string `json:"previous"`
	Current  string `json:"current"`
}

type flagChange struct {
	Previous bool `json:"previous"`
	Current  bool `json:"current"`
}

// mergeRequestData describes a merge request.
type mergeRequestData struct {
	IID          int64          `json:"iid"`
	Title        string         `json:"title"`
	State        string         `json:"state"`
	Draft        bool           `json:"draft"`
	WIP          bool           `json:"work_in_progress"`
	SourceBranch string         `json:"source_branch"`
	TargetBranch string         `json:"target_branch"`
	SourceID     int64          `json:"source_project_id"`
	TargetID     int64          `json:"target_project_id"`
	LastCommit   payload.Commit `json:"last_commit"`
}

type noted struct {
	common
	Attributes struct {
		Note   string `json:"note"`
		Type   string `json:"noteable_type"`
		Action string `json:"action"` // not sent by older versions, which tell of new notes only
		System bool   `json:"system"`
	} `json:"object_attributes"`
	MergeRequest mergeRequestData `json:"merge_request"`
}

type released struct {
	common
	Action string         `json:"action"`
	Tag    string         `json:"tag"`
	Commit payload.Commit `json:"commit"`
}
