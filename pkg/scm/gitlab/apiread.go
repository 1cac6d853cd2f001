package gitlab

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/rest"
)

const (
	// maxDiffPages is how many pages of a merge request's changes are read.
	maxDiffPages = 40
	// maxDiffs is the room for lists whose items may be long: changes come with
	// their text, branches and notes with their messages.
	maxDiffs = 16 << 20
)

// Repository describes the project and what the token may do there: what its
// user may, less what the token's scopes leave out.
func (g *API) Repository(ctx context.Context, a cyclone.ForgeAccess) (*cyclone.RepositoryInfo, error) {
	c, at, err := g.project(a)
	if err != nil {
		return nil, fmt.Errorf("read repository: %w", err)
	}
	var p projectInfo
	if _, err := c.Do(ctx, rest.Call{Path: at.below(), Into: &p, Need: needRead}); err != nil {
		return nil, fmt.Errorf("read repository: %w", err)
	}
	if p.Path == "" {
		return nil, fmt.Errorf("read repository: %w", cyclone.Unavailable("%s says nothing of a project: is it the API of a GitLab?", at.api()))
	}
	info := p.info()
	if c.Credential.None() {
		return &info, nil
	}
	if err := narrow(ctx, c, at, &info); err != nil {
		return nil, fmt.Errorf("read what the token may do: %w", err)
	}
	return &info, nil
}

// narrow finds out whose the token is and what it may do.
func narrow(ctx context.Context, c *rest.Client, at place, info *cyclone.RepositoryInfo) error {
	u, err := me(ctx, c)
	if err != nil {
		return err
	}
	info.Account = u.Username
	info.MayPush, info.MayAdmin = info.MayPush || u.Admin, info.MayAdmin || u.Admin
	if u.ID != 0 && !info.MayAdmin {
		// A group that was invited to the project does not show there.
		level, err := memberLevel(ctx, c, at, u.ID)
		if errors.Is(err, cyclone.ErrUnavailable) {
			return err
		}
		info.MayPush = info.MayPush || level >= levelDeveloper
		info.MayAdmin = level >= levelMaintainer
	}
	var token struct {
		Scopes []string `json:"scopes"`
	}
	_, err = c.Do(ctx, rest.Call{Path: "/personal_access_tokens/self", Into: &token, Thing: "token"})
	if errors.Is(err, cyclone.ErrUnavailable) {
		return err
	}
	// An OAuth token has no such page, nor has an old GitLab: asked by doing.
	if err == nil && len(token.Scopes) > 0 && !slices.Contains(token.Scopes, "api") {
		info.MayPush, info.MayAdmin = false, false
	}
	return nil
}

// memberLevel is the access of a user to the project, through groups too.
func memberLevel(ctx context.Context, c *rest.Client, at place, id int64) (int, error) {
	var member struct {
		membership
		State string `json:"state"`
	}
	_, err := c.Do(ctx, rest.Call{Path: at.below("members", "all", strconv.FormatInt(id, 10)), Into: &member, Need: needRead, Thing: "member"})
	if err != nil || member.State != "" && member.State != "active" {
		return 0, err
	}
	return member.Level, nil
}

// diff is one of a list of changed files; a renamed one has two paths.
type diff struct {
	Old string `json:"old_path"`
	New string `json:"new_path"`
}

// Changed lists the paths in which two commits differ, or those of a merge
// request; nil when GitLab cuts its list off, or has not yet looked at the
// commits of the merge request.
func (g *API) Changed(ctx context.Context, a cyclone.ForgeAccess, before, after string, number int) ([]string, error) {
	c, at, err := g.project(a)
	if err != nil {
		return nil, fmt.Errorf("list changed files: %w", err)
	}
	var diffs []diff
	if number != 0 {
		diffs, err = requestDiffs(ctx, c, at, number)
	} else {
		diffs, err = compared(ctx, c, at, before, after)
	}
	if errors.Is(err, rest.ErrTooLarge) {
		return nil, nil
	}
	if err != nil || diffs == nil {
		return nil, wrap("list changed files", err)
	}
	paths := make([]string, 0, len(diffs))
	for _, d := range diffs {
		paths = append(paths, d.New, d.Old)
	}
	slices.Sort(paths)
	return slices.DeleteFunc(slices.Compact(paths), func(path string) bool { return path == "" }), nil
}

func compared(ctx context.Context, c *rest.Client, at place, before, after string) ([]diff, error) {
	if !isHash(before, after) {
		return nil, cyclone.Invalid("commit", "%q and %q are not both full hashes of commits", rest.Line(before, 100), rest.Line(after, 100))
	}
	if isZero(before) {
		return nil, nil // a new branch differs from nothing
	}
	var said struct {
		Diffs []diff `json:"diffs"`
		// Cut says that not all are there, for whatever reason.
		Cut bool `json:"compare_timeout"`
	}
	_, err := c.Do(ctx, rest.Call{
		Path: at.below("repository", "compare"),
		// Straight is from one to the other, not from what they have in common.
		Query: url.Values{"from": {before}, "to": {after}, "straight": {"true"}},
		Into:  &said, Max: maxDiffs, Need: needContents, Thing: "commits " + before[:7] + " and " + after[:7],
	})
	if err != nil || said.Cut {
		return nil, err
	}
	return append([]diff{}, said.Diffs...), nil
}

// mergeRequestInfo is what GitLab says of a merge request.
type mergeRequestInfo struct {
	IID     int    `json:"iid"`
	Title   string `json:"title"`
	State   string `json:"state"`
	Draft   bool   `json:"draft"`
	WIP     bool   `json:"work_in_progress"` // before GitLab 13.2
	SHA     string `json:"sha"`
	Source  string `json:"source_branch"`
	Target  string `json:"target_branch"`
	From    int64  `json:"source_project_id"` // null when the fork was deleted
	To      int64  `json:"target_project_id"`
	WebURL  string `json:"web_url"`
	Changes string `json:"changes_count"` // "3", or "1000+", or null until GitLab has looked
}

// fork reports whether the commits come from another project. What is not known
// counts as one: the safe side.
func (m *mergeRequestInfo) fork() bool { return m.From == 0 || m.From != m.To }

func readRequest(ctx context.Context, c *rest.Client, at place, number int) (*mergeRequestInfo, error) {
	thing, err := numbered(number)
	if err != nil {
		return nil, err
	}
	var said mergeRequestInfo
	if _, err := c.Do(ctx, rest.Call{Path: at.request(number), Into: &said, Need: needContents, Thing: thing}); err != nil {
		return nil, err
	}
	if said.IID != number || !isHash(said.SHA) {
		return nil, cyclone.Unavailable("%s says nothing of %s: is it the API of a GitLab?", at.api(), thing)
	}
	return &said, nil
}

// requestDiffs lists as many changes as the merge request says that it has: of
// one that is new GitLab lists none until it has looked at the commits.
func requestDiffs(ctx context.Context, c *rest.Client, at place, number int) ([]diff, error) {
	request, err := readRequest(ctx, c, at, number)
	if err != nil {
		return nil, err
	}
	count, err := strconv.Atoi(request.Changes)
	if err != nil {
		return nil, nil // "1000+", or nobody knows yet
	}
	thing := fmt.Sprintf("changes of merge request %d", number)
	diffs, whole, err := rest.All(maxDiffPages, func(p rest.Place) ([]diff, *rest.Answer, error) {
		var some []diff
		answer, err := c.Do(ctx, rest.Call{Path: at.request(number, "diffs"), Query: p.Query("per_page"), Into: &some, Max: maxDiffs, Need: needContents, Thing: thing})
		return some, answer, err
	})
	if errors.Is(err, cyclone.ErrNotFound) {
		diffs, whole, err = oldDiffs(ctx, c, at, number, thing)
	}
	if err != nil || !whole || len(diffs) != count {
		return nil, err
	}
	return append([]diff{}, diffs...), nil
}

// oldDiffs asks a GitLab before 15.7, which has the changes on one page.
func oldDiffs(ctx context.Context, c *rest.Client, at place, number int, thing string) (diffs []diff, whole bool, err error) {
	var said struct {
		Changes  []diff `json:"changes"`
		Overflow bool   `json:"overflow"`
	}
	_, err = c.Do(ctx, rest.Call{Path: at.request(number, "changes"), Into: &said, Max: maxDiffs, Need: needContents, Thing: thing})
	return said.Changes, !said.Overflow, err
}

// PullRequest describes a merge request as it is now.
func (g *API) PullRequest(ctx context.Context, a cyclone.ForgeAccess, number int) (*cyclone.PullRequestInfo, error) {
	c, at, err := g.project(a)
	if err != nil {
		return nil, fmt.Errorf("read merge request: %w", err)
	}
	said, err := readRequest(ctx, c, at, number)
	if err != nil {
		return nil, fmt.Errorf("read merge request: %w", err)
	}
	return &cyclone.PullRequestInfo{
		PullRequest: cyclone.PullRequest{
			Number: number, Title: said.Title, SourceBranch: said.Source, TargetBranch: said.Target, Fork: said.fork(),
		},
		Open: said.State == "opened" || said.State == "locked", Draft: said.Draft || said.WIP || draftTitle(said.Title),
		Ref:  headRef(int64(number)),
		Head: cyclone.Commit{SHA: said.SHA, URL: commitPage(said.WebURL, said.SHA)},
	}, nil
}

// commitPage is the page of a commit, found by that of a merge request.
func commitPage(page, sha string) string {
	project, _, found := strings.Cut(page, "/-/")
	if !found {
		return ""
	}
	return project + "/-/commit/" + sha
}

// userName is what GitLab takes for the name of a user.
var userName = regexp.MustCompile(`^[\pL\pN_][\pL\pN_.-]*$`)

// MayWrite reports whether a user may push: who is Developer or more, of the
// project or through a group.
func (g *API) MayWrite(ctx context.Context, a cyclone.ForgeAccess, name string) (bool, error) {
	c, at, err := g.project(a)
	if err != nil {
		return false, fmt.Errorf("read access of user: %w", err)
	}
	if len(name) > maxName || !userName.MatchString(name) {
		return false, nil // nobody is called so
	}
	var found []user
	_, err = c.Do(ctx, rest.Call{Path: "/users", Query: url.Values{"username": {name}}, Into: &found, Need: needRead, Thing: "user " + name})
	if err != nil {
		return false, fmt.Errorf("find user: %w", err)
	}
	i := slices.IndexFunc(found, func(u user) bool { return strings.EqualFold(u.Username, name) && u.ID != 0 })
	level := 0
	if i >= 0 {
		level, err = memberLevel(ctx, c, at, found[i].ID)
	}
	if i < 0 || errors.Is(err, cyclone.ErrNotFound) {
		return false, wrap("read access of user", seen(ctx, c, at))
	}
	return level >= levelDeveloper, wrap("read access of user", err)
}

// seen is nil when the project can be seen: then it was the user who is not
// there.
func seen(ctx context.Context, c *rest.Client, at place) error {
	_, err := c.Do(ctx, rest.Call{Path: at.below(), Need: needRead})
	return err
}
