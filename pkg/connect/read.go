package connect

import (
	"context"
	"fmt"

	"cyclone/pkg/cyclone"
)

// sight is what was seen of a repository.
type sight struct {
	cyclone.RepositoryInfo
	credential cyclone.Credential
	api        bool // it was seen through its forge's API
	heads      bool // refs are known
	refs       map[string]string
	hostKeys   []string // of the ssh host, seen for the first time
}

// Check reads p's repository with a token that is not stored yet, or with the
// credential that p names when the token is empty, and describes it. It stores
// nothing. Host keys that are seen for the first time are put into p.
//
// The errors are those of Connect.
func (c *Connector) Check(ctx context.Context, p *cyclone.Project, token string) (*cyclone.RepositoryInfo, error) {
	credential, err := c.given(ctx, p, token)
	if err != nil {
		return nil, err
	}
	seen, err := c.read(ctx, p, credential)
	if err != nil {
		return nil, err
	}
	if len(p.Repository.HostKeys) == 0 {
		p.Repository.HostKeys = seen.hostKeys
	}
	return &seen.RepositoryInfo, nil
}

func (c *Connector) given(ctx context.Context, p *cyclone.Project, token string) (cyclone.Credential, error) {
	if token == "" {
		return c.Credential(ctx, p)
	}
	return Parse(token, "")
}

// read looks at a repository by the way on which it will be used: through the
// forge's API, or as git and svn do where there is none or ssh is used.
func (c *Connector) read(ctx context.Context, p *cyclone.Project, credential cyclone.Credential) (*sight, error) {
	if err := fits(p, credential); err != nil {
		return nil, err
	}
	driver, ok := c.Drivers[p.Repository.Type]
	if !ok || overSSH(p.Repository.URL) {
		return c.readHeads(ctx, p, credential)
	}
	info, err := driver.Repository(ctx, cyclone.ForgeAccess{URL: p.Repository.URL, Credential: credential})
	if err != nil {
		return nil, err
	}
	return &sight{RepositoryInfo: *info, credential: credential, api: true}, nil
}

// fits refuses a credential with which the URL's transport can do nothing,
// before anybody is called: the messages of others about it lead astray.
func fits(p *cyclone.Project, credential cyclone.Credential) error {
	ssh, key := overSSH(p.Repository.URL), isKey(credential.Password)
	switch {
	case credential.None(), ssh == key:
		return nil
	case key:
		return cyclone.Forbidden("the %s holds a private key, but the repository's URL is not one of ssh: give its ssh URL, or a token", holderOr(credential.Holder))
	case p.Repository.Type == "svn":
		return cyclone.Forbidden("svn+ssh needs a private key, but the %s holds none", holderOr(credential.Holder))
	}
	return cyclone.Forbidden("the repository's URL is one of ssh, which needs a private key, but the %s holds none: give the repository's https URL, or a key", holderOr(credential.Holder))
}

func (c *Connector) readHeads(ctx context.Context, p *cyclone.Project, credential cyclone.Credential) (*sight, error) {
	seen := &sight{credential: credential, heads: true}
	heads, err := c.heads(ctx, p, credential, func(keys []string) { seen.hostKeys = keys })
	if err != nil {
		return nil, err
	}
	seen.DefaultBranch, seen.refs = heads.Default, heads.Refs
	return seen, nil
}

// heads reads branches and tags as git or svn do.
func (c *Connector) heads(ctx context.Context, p *cyclone.Project, credential cyclone.Credential, learned func([]string)) (*cyclone.Heads, error) {
	tool := "git"
	if p.Repository.Type == "svn" {
		tool = "svn"
	}
	reader, ok := c.Heads[tool]
	if !ok {
		return nil, cyclone.Unavailable("this server cannot look at repositories of %s", tool)
	}
	heads, err := reader.Heads(ctx, cyclone.CloneSpec{
		URL: p.Repository.URL, Username: credential.Username, Password: credential.Password,
		HostKeys: p.Repository.HostKeys, Learned: learned,
	})
	if err != nil {
		return nil, fmt.Errorf("look at the repository: %w", err)
	}
	return heads, nil
}

// problems tells what is readable but will not work as it should.
func (s *sight) problems(p *cyclone.Project) []string {
	var all []string
	if branch := "refs/heads/" + p.Repository.DefaultBranch; s.heads && s.refs[branch] == "" {
		why := "the repository has no branch " + p.Repository.DefaultBranch
		if len(s.refs) == 0 {
			why = "the repository has no branches yet"
		}
		all = append(all, why+": what is started without a branch, by hand or by time, will fail; set repository.defaultBranch to one that is there")
	}
	if s.api && !s.credential.None() && !s.MayPush {
		all = append(all, "results will not stand next to commits: "+owner(s)+" may only read the repository; give the token "+statusNeeds[p.Repository.Type])
	}
	return all
}

// owner names whose credential was used.
func owner(s *sight) string {
	if s.Account != "" {
		return "the account " + s.Account
	}
	return "the token"
}
