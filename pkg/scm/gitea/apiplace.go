package gitea

import (
	"net/url"
	"regexp"
	"strings"

	"cyclone/pkg/rest"
)

// place is where a repository is on a Gitea, which may be below a path of its
// host.
type place struct{ scheme, host, prefix, owner, name string }

var (
	scpLike = regexp.MustCompile(`^(?:[^@/]+@)?([^:/]+):(.*)$`)
	segment = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)
)

// placeOf reads a repository's URL: https, ssh, or as scp writes it.
func placeOf(raw string) (place, bool) {
	at, path, web := place{scheme: "https"}, "", false
	if strings.Contains(raw, "://") {
		u, err := url.Parse(raw)
		if err != nil {
			return place{}, false
		}
		at.host, path = u.Hostname(), u.Path
		switch u.Scheme {
		case "http", "https":
			at.scheme, at.host, web = u.Scheme, u.Host, true
		case "ssh", "git", "git+ssh", "ssh+git": // whose ports say nothing about the API's
		default:
			return place{}, false
		}
	} else if m := scpLike.FindStringSubmatch(raw); m != nil {
		at.host, path = m[1], m[2]
	}
	return at.in(strings.Trim(path, "/"), web)
}

// in takes a path apart: the last two parts are owner and name, the others are
// where Gitea is, which only the addresses of the web have.
func (p place) in(path string, web bool) (place, bool) {
	parts := strings.Split(path, "/")
	for _, s := range parts {
		if !segment.MatchString(s) || strings.Trim(s, ".") == "" {
			return p, false
		}
	}
	if n := len(parts); n >= 2 {
		p.prefix, p.owner, p.name = strings.Join(parts[:n-2], "/"), parts[n-2], strings.TrimSuffix(parts[n-1], ".git")
	}
	return p, p.host != "" && p.owner != "" && p.name != "" && (web || p.prefix == "")
}

// api is the address of the API.
func (p place) api() string {
	address := p.scheme + "://" + p.host
	if p.prefix != "" {
		address += "/" + p.prefix
	}
	return address + "/api/v1"
}

// path is below the repository: /repos/owner/name/...
func (p place) path(segments ...string) string {
	return rest.Path(append([]string{"repos", p.owner, p.name}, segments...)...)
}

func (p place) String() string { return p.owner + "/" + p.name }

// hostOf reads where the API is out of the address of a repository, or of the
// forge itself.
func hostOf(raw string) (place, bool) {
	if at, ok := placeOf(raw); ok {
		return at, true
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return place{}, false
	}
	at := place{scheme: u.Scheme, host: u.Host, prefix: strings.Trim(u.Path, "/")}
	return at, at.prefix == "" || segment.MatchString(at.prefix) && strings.Trim(at.prefix, ".") != ""
}
