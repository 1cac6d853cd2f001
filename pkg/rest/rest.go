// Package rest calls the REST API of a forge: JSON there and back, with a token
// that shows up nowhere, in bounded time and memory, and with every answer
// turned into nothing or one of cyclone's kinds of error, whose message says
// what to do. It remembers which token is to make no calls for a while.
//
// It knows no forge: which path, which fields, which permission is the driver's
// to say. It does not try again; whoever calls decides that by the error's kind
// and cyclone.RetryAfter.
package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"cyclone/pkg/cyclone"
)

const (
	// callTime bounds one call, from the first byte to the last.
	callTime = 30 * time.Second
	// defaultMax is how many bytes of an answer are read.
	defaultMax = 4 << 20
	// maxRefusal is how many bytes of a refusal are read to find out its reason.
	maxRefusal = 64 << 10
	// maxHops is how often one call may be sent on to another place.
	maxHops = 3
)

// ErrTooLarge is the ErrUnavailable of an answer longer than Call.Max.
var ErrTooLarge = cyclone.Unavailable("the answer is longer than what is read of it")

// Client calls the API of one forge with one credential. Make one where it is
// needed: it costs nothing. What outlives it is in Limits.
type Client struct {
	// Forge is the name of its kind in messages: "GitHub".
	Forge string
	// Base is the API's address, without a slash at the end.
	Base string
	// Repository is what the calls are about, in messages: "acme/orders". Empty
	// when they are about none.
	Repository string
	// Credential's password is the token; the zero value calls without one.
	Credential cyclone.Credential
	// Scheme stands before the token in the header Authorization; empty means
	// "Bearer".
	Scheme string
	// Header goes with every call, for instance Accept.
	Header http.Header
	// HTTP makes the calls; nil means one on Go's usual transport. Its
	// redirects are held to this package's rule.
	HTTP *http.Client
	// Limits remembers when the forge takes no more calls; nil forgets.
	Limits *Limits
}

// Call is one question to a forge.
type Call struct {
	Method string // empty means GET
	// Path is below Base and escaped: Path makes one.
	Path  string
	Query url.Values
	// Body is sent as JSON; nil sends none.
	Body any
	// Into takes the answer's JSON, which then must be there; nil throws the
	// answer away.
	Into any
	// Max is how many bytes the answer may have; 0 means 4 MiB.
	Max int64
	// Need names the permission that the call needs, for messages: `"Commit
	// statuses: write" (or the scope repo:status of a classic token)`.
	Need string
	// Thing is what the call asks for when that is not the repository itself,
	// for messages: "pull request 7".
	Thing string
	// Hide are secrets of the body, which no message may show.
	Hide []string
}

// Path makes a path of segments, each of which is escaped, slashes too.
func Path(segments ...string) string {
	var b strings.Builder
	for _, s := range segments {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(s))
	}
	return b.String()
}

// Do makes one call. Its errors are those that cyclone.StatusSetter promises;
// besides, ErrInvalid for a call that cannot be made and for a credential that
// is no token.
func (c *Client) Do(ctx context.Context, call Call) (*Answer, error) {
	token, err := c.token()
	if err != nil {
		return nil, err
	}
	if wait := c.Limits.wait(c.Base, token); wait > 0 {
		return nil, cyclone.UnavailableFor(wait, "%s takes no more calls with %s for another %s", c.place(), c.holder(), cyclone.Duration(roundUp(wait)))
	}
	ctx, stop := context.WithTimeout(ctx, callTime)
	defer stop()
	request, err := c.request(ctx, call, token)
	if err != nil {
		return nil, err
	}
	response, err := c.client().Do(request)
	if err != nil {
		return nil, cyclone.Unavailable("%s cannot be reached: %s", c.place(), c.hide(call, token, reason(err)))
	}
	defer func() { _ = response.Body.Close() }() // it was only read
	if response.StatusCode/100 != 2 {
		return nil, c.refused(call, response, token)
	}
	return c.accepted(call, response, token)
}

// token is the credential's, checked to be fit for a header.
func (c *Client) token() (string, error) {
	if c.Credential.None() {
		return "", nil
	}
	token := strings.TrimSpace(c.Credential.Password)
	if strings.HasPrefix(token, "-----BEGIN") {
		return "", cyclone.Invalid("repository.credential", "%s is a key, which %s takes for git only; its API needs a token", c.holder(), c.Forge)
	}
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", cyclone.Invalid("repository.credential", "%s is no token of %s's: it is empty, or has characters that no token has", c.holder(), c.Forge)
	}
	return token, nil
}

func (c *Client) request(ctx context.Context, call Call, token string) (*http.Request, error) {
	if err := checkPath(call.Path); err != nil {
		return nil, err
	}
	address := c.Base + call.Path
	if len(call.Query) > 0 {
		address += "?" + call.Query.Encode()
	}
	var body io.Reader = http.NoBody
	if call.Body != nil {
		text, err := json.Marshal(call.Body)
		if err != nil {
			return nil, fmt.Errorf("encode what %s is told: %w", c.Forge, err)
		}
		body = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, call.Method, address, body)
	if err != nil {
		return nil, cyclone.Invalid("repository.url", "does not lead to an API of %s: %s", c.Forge, reason(err))
	}
	for name, values := range c.Header {
		request.Header[name] = values
	}
	request.Header.Set("User-Agent", "cyclone")
	if call.Body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		scheme := c.Scheme
		if scheme == "" {
			scheme = "Bearer"
		}
		request.Header.Set("Authorization", scheme+" "+token)
	}
	return request, nil
}

// checkPath refuses what a server or a proxy before it may read as another path.
func checkPath(path string) error {
	if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "?#\\") {
		return cyclone.Invalid("path", "%q is no path of an API", path)
	}
	for s := range strings.SplitSeq(path[1:], "/") {
		if s == "" || s == "." || s == ".." {
			return cyclone.Invalid("path", "%q has an empty segment or one of dots", path)
		}
	}
	return nil
}

// client follows only what keeps the call as it is: of a 301 or 302 Go would
// make a GET, whose answer looks like a success; and another host must not get
// the token.
func (c *Client) client() *http.Client {
	var own http.Client
	if c.HTTP != nil {
		own = *c.HTTP
	}
	own.CheckRedirect = func(next *http.Request, via []*http.Request) error {
		first := via[0]
		if len(via) > maxHops || next.Method != first.Method || next.URL.Host != first.URL.Host || next.URL.Scheme != first.URL.Scheme {
			return http.ErrUseLastResponse
		}
		return nil
	}
	return &own
}

// accepted reads the answer of a call that did what it should.
func (c *Client) accepted(call Call, response *http.Response, token string) (*Answer, error) {
	answer := &Answer{Status: response.StatusCode, Header: response.Header}
	if call.Into == nil {
		return answer, nil
	}
	limit := call.Max
	if limit == 0 {
		limit = defaultMax
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err != nil {
		return nil, cyclone.Unavailable("%s broke off its answer: %s", c.place(), c.hide(call, token, reason(err)))
	}
	if int64(len(text)) > limit {
		return nil, fmt.Errorf("%s: %w (%d bytes)", c.place(), ErrTooLarge, limit)
	}
	if err := json.Unmarshal(text, call.Into); err != nil {
		return nil, cyclone.Unavailable("%s answers %d, but not with what the API of %s says: is it one? (content type %q)",
			c.place(), response.StatusCode, c.Forge, Line(response.Header.Get("Content-Type"), maxWord))
	}
	return answer, nil
}

// reason is an error of Go's client without the address, which the message has
// already.
func reason(err error) string {
	var broken *url.Error
	if errors.As(err, &broken) {
		err = broken.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "it does not answer in time"
	}
	return Line(err.Error(), maxMessage)
}
