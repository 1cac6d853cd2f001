package connect

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cyclone/pkg/cyclone"
)

const (
	// accountPrefix begins the names of the marks that keep accounts.
	accountPrefix = "account/"
	// freshFor is how long a token must last to be handed out unrenewed.
	freshFor = 5 * time.Minute
)

// grant is what is kept, sealed, of an account: what a person granted us.
type grant struct {
	Login   string    `json:"login"`
	Owner   string    `json:"owner"`
	Access  string    `json:"access"`
	Refresh string    `json:"refresh,omitempty"`
	Expiry  time.Time `json:"expiry,omitzero"` // of Access; zero: it lasts
	Created time.Time `json:"created"`
	// Claim is until when a server renews the token: nobody else must use
	// Refresh meanwhile, which is good for one use only.
	Claim time.Time `json:"claim,omitzero"`
	// Broken says why the token cannot be renewed.
	Broken string `json:"broken,omitempty"`
}

// fresh reports whether the token may be handed out at a time.
func (g *grant) fresh(now time.Time) bool {
	return g.Expiry.IsZero() || g.Expiry.After(now.Add(freshFor))
}

// accountID is how an account is named everywhere.
func accountID(scm, host, login string) string {
	return scm + "/" + strings.ToLower(host) + "/" + strings.ToLower(login)
}

// named is the id of the account that p names: "github/alice" means that of
// the host of p's repository. ErrInvalid for anything that cannot be one, and
// for an account of another host: its token must not go there.
func named(p *cyclone.Project) (string, error) {
	parts := strings.Split(p.Repository.Account, "/")
	host := hostOf(p.Repository.URL)
	if len(parts) == 2 {
		parts = []string{parts[0], host, parts[1]}
	}
	if len(parts) != 3 || parts[1] == "" || parts[2] == "" {
		return "", cyclone.Invalid("repository.account", "must be the name of a connected account, like github/alice")
	}
	if parts[0] != p.Repository.Type {
		return "", cyclone.Invalid("repository.account", "is an account of %s, but the repository is of type %s", shown(parts[0]), p.Repository.Type)
	}
	if strings.ToLower(parts[1]) != host {
		return "", cyclone.Invalid("repository.account", "is an account at %s, but the repository is at %s", shown(parts[1]), host)
	}
	return accountID(parts[0], parts[1], parts[2]), nil
}

// shown is a text of a caller, fit for a message.
func shown(text string) string { return fmt.Sprintf("%.60q", text) }

// Accounts lists all connected accounts by id.
func (c *Connector) Accounts(ctx context.Context) ([]cyclone.Account, error) {
	marks, err := c.Marks.List(ctx, "", accountPrefix)
	if err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	all := []cyclone.Account{}
	for _, m := range marks {
		g, err := c.open(m)
		if err != nil {
			return nil, err
		}
		all = append(all, g.account(m))
	}
	slices.SortFunc(all, func(a, b cyclone.Account) int { return cmp.Compare(a.ID, b.ID) })
	return all, nil
}

// Account is one connected account; ErrNotFound when it is not connected.
func (c *Connector) Account(ctx context.Context, id string) (*cyclone.Account, error) {
	g, m, err := c.grant(ctx, id)
	if err != nil {
		return nil, err
	}
	a := g.account(m)
	return &a, nil
}

// AccountOf is the connected account that p names; ErrInvalid when p cannot
// name it, ErrNotFound when it is not connected.
func (c *Connector) AccountOf(ctx context.Context, p *cyclone.Project) (*cyclone.Account, error) {
	id, err := named(p)
	if err != nil {
		return nil, err
	}
	return c.Account(ctx, id)
}

// Forget forgets a connected account; ErrNotFound when it is not connected.
func (c *Connector) Forget(ctx context.Context, id string) error {
	err := c.Marks.Delete(ctx, "", accountPrefix+id)
	if errors.Is(err, cyclone.ErrNotFound) {
		return unconnected(id)
	}
	if err != nil {
		return fmt.Errorf("forget account %s: %w", id, err)
	}
	c.Log.InfoContext(ctx, "account forgotten", "account", id)
	return nil
}

func unconnected(id string) error {
	return cyclone.NotFound("the account %s is not connected: connect it with `cyclone scm login`", shown(id))
}

func (g *grant) account(m *cyclone.Mark) cyclone.Account {
	id := strings.TrimPrefix(m.Name, accountPrefix)
	scm, rest, _ := strings.Cut(id, "/")
	host, _, _ := strings.Cut(rest, "/")
	a := cyclone.Account{ID: id, SCM: scm, Host: host, Login: g.Login, Owner: g.Owner, CreatedAt: g.Created, Broken: g.Broken}
	if !g.Expiry.IsZero() {
		expiry := g.Expiry
		a.ExpiresAt = &expiry
	}
	return a
}

// grant finds and opens what is kept of an account.
func (c *Connector) grant(ctx context.Context, id string) (*grant, *cyclone.Mark, error) {
	m, err := c.Marks.Find(ctx, "", accountPrefix+id)
	if errors.Is(err, cyclone.ErrNotFound) {
		return nil, nil, unconnected(id)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("find account %s: %w", id, err)
	}
	g, err := c.open(m)
	return g, m, err
}

// purpose is what the value of a mark is sealed for.
func purpose(m *cyclone.Mark) string { return "mark/" + m.Name }

func (c *Connector) open(m *cyclone.Mark) (*grant, error) {
	plain, err := c.Sealer.Open(purpose(m), m.Value)
	if err != nil {
		return nil, cyclone.Invalid("repository.account", "the %s cannot be opened: %v", m.Name, err)
	}
	g := &grant{}
	if err := json.Unmarshal(plain, g); err != nil {
		return nil, fmt.Errorf("read what is kept of %s", m.Name) // without the cause, which may repeat some of it
	}
	return g, nil
}

// put writes g over the revision of m that was read; ErrConflict when somebody
// else wrote meanwhile.
func (c *Connector) put(ctx context.Context, m *cyclone.Mark, g *grant) error {
	plain, err := json.Marshal(g)
	if err != nil {
		return fmt.Errorf("encode account: %w", err)
	}
	if m.Value, err = c.Sealer.Seal(purpose(m), plain); err != nil {
		return fmt.Errorf("seal account: %w", err)
	}
	return c.Marks.Put(ctx, m)
}

// fromAccount is the token of the account that p names, renewed when it runs
// out soon.
func (c *Connector) fromAccount(ctx context.Context, p *cyclone.Project) (cyclone.Credential, error) {
	id, err := named(p)
	if err != nil {
		return cyclone.Credential{}, err
	}
	g, err := c.renewed(ctx, id)
	if err != nil {
		return cyclone.Credential{}, err
	}
	user := tokenUser
	if p.Repository.Type == "gitlab" {
		user = "oauth2" // GitLab takes a token of OAuth under this name only
	}
	return cyclone.Credential{Username: user, Password: g.Access, Holder: "account " + p.Repository.Account}, nil
}
