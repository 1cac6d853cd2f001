package gitlab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/rest"
)

// What GitLab takes at most.
const (
	maxDescriptionRunes = 255
	maxURLRunes         = 255
	maxNoteRunes        = 1_000_000
	maxName             = 255 // of a user
)

// The permissions that calls need, in the words of GitLab's pages about tokens
// and roles.
const (
	needRead     = `"read_api" (the scope of a token; api has it too), from a member of the project`
	needStatus   = `"api" (the scope of a token), from somebody who is Developer or more in the project and may push to the branch if it is protected; CI/CD must be turned on in the project's settings`
	needNote     = `"api" (the scope of a token), from somebody who is Reporter or more in the project`
	needHooks    = `"api" (the scope of a token), from somebody who is Maintainer or Owner of the project`
	needContents = `"read_api" (the scope of a token; api has it too), from somebody who is Reporter or more in the project`
)

// Levels of access, as GitLab counts them.
const (
	levelDeveloper  = 30 // may push
	levelMaintainer = 40 // may make webhooks
)

var commitHash = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// API calls the REST API of gitlab.com and of other GitLabs, version 4: it is a
// cyclone.StatusSetter, RepositoryReader, HookKeeper and RepositoryLister. The
// zero value is ready; it remembers which token has used up its calls, so there
// should be one for all. Its methods are safe for concurrent use.
type API struct {
	// Client makes the calls; nil means one on Go's usual transport. Each call
	// has 30 s.
	Client *http.Client

	limits rest.Limits
}

// project is the client for one project, and the path of it.
func (g *API) project(a cyclone.ForgeAccess) (*rest.Client, place, error) {
	at, ok := placeOf(a.URL)
	if !ok {
		return nil, at, cyclone.Invalid("repository.url", "%q is no repository of GitLab: it looks like https://gitlab.com/group/name", rest.Line(a.URL, 200))
	}
	c := g.host(at, a.Credential)
	c.Repository = at.String()
	return c, at, nil
}

// host is the client for what is about no project. Tokens of all kinds are
// accepted as Bearer: personal ones, those of projects and groups, and OAuth's,
// which PRIVATE-TOKEN would not do.
func (g *API) host(at place, credential cyclone.Credential) *rest.Client {
	return &rest.Client{
		Forge: "GitLab", Base: at.api(), Credential: credential, HTTP: g.Client, Limits: &g.limits,
		Header: http.Header{"Accept": {"application/json"}},
	}
}

// projectInfo is what GitLab says of a project.
type projectInfo struct {
	ID            int64  `json:"id"`
	Path          string `json:"path_with_namespace"`
	HTTPURL       string `json:"http_url_to_repo"`
	SSHURL        string `json:"ssh_url_to_repo"`
	WebURL        string `json:"web_url"`
	DefaultBranch string `json:"default_branch"`
	Visibility    string `json:"visibility"`
	// Permissions are of the token's user; either part is null without one.
	Permissions struct {
		Project *membership `json:"project_access"`
		Group   *membership `json:"group_access"`
	} `json:"permissions"`
}

type membership struct {
	Level int `json:"access_level"`
}

func (p projectInfo) level() int {
	level := 0
	for _, m := range []*membership{p.Permissions.Project, p.Permissions.Group} {
		if m != nil {
			level = max(level, m.Level)
		}
	}
	return level
}

func (p projectInfo) info() cyclone.RepositoryInfo {
	return cyclone.RepositoryInfo{
		Name: p.Path, URL: cmp.Or(p.HTTPURL, p.WebURL), SSHURL: p.SSHURL, WebURL: p.WebURL, DefaultBranch: p.DefaultBranch,
		// One that is internal is seen by every user, but not without one.
		Private: p.Visibility != "public",
		MayPush: p.level() >= levelDeveloper, MayAdmin: p.level() >= levelMaintainer,
	}
}

// user is somebody at GitLab.
type user struct {
	ID       int64  `json:"id"`
	Username string `json:"username"`
	Admin    bool   `json:"is_admin"` // of the whole GitLab, who may all; told to those only
}

// me is the token's user, which those of projects and groups have too; the
// zero value when the token may not say, or there is none.
func me(ctx context.Context, c *rest.Client) (user, error) {
	if c.Credential.None() {
		return user{}, nil
	}
	var u user
	_, err := c.Do(ctx, rest.Call{Path: "/user", Into: &u, Thing: "user"})
	if status := rest.Status(err); status == http.StatusNotFound || status == http.StatusForbidden && !errors.Is(err, cyclone.ErrUnavailable) {
		return user{}, nil
	}
	return u, err
}

// numbered names a merge request in messages.
func numbered(number int) (string, error) {
	if number < 1 {
		return "", cyclone.Invalid("number", "%d is no number of a merge request", number)
	}
	return fmt.Sprintf("merge request %d", number), nil
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// isHash reports whether all are full hashes of commits.
func isHash(all ...string) bool {
	for _, sha := range all {
		if !commitHash.MatchString(sha) {
			return false
		}
	}
	return true
}

// isZero reports whether a hash stands for no commit.
func isZero(sha string) bool { return strings.Trim(sha, "0") == "" }
