package github

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/rest"
)

// What GitHub takes at most.
const (
	maxDescriptionRunes = 140
	maxCommentRunes     = 65536
)

// The permissions that calls need, in the words of GitHub's pages about tokens.
const (
	needRead     = `"Metadata: read" (or the scope repo of a classic token)`
	needRoles    = `"Metadata: read" (or the scope repo of a classic token), from somebody who may push to the repository`
	needStatus   = `"Commit statuses: read and write" (or the scope repo:status of a classic token)`
	needComment  = `"Pull requests: read and write" (or the scope repo of a classic token)`
	needContents = `"Contents: read" (or the scope repo of a classic token)`
	needPulls    = `"Pull requests: read" (or the scope repo of a classic token)`
	needHooks    = `"Webhooks: read and write" (or the scope admin:repo_hook of a classic token), from somebody who administers the repository`
)

var commitHash = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// API calls the REST API of GitHub, of GitHub Enterprise Server and of
// enterprises with a subdomain of ghe.com: it is a cyclone.StatusSetter,
// RepositoryReader, HookKeeper and RepositoryLister. The zero value is ready;
// it remembers which token has used up its calls, so there should be one for
// all. Its methods are safe for concurrent use.
type API struct {
	// Client makes the calls; nil means one on Go's usual transport. Each call
	// has 30 s.
	Client *http.Client

	limits rest.Limits
}

// forge is the client for one repository, and the path of it.
func (g *API) forge(a cyclone.ForgeAccess) (*rest.Client, place, error) {
	at, ok := placeOf(a.URL)
	if !ok {
		return nil, at, cyclone.Invalid("repository.url", "%q is no repository of GitHub: it looks like https://github.com/owner/name", rest.Line(a.URL, 200))
	}
	c := g.host(at, a.Credential)
	c.Repository = at.String()
	return c, at, nil
}

// host is the client for what is about no repository.
func (g *API) host(at place, credential cyclone.Credential) *rest.Client {
	return &rest.Client{
		Forge: "GitHub", Base: at.api(), Credential: credential, HTTP: g.Client, Limits: &g.limits,
		Header: http.Header{"Accept": {"application/vnd.github+json"}, "X-Github-Api-Version": {"2022-11-28"}},
	}
}

// path is below the repository: /repos/owner/name/...
func (p place) path(segments ...string) string {
	return rest.Path(append([]string{"repos", p.owner, p.name}, segments...)...)
}

// commitState are GitHub's words. A skipped event is a success: nothing is
// wrong, and a commit that asked for no run must not be kept from being merged.
var commitState = map[cyclone.CommitState]string{
	cyclone.CommitPending: "pending", cyclone.CommitRunning: "pending",
	cyclone.CommitSuccess: "success", cyclone.CommitSkipped: "success",
	cyclone.CommitFailure: "failure",
	cyclone.CommitError:   "error", cyclone.CommitCanceled: "error",
}

// commitStatus is what GitHub is told of a commit.
type commitStatus struct {
	State       string `json:"state"`
	TargetURL   string `json:"target_url,omitempty"`
	Description string `json:"description"`
	Context     string `json:"context"`
}

// SetStatus sets a commit's status; GitHub shows the last one of each context,
// so that doing it twice is harmless.
func (g *API) SetStatus(ctx context.Context, a cyclone.ForgeAccess, sha string, s cyclone.CommitStatus) error {
	c, at, err := g.forge(a)
	if err != nil {
		return fmt.Errorf("set commit status: %w", err)
	}
	state, known := commitState[s.State]
	switch {
	case !known:
		return fmt.Errorf("set commit status: %w", cyclone.Invalid("state", "%q is no state of a commit", s.State))
	case !commitHash.MatchString(sha):
		return fmt.Errorf("set commit status: %w", cyclone.Invalid("commit", "%q is not the full hash of a commit", rest.Line(sha, 100)))
	}
	var made struct {
		State string `json:"state"`
	}
	_, err = c.Do(ctx, rest.Call{
		Method: http.MethodPost, Path: at.path("statuses", sha), Need: needStatus, Thing: "commit " + sha[:7], Into: &made,
		Body: commitStatus{state, s.URL, rest.Line(s.Description, maxDescriptionRunes), s.Context},
	})
	if err != nil {
		return fmt.Errorf("set commit status: %w", err)
	}
	return nil
}

// account is the login of the token's user; empty when it has none, as an
// app's token, or there is no token.
func account(ctx context.Context, c *rest.Client) (string, error) {
	if c.Credential.None() {
		return "", nil
	}
	var user struct {
		Login string `json:"login"`
	}
	_, err := c.Do(ctx, rest.Call{Path: "/user", Into: &user, Thing: "user"})
	if status := rest.Status(err); status == http.StatusNotFound || status == http.StatusForbidden && !errors.Is(err, cyclone.ErrUnavailable) {
		return "", nil
	}
	return user.Login, err
}

// repository is what GitHub says of a repository.
type repository struct {
	ID            int64  `json:"id"`
	FullName      string `json:"full_name"`
	CloneURL      string `json:"clone_url"`
	SSHURL        string `json:"ssh_url"`
	HTMLURL       string `json:"html_url"`
	DefaultBranch string `json:"default_branch"`
	Private       bool   `json:"private"`
	Permissions   struct {
		Admin bool `json:"admin"`
		Push  bool `json:"push"`
	} `json:"permissions"`
}

func (r repository) info() cyclone.RepositoryInfo {
	return cyclone.RepositoryInfo{
		Name: r.FullName, URL: cmp.Or(r.CloneURL, r.HTMLURL), SSHURL: r.SSHURL, WebURL: r.HTMLURL,
		DefaultBranch: r.DefaultBranch, Private: r.Private,
		MayPush: r.Permissions.Push, MayAdmin: r.Permissions.Admin,
	}
}
