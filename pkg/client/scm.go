package client

import (
	"context"
	"net/http"

	"cyclone/pkg/cyclone"
)

// Lists of forges, one page each.
type (
	// RepositoryList is a page of repositories, in the forge's order.
	RepositoryList = cyclone.List[Object[cyclone.RepositoryInfo]]
	// RefList is a page of branches or tags.
	RefList = cyclone.List[Object[cyclone.RefInfo]]
	// AccountList is a page of connected accounts by id.
	AccountList = cyclone.List[Object[cyclone.Account]]
)

// Login is where a person goes on to connect an account.
type Login struct {
	URL string `json:"url"`
}

// ForgeQuery selects from a forge.
type ForgeQuery struct {
	SCM     string // type of repository: "github"
	Project string // whose credential is used
	Account string // connected account that is used instead
	Query   string // a part of the name
	cyclone.Page
}

// ConnectProject connects a project to its forge, or repairs that; with a token
// that is not empty, with that from now on.
func (c *Client) ConnectProject(ctx context.Context, project, token string) (Object[cyclone.Connection], error) {
	body := map[string]string{}
	if token != "" {
		body["token"] = token
	}
	return post[cyclone.Connection](ctx, c, path("projects", project, "connection"), body)
}

// Connection returns how a project is connected to its forge.
func (c *Client) Connection(ctx context.Context, project string) (Object[cyclone.Connection], error) {
	return get[cyclone.Connection](ctx, c, path("projects", project, "connection"), nil)
}

// DisconnectProject removes a project's webhook and forgets the connection.
func (c *Client) DisconnectProject(ctx context.Context, project string) error {
	return c.call(ctx, http.MethodDelete, path("projects", project, "connection"), nil, nil, nil)
}

// Repositories lists a page of the repositories that a project's credential, or
// a connected account, may see.
func (c *Client) Repositories(ctx context.Context, q ForgeQuery) (list RepositoryList, err error) {
	err = c.forge(ctx, "repositories", q, &list)
	return list, err
}

// Branches lists a page of the branches of a project's repository.
func (c *Client) Branches(ctx context.Context, q ForgeQuery) (list RefList, err error) {
	err = c.forge(ctx, "branches", q, &list)
	return list, err
}

// Tags lists a page of the tags of a project's repository.
func (c *Client) Tags(ctx context.Context, q ForgeQuery) (list RefList, err error) {
	err = c.forge(ctx, "tags", q, &list)
	return list, err
}

func (c *Client) forge(ctx context.Context, what string, q ForgeQuery, list any) error {
	values := pageQuery(q.Page)
	setIf(values, "project", q.Project)
	setIf(values, "account", q.Account)
	setIf(values, "query", q.Query)
	return c.call(ctx, http.MethodGet, path("scm", q.SCM, what), values, nil, list)
}

// BeginLogin begins to connect the caller's account at a forge.
func (c *Client) BeginLogin(ctx context.Context, scm string) (Object[Login], error) {
	return post[Login](ctx, c, path("scm", scm, "login"), nil)
}

// Accounts lists a page of the accounts that the caller connected.
func (c *Client) Accounts(ctx context.Context, page cyclone.Page) (list AccountList, err error) {
	err = c.call(ctx, http.MethodGet, path("scm", "accounts"), pageQuery(page), nil, &list)
	return list, err
}

// DeleteAccount forgets a connected account.
func (c *Client) DeleteAccount(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, path("scm", "accounts", id), nil, nil, nil)
}
