package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/rest"
)

const (
	// maxCompared is how many files GitHub lists of a comparison.
	maxCompared = 300
	// maxPullFiles is how many files GitHub lists of a pull request.
	maxPullFiles = 3000
	// maxPatches is the room for lists of files, which come with their patches.
	maxPatches = 16 << 20
)

// Repository describes the repository and what the token may do there: what
// GitHub lets its user do, less what the scopes of a classic token leave out.
func (g *API) Repository(ctx context.Context, a cyclone.ForgeAccess) (*cyclone.RepositoryInfo, error) {
	c, at, err := g.forge(a)
	if err != nil {
		return nil, fmt.Errorf("read repository: %w", err)
	}
	var r repository
	answer, err := c.Do(ctx, rest.Call{Path: at.path(), Into: &r, Need: needRead})
	if err != nil {
		return nil, fmt.Errorf("read repository: %w", err)
	}
	if r.FullName == "" {
		return nil, fmt.Errorf("read repository: %w", cyclone.Unavailable("%s says nothing of a repository: is it the API of a GitHub?", at.api()))
	}
	info := r.info()
	narrow(&info, answer.Header)
	if info.Account, err = account(ctx, c); err != nil {
		return nil, fmt.Errorf("read the token's user: %w", err)
	}
	return &info, nil
}

// narrow takes away what the scopes of a classic token do not allow. Other
// tokens have no scopes and are asked by doing.
func narrow(info *cyclone.RepositoryInfo, header http.Header) {
	scopes := strings.FieldsFunc(header.Get("X-OAuth-Scopes"), func(r rune) bool { return r == ',' || r == ' ' })
	if len(scopes) == 0 {
		return
	}
	has := func(wanted ...string) bool {
		return slices.ContainsFunc(wanted, func(s string) bool { return slices.Contains(scopes, s) })
	}
	whole := has("repo") || !info.Private && has("public_repo")
	info.MayPush = info.MayPush && (whole || has("repo:status"))
	info.MayAdmin = info.MayAdmin && (whole || has("admin:repo_hook", "write:repo_hook"))
}

// file is one of a list of changed files; a renamed one has two paths.
type file struct {
	Filename string `json:"filename"`
	Previous string `json:"previous_filename"`
}

// Changed lists the paths in which two commits differ, or those of a pull
// request. It is nil when GitHub cuts its list off, and when before is not an
// ancestor of after: what GitHub lists then is not the difference.
func (g *API) Changed(ctx context.Context, a cyclone.ForgeAccess, before, after string, number int) ([]string, error) {
	c, at, err := g.forge(a)
	if err != nil {
		return nil, fmt.Errorf("list changed files: %w", err)
	}
	var files []file
	if number != 0 {
		files, err = pullFiles(ctx, c, at, number)
	} else {
		files, err = compared(ctx, c, at, before, after)
	}
	if errors.Is(err, rest.ErrTooLarge) {
		return nil, nil
	}
	if err != nil || files == nil {
		return nil, wrap("list changed files", err)
	}
	paths := make([]string, 0, len(files))
	for _, f := range files {
		paths = append(paths, f.Filename)
		if f.Previous != "" {
			paths = append(paths, f.Previous)
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths), nil
}

func compared(ctx context.Context, c *rest.Client, at place, before, after string) ([]file, error) {
	if !commitHash.MatchString(before) || !commitHash.MatchString(after) {
		return nil, cyclone.Invalid("commit", "%q and %q are not both full hashes of commits", rest.Line(before, 100), rest.Line(after, 100))
	}
	if strings.Trim(before, "0") == "" {
		return nil, nil // a new branch differs from nothing
	}
	var said struct {
		Status string `json:"status"`
		Files  []file `json:"files"`
	}
	_, err := c.Do(ctx, rest.Call{
		Path: at.path("compare", before+"..."+after),
		// The files come with the first page of the commits, which may be short.
		Query: url.Values{"per_page": {"1"}, "page": {"1"}},
		Into:  &said, Max: maxPatches, Need: needContents, Thing: "commits " + before[:7] + " and " + after[:7],
	})
	if err != nil {
		return nil, err
	}
	if said.Status != "ahead" && said.Status != "identical" || len(said.Files) >= maxCompared {
		return nil, nil
	}
	return append([]file{}, said.Files...), nil
}

func pullFiles(ctx context.Context, c *rest.Client, at place, number int) ([]file, error) {
	thing, err := pull(number)
	if err != nil {
		return nil, err
	}
	files, whole, err := rest.All(maxPullFiles/rest.MaxSize, func(p rest.Place) ([]file, *rest.Answer, error) {
		var some []file
		answer, err := c.Do(ctx, rest.Call{
			Path: at.path("pulls", strconv.Itoa(number), "files"), Query: p.Query("per_page"),
			Into: &some, Max: maxPatches, Need: needPulls, Thing: thing,
		})
		return some, answer, err
	})
	if err != nil || !whole || len(files) >= maxPullFiles {
		return nil, err
	}
	return append([]file{}, files...), nil
}

// pull names a pull request in messages.
func pull(number int) (string, error) {
	if number < 1 {
		return "", cyclone.Invalid("number", "%d is no number of a pull request", number)
	}
	return fmt.Sprintf("pull request %d", number), nil
}

// side is one of the two branches of a pull request.
type side struct {
	Ref  string      `json:"ref"`
	SHA  string      `json:"sha"`
	Repo *repository `json:"repo"` // null when the fork was deleted
}

// PullRequest describes a pull request as it is now.
func (g *API) PullRequest(ctx context.Context, a cyclone.ForgeAccess, number int) (*cyclone.PullRequestInfo, error) {
	c, at, err := g.forge(a)
	if err != nil {
		return nil, fmt.Errorf("read pull request: %w", err)
	}
	thing, err := pull(number)
	if err != nil {
		return nil, fmt.Errorf("read pull request: %w", err)
	}
	var said struct {
		Number  int    `json:"number"`
		Title   string `json:"title"`
		State   string `json:"state"`
		Draft   bool   `json:"draft"`
		HTMLURL string `json:"html_url"`
		Head    side   `json:"head"`
		Base    side   `json:"base"`
	}
	if _, err := c.Do(ctx, rest.Call{Path: at.path("pulls", strconv.Itoa(number)), Into: &said, Need: needPulls, Thing: thing}); err != nil {
		return nil, fmt.Errorf("read pull request: %w", err)
	}
	if said.Number != number || !commitHash.MatchString(said.Head.SHA) {
		return nil, fmt.Errorf("read pull request: %w", cyclone.Unavailable("%s says nothing of %s: is it the API of a GitHub?", at.api(), thing))
	}
	return &cyclone.PullRequestInfo{
		PullRequest: cyclone.PullRequest{
			Number: number, Title: said.Title, SourceBranch: said.Head.Ref, TargetBranch: said.Base.Ref,
			Fork: said.Head.Repo == nil || said.Base.Repo == nil || said.Head.Repo.ID != said.Base.Repo.ID,
		},
		Open: said.State == "open", Draft: said.Draft,
		Ref:  fmt.Sprintf("refs/pull/%d/head", number),
		Head: cyclone.Commit{SHA: said.Head.SHA, URL: commitPage(said.HTMLURL, said.Head.SHA)},
	}, nil
}

func commitPage(page, sha string) string {
	if page == "" {
		return ""
	}
	return page + "/commits/" + sha
}

// MayWrite reports whether a user may push: whose role is write, maintain,
// admin or one that an organization made out of these.
func (g *API) MayWrite(ctx context.Context, a cyclone.ForgeAccess, user string) (bool, error) {
	c, at, err := g.forge(a)
	if err != nil {
		return false, fmt.Errorf("read permission of user: %w", err)
	}
	var said struct {
		// Permission is the closest of GitHub's first roles: maintain is write.
		Permission string `json:"permission"`
		Role       string `json:"role_name"`
	}
	_, err = c.Do(ctx, rest.Call{
		Path: at.path("collaborators", user, "permission"), Into: &said, Need: needRoles, Thing: "user " + rest.Line(user, 100),
	})
	if errors.Is(err, cyclone.ErrNotFound) {
		return false, wrap("read permission of user", seen(ctx, c, at))
	}
	if err != nil {
		return false, fmt.Errorf("read permission of user: %w", err)
	}
	writes := []string{"write", "maintain", "admin"}
	return slices.Contains(writes, said.Permission) || slices.Contains(writes, said.Role), nil
}

// seen is nil when the repository can be seen: then it was the user who is not
// there.
func seen(ctx context.Context, c *rest.Client, at place) error {
	_, err := c.Do(ctx, rest.Call{Path: at.path(), Need: needRead})
	return err
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
