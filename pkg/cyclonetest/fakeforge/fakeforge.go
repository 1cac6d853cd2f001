// Package fakeforge stands in for a forge's REST API: it holds repositories,
// users, statuses, comments and webhooks, and is strict. A call that the
// forge's documentation does not know (its path, a parameter, a header, a field
// of the body) is refused and noted as a violation, which fails the test. It
// breaks on demand, in all the ways in which forges break, delivers signed
// webhooks to those that were made, and plays the forge's side of OAuth.
//
// Only tests import it. It holds no commits: what is in a repository is what
// tests say, or a real git server's, which Options.Git puts at the same address.
package fakeforge

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Options are how a forge is started. The zero value is on loopback and serves
// no git.
type Options struct {
	// Bind is the address to listen on; empty means any port of 127.0.0.1.
	Bind string
	// Git gets what is not of the API: the repositories themselves.
	Git http.Handler
}

// Forge is what all forges have in common. Its methods are safe for concurrent
// use.
type Forge struct {
	// URL is the forge's address, without a slash at the end.
	URL string

	kind   kind
	git    http.Handler
	server *http.Server
	closed chan struct{}
	client *http.Client // delivers webhooks

	mu           sync.Mutex
	lastID       int
	users        []*User
	tokens       []*Token
	repositories []*Repository
	apps         []*App
	grants       []*grant
	faults       []*Fault
	calls        []Call
	violations   []string
}

// kind is what makes a forge this one.
type kind struct {
	name string
	// prefix is where the API begins: "/api/v3".
	prefix string
	routes []route
	// check notes what is wrong with the headers of a call.
	check func(*Request)
	// token is what the header of a call says; ok is false for another form.
	token func(http.Header) (value string, ok bool)
	// refusal is the body of an answer that is no success.
	refusal func(status int, message string) any
	// links sets the headers that lead to other pages.
	links func(*Request, Paging)
	// sign sets the headers of a delivery.
	sign func(header http.Header, h Hook, event, id string, body []byte)
	// oauth are the paths of authorization and token exchange.
	authorize, exchange string
	// oauthErrors is the status of a token exchange that fails: GitHub says 200.
	oauthErrors int
}

// Call is a call that the forge got.
type Call struct {
	Method, Path, Query, Body string
	Token                     string
	Status                    int
}

// start listens and serves.
func start(f *Forge, o Options) error {
	bind := o.Bind
	if bind == "" {
		bind = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", bind)
	if err != nil {
		return fmt.Errorf("listen as a %s: %w", f.kind.name, err)
	}
	f.URL, f.git, f.closed = "http://"+listener.Addr().String(), o.Git, make(chan struct{})
	f.client = &http.Client{Timeout: 10 * time.Second}
	f.server = &http.Server{Handler: http.HandlerFunc(f.serve), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = f.server.Serve(listener) }() // ends with Close
	return nil
}

// Close ends the server and every call that waits.
func (f *Forge) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.closed:
	default:
		close(f.closed)
		_ = f.server.Close() // nothing of it is needed any more
	}
}

// CloseWith ends the server with the test, which fails when something violated
// the forge's documentation.
func (f *Forge) CloseWith(t testing.TB) {
	t.Helper()
	t.Cleanup(func() {
		f.Close()
		for _, v := range f.Violations() {
			t.Errorf("%s: %s", f.kind.name, v)
		}
	})
}

// Calls are all calls so far, in their order.
func (f *Forge) Calls() []Call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// ForgetCalls empties the list of Calls.
func (f *Forge) ForgetCalls() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = nil
}

// Violations are what callers did that the forge's documentation does not know.
func (f *Forge) Violations() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.violations)
}

// ForgetViolations empties that list, for tests of the fake itself.
func (f *Forge) ForgetViolations() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.violations = nil
}

// id makes the next id; the lock is held.
func (f *Forge) id() int {
	f.lastID++
	return f.lastID
}

// serve takes a call apart: faults first, then OAuth, the API, and git.
func (f *Forge) serve(w http.ResponseWriter, r *http.Request) {
	path := r.URL.EscapedPath()
	api := strings.HasPrefix(path, f.kind.prefix+"/")
	oauth := path == f.kind.authorize || path == f.kind.exchange
	if !api && !oauth {
		if f.git == nil {
			http.NotFound(w, r)
			return
		}
		f.git.ServeHTTP(w, r)
		return
	}
	call := f.read(w, r, strings.TrimPrefix(path, f.kind.prefix))
	if fault := f.fault(r.Method, path); fault != nil && fault.happen(w, r, f.closed) {
		call.Status = fault.Status
		f.note(call)
		return
	}
	switch path {
	case f.kind.authorize:
		f.serveAuthorize(call)
	case f.kind.exchange:
		f.serveExchange(call)
	default:
		f.route(call)
	}
	f.note(call)
}

func (f *Forge) note(r *Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	token, _ := f.kind.token(r.Header)
	f.calls = append(f.calls, Call{
		Method: r.Method, Path: r.path, Query: r.URL.RawQuery, Body: string(r.raw), Token: token, Status: r.Status,
	})
}
