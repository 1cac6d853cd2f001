package connect

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/paging"
)

// Changed lists the paths in which two commits differ, or those of a pull
// request when number is not 0; nil when the forge does not tell all of them.
// ErrNotFound when p has no forge or no token to ask with.
func (c *Connector) Changed(ctx context.Context, p *cyclone.Project, before, after string, number int) ([]string, error) {
	driver, access, err := c.access(ctx, p)
	if err != nil {
		return nil, err
	}
	return driver.Changed(ctx, access, before, after, number)
}

// PullRequest describes a pull request as it is now; the errors are those of
// Changed.
func (c *Connector) PullRequest(ctx context.Context, p *cyclone.Project, number int) (*cyclone.PullRequestInfo, error) {
	driver, access, err := c.access(ctx, p)
	if err != nil {
		return nil, err
	}
	return driver.PullRequest(ctx, access, number)
}

// MayWrite reports whether a user of the forge may push to p's repository; the
// errors are those of Changed.
func (c *Connector) MayWrite(ctx context.Context, p *cyclone.Project, user string) (bool, error) {
	driver, access, err := c.access(ctx, p)
	if err != nil {
		return false, err
	}
	return driver.MayWrite(ctx, access, user)
}

// Repositories lists those that p's credential may see at the host of p's
// repository.
func (c *Connector) Repositories(ctx context.Context, p *cyclone.Project, query string, page cyclone.Page) (cyclone.List[cyclone.RepositoryInfo], error) {
	driver, access, err := c.access(ctx, p)
	if err != nil {
		return cyclone.List[cyclone.RepositoryInfo]{}, err
	}
	return driver.Repositories(ctx, access, query, page)
}

// AccountRepositories lists those that a connected account may see. ErrNotFound
// when there is no such account.
func (c *Connector) AccountRepositories(ctx context.Context, id, query string, page cyclone.Page) (cyclone.List[cyclone.RepositoryInfo], error) {
	a, err := c.Account(ctx, id)
	if err != nil {
		return cyclone.List[cyclone.RepositoryInfo]{}, err
	}
	app, err := c.app(a.SCM, a.Host)
	if err != nil {
		return cyclone.List[cyclone.RepositoryInfo]{}, err
	}
	p := &cyclone.Project{Repository: cyclone.Repository{Type: a.SCM, URL: app.URL + "/", Account: a.ID}}
	return c.Repositories(ctx, p, query, page)
}

// Branches lists the branches of p's repository.
func (c *Connector) Branches(ctx context.Context, p *cyclone.Project, query string, page cyclone.Page) (cyclone.List[cyclone.RefInfo], error) {
	return c.list(ctx, p, "refs/heads/", query, page, cyclone.RepositoryLister.Branches)
}

// Tags lists the tags of p's repository.
func (c *Connector) Tags(ctx context.Context, p *cyclone.Project, query string, page cyclone.Page) (cyclone.List[cyclone.RefInfo], error) {
	return c.list(ctx, p, "refs/tags/", query, page, cyclone.RepositoryLister.Tags)
}

// lists is a driver's way to list refs.
type lists func(cyclone.RepositoryLister, context.Context, cyclone.ForgeAccess, string, cyclone.Page) (cyclone.List[cyclone.RefInfo], error)

// list asks the forge, which a public repository's answers without a token
// too, or looks as git and svn do.
func (c *Connector) list(ctx context.Context, p *cyclone.Project, prefix, query string, page cyclone.Page, ask lists) (cyclone.List[cyclone.RefInfo], error) {
	none := cyclone.List[cyclone.RefInfo]{}
	credential, err := c.Credential(ctx, p)
	if err != nil {
		return none, err
	}
	if err := fits(p, credential); err != nil {
		return none, err
	}
	if driver, ok := c.Drivers[p.Repository.Type]; ok && !isKey(credential.Password) && !overSSH(p.Repository.URL) {
		return ask(driver, ctx, cyclone.ForgeAccess{URL: p.Repository.URL, Credential: credential}, query, page)
	}
	after, err := paging.Parse(page.Cursor, 1)
	if err != nil {
		return none, err
	}
	heads, err := c.heads(ctx, p, credential, func([]string) {}) // connecting keeps them
	if err != nil {
		return none, err
	}
	return cut(selected(heads, prefix, query), after, page), nil
}

// selected are the refs below a prefix whose names hold the query, by name.
func selected(heads *cyclone.Heads, prefix, query string) []cyclone.RefInfo {
	found := []cyclone.RefInfo{}
	for ref, commit := range heads.Refs {
		name, ok := strings.CutPrefix(ref, prefix)
		if ok && strings.Contains(strings.ToLower(name), strings.ToLower(query)) {
			found = append(found, cyclone.RefInfo{Name: name, Commit: commit})
		}
	}
	slices.SortFunc(found, func(a, b cyclone.RefInfo) int { return cmp.Compare(a.Name, b.Name) })
	return found
}

// cut is a page of refs that are known as a whole.
func cut(all []cyclone.RefInfo, after []string, page cyclone.Page) cyclone.List[cyclone.RefInfo] {
	rest := all
	if after != nil {
		n, found := slices.BinarySearchFunc(all, after[0], func(r cyclone.RefInfo, name string) int { return cmp.Compare(r.Name, name) })
		if found {
			n++
		}
		rest = all[n:]
	}
	return paging.Cut(rest, paging.Limit(page), len(all), func(last cyclone.RefInfo) string { return paging.Cursor(last.Name) })
}
