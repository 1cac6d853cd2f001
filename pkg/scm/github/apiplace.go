package github

import (
	"net/url"
	"regexp"
	"strings"
)

// place is where a repository is on a GitHub.
type place struct{ scheme, host, owner, name string }

var (
	scpLike = regexp.MustCompile(`^(?:[^@/]+@)?([^:/]+):(.*)$`)
	segment = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)
)

// placeOf reads a repository's URL: https, ssh, or as scp writes it.
func placeOf(raw string) (place, bool) {
	at, path := place{scheme: "https"}, ""
	if strings.Contains(raw, "://") {
		u, err := url.Parse(raw)
		if err != nil {
			return place{}, false
		}
		at.host, path = u.Hostname(), u.Path
		switch u.Scheme {
		case "http", "https":
			at.scheme, at.host = u.Scheme, u.Host
		case "ssh", "git", "git+ssh", "ssh+git": // whose ports say nothing about the API's
		default:
			return place{}, false
		}
	} else if m := scpLike.FindStringSubmatch(raw); m != nil {
		at.host, path = m[1], m[2]
	}
	path = strings.TrimSuffix(strings.Trim(path, "/"), ".git")
	at.owner, at.name, _ = strings.Cut(path, "/")
	fits := func(s string) bool { return segment.MatchString(s) && strings.Trim(s, ".") != "" }
	return at, at.host != "" && fits(at.owner) && fits(at.name)
}

// api is the address of the API: GitHub's own, or a GitHub Enterprise Server's.
func (p place) api() string {
	switch strings.ToLower(p.host) {
	case "github.com", "www.github.com", "ssh.github.com", "github.com:443":
		return "https://api.github.com"
	}
	if strings.HasSuffix(strings.ToLower(p.host), ".ghe.com") {
		return "https://api." + strings.ToLower(p.host) // an enterprise in GitHub's own cloud
	}
	return p.scheme + "://" + p.host + "/api/v3"
}

func (p place) String() string { return p.owner + "/" + p.name }
