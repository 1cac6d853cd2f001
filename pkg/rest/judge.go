package rest

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"cyclone/pkg/cyclone"
)

// refusal is an error of which the HTTP status is known.
type refusal struct {
	error
	status int
}

func (r *refusal) Unwrap() error { return r.error }

// Status is the HTTP status of the answer that became err; 0 when there was
// none.
func Status(err error) int {
	var r *refusal
	if errors.As(err, &r) {
		return r.status
	}
	return 0
}

// refused turns an answer that is no success into an error that says what to
// do about it.
func (c *Client) refused(call Call, response *http.Response, token string) error {
	return &refusal{c.judged(call, response, token), response.StatusCode}
}

func (c *Client) judged(call Call, response *http.Response, token string) error {
	// Half of a reason is better than none.
	text, _ := io.ReadAll(io.LimitReader(response.Body, maxRefusal))
	raw := message(text)
	code := response.StatusCode
	says := fmt.Sprintf("%d: %s", code, c.hide(call, token, raw))
	switch {
	case code == http.StatusTooManyRequests, code == http.StatusForbidden && limited(response.Header, raw):
		wait := patience(response.Header)
		c.Limits.remember(c.Base, token, wait)
		return cyclone.UnavailableFor(wait, "%s takes no more calls with %s for %s (%s)", c.place(), c.holder(), cyclone.Duration(roundUp(wait)), says)
	case code >= 500 || code == http.StatusRequestTimeout:
		return c.broken(response.Header, says)
	case code == http.StatusUnauthorized:
		return c.unknown(says)
	case code == http.StatusForbidden:
		return cyclone.Forbidden("%s may not do this with %s (%s): it needs %s", c.holder(), c.thing(call), says, need(call))
	case code == http.StatusNotFound, code == http.StatusGone:
		return cyclone.NotFound("%s has no %s, or %s (%s)", c.place(), c.thing(call), c.blind(call), says)
	case code/100 == 3:
		return cyclone.NotFound("%s is somewhere else now (%s): change the repository's URL in the project", c.thing(call), says)
	}
	return cyclone.Invalid(c.thing(call), "%s refuses this (%s)", c.place(), says)
}

// broken is the forge's own failure; some say when it is over.
func (c *Client) broken(header http.Header, says string) error {
	if wait := retryAfter(header); wait > 0 {
		return cyclone.UnavailableFor(wait, "%s does not work for %s (%s)", c.place(), cyclone.Duration(roundUp(wait)), says)
	}
	return cyclone.Unavailable("%s does not work at the moment (%s)", c.place(), says)
}

func (c *Client) unknown(says string) error {
	if c.Credential.None() {
		return cyclone.Forbidden("%s wants a token (%s): store one as a secret and name it as the project's repository credential", c.place(), says)
	}
	return cyclone.Forbidden("%s does not accept %s (%s): it was revoked, has expired or is none; store a new one", c.place(), c.holder(), says)
}

// blind says why something that is there may look as if it were not.
func (c *Client) blind(call Call) string {
	if c.Credential.None() {
		return "it is private and needs a token"
	}
	return c.holder() + " may not see it: it needs access to the repository and " + need(call)
}

func need(call Call) string {
	if call.Need == "" {
		return "the permission for it"
	}
	return "the permission " + call.Need
}

// place names the forge in messages.
func (c *Client) place() string {
	address := c.Base
	if _, host, ok := strings.Cut(address, "://"); ok {
		address = host
	}
	return c.Forge + " at " + Line(address, maxMessage)
}

func (c *Client) holder() string {
	if c.Credential.Holder == "" {
		return "the token"
	}
	return "the token of the " + Line(c.Credential.Holder, maxMessage)
}

func (c *Client) thing(call Call) string {
	repository := "repository " + Line(c.Repository, maxMessage)
	switch {
	case call.Thing == "" && c.Repository == "":
		return "such address"
	case call.Thing == "":
		return repository
	case c.Repository == "":
		return Line(call.Thing, maxMessage)
	}
	return Line(call.Thing, maxMessage) + " in " + repository
}

// hide takes out of a text from outside what must not be shown: forges have
// been seen to repeat what they were given.
func (c *Client) hide(call Call, token, text string) string {
	for _, secret := range append([]string{token}, call.Hide...) {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "[hidden]")
		}
	}
	return Line(text, maxMessage)
}
