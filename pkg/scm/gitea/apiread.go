package gitea

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/rest"
)

// maxFilePages is how many pages of a pull request's files are read.
const maxFilePages = 80

// Repository describes the repository and what the token's user may do there.
// Gitea does not tell the scopes of a token: those are asked by doing.
func (g *API) Repository(ctx context.Context, a cyclone.ForgeAccess) (*cyclone.RepositoryInfo, error) {
	c, at, err := g.forge(a)
	if err != nil {
		return nil, fmt.Errorf("read repository: %w", err)
	}
	var r repository
	if _, err := c.Do(ctx, rest.Call{Path: at.path(), Into: &r, Need: needRead}); err != nil {
		return nil, fmt.Errorf("read repository: %w", err)
	}
	if r.FullName == "" {
		return nil, fmt.Errorf("read repository: %w", cyclone.Unavailable("%s says nothing of a repository: is it the API of a Gitea?", at.api()))
	}
	info := r.info()
	u, err := me(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("read the token's user: %w", err)
	}
	info.Account = u.Login
	return &info, nil
}

// file is one of a list of changed files; a renamed one has two paths.
type file struct {
	Filename string `json:"filename"`
	Previous string `json:"previous_filename"`
}

// Changed lists the paths in which two commits differ, or those of a pull
// request; nil when Gitea does not tell all of them. Of two commits those are
// listed that the commits from one to the other touched, which are some more
// where one took back what another did.
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

// comparison is what is reachable from one commit and not from another.
type comparison struct {
	Total   int `json:"total_commits"`
	Commits []struct {
		Parents []struct {
			SHA string `json:"sha"`
		} `json:"parents"`
		Files *[]file `json:"files"`
	} `json:"commits"`
}

func compared(ctx context.Context, c *rest.Client, at place, before, after string) ([]file, error) {
	if !commitHash.MatchString(before) || !commitHash.MatchString(after) {
		return nil, cyclone.Invalid("commit", "%q and %q are not both full hashes of commits", rest.Line(before, 100), rest.Line(after, 100))
	}
	if strings.Trim(before, "0") == "" {
		return nil, nil // a new branch differs from nothing
	}
	if before == after {
		return []file{}, nil
	}
	var said comparison
	_, err := c.Do(ctx, rest.Call{
		Path: at.path("compare", before+"..."+after), Into: &said, Max: maxBytes, Need: needRead, Thing: "commits " + before[:7] + " and " + after[:7],
	})
	if errors.Is(err, cyclone.ErrNotFound) {
		// Before 1.22 there is no such call: not to be known from here.
		return nil, seen(ctx, c, at)
	}
	if err != nil {
		return nil, err
	}
	return said.files(before), nil
}

// files are those of all commits; nil when one does not list its own, or when
// before is not their ancestor: then what before has of its own is not there.
// It is one exactly if it is a parent of one of them.
func (said comparison) files(before string) []file {
	files, follows := []file{}, false
	for _, commit := range said.Commits {
		if commit.Files == nil {
			return nil
		}
		files = append(files, *commit.Files...)
		for _, parent := range commit.Parents {
			follows = follows || parent.SHA == before
		}
	}
	if !follows || said.Total > len(said.Commits) {
		return nil
	}
	return files
}

func pullFiles(ctx context.Context, c *rest.Client, at place, number int) ([]file, error) {
	thing, err := numbered(number)
	if err != nil {
		return nil, err
	}
	files, whole, err := rest.All(maxFilePages, func(p rest.Place) ([]file, *rest.Answer, error) {
		var some []file
		call := rest.Call{Path: at.path("pulls", strconv.Itoa(number), "files"), Into: &some, Max: maxBytes, Need: needRead, Thing: thing}
		return page(ctx, c, p, call, func() []file { return some })
	})
	if err != nil || !whole {
		return nil, err
	}
	return append([]file{}, files...), nil
}

// pull is what Gitea says of a pull request.
type pull struct {
	pullData
	State string `json:"state"`
}

func readPull(ctx context.Context, c *rest.Client, at place, number int) (*pull, error) {
	thing, err := numbered(number)
	if err != nil {
		return nil, err
	}
	var said pull
	if _, err := c.Do(ctx, rest.Call{Path: at.path("pulls", strconv.Itoa(number)), Into: &said, Need: needRead, Thing: thing}); err != nil {
		return nil, err
	}
	if said.Number != int64(number) || !commitHash.MatchString(said.Head.SHA) {
		return nil, cyclone.Unavailable("%s says nothing of %s: is it the API of a Gitea?", at.api(), thing)
	}
	return &said, nil
}

// PullRequest describes a pull request as it is now.
func (g *API) PullRequest(ctx context.Context, a cyclone.ForgeAccess, number int) (*cyclone.PullRequestInfo, error) {
	c, at, err := g.forge(a)
	if err != nil {
		return nil, fmt.Errorf("read pull request: %w", err)
	}
	said, err := readPull(ctx, c, at, number)
	if err != nil {
		return nil, fmt.Errorf("read pull request: %w", err)
	}
	return &cyclone.PullRequestInfo{
		PullRequest: cyclone.PullRequest{
			Number: number, Title: said.Title, SourceBranch: said.Head.Ref, TargetBranch: said.Base.Ref, Fork: said.fork(),
		},
		Open: said.State == "open", Draft: said.draft(),
		Ref:  headRef(said.Number),
		Head: cyclone.Commit{SHA: said.Head.SHA, URL: commitURL(&said.pullData, said.Head.SHA)},
	}, nil
}

// MayWrite reports whether a user may push. Gitea tells only administrators of
// the repository about others.
func (g *API) MayWrite(ctx context.Context, a cyclone.ForgeAccess, name string) (bool, error) {
	c, at, err := g.forge(a)
	if err != nil {
		return false, fmt.Errorf("read permission of user: %w", err)
	}
	var said struct {
		Permission string `json:"permission"`
	}
	_, err = c.Do(ctx, rest.Call{
		Path: at.path("collaborators", name, "permission"), Into: &said, Need: needRoles, Thing: "user " + rest.Line(name, 100),
	})
	if errors.Is(err, cyclone.ErrNotFound) {
		return false, wrap("read permission of user", seen(ctx, c, at))
	}
	if err != nil {
		return false, fmt.Errorf("read permission of user: %w", err)
	}
	return slices.Contains([]string{"write", "admin", "owner"}, said.Permission), nil
}

// seen is nil when the repository can be seen: then it was the user who is not
// there.
func seen(ctx context.Context, c *rest.Client, at place) error {
	_, err := c.Do(ctx, rest.Call{Path: at.path(), Need: needRead})
	return err
}
