package trigger

import (
	"net/url"
	"regexp"
	"strings"

	"cyclone/pkg/cyclone"
)

// checkRepository refuses a payload that is about another repository than the
// project's: somebody pasted the address of the wrong project into a forge.
func checkRepository(p *cyclone.Project, h *cyclone.Hook) error {
	want := place(p.Repository.URL)
	for _, u := range h.Repositories {
		if place(u) == want {
			return nil
		}
	}
	if len(h.Repositories) == 0 {
		// A ping of an organisation's webhook names none and starts nothing.
		if h.Ignored != "" {
			return nil
		}
		return cyclone.Invalid("repository", "the payload names no repository")
	}
	return cyclone.Invalid("repository", "the payload is about %s, but project %q builds %s",
		redact(h.Repositories[0]), p.Name, redact(p.Repository.URL))
}

var scpLike = regexp.MustCompile(`^(?:[^@/]+@)?([^:/]+|\[[^\]]+\]):([^/].*|/.*)?$`)

// defaultPorts are those that say nothing about which server is meant.
var defaultPorts = map[string]string{"http": "80", "https": "443", "ssh": "22", "git": "9418", "svn": "3690"}

// place is host and path of a repository however its URL is written: without
// scheme, user, the scheme's own port, .git and final slashes, in lower case.
func place(raw string) string {
	raw = strings.TrimSpace(raw)
	host, path := "", raw
	if !strings.Contains(raw, "://") {
		if m := scpLike.FindStringSubmatch(raw); m != nil {
			host, path = m[1], m[2]
		}
	} else if u, err := url.Parse(raw); err == nil {
		host, path = u.Host, u.Path
		if u.Port() == defaultPorts[strings.TrimPrefix(u.Scheme, "git+")] && u.Port() != "" {
			host = u.Hostname()
		}
	}
	path = strings.Trim(path, "/")
	path = strings.Trim(strings.TrimSuffix(path, ".git"), "/")
	return strings.ToLower(strings.Trim(host, "[]") + "/" + path)
}

// redact takes a credential out of a URL before it stands in a message.
func redact(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.User == nil {
		return raw
	}
	u.User = nil
	return u.String()
}
