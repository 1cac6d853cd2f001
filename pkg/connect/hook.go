package connect

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"cyclone/pkg/cyclone"
)

// statusNeeds is what results next to commits need, by type of repository.
var statusNeeds = map[string]string{
	"github": `the permission "Commit statuses: read and write" (of a classic token: the scope repo:status), and its owner the right to push`,
	"gitlab": "the scope api, and its owner the role Developer or more in the project",
	"gitea":  "the permission repository: read and write, and its owner the right to write to the repository",
}

// hookURL is where p's forge delivers to.
func (c *Connector) hookURL(p *cyclone.Project) string {
	return c.ExternalURL + "/api/v1/hooks/" + p.Repository.Type + "/" + string(p.Name)
}

// hook makes or mends the webhook and notes in made how that went. A hook that
// led to another address of ours is removed. Its error is one of our own store.
func (c *Connector) hook(ctx context.Context, p *cyclone.Project, credential cyclone.Credential, before, made *cyclone.Connection) error {
	note := func(problem string) {
		if problem != "" {
			made.Problems = append(made.Problems, problem)
		}
	}
	driver, ok := c.Drivers[p.Repository.Type]
	if why := hookless(p, credential, ok); why != "" {
		if p.Poll == 0 {
			note(why + ": " + c.otherWays(p))
		}
		// One that was made before may still be there, and be removed later.
		if before != nil && before.HookURL == c.hookURL(p) {
			made.HookURL, made.HookID = before.HookURL, before.HookID
		}
		return nil
	}
	note(c.unreachable(p))
	secret, err := c.Sealer.Open(p.WebhookPurpose(), p.WebhookSecret)
	if err != nil {
		return fmt.Errorf("open webhook secret: %w", err)
	}
	access := cyclone.ForgeAccess{URL: p.Repository.URL, Credential: credential}
	id, err := driver.PutHook(ctx, access, cyclone.HookSpec{URL: c.hookURL(p), Secret: string(secret)})
	if err != nil {
		note(c.failed(p, err))
		if before != nil { // it may still be there
			made.HookURL, made.HookID = before.HookURL, before.HookID
		}
		return nil
	}
	made.HookURL, made.HookID = c.hookURL(p), id
	if before != nil && before.HookURL != "" && before.HookURL != made.HookURL {
		if err := driver.RemoveHook(ctx, access, before.HookURL); err != nil {
			note(fmt.Sprintf("the old webhook to %s could not be removed: %v; remove it at the forge", before.HookURL, err))
		}
	}
	return nil
}

// hookless says why no webhook can even be tried to be made, if so.
func hookless(p *cyclone.Project, credential cyclone.Credential, api bool) string {
	switch {
	case !api && p.Repository.Type == "svn":
		return "a Subversion server has no API by which a webhook could be made"
	case !api:
		return "a plain git repository has no API by which a webhook could be made"
	case credential.None():
		return "there is no token with which a webhook could be made, nor results be set next to commits"
	case isKey(credential.Password):
		return "a key for ssh can only clone: no webhook can be made with it, nor results be set next to commits"
	}
	return ""
}

// otherWays says how deliveries come without a webhook that we make.
func (c *Connector) otherWays(p *cyclone.Project) string {
	address := c.hookURL(p)
	switch p.Repository.Type {
	case "git":
		address = c.ExternalURL + "/api/v1/hooks/github/" + string(p.Name) + " (in the form of github, or of gitlab or gitea)"
	case "svn":
		address += " from the repository's post-commit hook"
	}
	return "call " + address + ", signed with the project's webhook secret, or let Cyclone look for itself: poll 5m"
}

// failed says what to do when the forge refuses to make a webhook.
func (c *Connector) failed(p *cyclone.Project, err error) string {
	text := fmt.Sprintf("the webhook could not be made: %s; ", strings.TrimPrefix(err.Error(), "make webhook: "))
	again := fmt.Sprintf("`cyclone project connect %s`", p.Name)
	switch {
	case errors.Is(err, cyclone.ErrUnavailable):
		return text + "try again later with " + again
	case errors.Is(err, cyclone.ErrForbidden), errors.Is(err, cyclone.ErrNotFound):
		text += "give it that, then " + again + "; or " // the error names the permission
	default:
		text += "mend that, then " + again + "; or "
	}
	return text + c.otherWays(p)
}

// unreachable warns of an address of ours to which the forge cannot get.
func (c *Connector) unreachable(p *cyclone.Project) string {
	own, err := url.Parse(c.ExternalURL)
	if err != nil {
		return ""
	}
	forge := hostname(hostOf(p.Repository.URL))
	switch host := own.Hostname(); {
	case near(host) == loopback && near(forge) != loopback:
		return fmt.Sprintf("%s leads to no other machine than this one, so that %s cannot deliver anything to it: set CYCLONE_EXTERNAL_URL to an address that leads here, or let Cyclone look for itself: poll 5m", c.ExternalURL, forge)
	case near(host) == private && near(forge) == public:
		return fmt.Sprintf("%s is an address of a private network, to which %s probably does not get: set CYCLONE_EXTERNAL_URL to one that leads here from outside, or let Cyclone look for itself: poll 5m", c.ExternalURL, forge)
	}
	return ""
}

func hostname(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host
	}
	return strings.Trim(hostport, "[]")
}

// distance says from where a host can be reached, as far as its name tells.
type distance int

const (
	public distance = iota
	private
	loopback
)

// privateNames end the names that no public resolver knows.
var privateNames = []string{".local", ".internal", ".lan", ".home", ".corp", ".intranet", ".home.arpa", ".localdomain"}

func near(host string) distance {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if ip, err := netip.ParseAddr(host); err == nil {
		switch ip = ip.Unmap(); {
		case ip.IsLoopback(), ip.IsUnspecified():
			return loopback
		case ip.IsPrivate(), ip.IsLinkLocalUnicast():
			return private
		}
		return public
	}
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return loopback
	}
	if !strings.Contains(host, ".") {
		return private
	}
	for _, end := range privateNames {
		if strings.HasSuffix(host, end) {
			return private
		}
	}
	return public
}
