package httpapi_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/httpapi"
)

func TestBadInput(t *testing.T) {
	f := newFixture(t)
	f.project("orders")
	e := f.event("orders", cyclone.StatusPending)
	event := "/api/v1/events/" + string(e.ID)
	const projects, hook = "/api/v1/projects", "/api/v1/hooks/github/orders"
	signed := []header{{"X-Test-Signature", "good"}, {"X-Github-Delivery", "d1"}}
	valid := `"name":"x","repository":{"type":"git","url":"https://h/r"}`
	for _, tt := range []struct {
		name, method, path, body string
		headers                  []header
		status                   int
		code                     string
		fields                   []string
	}{
		{"unknown route", "GET", "/api/v1/nothing", "", nil, 404, "not_found", nil},
		{"unknown route outside", "GET", "/etc/passwd", "", nil, 404, "not_found", nil},
		{"doubled slash", "GET", "/api/v1//projects", "", nil, 404, "not_found", nil},
		{"unknown method", "DELETE", projects, "", nil, 405, "method_not_allowed", nil},
		{"no token", "GET", projects, "", []header{{"Authorization", ""}}, 401, "unauthenticated", nil},
		{"wrong token", "GET", projects, "", []header{{"Authorization", "Bearer nonsense"}}, 401, "unauthenticated", nil},
		{"other scheme", "GET", projects, "", []header{{"Authorization", "Basic " + adminToken}}, 401, "unauthenticated", nil},
		{"user's token where administrators may", "POST", "/api/v1/clusters", "{}", []header{{"Authorization", "Bearer a-users-token"}}, 403, "forbidden", nil},
		{"unknown project", "GET", projects + "/nobody", "", nil, 404, "not_found", nil},
		{"unknown project's events", "GET", projects + "/nobody/events", "", nil, 404, "not_found", nil},
		{"unknown project's secrets", "PUT", projects + "/nobody/secrets/A", `{"value":"x"}`, nil, 404, "not_found", nil},
		{"unknown event", "GET", "/api/v1/events/nothing", "", nil, 404, "not_found", nil},
		{"unknown event's log", "GET", "/api/v1/events/nothing/logs", "", nil, 404, "not_found", nil},
		{"unknown event's stream", "GET", "/api/v1/events/nothing/logs/stream", "", nil, 404, "not_found", nil},
		{"unknown event to cancel", "POST", "/api/v1/events/nothing/cancel", "", nil, 404, "not_found", nil},
		{"unknown cluster", "GET", "/api/v1/clusters/nothing", "", nil, 404, "not_found", nil},
		{"unknown parameter", "GET", "/api/v1/events?stauts=failure", "", nil, 400, "invalid", []string{"stauts"}},
		{"wrong parameters", "GET", "/api/v1/events?status=bad&kind=bad&since=bad&limit=500", "", nil, 400, "invalid",
			[]string{"status", "kind", "since", "limit"}},
		{"limit is zero", "GET", projects + "?limit=0", "", nil, 400, "invalid", []string{"limit"}},
		{"foreign cursor", "GET", projects + "?cursor=%00nonsense", "", nil, 400, "invalid", nil},
		{"not JSON", "POST", projects, "{", nil, 400, "invalid", nil},
		{"not an object", "POST", projects, "[]", nil, 400, "invalid", nil},
		{"more than one value", "POST", projects, "{}{}", nil, 400, "invalid", nil},
		{"empty body", "POST", projects, " ", []header{{"Content-Type", "application/json"}}, 400, "invalid", nil},
		{"wrong content type", "POST", projects, "{}", []header{{"Content-Type", "text/plain"}}, 415, "unsupported_media_type", nil},
		{"no content type", "POST", projects, "{}", []header{{"Content-Type", ""}}, 415, "unsupported_media_type", nil},
		{"lint as JSON", "POST", "/api/v1/lint", "{}", nil, 415, "unsupported_media_type", nil},
		{"too large", "POST", projects, `{"name":"` + strings.Repeat("a", 1<<20) + `"}`, nil, 413, "too_large", nil},
		{"unknown and wrong fields", "POST", projects, `{` + valid + `,"colour":1,"triggers":{"push":{"branchs":[]}},"trusted":"yes",
			"limits":{"timeout":"soon","cpus":"2","concurrency":1.5},"variables":{"A":1},"notifications":[]}`, nil, 400, "invalid",
			[]string{"colour", "limits.concurrency", "limits.cpus", "limits.timeout", "notifications", "triggers.push.branchs", "trusted", "variables.A"}},
		{"name in another case", "POST", projects, `{"NAME":"x"}`, nil, 400, "invalid", []string{"NAME", "name", "repository.type", "repository.url"}},
		{"nothing given", "POST", projects, `{}`, nil, 400, "invalid", []string{"name", "repository.type", "repository.url"}},
		{"taken name", "POST", projects, `{"name":"orders","repository":{"type":"git","url":"https://h/r"}}`, nil, 409, "conflict", nil},
		{"renamed", "PUT", projects + "/orders", `{` + valid + `}`, nil, 400, "invalid", []string{"name"}},
		{"patched with nonsense", "PATCH", projects + "/orders", `{"limits":{"tiemout":"1h"}}`, nil, 400, "invalid", []string{"limits.tiemout"}},
		{"secret's name", "PUT", projects + "/orders/secrets/0-bad", `{"value":"","events":["never"]}`, nil, 400, "invalid", []string{"name", "value", "events[0]"}},
		{"cluster", "POST", "/api/v1/clusters", `{"name":"UP","host":"ftp://x","ca":"nonsense"}`, nil, 400, "invalid", []string{"name", "host", "token", "ca"}},
		{"two sources", "POST", projects + "/orders/events", `{"branch":"main","commit":"xyz","version":"-bad","stages":["none"],"variables":{"1":"x"}}`, nil, 400, "invalid",
			[]string{"commit", "commit", "version", "stages[0]", "variables.1"}},
		{"unknown field of a start", "POST", projects + "/orders/events", `{"brnach":"main"}`, nil, 400, "invalid", []string{"brnach"}},
		{"rerun from nowhere", "POST", event + "/rerun", `{"from":"middle"}`, nil, 400, "invalid", []string{"from"}},
		{"approving what is not blocked", "POST", event + "/approve", "", nil, 409, "conflict", nil},
		{"log from zero", "GET", event + "/logs?from=0&tail=x&stage=none&timestamps=maybe", "", nil, 400, "invalid", []string{"from", "tail", "timestamps", "stage"}},
		{"stream from and tail", "GET", event + "/logs/stream?from=1&tail=1", "", nil, 400, "invalid", []string{"tail"}},
		{"stream without websocket", "GET", event + "/logs/stream", "", nil, 426, "invalid", nil},
		{"stream from a stranger's page", "GET", event + "/logs/stream", "", []header{{"Origin", "https://evil.example.com"}}, 403, "forbidden", nil},
		{"worker without token", "GET", "/api/v1/workers/w/connect", "", []header{{"Authorization", ""}}, 401, "unauthenticated", nil},
		{"hook of an unknown forge", "POST", "/api/v1/hooks/sourceforge/orders", "{}", signed, 404, "not_found", nil},
		{"hook of an unknown project", "POST", "/api/v1/hooks/github/nobody", "{}", signed, 404, "not_found", nil},
		{"hook with a bad signature", "POST", hook, "{}", []header{{"X-Test-Signature", "bad"}, {"X-Github-Delivery", "d1"}}, 401, "unauthenticated", nil},
		{"hook without a signature", "POST", hook, "{}", []header{{"X-Github-Delivery", "d1"}}, 401, "unauthenticated", nil},
		{"hook without an id", "POST", hook, "{}", []header{{"X-Test-Signature", "good"}}, 400, "invalid", []string{"delivery"}},
		{"hook of another repository", "POST", hook, `{"other":true}`, []header{{"X-Test-Signature", "good"}, {"X-Github-Delivery", "d2"}}, 422, "unprocessable", nil},
		{"unknown delivery", "GET", projects + "/orders/deliveries/none", "", nil, 404, "not_found", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := f.do(tt.method, tt.path, tt.body, tt.headers...)
			if a.status != tt.status || !strings.Contains(a.body, `"code":"`+tt.code+`"`) {
				t.Fatalf("got %d %s, want %d %s", a.status, a.body, tt.status, tt.code)
			}
			if got := a.fields(t); tt.fields != nil && !cmp.Equal(got, tt.fields) {
				t.Errorf("fields %q, want %q: %s", got, tt.fields, a.body)
			}
		})
	}
	if got := f.RejectedHooks(); got != 2 {
		t.Errorf("rejected hooks = %d, want 2", got)
	}
	var list cyclone.List[cyclone.Delivery]
	f.want(200, "GET", "/api/v1/projects/orders/deliveries", "").decode(t, &list)
	if list.Total != 1 || list.Items[0].ID != "d2" {
		t.Errorf("stored deliveries: %+v; only the signed one may be there", list)
	}
}

func TestMethodsAreNamed(t *testing.T) {
	f := newFixture(t)
	a := f.want(405, "PUT", "/api/v1/projects", "")
	if got := a.header.Get("Allow"); got != "GET, HEAD, OPTIONS, POST" {
		t.Errorf("Allow = %q", got)
	}
	f.want(204, "OPTIONS", "/api/v1/projects", "")
}

func TestHookLargerThan25MiBIsRefused(t *testing.T) {
	f := newFixture(t)
	f.project("orders")
	req, err := http.NewRequestWithContext(t.Context(), "POST", f.url+"/api/v1/hooks/github/orders", io.MultiReader(bytes.NewReader(make([]byte, 25<<20+1)))) // of unknown length
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Test-Signature", "good")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != 413 {
		t.Errorf("status = %d, want 413", res.StatusCode)
	}
}

func TestRepositoryURLs(t *testing.T) {
	f := newFixture(t)
	const secret = "tok3n"
	for _, tt := range []struct {
		kind, url string
		ok        bool
	}{
		{"github", "https://github.com/acme/orders.git", true},
		{"git", "http://127.0.0.1:8080/shop.git", true},
		{"git", "ssh://git@example.com:2222/acme/orders", true},
		{"git", "git@example.com:acme/orders.git", true},
		{"git", "git://example.com/orders", true},
		{"git", "http://[::1]:8080/r", true},
		{"svn", "svn://example.com/orders/trunk", true},
		{"svn", "svn+ssh://alice@example.com/orders", true},
		{"git", "svn://example.com/orders", false},
		{"svn", "git@example.com:orders", false},
		{"git", "https://alice:" + secret + "@example.com/r", false},
		{"git", "https://" + secret + "@example.com/r", false},
		{"git", "https://example.com/r?access=" + secret, false},
		{"git", "ssh://git:" + secret + "@example.com/r", false},
		{"git", "file:///etc/" + secret, false},
		{"git", "/srv/" + secret, false},
		{"git", "../" + secret, false},
		{"git", "ext::sh -c " + secret, false},
		{"git", "ext::" + secret, false},
		{"git", "--upload-pack=" + secret, false},
		{"git", "-u" + secret, false},
		{"git", "ssh://-oProxyCommand=" + secret + "/r", false},
		{"git", "-oProxyCommand=" + secret + ":r", false},
		{"git", "git@-o" + secret + ":r", false},
		{"git", "https://example.com/a\\n" + secret, false},
		{"git", "https://example.com/ " + secret, false},
		{"git", "https://example.com", false},
		{"git", "https://example.com:99999/" + secret, false},
		{"git", "https://example.com/%0a" + secret, false},
		{"git", "example.com:-" + secret, false},
		{"git", "git@example.com:--upload-pack=" + secret, false},
		{"git", "C:\\\\" + secret, false},
		{"git", "ftp://example.com/" + secret, false},
	} {
		body := `{"name":"x","repository":{"type":"` + tt.kind + `","url":"` + tt.url + `"}}`
		a := f.do("POST", "/api/v1/projects", body)
		switch {
		case tt.ok && a.status != 201:
			t.Errorf("%s %s: %d %s", tt.kind, tt.url, a.status, a.body)
		case !tt.ok && (a.status != 400 || !cmp.Equal(a.fields(t), []string{"repository.url"})):
			t.Errorf("%s %s: %d %s; want it refused", tt.kind, tt.url, a.status, a.body)
		case strings.Contains(a.body, secret):
			t.Errorf("%s: the answer repeats a credential: %s", tt.url, a.body)
		}
		if tt.ok {
			f.want(204, "DELETE", "/api/v1/projects/x", "")
		}
	}
	if strings.Contains(f.log.String(), secret) {
		t.Error("the log repeats a credential")
	}
}

func TestProjectRules(t *testing.T) {
	f := newFixture(t)
	for _, tt := range []struct{ body, field string }{
		{`"configFile":"../caicloud.yml"`, "configFile"},
		{`"configFile":"/etc/passwd"`, "configFile"},
		{`"configFile":"a/../../b"`, "configFile"},
		{`"configFile":".git/config"`, "configFile"},
		{`"image":"registry.example.com/acme/orders:latest"`, "image"},
		{`"image":"UPPER"`, "image"},
		{`"image":"-x"`, "image"},
		{`"visibility":"secret"`, "visibility"},
		{`"triggers":{"push":{"branches":["[a"]}}`, "triggers.push.branches[0]"},
		{`"triggers":{"push":{"paths":["!"]}}`, "triggers.push.paths[0]"},
		{`"triggers":{"tag":{"stages":["compile"]}}`, "triggers.tag.stages[0]"},
		{`"triggers":{"pullRequest":{"enabled":true,"approval":"perhaps"}}`, "triggers.pullRequest.approval"},
		{`"triggers":{"cron":[{"schedule":"0 3 * *"}]}`, "triggers.cron[0].schedule"},
		{`"triggers":{"cron":[{"schedule":"0 24 * * *"}]}`, "triggers.cron[0].schedule"},
		{`"triggers":{"cron":[{"schedule":"0 3 * * *","timezone":"Mars/Base"}]}`, "triggers.cron[0].timezone"},
		{`"notifications":{"email":{"recipients":["not an address"]}}`, "notifications.email.recipients[0]"},
		{`"notifications":{"email":{"recipients":["a@b.example\r\nBcc: x@y.example"]}}`, "notifications.email.recipients[0]"},
		{`"notifications":{"webhooks":[{"url":"file:///x"}]}`, "notifications.webhooks[0].url"},
		{`"notifications":{"webhooks":[{"url":"https://h/x","when":"later"}]}`, "notifications.webhooks[0].when"},
		{`"variables":{"A B":"x"}`, "variables.A B"},
		{`"limits":{"memory":"1m"}`, "limits.memory"},
		{`"limits":{"cpus":-1}`, "limits.cpus"},
		{`"limits":{"timeout":"1000h"}`, "limits.timeout"},
		{`"limits":{"timeout":"1ns"}`, "limits.timeout"},
		{`"limits":{"cpus":0.001}`, "limits.cpus"},
		{`"limits":{"memory":"64m"}`, "limits.memory"},
		{`"configFile":"a/.GIT/config"`, "configFile"},
	} {
		a := f.do("POST", "/api/v1/projects", `{"name":"x","repository":{"type":"git","url":"https://h/r"},`+tt.body+`}`)
		if a.status != 400 || !cmp.Equal(a.fields(t), []string{tt.field}) {
			t.Errorf("%s: got %d %s, want %s refused", tt.body, a.status, a.body, tt.field)
		}
	}
	for _, body := range []string{
		`"triggers":{"cron":[{"schedule":"*/5 0-6,12 1 jan-mar mon"}]},"configFile":"ci/a.yml","limits":{"memory":536870912,"timeout":"90s"}`,
		`"image":"localhost:5000/a/b","triggers":{"push":{"branches":["release/**","!x"]}},"notifications":{"email":{"recipients":["a@b.example"]}}`,
	} {
		f.want(201, "POST", "/api/v1/projects", `{"name":"x","repository":{"type":"git","url":"https://h/r"},`+body+`}`)
		f.want(204, "DELETE", "/api/v1/projects/x", "")
	}
}

// panics is a store whose list panics.
type panics struct{ cyclone.ProjectStore }

func (panics) List(context.Context, cyclone.Page) (cyclone.List[*cyclone.Project], error) {
	panic("out of order")
}

func TestPanicIsAnInternalError(t *testing.T) {
	f := newFixture(t, func(s *httpapi.Server) { s.Projects = panics{s.Projects} })
	a := f.want(500, "GET", "/api/v1/projects", "")
	if strings.Contains(a.body, "out of order") {
		t.Errorf("the answer tells what happened inside: %s", a.body)
	}
	if log := f.log.String(); !strings.Contains(log, "out of order") || !strings.Contains(log, "status=500") {
		t.Errorf("the log does not tell what happened: %s", log)
	}
	f.want(200, "GET", "/healthz", "")
}
