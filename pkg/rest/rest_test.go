package rest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/rest"
)

// serve is a forge that answers as it is told.
func serve(t *testing.T, answer http.HandlerFunc) *rest.Client {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	return &rest.Client{
		Forge: "GitHub", Base: server.URL, Repository: "acme/orders",
		Credential: cyclone.Credential{Password: "s3cret", Holder: `secret "forge"`}, Limits: &rest.Limits{},
	}
}

func says(code int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

func TestCall(t *testing.T) {
	t.Parallel()
	var got []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = append(got, r.Method+" "+r.URL.EscapedPath()+"?"+r.URL.RawQuery+" "+string(body))
		for _, name := range []string{"Authorization", "Accept", "Content-Type", "User-Agent"} {
			got = append(got, name+": "+r.Header.Get(name))
		}
		_, _ = io.WriteString(w, `{"name":"x"}`)
	})
	c.Header = http.Header{"Accept": {"text/x"}}
	var into struct{ Name string }
	answer, err := c.Do(t.Context(), rest.Call{
		Method: http.MethodPut, Path: rest.Path("users", "a/b c", "ü"), Query: map[string][]string{"q": {"a&b"}},
		Body: map[string]int{"n": 1}, Into: &into,
	})
	if err != nil || into.Name != "x" || answer.Status != 200 {
		t.Fatalf("Do = %+v, %v; into %+v", answer, err, into)
	}
	c.Credential, c.Scheme = cyclone.Credential{}, "token"
	if _, err := c.Do(t.Context(), rest.Call{Path: "/x"}); err != nil {
		t.Fatal(err)
	}
	c.Credential.Password = "tok"
	if _, err := c.Do(t.Context(), rest.Call{Method: http.MethodDelete, Path: "/x"}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		`PUT /users/a%2Fb%20c/%C3%BC?q=a%26b {"n":1}`, "Authorization: Bearer s3cret", "Accept: text/x", "Content-Type: application/json", "User-Agent: cyclone",
		"GET /x? ", "Authorization: ", "Accept: text/x", "Content-Type: ", "User-Agent: cyclone",
		"DELETE /x? ", "Authorization: token tok", "Accept: text/x", "Content-Type: ", "User-Agent: cyclone",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestPathsThatLeadElsewhere(t *testing.T) {
	t.Parallel()
	c := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("called") })
	for _, path := range []string{"", "x", "/", "//", "/a//b", "/a/..", "/./a", "/a?b", "/a#b", `/a\b`, rest.Path("a", ".."), rest.Path("")} {
		if _, err := c.Do(t.Context(), rest.Call{Path: path}); !errors.Is(err, cyclone.ErrInvalid) {
			t.Errorf("%q: %v", path, err)
		}
	}
}

// Reasons of refusals come in as many forms as there are forges.
func TestReasons(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"message":"Validation Failed","errors":[{"resource":"Hook","field":"url","code":"custom","message":"is local"},"and more",{"code":"missing"}]}`: "Validation Failed; url: is local; and more; missing",
		`{"message":{"name":["is too long","is strange"],"base":["no"]}}`:                                                                                 "base: no; name: is too long; name: is strange",
		`{"error":"insufficient_scope","error_description":"needs api","scope":"api"}`:                                                                    "insufficient_scope; needs api",
		`{"message":"one\nline\u0000 \u001b[31mred\u2028"}`:                                                                                               "one line [31mred",
		`{"message":42}`: "without a reason",
		`{"message":""}`: "without a reason",
		`[]`:             "without a reason",
		`<html>`:         "without a reason",
		"":               "without a reason",
		"{\"message\":\"" + strings.Repeat("x", 70<<10) + "\"}":              "without a reason",
		"{\"message\":\"" + strings.Repeat("x", 1000) + "\"}":                strings.Repeat("x", 297) + "...",
		strings.Repeat(`{"message":`, 9) + `"deep"` + strings.Repeat("}", 9): "without a reason",
		`{"message":[` + strings.Repeat(`"a","b",`, 5000) + `"c"]}`:          "a; b; a; b; a; b; a; b",
		`{"message":"the token s3cret is bad, and so is hook-secret"}`:       "the token [hidden] is bad, and so is [hidden]",
	} {
		c := serve(t, says(422, body))
		_, err := c.Do(t.Context(), rest.Call{Path: "/x", Hide: []string{"hook-secret"}})
		if !errors.Is(err, cyclone.ErrInvalid) || !strings.HasSuffix(err.Error(), "(422: "+want+")") || rest.Status(err) != 422 {
			t.Errorf("%.60s: %v; want %q", body, err, want)
		}
	}
}

// A refusal is said in the words of whoever has to do something about it.
func TestRefusals(t *testing.T) {
	t.Parallel()
	call := rest.Call{Path: "/x", Need: `"Webhooks: write"`}
	for _, c := range []struct {
		code  int
		kind  error
		call  rest.Call
		spoil func(*rest.Client)
		want  string
	}{
		{401, cyclone.ErrForbidden, call, nil, ` does not accept the token of the secret "forge" (401: no): it was revoked, has expired or is none; store a new one`},
		{401, cyclone.ErrForbidden, call, anonymous, ` wants a token (401: no): store one as a secret and name it as the project's repository credential`},
		{403, cyclone.ErrForbidden, call, nil, `the token of the secret "forge" may not do this with repository acme/orders (403: no): it needs the permission "Webhooks: write"`},
		{403, cyclone.ErrForbidden, rest.Call{Path: "/x", Thing: "user"}, func(c *rest.Client) { c.Repository, c.Credential.Holder = "", "" }, `the token may not do this with user (403: no): it needs the permission for it`},
		{404, cyclone.ErrNotFound, rest.Call{Path: "/x", Thing: "pull request 7"}, nil, ` has no pull request 7 in repository acme/orders, or the token of the secret "forge" may not see it: it needs access to the repository and the permission for it (404: no)`},
		{404, cyclone.ErrNotFound, call, anonymous, ` has no repository acme/orders, or it is private and needs a token (404: no)`},
		{410, cyclone.ErrNotFound, call, nil, `(410: no)`},
		{302, cyclone.ErrNotFound, call, nil, `repository acme/orders is somewhere else now (302: no): change the repository's URL in the project`},
		{500, cyclone.ErrUnavailable, call, nil, ` does not work at the moment (500: no)`},
		{418, cyclone.ErrInvalid, call, nil, ` refuses this (418: no)`},
	} {
		client := serve(t, says(c.code, `{"message":"no"}`))
		if c.spoil != nil {
			c.spoil(client)
		}
		_, err := client.Do(t.Context(), c.call)
		if !errors.Is(err, c.kind) || !strings.HasSuffix(err.Error(), c.want) {
			t.Errorf("%d: %v; want %v that ends in %q", c.code, err, c.kind, c.want)
		}
	}
}

func anonymous(c *rest.Client) { c.Credential = cyclone.Credential{} }

func TestPatience(t *testing.T) {
	t.Parallel()
	date := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC) // the forge's clock is not ours
	at := func(d time.Duration) string { return date.Add(d).Format(http.TimeFormat) }
	unix := func(d time.Duration) string { return fmt.Sprint(date.Add(d).Unix()) }
	for _, c := range []struct {
		code   int
		header []string
		want   time.Duration
	}{
		{429, nil, time.Minute},
		{429, []string{"Retry-After", "30"}, 30 * time.Second},
		{429, []string{"Retry-After", "0"}, time.Second},
		{429, []string{"Retry-After", "-5"}, time.Second},
		{429, []string{"Retry-After", "99999999999999"}, time.Hour},
		{429, []string{"Retry-After", "soon"}, time.Minute},
		{403, []string{"Retry-After", at(90 * time.Second)}, 90 * time.Second},
		{403, []string{"Retry-After", at(-time.Hour)}, time.Second},
		{403, []string{"X-RateLimit-Remaining", "0", "X-RateLimit-Reset", unix(10 * time.Minute)}, 10 * time.Minute},
		{429, []string{"RateLimit-Remaining", "0", "RateLimit-Reset", unix(20 * time.Second)}, 20 * time.Second},
		{429, []string{"RateLimit-Reset", unix(300 * time.Hour)}, time.Hour},
		{503, []string{"Retry-After", "30"}, 30 * time.Second},
		{500, nil, 0},
		{403, nil, 0},
	} {
		client := serve(t, says(c.code, `{}`, append(c.header, "Date", at(0))...))
		_, err := client.Do(t.Context(), rest.Call{Path: "/x"})
		if got := cyclone.RetryAfter(err); got != c.want {
			t.Errorf("%d %v: RetryAfter = %s, want %s (%v)", c.code, c.header, got, c.want, err)
		}
	}
}

// trip answers without a network.
type trip func(*http.Request) *http.Response

func (f trip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r), nil }

// A limit ends by itself, and holds for one token of one forge.
func TestLimitsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls, code := 0, 429
		c := rest.Client{Forge: "Gitea", Base: "https://a.example.com", Limits: &rest.Limits{}, HTTP: &http.Client{Transport: trip(func(r *http.Request) *http.Response {
			calls++
			return &http.Response{StatusCode: code, Header: http.Header{"Retry-After": {"10"}}, Body: http.NoBody, Request: r}
		})}}
		try := func(token string, wantCalls int, want time.Duration) {
			t.Helper()
			calls, c.Credential.Password = 0, token
			_, err := c.Do(t.Context(), rest.Call{Path: "/x"})
			if calls != wantCalls || cyclone.RetryAfter(err) != want {
				t.Errorf("%d calls, RetryAfter %s (%v); want %d and %s", calls, cyclone.RetryAfter(err), err, wantCalls, want)
			}
		}
		try("a", 1, 10*time.Second)
		code = 200
		time.Sleep(4 * time.Second) // of the bubble's clock
		try("a", 0, 6*time.Second)
		try("b", 1, 0)
		time.Sleep(6 * time.Second)
		try("a", 1, 0)
		c.Limits, code = nil, 429
		try("a", 1, 10*time.Second)
		try("a", 1, 10*time.Second)
		// More tokens than are remembered push out those that are over first.
		c.Limits = &rest.Limits{}
		for i := range 2500 {
			try(fmt.Sprint("t", i), 1, 10*time.Second)
		}
		try("t2499", 0, 10*time.Second)
	})
}

// What is a redirect for Go must not turn a call into another.
func TestRedirects(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		method string
		code   int
		to     string
		want   error
	}{
		{"GET", 301, "/new", nil}, {"GET", 307, "/new", nil}, {"POST", 307, "/new", nil}, {"PATCH", 308, "/new", nil},
		{"POST", 301, "/new", cyclone.ErrNotFound}, {"DELETE", 302, "/new", cyclone.ErrNotFound},
		{"GET", 301, "http://127.0.0.2:1/new", cyclone.ErrNotFound}, {"GET", 302, "/old", cyclone.ErrNotFound},
	} {
		var got []string
		client := serve(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			got = append(got, r.Method+" "+r.URL.Path+" "+r.Header.Get("Authorization")+" "+string(body))
			if r.URL.Path == "/old" {
				w.Header().Set("Location", c.to)
				w.WriteHeader(c.code)
			}
		})
		call := rest.Call{Method: c.method, Path: "/old"}
		body := ""
		if c.method == "POST" || c.method == "PATCH" {
			call.Body, body = 1, "1"
		}
		_, err := client.Do(t.Context(), call)
		if !errors.Is(err, c.want) {
			t.Errorf("%+v: %v", c, err)
		}
		if last := got[len(got)-1]; c.want == nil && last != c.method+" /new Bearer s3cret "+body || len(got) > 4 {
			t.Errorf("%+v: calls %v", c, got)
		}
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	t.Parallel()
	var into []int
	for _, c := range []struct {
		answer http.HandlerFunc
		says   string
	}{
		{says(200, ""), "is it one?"},
		{says(204, ""), "is it one?"},
		{says(200, "<html>", "Content-Type", "text/html"), `(content type "text/html`},
		{says(200, `{"a":1}`), "is it one?"},
		{says(200, `[1,2`), "is it one?"},
		{says(200, "["+strings.Repeat("1,", 600)+"1]"), "longer than what is read of it (1000 bytes)"},
		{func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "[1,")
		}, "broke off its answer"},
	} {
		client := serve(t, c.answer)
		_, err := client.Do(t.Context(), rest.Call{Path: "/x", Into: &into, Max: 1000})
		if !errors.Is(err, cyclone.ErrUnavailable) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v; want ErrUnavailable that says %q", err, c.says)
		}
		if large := strings.Contains(c.says, "longer"); errors.Is(err, rest.ErrTooLarge) != large {
			t.Errorf("%v: too large is %t", err, !large)
		}
	}
}

func TestTimeAndNetwork(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := rest.Client{Forge: "Gitea", Base: "https://a.example.com", HTTP: &http.Client{Transport: waits{}}}
		begin := time.Now()
		_, err := c.Do(t.Context(), rest.Call{Path: "/x"})
		if took := time.Since(begin); took != 30*time.Second || !errors.Is(err, cyclone.ErrUnavailable) || !strings.Contains(err.Error(), "in time") {
			t.Errorf("after %s: %v", took, err)
		}
	})
	c := serve(t, says(200, ""))
	ctx, stop := context.WithCancel(t.Context())
	stop()
	_, err := c.Do(ctx, rest.Call{Path: "/x"})
	if !errors.Is(err, cyclone.ErrUnavailable) || strings.Contains(err.Error(), "/x") {
		t.Errorf("canceled: %v", err)
	}
}

// waits never answers.
type waits struct{}

func (waits) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestMarkers(t *testing.T) {
	t.Parallel()
	const marker = "<!-- x -->"
	for text, want := range map[string]bool{marker: true, "a\n" + marker + "\r\nb": true, "  " + marker + " ": true, "> " + marker: false, "a" + marker: false, "": false} {
		if got := rest.HasMarker(text, marker); got != want {
			t.Errorf("HasMarker(%q) = %t", text, got)
		}
	}
	if rest.HasMarker("", "") || rest.HasMarker("a\n\nb", "") {
		t.Error("an empty marker is found")
	}
	for _, c := range []struct {
		text string
		n    int
		want string
	}{
		{"a", 100, "a\n" + marker}, {marker + "\na", 100, marker + "\na"},
		{strings.Repeat("ä", 50), 30, strings.Repeat("ä", 15) + "\n...\n" + marker},
		{marker + "\n" + strings.Repeat("ä", 50), 30, marker + "\nääää\n..."},
	} {
		if got := rest.Marked(c.text, marker, c.n); got != c.want || !rest.HasMarker(got, marker) {
			t.Errorf("Marked(%q, %d) = %q", c.text, c.n, got)
		}
	}
}
