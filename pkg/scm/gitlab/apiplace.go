package gitlab

import (
	"net/url"
	"regexp"
	"strings"

	"cyclone/pkg/rest"
)

// place is where a project is on a GitLab.
type place struct {
	scheme, host string
	path         string // "group/subgroup/orders"
}

var (
	scpLike = regexp.MustCompile(`^(?:[^@/]+@)?([^:/]+):(.*)$`)
	segment = regexp.MustCompile(`^[\pL\pN_.-]+$`)
)

// placeOf reads a repository's URL: https, ssh, or as scp writes it. A GitLab
// below a path of its host looks like one with a group of that name.
func placeOf(raw string) (place, bool) {
	at := place{scheme: "https"}
	if strings.Contains(raw, "://") {
		u, err := url.Parse(raw)
		if err != nil {
			return place{}, false
		}
		at.host, at.path = u.Hostname(), u.Path
		switch u.Scheme {
		case "http", "https":
			at.scheme, at.host = u.Scheme, u.Host
		case "ssh", "git", "git+ssh", "ssh+git": // whose ports say nothing about the API's
		default:
			return place{}, false
		}
	} else if m := scpLike.FindStringSubmatch(raw); m != nil {
		at.host, at.path = m[1], m[2]
	}
	at.path = strings.TrimSuffix(strings.Trim(at.path, "/"), ".git")
	parts := strings.Split(at.path, "/")
	for _, p := range parts {
		if !segment.MatchString(p) || strings.Trim(p, ".") == "" {
			return at, false
		}
	}
	return at, at.host != "" && len(parts) >= 2
}

// api is the address of the API.
func (p place) api() string {
	host := p.host
	if strings.EqualFold(host, "altssh.gitlab.com") {
		host = "gitlab.com" // which takes ssh there, on the port of https
	}
	return p.scheme + "://" + host + "/api/v4"
}

// below is a path below the project: /projects/group%2Forders/...
func (p place) below(segments ...string) string {
	return rest.Path(append([]string{"projects", p.path}, segments...)...)
}

func (p place) String() string { return p.path }

// hostOf reads where the API is out of the address of a repository, or of the
// forge itself.
func hostOf(raw string) (place, bool) {
	at, ok := placeOf(raw)
	if ok {
		return at, true
	}
	web := strings.HasPrefix(raw, "https://") || strings.HasPrefix(raw, "http://")
	return at, web && at.host != ""
}
