// Package client is the other side of the server's interface: the REST calls
// and the log stream that the command line uses, and the connection by which a
// worker is told what to do and reports (Worker).
//
// Errors of the server come as *Error, which wraps the kinds of cyclone; a
// server that does not answer is cyclone.ErrUnavailable.
//
// It formats nothing for people and keeps no state on disk; cmd/cyclone does
// the one and nobody the other.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"cyclone/pkg/cyclone"
)

// maxAnswer bounds an answer that is held in memory.
const maxAnswer = 64 << 20

// Client calls one server. It is safe for concurrent use.
type Client struct {
	// Agent is the User-Agent header.
	Agent string
	// Patience is how long Follow tries to connect again after a connection
	// was lost; two minutes by default.
	Patience time.Duration

	server string // as given, for messages
	base   string // http(s)://host[/prefix]
	socket string // of a unix socket, or empty
	token  string
	http   *http.Client
}

// New returns a client of the server at http://host:port, https://host:port
// or unix:///path/to/server.sock. The token may be empty. Nothing is dialled.
func New(server, token string) (*Client, error) {
	c := &Client{Agent: "cyclone", server: server, token: token}
	u, err := url.Parse(server)
	switch {
	case err == nil && u.User == nil && u.Scheme == "unix" && u.Host == "" && u.Path != "":
		c.base, c.socket = "http://localhost", u.Path
	case err == nil && u.User == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.RawQuery == "":
		c.base = u.Scheme + "://" + u.Host + strings.TrimRight(u.EscapedPath(), "/")
	default:
		return nil, cyclone.Invalid("server", "%q: write http://host:port, https://host:port or unix:///path/to/server.sock", server)
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, cyclone.Invalid("token", "it has blanks, line ends or characters in it that no token has")
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: c.dial, TLSHandshakeTimeout: 20 * time.Second,
		ResponseHeaderTimeout: 90 * time.Second, IdleConnTimeout: 30 * time.Second, ForceAttemptHTTP2: true,
	}
	if c.socket != "" {
		transport.Proxy = nil
	}
	c.http = &http.Client{Transport: transport}
	return c, nil
}

func (c *Client) dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: 20 * time.Second}
	if c.socket != "" {
		network, address = "unix", c.socket
	}
	return dialer.DialContext(ctx, network, address)
}

// Object is a thing of the server's: decoded, and exactly as it was sent.
type Object[T any] struct {
	Value T
	Raw   json.RawMessage
}

// UnmarshalJSON keeps the bytes and decodes them.
func (o *Object[T]) UnmarshalJSON(b []byte) error {
	o.Raw = append(o.Raw[:0], b...)
	return json.Unmarshal(b, &o.Value)
}

// MarshalJSON writes the bytes that were received.
func (o Object[T]) MarshalJSON() ([]byte, error) {
	if o.Raw == nil {
		return json.Marshal(o.Value)
	}
	return o.Raw, nil
}

// path joins parts below /api/v1, each escaped.
func path(parts ...string) string {
	p := "/api/v1"
	for _, part := range parts {
		p += "/" + url.PathEscape(part)
	}
	return p
}

// call sends in as JSON, unless it is nil, and decodes the answer into out,
// unless that is nil.
func (c *Client) call(ctx context.Context, method, path string, query url.Values, in, out any) error {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
		body = bytes.NewReader(data)
	}
	answer, err := c.send(ctx, method, path, query, body, "application/json")
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return c.away(ctx, err)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("%s does not answer like a Cyclone server (%s %s): %w", c.server, method, path, err)
	}
	return nil
}

// send sends a request and returns an answer below 300.
func (c *Client) send(ctx context.Context, method, path string, query url.Values, body io.Reader, accept string) (*http.Response, error) {
	address := c.base + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	r.Header = c.header()
	r.Header.Set("Accept", accept)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, c.away(ctx, err)
	}
	if answer.StatusCode < 300 {
		return answer, nil
	}
	defer func() { _ = answer.Body.Close() }()
	return nil, readError(answer)
}

func (c *Client) header() http.Header {
	h := http.Header{"User-Agent": {c.Agent}}
	if c.token != "" {
		h.Set("Authorization", "Bearer "+c.token)
	}
	return h
}

// away says that the server cannot be reached, or that ctx ended.
func (c *Client) away(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var failed *url.Error
	if errors.As(err, &failed) {
		err = failed.Err // without the address, which may be long
	}
	return cyclone.Unavailable("server %s cannot be reached: %v", c.server, err)
}
