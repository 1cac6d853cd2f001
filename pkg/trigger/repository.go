package trigger

import (
	"net/url"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"cyclone/pkg/cyclone"
)

// checkHook refuses what a driver must not have let through, and what is not
// the project's.
func checkHook(p *cyclone.Project, h *cyclone.Hook) error {
	if h.Ignored == "" {
		if (h.Action == cyclone.ActionCancel || h.Kind == cyclone.KindComment) && h.PullRequest == nil {
			return cyclone.Invalid("pull_request", "is missing")
		}
		if err := checkRef(h); err != nil {
			return err
		}
	}
	return checkRepository(p, h)
}

// checkRef holds for what comes from forges and from looking at repositories:
// it becomes an argument of git and svn, and a part of addresses.
func checkRef(h *cyclone.Hook) error {
	for _, name := range []string{h.Ref, h.Branch, h.Tag} {
		odd := func(r rune) bool { return unicode.IsControl(r) || r == utf8.RuneError }
		if len(name) > maxRef || strings.HasPrefix(name, "-") || strings.ContainsFunc(name, odd) {
			return cyclone.Invalid("ref", "%q is not a name that can be used", name[:min(len(name), 100)])
		}
	}
	if !strings.HasPrefix(h.Ref, "refs/") {
		return cyclone.Invalid("ref", "%q is not written in full, such as refs/heads/main", h.Ref)
	}
	if sha := h.Commit.SHA; sha != "" && !fullHash.MatchString(sha) && !revision.MatchString(sha) {
		return cyclone.Invalid("commit", "%q is neither a full commit hash nor a revision", sha[:min(len(sha), 100)])
	}
	return nil
}

// maxRef is the most bytes of a ref's name; forges take 255.
const maxRef = 1100

// checkRepository refuses a payload that is about another repository than the
// project's: somebody pasted the address of the wrong project into a forge.
func checkRepository(p *cyclone.Project, h *cyclone.Hook) error {
	svn := p.Repository.Type == "svn"
	want := place(p.Repository.URL)
	for _, u := range h.Repositories {
		got := place(u)
		// A project may build a folder of a repository of Subversion.
		if got == want || svn && strings.HasPrefix(want, got+"/") {
			return nil
		}
	}
	if len(h.Repositories) == 0 {
		// A ping of an organisation's webhook names none and starts nothing, and
		// Subversion does not know its own address.
		if h.Ignored != "" || svn {
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
