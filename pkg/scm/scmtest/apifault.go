package scmtest

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/fakeforge"
)

// refuses checks an error's kind and that its text says something.
func refuses(t *testing.T, what string, err, kind error, says string) {
	t.Helper()
	if !errors.Is(err, kind) || !strings.Contains(err.Error(), says) {
		t.Errorf("%s: %v; want %v that says %q", what, err, kind, says)
	}
	sane(t, what, err)
}

// faults breaks the forge in each way under each method.
func (s APISuite) faults(t *testing.T) {
	evil := "no \x1b[31m\n" + apiToken + " " + strings.Repeat("long ", 1000)
	for _, c := range []struct {
		name  string
		fault fakeforge.Fault
		kind  error
		says  string
		wait  time.Duration
	}{
		{"401", fakeforge.Answer(401, "Bad credentials"), cyclone.ErrForbidden, `the token of the secret "forge" (401: Bad credentials)`, 0},
		{"403", fakeforge.Answer(403, "Not yours"), cyclone.ErrForbidden, "(403: Not yours)", 0},
		{"403 limit", fakeforge.Answer(403, "API rate limit exceeded", "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "1"), cyclone.ErrUnavailable, "takes no more calls", time.Second},
		{"403 secondary limit", fakeforge.Answer(403, "You have exceeded a secondary rate limit"), cyclone.ErrUnavailable, "for 1m", time.Minute},
		{"404", fakeforge.Answer(404, "Not Found"), cyclone.ErrNotFound, "may not see it", 0},
		{"422", fakeforge.Answer(422, "Validation Failed"), cyclone.ErrInvalid, "refuses this (422: Validation Failed)", 0},
		{"400 evil", fakeforge.Answer(400, evil), cyclone.ErrInvalid, "no [31m [hidden]", 0},
		{"409", fakeforge.Answer(409, "Conflict"), cyclone.ErrInvalid, "(409: Conflict)", 0},
		{"429", fakeforge.Answer(429, "slow down", "Retry-After", "90"), cyclone.ErrUnavailable, "for 1m30s", 90 * time.Second},
		{"500", fakeforge.Answer(500, "oops"), cyclone.ErrUnavailable, "500: oops", 0},
		{"503 for a while", fakeforge.Answer(503, "maintenance", "Retry-After", "120"), cyclone.ErrUnavailable, "503: maintenance", 2 * time.Minute},
		{"502 page", fakeforge.HTML(502), cyclone.ErrUnavailable, "502: without a reason", 0},
		{"page", fakeforge.HTML(200), cyclone.ErrUnavailable, "is it one?", 0},
		{"null", fakeforge.Fault{Status: 200, Body: "{]"}, cyclone.ErrUnavailable, "is it one?", 0},
		{"cut", fakeforge.Fault{Cut: true}, cyclone.ErrUnavailable, "broke off", 0},
		{"moved", fakeforge.Fault{Status: 301, Header: http.Header{"Location": {"http://127.0.0.2:1/x"}}}, cyclone.ErrNotFound, "somewhere else", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := s.world(t)
			w.Inject(c.fault)
			for _, m := range methods() {
				what := m.name
				err := m.do(t.Context(), s.New(nil), w.a) // of its own: limits are remembered
				refuses(t, what, err, c.kind, c.says)
				if got := cyclone.RetryAfter(err); got > c.wait+time.Second || got < c.wait-time.Second {
					t.Errorf("%s: RetryAfter = %s, want %s", what, got, c.wait)
				}
			}
		})
	}
	t.Run("secret echoed", func(t *testing.T) {
		t.Parallel()
		w := s.world(t)
		w.Inject(fakeforge.Fault{Method: "POST", Path: "/hooks", Status: 422, Body: `{"message": "secret hook-secret is too short"}`})
		_, err := w.api.PutHook(t.Context(), w.a, cyclone.HookSpec{URL: hookURL, Secret: "hook-secret"})
		refuses(t, "PutHook", err, cyclone.ErrInvalid, "secret [hidden] is too short")
	})
	t.Run("endless", func(t *testing.T) {
		t.Parallel()
		w := s.world(t)
		w.Inject(fakeforge.Fault{Endless: true})
		_, err := w.api.Branches(t.Context(), w.a, "", cyclone.Page{})
		refuses(t, "Branches", err, cyclone.ErrUnavailable, "longer than")
		if got, err := w.api.Changed(t.Context(), w.a, shaA, shaB, 0); err != nil || got != nil {
			t.Errorf("Changed = %v, %v; want that not all is told", got, err)
		}
	})
}

// limits: a forge that takes no more calls gets none.
func (s APISuite) limits(t *testing.T) {
	w := s.world(t)
	w.Inject(fakeforge.Answer(429, "slow down", "Retry-After", "90"))
	_, err := w.api.Repository(t.Context(), w.a)
	refuses(t, "the call", err, cyclone.ErrUnavailable, "1m30s")
	w.Heal()
	w.ForgetCalls()
	for _, m := range methods() {
		err := m.do(t.Context(), w.api, w.a)
		refuses(t, m.name, err, cyclone.ErrUnavailable, "takes no more calls")
		if wait := cyclone.RetryAfter(err); wait < 80*time.Second || wait > 90*time.Second {
			t.Errorf("%s: RetryAfter = %s", m.name, wait)
		}
	}
	if n := len(w.Calls()); n != 0 {
		t.Errorf("%d calls were made all the same", n)
	}
	if _, err := w.api.Repository(t.Context(), w.access(weakToken)); err != nil {
		t.Errorf("another token is held back too: %v", err)
	}
}

// permissions: a token that may only read is told which permission it lacks.
func (s APISuite) permissions(t *testing.T) {
	for name, words := range s.Needs {
		w := s.world(t)
		w.Change(repoName, func(r *fakeforge.Repository) { r.Roles["reader"] = fakeforge.Admin })
		w.Change(repoName, func(r *fakeforge.Repository) {
			r.Hooks = append(r.Hooks, fakeforge.Hook{ID: 4000, URL: hookURL, Active: true, Events: s.Events})
		})
		tried := false
		for _, m := range methods() {
			if m.name != name {
				continue
			}
			tried = true
			err := m.do(t.Context(), w.api, w.access(weakToken))
			if !errors.Is(err, cyclone.ErrForbidden) && !errors.Is(err, cyclone.ErrNotFound) {
				t.Errorf("%s: %v; want ErrForbidden or ErrNotFound", name, err)
				continue
			}
			if !strings.Contains(err.Error(), words) || !strings.Contains(err.Error(), `secret "forge"`) {
				t.Errorf("%s: %v; want it to name %q and the secret", name, err, words)
			}
			sane(t, name, err)
		}
		if !tried {
			t.Errorf("no method %s", name)
		}
	}
}

// credentials: what is no token is never sent.
func (s APISuite) credentials(t *testing.T) {
	w := s.world(t)
	for _, password := range []string{" ", "to\nken", "to ken", "tok\x00en", "tökén", "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n"} {
		for _, m := range methods() {
			a := w.access(password)
			err := m.do(t.Context(), w.api, a)
			refuses(t, m.name, err, cyclone.ErrInvalid, `secret "forge"`)
			if trimmed := strings.TrimSpace(password); trimmed != "" && strings.Contains(err.Error(), trimmed) {
				t.Errorf("%s: the error shows what is in the secret", m.name)
			}
		}
	}
	if n := len(w.Calls()); n != 0 {
		t.Errorf("%d calls with what is no token", n)
	}
	_, err := w.api.Repository(t.Context(), cyclone.ForgeAccess{URL: w.a.URL})
	refuses(t, "nobody", err, cyclone.ErrNotFound, "token")
	w.Expire("robot")
	for _, m := range methods() {
		refuses(t, m.name+" with an expired token", m.do(t.Context(), w.api, w.a), cyclone.ErrForbidden, "has expired")
	}
	if _, err := w.api.Repository(t.Context(), w.access("  "+weakToken+"\n")); err != nil {
		t.Errorf("a token with a line's end: %v", err)
	}
}

func (s APISuite) addresses(t *testing.T) {
	w := s.world(t)
	for _, url := range []string{"", "orders", "https://", "http://[::1", w.URL, w.URL + "/acme", w.URL + "/acme/..", w.URL + "/acme/a%3Fb", "file:///etc/passwd", "https://exa mple.com/a/b"} {
		a := w.a
		a.URL = url
		for _, m := range methods() {
			if m.name == "Repositories" {
				continue // that the forge's address is enough for
			}
			if err := m.do(t.Context(), w.api, a); !errors.Is(err, cyclone.ErrInvalid) {
				t.Errorf("%s of %q: %v; want ErrInvalid", m.name, url, err)
			}
		}
	}
	if n := len(w.Calls()); n != 0 {
		t.Errorf("%d calls", n)
	}
	away := s.world(t)
	away.Close()
	for _, m := range methods() {
		refuses(t, m.name, m.do(t.Context(), away.api, away.a), cyclone.ErrUnavailable, "cannot be reached")
	}
}

// silence: a forge that does not answer holds nobody longer than they want.
func (s APISuite) silence(t *testing.T) {
	w := s.world(t)
	w.Inject(fakeforge.Fault{Wait: make(chan struct{})})
	for _, m := range methods() {
		ctx, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
		err := m.do(ctx, w.api, w.a)
		stop()
		refuses(t, m.name, err, cyclone.ErrUnavailable, "does not answer in time")
	}
	brief := s.New(&http.Client{Timeout: 20 * time.Millisecond})
	_, err := brief.Repository(t.Context(), w.a)
	refuses(t, "a client with a limit of its own", err, cyclone.ErrUnavailable, "does not answer in time")
}

// atOnce: the driver is used by many.
func (s APISuite) atOnce(t *testing.T) {
	w := s.world(t)
	w.Inject(fakeforge.Fault{Times: 4, Status: 429, Header: http.Header{"Retry-After": {"1"}}})
	var wait sync.WaitGroup
	for _, m := range methods() {
		for range 3 {
			wait.Go(func() {
				err := m.do(t.Context(), w.api, w.a)
				if err != nil && !errors.Is(err, cyclone.ErrUnavailable) {
					t.Errorf("%s: %v", m.name, err)
				}
			})
		}
	}
	wait.Wait()
}
