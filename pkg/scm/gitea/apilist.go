package gitea

import (
	"context"
	"fmt"
	"net/url"
	"strconv"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/rest"
)

// Repositories lists those that the token's user owns or may see as a member.
// Gitea would look for a query in names without their owners only, so that a
// query reads through the list.
func (g *API) Repositories(ctx context.Context, a cyclone.ForgeAccess, query string, p cyclone.Page) (cyclone.List[cyclone.RepositoryInfo], error) {
	at, ok := hostOf(a.URL)
	if !ok {
		return cyclone.List[cyclone.RepositoryInfo]{}, fmt.Errorf("list repositories: %w", cyclone.Invalid("url", "%q does not lead to a Gitea: https://gitea.example.com looks like one", rest.Line(a.URL, 200)))
	}
	c := g.host(at, a.Credential)
	start, err := placeIn(p, query != "")
	if err != nil {
		return cyclone.List[cyclone.RepositoryInfo]{}, fmt.Errorf("list repositories: %w", err)
	}
	// Without a user all are listed that can be seen, strangers' too.
	u, err := me(ctx, c)
	if err != nil {
		return cyclone.List[cyclone.RepositoryInfo]{}, fmt.Errorf("list repositories: %w", err)
	}
	about := url.Values{}
	if u.ID != 0 {
		about.Set("uid", strconv.FormatInt(u.ID, 10))
	}
	list, err := rest.Lister[repository, cyclone.RepositoryInfo]{
		Fetch: func(p rest.Place) ([]repository, *rest.Answer, error) {
			var found struct {
				Data []repository `json:"data"`
			}
			return page(ctx, c, p, rest.Call{Path: "/repos/search", Query: about, Into: &found, Max: maxBytes, Need: needRead, Thing: "list of repositories"},
				func() []repository { return found.Data })
		},
		Keep: rest.Named(query, func(r repository) string { return r.FullName }),
		To:   repository.info,
	}.List(start)
	return list, wrap("list repositories", err)
}

// placeIn is where a page of ours begins, with pages as small as Gitea's.
func placeIn(p cyclone.Page, filtered bool) (rest.Place, error) {
	at, err := rest.PlaceOf(p, filtered)
	at.Size = min(at.Size, maxSize)
	return at, err
}

// ref is a branch, whose commit has an id, or a tag, whose commit has a sha.
type ref struct {
	Name   string `json:"name"`
	Commit struct {
		ID  string `json:"id"`
		SHA string `json:"sha"`
	} `json:"commit"`
}

func (r ref) info() cyclone.RefInfo {
	return cyclone.RefInfo{Name: r.Name, Commit: r.Commit.ID + r.Commit.SHA}
}

// Branches lists the repository's branches.
func (g *API) Branches(ctx context.Context, a cyclone.ForgeAccess, query string, p cyclone.Page) (cyclone.List[cyclone.RefInfo], error) {
	return g.refs(ctx, a, "branches", query, p)
}

// Tags lists the repository's tags.
func (g *API) Tags(ctx context.Context, a cyclone.ForgeAccess, query string, p cyclone.Page) (cyclone.List[cyclone.RefInfo], error) {
	return g.refs(ctx, a, "tags", query, p)
}

func (g *API) refs(ctx context.Context, a cyclone.ForgeAccess, kind, query string, p cyclone.Page) (cyclone.List[cyclone.RefInfo], error) {
	c, at, err := g.forge(a)
	if err != nil {
		return cyclone.List[cyclone.RefInfo]{}, fmt.Errorf("list %s: %w", kind, err)
	}
	start, err := placeIn(p, query != "")
	if err != nil {
		return cyclone.List[cyclone.RefInfo]{}, fmt.Errorf("list %s: %w", kind, err)
	}
	list, err := rest.Lister[ref, cyclone.RefInfo]{
		Fetch: func(p rest.Place) ([]ref, *rest.Answer, error) {
			var some []ref
			return page(ctx, c, p, rest.Call{Path: at.path(kind), Into: &some, Max: maxBytes, Need: needRead}, func() []ref { return some })
		},
		Keep: rest.Named(query, func(r ref) string { return r.Name }),
		To:   ref.info,
	}.List(start)
	return list, wrap("list "+kind, err)
}
