package httpapi_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"cyclone/pkg/httpapi"
)

func TestSystem(t *testing.T) {
	down := errors.New("no Docker engine")
	var problem error
	f := newFixture(t, func(s *httpapi.Server) {
		s.Ready = []httpapi.Check{
			{Name: "store", Run: func(context.Context) error { return nil }},
			{Name: "node", Run: func(context.Context) error { return problem }},
		}
	})
	anonymous := header{"Authorization", ""}
	f.want(200, "GET", "/healthz", "", anonymous)
	f.want(200, "GET", "/readyz", "", anonymous)
	problem = down
	if a := f.want(503, "GET", "/readyz", "", anonymous); !strings.Contains(a.body, `{"name":"node","ok":false,"message":"no Docker engine"}`) {
		t.Errorf("readyz: %s", a.body)
	}
	f.want(401, "GET", "/api/v1/version", "", anonymous)
	if a := f.want(200, "GET", "/api/v1/version", ""); !strings.Contains(a.body, `"version":"1.2.3"`) {
		t.Errorf("version: %s", a.body)
	}
	if a := f.want(200, "GET", "/api/v1/me", "", header{"Authorization", "bearer a-users-token"}); a.body != "{\"name\":\"bob\",\"role\":\"user\"}\n" {
		t.Errorf("me: %s", a.body)
	}
}

func TestRequestIDsHeadersAndAccessLog(t *testing.T) {
	f := newFixture(t)
	a := f.want(200, "GET", "/api/v1/projects?cursor=&limit=5", "", header{"X-Request-Id", "from-the-caller"})
	if got := a.header.Get("X-Request-Id"); got != "from-the-caller" {
		t.Errorf("X-Request-Id = %q", got)
	}
	for name, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cache-Control": "no-store",
		"Content-Type": "application/json; charset=utf-8",
	} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if got := f.want(404, "GET", "/x", "", header{"X-Request-Id", "bad\tid"}).header.Get("X-Request-Id"); got == "" || got == "bad\tid" {
		t.Errorf("X-Request-Id = %q, want a new one", got)
	}
	f.want(404, "GET", "/x?token="+adminToken, "")
	log := f.log.String()
	for _, part := range []string{"request=from-the-caller", "actor=admin", "path=/api/v1/projects", "status=200"} {
		if !strings.Contains(log, part) {
			t.Errorf("access log lacks %s:\n%s", part, log)
		}
	}
	if strings.Contains(log, adminToken) || strings.Contains(log, "limit=5") {
		t.Errorf("access log holds a query or token:\n%s", log)
	}
}

func TestOriginsThatMayCall(t *testing.T) {
	f := newFixture(t)
	ours := header{"Origin", "https://ui.example.com"}
	a := f.want(204, "OPTIONS", "/api/v1/projects", "", ours, header{"Access-Control-Request-Method", "POST"}, header{"Authorization", ""})
	if a.header.Get("Access-Control-Allow-Origin") != ours.value || !strings.Contains(a.header.Get("Access-Control-Allow-Headers"), "Authorization") {
		t.Errorf("preflight: %v", a.header)
	}
	if a := f.want(200, "GET", "/api/v1/projects", "", ours); a.header.Get("Access-Control-Allow-Origin") != ours.value {
		t.Errorf("request: %v", a.header)
	}
	if a := f.want(200, "GET", "/api/v1/projects", "", header{"Origin", "https://evil.example.com"}); a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("a stranger's page may read the answer: %v", a.header)
	}
}
