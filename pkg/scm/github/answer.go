package github

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"cyclone/pkg/cyclone"
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
	if u, err := url.Parse(raw); err == nil && u.Host != "" {
		at.host, path = u.Hostname(), u.Path
		// Ports of ssh and git say nothing about the API's.
		if u.Scheme == "http" || u.Scheme == "https" {
			at.scheme, at.host = u.Scheme, u.Host
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

// judge turns an answer into nothing or an error that says what to do.
func judge(answer *http.Response, body []byte, p *cyclone.Project, at place) error {
	credential, says := p.Repository.Credential, message(body)
	switch code := answer.StatusCode; {
	case code == http.StatusCreated:
		return nil
	case code == http.StatusTooManyRequests, code == http.StatusForbidden && limited(answer, says):
		return cyclone.Unavailable("%s takes no more calls for the moment (%d%s): %s", at.api(), code, wait(answer), says)
	case code >= 500:
		return cyclone.Unavailable("%s answers %d: %s", at.api(), code, says)
	case code == http.StatusUnauthorized:
		return cyclone.Forbidden("%s does not accept the token in the secret %q (401: %s): it was revoked, has expired or is none; store a new one", at.api(), credential, says)
	case code == http.StatusForbidden:
		return cyclone.Forbidden("the token in the secret %q may not set commit statuses of %s (403: %s): it needs the permission \"Commit statuses: write\", or the scope repo:status of a classic token", credential, at, says)
	case code == http.StatusNotFound:
		return cyclone.NotFound("%s has no repository %s, or the token in the secret %q may not see it or set its commit statuses (404: %s): it needs access to the repository with the permission \"Commit statuses: write\"", at.api(), at, credential, says)
	case code >= 300 && code < 400:
		return cyclone.NotFound("repository %s is somewhere else now (%d): change the URL of project %q", at, code, p.Name)
	}
	return cyclone.Invalid("status", "%s refuses the status (%d: %s); the commit may be gone, or have too many statuses", at.api(), answer.StatusCode, says)
}

// limited tells GitHub's limits of calls from a refusal: both come as 403.
func limited(answer *http.Response, says string) bool {
	says = strings.ToLower(says)
	return answer.Header.Get("Retry-After") != "" || answer.Header.Get("X-RateLimit-Remaining") == "0" ||
		strings.Contains(says, "rate limit") || strings.Contains(says, "abuse detection")
}

func wait(answer *http.Response) string {
	if after := answer.Header.Get("Retry-After"); after != "" {
		return ", try again after " + shorten(after) + " s"
	}
	return ""
}

// message is what GitHub says is wrong.
func message(body []byte) string {
	var said struct {
		Message string `json:"message"`
	}
	if err := json.Unmarshal(body, &said); err != nil || said.Message == "" {
		return "without a reason"
	}
	text := []rune(strings.TrimSpace(strings.Map(printable, said.Message)))
	return string(text[:min(len(text), 200)])
}
