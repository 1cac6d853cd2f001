package gitea

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/rest"
)

const (
	// maxDescriptionRunes is what we send of a description: Gitea takes any
	// length, and shows a line.
	maxDescriptionRunes = 255
	// maxCommentRunes is what we send of a comment.
	maxCommentRunes = 65536
	// maxSize is how many items a page of Gitea's has, unless its administrator
	// lets it have more or fewer.
	maxSize = 50
	// maxBytes is the room for lists whose items may be long.
	maxBytes = 16 << 20
)

// The permissions that calls need, in the words of Gitea's pages about tokens.
const (
	needRead    = `"repository: Read" (the scope read:repository)`
	needStatus  = `"repository: Read and Write" (the scope write:repository), from somebody who may push to the repository`
	needComment = `"issue: Read and Write" (the scope write:issue)`
	needRoles   = `"repository: Read" (the scope read:repository), from somebody who administers the repository`
	needHooks   = `"repository: Read and Write" (the scope write:repository), from somebody who administers the repository`
	needUser    = `"user: Read" (the scope read:user)`
)

var commitHash = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// API calls the REST API of Gitea and of Forgejo: it is a cyclone.StatusSetter,
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
		return nil, at, cyclone.Invalid("repository.url", "%q is no repository of Gitea: it looks like https://gitea.example.com/owner/name", rest.Line(a.URL, 200))
	}
	c := g.host(at, a.Credential)
	c.Repository = at.String()
	return c, at, nil
}

// host is the client for what is about no repository. "token" is the word that
// all versions take, before tokens of OAuth too.
func (g *API) host(at place, credential cyclone.Credential) *rest.Client {
	return &rest.Client{
		Forge: "Gitea", Base: at.api(), Credential: credential, Scheme: "token", HTTP: g.Client, Limits: &g.limits,
		Header: http.Header{"Accept": {"application/json"}},
	}
}

// page asks for one page of a list, in Gitea's words and for no more than it
// gives. Some lists tell how many items there are, but not whether there is
// another page.
func page[T any](ctx context.Context, c *rest.Client, p rest.Place, call rest.Call, items func() []T) ([]T, *rest.Answer, error) {
	p.Size = min(p.Size, maxSize)
	query := p.Query("limit")
	for name, values := range call.Query {
		query[name] = values
	}
	call.Query = query
	answer, err := c.Do(ctx, call)
	if err != nil {
		return nil, nil, err
	}
	some := items()
	n, total := len(some), answer.Total()
	last := n == 0 || (p.Page-1)*p.Size+n == total
	// A Gitea whose pages are smaller than asked for has them all full but one.
	if answer.Next() == 0 && !last && p.Page*n < total {
		answer.Header.Set("X-Next-Page", strconv.Itoa(p.Page+1))
	}
	return some, answer, nil
}

// commitState are Gitea's words. A skipped event is a success: nothing is
// wrong, and a commit that asked for no run must not be kept from being merged.
var commitState = map[cyclone.CommitState]string{
	cyclone.CommitPending: "pending", cyclone.CommitRunning: "pending",
	cyclone.CommitSuccess: "success", cyclone.CommitSkipped: "success",
	cyclone.CommitFailure: "failure",
	cyclone.CommitError:   "error", cyclone.CommitCanceled: "error",
}

// commitStatus is what Gitea is told of a commit.
type commitStatus struct {
	State       string `json:"state"`
	TargetURL   string `json:"target_url,omitempty"`
	Description string `json:"description"`
	Context     string `json:"context"`
}

// SetStatus sets a commit's status; Gitea shows the last one of each context,
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
		ID int64 `json:"id"`
	}
	_, err = c.Do(ctx, rest.Call{
		Method: http.MethodPost, Path: at.path("statuses", sha), Need: needStatus, Thing: "commit " + sha[:7], Into: &made,
		Body: commitStatus{state, s.URL, rest.Line(s.Description, maxDescriptionRunes), s.Context},
	})
	return wrap("set commit status", err)
}

// user is somebody at Gitea.
type user struct {
	ID    int64  `json:"id"`
	Login string `json:"login"`
}

// me is the token's user; the zero value when the token may not say, or there
// is none.
func me(ctx context.Context, c *rest.Client) (user, error) {
	if c.Credential.None() {
		return user{}, nil
	}
	var u user
	_, err := c.Do(ctx, rest.Call{Path: "/user", Into: &u, Need: needUser, Thing: "user"})
	if status := rest.Status(err); status == http.StatusNotFound || status == http.StatusForbidden && !errors.Is(err, cyclone.ErrUnavailable) {
		return user{}, nil
	}
	return u, err
}

// repository is what Gitea says of a repository.
type repository struct {
	ID            int64  `json:"id"`
	FullName      string `json:"full_name"`
	CloneURL      string `json:"clone_url"`
	SSHURL        string `json:"ssh_url"`
	HTMLURL       string `json:"html_url"`
	DefaultBranch string `json:"default_branch"`
	Private       bool   `json:"private"`
	Internal      bool   `json:"internal"` // of an organization that is not public
	Permissions   struct {
		Admin bool `json:"admin"`
		Push  bool `json:"push"`
	} `json:"permissions"`
}

func (r repository) info() cyclone.RepositoryInfo {
	return cyclone.RepositoryInfo{
		Name: r.FullName, URL: cmp.Or(r.CloneURL, r.HTMLURL), SSHURL: r.SSHURL, WebURL: r.HTMLURL,
		DefaultBranch: r.DefaultBranch, Private: r.Private || r.Internal,
		MayPush: r.Permissions.Push, MayAdmin: r.Permissions.Admin,
	}
}

// numbered names a pull request in messages.
func numbered(number int) (string, error) {
	if number < 1 {
		return "", cyclone.Invalid("number", "%d is no number of a pull request", number)
	}
	return "pull request " + strconv.Itoa(number), nil
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
