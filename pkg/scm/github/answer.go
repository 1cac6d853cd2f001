package github

import (
	"encoding/json"
	"net/http"
	"strings"

	"cyclone/pkg/cyclone"
)

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
