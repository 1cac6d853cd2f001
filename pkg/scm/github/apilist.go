package github

import (
	"context"
	"fmt"
	"strings"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/rest"
)

// Repositories lists those that the token's user may see, by name. GitHub
// cannot narrow this list down, so that a query reads through it.
func (g *API) Repositories(ctx context.Context, a cyclone.ForgeAccess, query string, page cyclone.Page) (cyclone.List[cyclone.RepositoryInfo], error) {
	at, ok := hostOf(a.URL)
	if !ok {
		return cyclone.List[cyclone.RepositoryInfo]{}, fmt.Errorf("list repositories: %w", cyclone.Invalid("url", "%q does not lead to a GitHub: https://github.com does", rest.Line(a.URL, 200)))
	}
	c := g.host(at, a.Credential)
	start, err := rest.PlaceOf(page, query != "")
	if err != nil {
		return cyclone.List[cyclone.RepositoryInfo]{}, fmt.Errorf("list repositories: %w", err)
	}
	list, err := rest.Lister[repository, cyclone.RepositoryInfo]{
		Fetch: func(p rest.Place) ([]repository, *rest.Answer, error) {
			var some []repository
			answer, err := c.Do(ctx, rest.Call{Path: "/user/repos", Query: p.Query("per_page"), Into: &some, Need: needRead, Thing: "list of repositories"})
			return some, answer, err
		},
		Keep: rest.Named(query, func(r repository) string { return r.FullName }),
		To:   repository.info,
	}.List(start)
	return list, wrap("list repositories", err)
}

// ref is a branch or a tag as GitHub lists it.
type ref struct {
	Name   string `json:"name"`
	Commit struct {
		SHA string `json:"sha"`
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
	c, at, err := g.forge(a)
	if err != nil {
		return cyclone.List[cyclone.RefInfo]{}, fmt.Errorf("list %s: %w", kind, err)
	}
	start, err := rest.PlaceOf(page, query != "")
	if err != nil {
		return cyclone.List[cyclone.RefInfo]{}, fmt.Errorf("list %s: %w", kind, err)
	}
	list, err := rest.Lister[ref, cyclone.RefInfo]{
		Fetch: func(p rest.Place) ([]ref, *rest.Answer, error) {
			var some []ref
			answer, err := c.Do(ctx, rest.Call{Path: at.path(kind), Query: p.Query("per_page"), Into: &some, Need: needContents})
			return some, answer, err
		},
		Keep: rest.Named(query, func(r ref) string { return r.Name }),
		To:   func(r ref) cyclone.RefInfo { return cyclone.RefInfo{Name: r.Name, Commit: r.Commit.SHA} },
	}.List(start)
	return list, wrap("list "+kind, err)
}

// hostOf reads where the API is out of the address of a repository, or of the
// forge itself.
func hostOf(raw string) (place, bool) {
	if at, ok := placeOf(raw); ok {
		return at, true
	}
	if !strings.HasPrefix(raw, "https://") && !strings.HasPrefix(raw, "http://") {
		return place{}, false
	}
	at, _ := placeOf(raw)
	return at, at.host != ""
}
