package connect

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode"

	"cyclone/pkg/cyclone"
)

var _ cyclone.CredentialSource = (*Connector)(nil)

// tokenUser is the user name with which a bare token goes to git: forges take
// a token as a password under any name.
const tokenUser = "x-access-token"

// Credential opens what p's repository is reached with: the secret that
// repository.credential names, or the token of repository.account; see
// cyclone.CredentialSource.
func (c *Connector) Credential(ctx context.Context, p *cyclone.Project) (cyclone.Credential, error) {
	switch {
	case p.Repository.Credential != "":
		return c.fromSecret(ctx, p)
	case p.Repository.Account != "":
		return c.fromAccount(ctx, p)
	}
	return cyclone.Credential{}, nil
}

func (c *Connector) fromSecret(ctx context.Context, p *cyclone.Project) (cyclone.Credential, error) {
	name := p.Repository.Credential
	s, err := c.Secrets.Find(ctx, p.Name, name)
	if errors.Is(err, cyclone.ErrNotFound) {
		return cyclone.Credential{}, cyclone.NotFound("project %q names the secret %q as its repository's credential, but has no such secret", p.Name, name)
	}
	if err != nil {
		return cyclone.Credential{}, fmt.Errorf("find secret %q: %w", name, err)
	}
	value, err := c.Sealer.Open(s.Purpose(), s.Value)
	if err != nil {
		return cyclone.Credential{}, cyclone.Invalid("repository.credential", "the secret %q cannot be opened: %v", name, err)
	}
	return Parse(string(value), fmt.Sprintf("secret %q", name))
}

// Parse reads a credential as it is stored: a private key in PEM for ssh,
// "user:token" or "user:password", or a bare token. The holder says where it is
// kept, for messages. ErrInvalid for what can be none of these.
func Parse(value, holder string) (cyclone.Credential, error) {
	text := strings.TrimSpace(value)
	if isKey(text) {
		return cyclone.Credential{Password: text + "\n", Holder: holder}, nil
	}
	user, password, pair := strings.Cut(text, ":")
	if !pair {
		user, password = tokenUser, text
	}
	password = strings.TrimSpace(password)
	// Line ends would end the answer to git's question for a password, and
	// begin another header.
	if password == "" || strings.ContainsFunc(text, unicode.IsControl) {
		return cyclone.Credential{}, cyclone.Invalid("repository.credential",
			`the %s holds neither a token, nor "user:token", nor a private key: it is empty or has line ends or control characters in it`, holderOr(holder))
	}
	return cyclone.Credential{Username: user, Password: password, Holder: holder}, nil
}

func holderOr(holder string) string {
	if holder == "" {
		return "token"
	}
	return holder
}

func isKey(password string) bool { return strings.HasPrefix(password, "-----BEGIN ") }

// overSSH reports whether a repository is reached by ssh: by its scheme, or
// because it is in git's short form, git@host:path.
func overSSH(address string) bool {
	if !strings.Contains(address, "://") {
		return true
	}
	u, err := url.Parse(address)
	return err == nil && (u.Scheme == "ssh" || u.Scheme == "svn+ssh")
}

// hostOf is the host of a repository, with its port over http where it has one;
// lower case.
func hostOf(address string) string {
	if !strings.Contains(address, "://") {
		host, _, _ := strings.Cut(address, ":")
		return strings.ToLower(host[strings.LastIndexByte(host, '@')+1:])
	}
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	if u.Scheme == "http" || u.Scheme == "https" {
		return strings.ToLower(u.Host)
	}
	return strings.ToLower(u.Hostname()) // the port is that of ssh, not of the forge
}

// access is how the API of p's forge is reached with p's credential.
// ErrNotFound when the project has no such API or no credential for it.
func (c *Connector) access(ctx context.Context, p *cyclone.Project) (Driver, cyclone.ForgeAccess, error) {
	none := cyclone.ForgeAccess{}
	driver, ok := c.Drivers[p.Repository.Type]
	if !ok {
		return nil, none, cyclone.NotFound("project %q has no forge that could be asked: its repository is of type %s", p.Name, p.Repository.Type)
	}
	credential, err := c.Credential(ctx, p)
	if err != nil {
		return nil, none, err
	}
	if credential.None() {
		return nil, none, cyclone.NotFound("project %q has no credential with which its forge could be asked: store a token as a secret and name it in repository.credential", p.Name)
	}
	if isKey(credential.Password) {
		return nil, none, cyclone.NotFound("project %q has no token with which its forge could be asked: the %s holds a key for ssh, which can only clone", p.Name, credential.Holder)
	}
	return driver, cyclone.ForgeAccess{URL: p.Repository.URL, Credential: credential}, nil
}
