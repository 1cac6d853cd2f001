package gitlab

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/rest"
)

// shortQuery is how many characters GitLab compares with whole names only.
const shortQuery = 2

// Repositories lists the projects that the token's user is a member of. A
// query finds what GitLab finds: parts of name, path and description; of one
// or two characters it would look for projects that have just that name.
func (g *API) Repositories(ctx context.Context, a cyclone.ForgeAccess, query string, page cyclone.Page) (cyclone.List[cyclone.RepositoryInfo], error) {
	at, ok := hostOf(a.URL)
	if !ok {
		return cyclone.List[cyclone.RepositoryInfo]{}, fmt.Errorf("list repositories: %w", cyclone.Invalid("url", "%q does not lead to a GitLab: https://gitlab.com does", rest.Line(a.URL, 200)))
	}
	c := g.host(at, a.Credential)
	var keep func(projectInfo) bool
	if utf8.RuneCountInString(query) <= shortQuery {
		keep, query = rest.Named(query, func(p projectInfo) string { return p.Path }), ""
	}
	start, err := rest.PlaceOf(page, keep != nil)
	if err != nil {
		return cyclone.List[cyclone.RepositoryInfo]{}, fmt.Errorf("list repositories: %w", err)
	}
	list, err := rest.Lister[projectInfo, cyclone.RepositoryInfo]{
		Fetch: func(p rest.Place) ([]projectInfo, *rest.Answer, error) {
			var some []projectInfo
			values := p.Query("per_page")
			values.Set("membership", "true")
			if query != "" {
				values.Set("search", query)
				values.Set("search_namespaces", "true")
			}
			answer, err := c.Do(ctx, rest.Call{Path: "/projects", Query: values, Into: &some, Max: maxDiffs, Need: needRead, Thing: "list of projects"})
			return some, answer, err
		},
		Keep: keep, To: projectInfo.info,
	}.List(start)
	return list, wrap("list repositories", err)
}

// ref is a branch or a tag as GitLab lists it.
type ref struct {
	Name   string `json:"name"`
	Commit struct {
		ID string `json:"id"`
	} `json:"commit"`
}

// Branches lists the repository's branches.
func (g *API) Branches(ctx context.Context, a cyclone.ForgeAccess, query string, page cyclone.Page) (cyclone.List[cyclone.RefInfo], error) {
	return g.refs(ctx, a, "branches", query, page)
}

// Tags lists the repository's tags.
func (g *API) Tags(ctx context.Context, a cyclone.ForgeAccess, query string, page cyclone.Page) (cyclone.List[cyclone.RefInfo], error) {
	return g.refs(ctx, a, "tags", query, page)
}

func (g *API) refs(ctx context.Context, a cyclone.ForgeAccess, kind, query string, page cyclone.Page) (cyclone.List[cyclone.RefInfo], error) {
	c, at, err := g.project(a)
	if err != nil {
		return cyclone.List[cyclone.RefInfo]{}, fmt.Errorf("list %s: %w", kind, err)
	}
	var keep func(ref) bool
	if strings.ContainsAny(query, "^$*") { // which mean something in a search of GitLab's
		keep, query = rest.Named(query, func(r ref) string { return r.Name }), ""
	}
	start, err := rest.PlaceOf(page, keep != nil)
	if err != nil {
		return cyclone.List[cyclone.RefInfo]{}, fmt.Errorf("list %s: %w", kind, err)
	}
	list, err := rest.Lister[ref, cyclone.RefInfo]{
		Fetch: func(p rest.Place) ([]ref, *rest.Answer, error) {
			var some []ref
			values := p.Query("per_page")
			if query != "" {
				values.Set("search", query)
			}
			answer, err := c.Do(ctx, rest.Call{Path: at.below("repository", kind), Query: values, Into: &some, Max: maxDiffs, Need: needContents})
			return some, answer, err
		},
		Keep: keep,
		To:   func(r ref) cyclone.RefInfo { return cyclone.RefInfo{Name: r.Name, Commit: r.Commit.ID} },
	}.List(start)
	return list, wrap("list "+kind, err)
}
