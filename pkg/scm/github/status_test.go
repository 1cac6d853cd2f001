package github_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest"
	"cyclone/pkg/scm/github"
)

const sha = "3f2a1b9c3f2a1b9c3f2a1b9c3f2a1b9c3f2a1b9c"

// plainSealer keeps values as they are, under the purpose they were sealed for.
type plainSealer struct{}

func (plainSealer) Seal(purpose string, plain []byte) ([]byte, error) {
	return append([]byte(purpose+"|"), plain...), nil
}

func (plainSealer) Open(purpose string, sealed []byte) ([]byte, error) {
	plain, ok := strings.CutPrefix(string(sealed), purpose+"|")
	if !ok {
		return nil, cyclone.Forbidden("sealed for something else")
	}
	return []byte(plain), nil
}

// call is a request that the forge got.
type call struct{ Method, Path, Body, Token, Accept, Version string }

// forge is a GitHub that answers as it is told and remembers what it was asked.
type forge struct {
	*httptest.Server
	mu     sync.Mutex
	calls  []call
	answer http.HandlerFunc
}

func newForge(t *testing.T, answer http.HandlerFunc) *forge {
	t.Helper()
	f := &forge{answer: answer}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.calls = append(f.calls, call{r.Method, r.URL.Path, string(body), r.Header.Get("Authorization"), r.Header.Get("Accept"), r.Header.Get("X-GitHub-Api-Version")})
		f.answer(w, r)
	}))
	t.Cleanup(f.Close)
	return f
}

func (f *forge) got() []call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

// says answers with a status and a message, and headers in pairs.
func says(code int, message string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, `{"message":"`+message+`"}`) // whoever asked may have gone
	}
}

// statuses has the project's token in the secret "forge".
func statuses(t *testing.T, value string) *github.Statuses {
	t.Helper()
	store := cyclonetest.NewMemory()
	secret := &cyclone.Secret{Project: "orders", Name: "forge"}
	secret.Value, _ = plainSealer{}.Seal(secret.Purpose(), []byte(value)) // it cannot fail
	if err := store.Secrets.Put(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	return &github.Statuses{Secrets: store.Secrets, Sealer: plainSealer{}, EventURL: func(e *cyclone.Event) string {
		return "https://ci.example.com/events/" + string(e.ID)
	}}
}

func project(url string) *cyclone.Project {
	return &cyclone.Project{Name: "orders", Repository: cyclone.Repository{Type: "github", URL: url, Credential: "forge"}}
}

func ended(status cyclone.Status, took time.Duration, reason string) *cyclone.Event {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	end := begin.Add(took)
	e := &cyclone.Event{ID: "e1", Project: "orders", Number: 7, Status: status, Reason: reason, Commit: cyclone.Commit{SHA: sha}, FinishedAt: &end}
	if took > 0 {
		e.StartedAt = &begin
	}
	return e
}

func TestStatusIsSet(t *testing.T) {
	t.Parallel()
	f := newForge(t, says(201, ""))
	s := statuses(t, "alice:tok\n")
	if err := s.Notify(t.Context(), project(f.URL+"/acme/orders.git"), ended(cyclone.StatusSuccess, 95*time.Second, "")); err != nil {
		t.Fatal(err)
	}
	want := []call{{
		"POST", "/api/v3/repos/acme/orders/statuses/" + sha,
		`{"state":"success","target_url":"https://ci.example.com/events/e1","description":"success after 1m35s","context":"cyclone/orders"}`,
		"Bearer tok", "application/vnd.github+json", "2022-11-28",
	}}
	if diff := cmp.Diff(want, f.got()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestStates(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ä", 200)
	for _, c := range []struct {
		event *cyclone.Event
		want  string
	}{
		{ended(cyclone.StatusFailure, 90*time.Minute, "build: go build\n./... failed\x1b[0m"), `"state":"failure",*"description":"failure after 1h30m: build: go build ./... failed[0m"`},
		{ended(cyclone.StatusError, 10*time.Millisecond, "worker w1 is lost"), `"state":"error",*"description":"error after 1s: worker w1 is lost"`},
		{ended(cyclone.StatusCanceled, 0, "superseded by event #8"), `"state":"error",*"description":"canceled: superseded by event #8"`},
		{ended(cyclone.StatusTimeout, time.Hour, ""), `"state":"error",*"description":"timeout after 1h"`},
		{ended(cyclone.StatusSkipped, 0, "the commit's message says [skip ci]"), `"state":"success",*"description":"skipped: the commit's message says [skip ci]"`},
		{ended(cyclone.StatusFailure, 0, long), `"state":"failure",*"description":"failure: ` + long[:2*(140-9-3)] + `..."`},
	} {
		f := newForge(t, says(201, ""))
		if err := statuses(t, "tok").Notify(t.Context(), project(f.URL+"/acme/orders"), c.event); err != nil {
			t.Fatal(err)
		}
		state, description, _ := strings.Cut(c.want, "*")
		if body := f.got()[0].Body; !strings.Contains(body, state) || !strings.Contains(body, description) || f.got()[0].Token != "Bearer tok" {
			t.Errorf("%s: told %s; want %s and %s", c.event.Status, body, state, description)
		}
	}
}

// What cannot be set is not tried.
func TestStatusNotWanted(t *testing.T) {
	t.Parallel()
	f := newForge(t, says(500, "nobody should ask"))
	s := statuses(t, "tok")
	good := f.URL + "/acme/orders"
	if !s.Wanted(project(good), ended(cyclone.StatusSuccess, 1, "")) {
		t.Error("a good one is not wanted")
	}
	for name, spoil := range map[string]func(*cyclone.Project, *cyclone.Event){
		"other forge":     func(p *cyclone.Project, _ *cyclone.Event) { p.Repository.Type = "gitlab" },
		"no credential":   func(p *cyclone.Project, _ *cyclone.Event) { p.Repository.Credential = "" },
		"no commit":       func(_ *cyclone.Project, e *cyclone.Event) { e.Commit.SHA = "" },
		"strange commit":  func(_ *cyclone.Project, e *cyclone.Event) { e.Commit.SHA = "main" },
		"not over":        func(_ *cyclone.Project, e *cyclone.Event) { e.Status = cyclone.StatusRunning },
		"no owner":        func(p *cyclone.Project, _ *cyclone.Event) { p.Repository.URL = f.URL + "/orders" },
		"deeper path":     func(p *cyclone.Project, _ *cyclone.Event) { p.Repository.URL = f.URL + "/a/b/c" },
		"path upwards":    func(p *cyclone.Project, _ *cyclone.Event) { p.Repository.URL = f.URL + "/acme/.." },
		"no URL":          func(p *cyclone.Project, _ *cyclone.Event) { p.Repository.URL = "orders" },
		"query in a name": func(p *cyclone.Project, _ *cyclone.Event) { p.Repository.URL = f.URL + "/acme/orders%3Fx" },
	} {
		p, e := project(good), ended(cyclone.StatusSuccess, 1, "")
		spoil(p, e)
		if s.Wanted(p, e) {
			t.Errorf("%s: wanted", name)
		}
		if err := s.Notify(t.Context(), p, e); err != nil {
			t.Errorf("%s: Notify = %v", name, err)
		}
	}
	if calls := f.got(); len(calls) != 0 {
		t.Errorf("asked all the same: %+v", calls)
	}
}

// recorder answers every call without a network.
type recorder struct{ urls []string }

func (r *recorder) RoundTrip(q *http.Request) (*http.Response, error) {
	r.urls = append(r.urls, q.URL.String())
	return &http.Response{StatusCode: 201, Body: http.NoBody, Header: http.Header{}, Request: q}, nil
}

func TestAPIOfEachURL(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"https://github.com/acme/orders.git":              "https://api.github.com",
		"http://GitHub.com/acme/orders":                   "https://api.github.com",
		"git@github.com:acme/orders.git":                  "https://api.github.com",
		"ssh://git@ssh.github.com:443/acme/orders.git":    "https://api.github.com",
		"git://github.com/acme/orders":                    "https://api.github.com",
		"https://ghe.example.com:8443/acme/orders/":       "https://ghe.example.com:8443/api/v3",
		"http://ghe.example.com/acme/orders":              "http://ghe.example.com/api/v3",
		"ssh://git@ghe.example.com:2222/acme/orders.git":  "https://ghe.example.com/api/v3",
		"deploy@ghe.example.com:acme/orders.git":          "https://ghe.example.com/api/v3",
		"https://github.com.evil.example.com/acme/orders": "https://github.com.evil.example.com/api/v3",
	} {
		r := &recorder{}
		s := statuses(t, "tok")
		s.Client = &http.Client{Transport: r}
		if err := s.Notify(t.Context(), project(url), ended(cyclone.StatusSuccess, 1, "")); err != nil {
			t.Errorf("%s: %v", url, err)
		}
		if diff := cmp.Diff([]string{want + "/repos/acme/orders/statuses/" + sha}, r.urls); diff != "" {
			t.Errorf("%s (-want +got):\n%s", url, diff)
		}
	}
}

func TestStatusRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		kind   error
		says   string
	}{
		{"bad token", says(401, "Bad credentials"), cyclone.ErrForbidden, `the token in the secret "forge" (401: Bad credentials)`},
		{"no permission", says(403, "Resource not accessible by personal access token"), cyclone.ErrForbidden, `needs the permission "Commit statuses: write"`},
		{"unseen", says(404, "Not Found"), cyclone.ErrNotFound, "acme/orders, or the token"},
		{"no such commit", says(422, "No commit found for SHA"), cyclone.ErrInvalid, "No commit found for SHA"},
		{"bad request", says(400, "Problems parsing JSON"), cyclone.ErrInvalid, "Problems parsing JSON"},
		{"limit", says(403, "API rate limit exceeded", "X-RateLimit-Remaining", "0"), cyclone.ErrUnavailable, "no more calls"},
		{"secondary limit", says(403, "You have exceeded a secondary rate limit"), cyclone.ErrUnavailable, "no more calls"},
		{"told to wait", says(403, "slow down", "Retry-After", "60"), cyclone.ErrUnavailable, "after 60 s"},
		{"too many", says(429, "slow down"), cyclone.ErrUnavailable, "no more calls"},
		{"broken", says(502, "Bad Gateway"), cyclone.ErrUnavailable, "answers 502"},
		{"no JSON", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, cyclone.ErrUnavailable, "without a reason"},
		{"no API", says(200, ""), cyclone.ErrInvalid, "(200"},
		{"moved", says(301, "Moved Permanently", "Location", "/api/v3/repositories/1/statuses/"+sha), cyclone.ErrNotFound, `change the URL of project "orders"`},
		{"sent to another host", says(307, "Temporary", "Location", "http://127.0.0.2:1/"), cyclone.ErrNotFound, "somewhere else"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newForge(t, c.answer)
			err := statuses(t, "s3cret").Notify(t.Context(), project(f.URL+"/acme/orders"), ended(cyclone.StatusSuccess, 1, ""))
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("Notify = %v; want %v that says %q", err, c.kind, c.says)
			}
			if err != nil && strings.Contains(err.Error(), "s3cret") {
				t.Error("the error shows the token")
			}
			if calls := f.got(); len(calls) != 1 {
				t.Errorf("%d calls", len(calls))
			}
		})
	}
}

// A repository that was renamed is found at its new place.
func TestStatusFollowsTheRepository(t *testing.T) {
	t.Parallel()
	f := newForge(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/repos/") {
			http.Redirect(w, r, "/api/v3/repositories/1/statuses/"+sha, http.StatusTemporaryRedirect)
			return
		}
		w.WriteHeader(http.StatusCreated)
	})
	if err := statuses(t, "tok").Notify(t.Context(), project(f.URL+"/acme/old"), ended(cyclone.StatusSuccess, 1, "")); err != nil {
		t.Fatal(err)
	}
	calls := f.got()
	if len(calls) != 2 || calls[1].Method != "POST" || calls[1].Token != "Bearer tok" || calls[1].Body != calls[0].Body {
		t.Errorf("calls: %+v", calls)
	}
}

func TestStatusOutOfReach(t *testing.T) {
	t.Parallel()
	f := newForge(t, says(201, ""))
	f.Close()
	err := statuses(t, "tok").Notify(t.Context(), project(f.URL+"/acme/orders"), ended(cyclone.StatusSuccess, 1, ""))
	if !errors.Is(err, cyclone.ErrUnavailable) || !strings.Contains(err.Error(), "cannot be reached") {
		t.Errorf("Notify = %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	silent := newForge(t, func(_ http.ResponseWriter, r *http.Request) {
		stop()
		<-r.Context().Done()
	})
	if err := statuses(t, "tok").Notify(ctx, project(silent.URL+"/acme/orders"), ended(cyclone.StatusSuccess, 1, "")); !errors.Is(err, cyclone.ErrUnavailable) {
		t.Errorf("Notify = %v of a forge that does not answer", err)
	}
}

// awaySecrets is a store that cannot be reached.
type awaySecrets struct{ cyclone.SecretStore }

func (awaySecrets) Find(context.Context, cyclone.ProjectName, string) (*cyclone.Secret, error) {
	return nil, cyclone.Unavailable("store is out of reach")
}

func TestToken(t *testing.T) {
	t.Parallel()
	f := newForge(t, says(201, ""))
	p, e := project(f.URL+"/acme/orders"), ended(cyclone.StatusSuccess, 1, "")
	for value, want := range map[string]error{"": cyclone.ErrInvalid, "alice:": cyclone.ErrInvalid, "-----BEGIN KEY-----\nabc": cyclone.ErrInvalid, "to\tken": cyclone.ErrInvalid} {
		if err := statuses(t, value).Notify(t.Context(), p, e); !errors.Is(err, want) || value != "" && strings.Contains(err.Error(), value) {
			t.Errorf("%q: Notify = %v", value, err)
		}
	}
	s := statuses(t, "tok")
	other := project(f.URL + "/acme/orders")
	other.Repository.Credential = "none"
	if err := s.Notify(t.Context(), other, e); !errors.Is(err, cyclone.ErrNotFound) || !strings.Contains(err.Error(), `no such secret`) {
		t.Errorf("missing secret: %v", err)
	}
	s.Secrets = awaySecrets{s.Secrets}
	if err := s.Notify(t.Context(), p, e); !errors.Is(err, cyclone.ErrUnavailable) {
		t.Errorf("store away: %v", err)
	}
	moved := &cyclone.Secret{Project: "orders", Name: "forge", Value: []byte("secret/orders/other|tok")}
	sealed := cyclonetest.NewMemory()
	if err := sealed.Secrets.Put(t.Context(), moved); err != nil {
		t.Fatal(err)
	}
	s.Secrets = sealed.Secrets
	if err := s.Notify(t.Context(), p, e); !errors.Is(err, cyclone.ErrInvalid) {
		t.Errorf("sealed for another place: %v", err)
	}
	if calls := f.got(); len(calls) != 0 {
		t.Errorf("asked without a token: %+v", calls)
	}
}
