package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/client"
	"cyclone/pkg/cyclone"
)

func dial(t *testing.T, server string) *client.Client {
	t.Helper()
	c, err := client.New(server, "the-token")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// asked is a request as it arrived.
type asked struct{ Method, URL, Token, Body string }

// answering is a server that gives one answer and remembers the question.
func answering(t *testing.T, status int, body string) (*client.Client, *asked) {
	t.Helper()
	got := &asked{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		*got = asked{r.Method, r.URL.RequestURI(), r.Header.Get("Authorization"), string(data)}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	return dial(t, s.URL), got
}

func TestCalls(t *testing.T) {
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, tt := range []struct {
		name string
		call func(ctx context.Context, c *client.Client) (any, error)
		want asked
	}{
		{"version", func(ctx context.Context, c *client.Client) (any, error) { return c.Version(ctx) }, asked{"GET", "/api/v1/version", "", ""}},
		{"create project", func(ctx context.Context, c *client.Client) (any, error) {
			return c.CreateProject(ctx, json.RawMessage(`{"name":"orders"}`))
		}, asked{"POST", "/api/v1/projects", "", `{"name":"orders"}`}},
		{"project", func(ctx context.Context, c *client.Client) (any, error) { return c.Project(ctx, "../x y") }, asked{"GET", "/api/v1/projects/..%2Fx%20y", "", ""}},
		{"projects", func(ctx context.Context, c *client.Client) (any, error) {
			return c.Projects(ctx, cyclone.Page{Limit: 5, Cursor: "a b"})
		}, asked{"GET", "/api/v1/projects?cursor=a+b&limit=5", "", ""}},
		{"delete project", func(ctx context.Context, c *client.Client) (any, error) { return nil, c.DeleteProject(ctx, "orders") }, asked{"DELETE", "/api/v1/projects/orders", "", ""}},
		{"start", func(ctx context.Context, c *client.Client) (any, error) {
			return c.StartEvent(ctx, "orders", cyclone.StartRequest{Branch: "main", Actor: "not sent"})
		}, asked{"POST", "/api/v1/projects/orders/events", "", `{"branch":"main"}`}},
		{"event", func(ctx context.Context, c *client.Client) (any, error) { return c.Event(ctx, "01e") }, asked{"GET", "/api/v1/events/01e", "", ""}},
		{"all events", func(ctx context.Context, c *client.Client) (any, error) { return c.Events(ctx, cyclone.EventQuery{}) }, asked{"GET", "/api/v1/events", "", ""}},
		{"some events", func(ctx context.Context, c *client.Client) (any, error) {
			return c.Events(ctx, cyclone.EventQuery{Project: "orders", Branch: "main", Kind: "push", Since: since, Statuses: []cyclone.Status{"failure", "error"}})
		}, asked{"GET", "/api/v1/projects/orders/events?branch=main&kind=push&since=2026-01-02T03%3A04%3A05Z&status=failure&status=error", "", ""}},
		{"cancel", func(ctx context.Context, c *client.Client) (any, error) { return c.CancelEvent(ctx, "01e", "why") }, asked{"POST", "/api/v1/events/01e/cancel", "", `{"reason":"why"}`}},
		{"cancel without a reason", func(ctx context.Context, c *client.Client) (any, error) { return c.CancelEvent(ctx, "01e", "") }, asked{"POST", "/api/v1/events/01e/cancel", "", ""}},
		{"rerun", func(ctx context.Context, c *client.Client) (any, error) {
			return c.RerunEvent(ctx, "01e", "integration")
		}, asked{"POST", "/api/v1/events/01e/rerun", "", `{"from":"integration"}`}},
		{"artifacts", func(ctx context.Context, c *client.Client) (any, error) {
			return c.Artifacts(ctx, "01e", cyclone.Page{Limit: 5})
		}, asked{"GET", "/api/v1/events/01e/artifacts?limit=5", "", ""}},
		{"artifact", func(ctx context.Context, c *client.Client) (any, error) {
			return nil, c.Artifact(ctx, "01e", "a b/c?d%", io.Discard)
		}, asked{"GET", "/api/v1/events/01e/artifacts/a%20b/c%3Fd%25", "", ""}},
		{"report", func(ctx context.Context, c *client.Client) (any, error) { return c.Report(ctx, "01e", "") }, asked{"GET", "/api/v1/events/01e/reports", "", ""}},
		{"failed tests", func(ctx context.Context, c *client.Client) (any, error) {
			return c.Report(ctx, "01e", cyclone.TestFailed)
		}, asked{"GET", "/api/v1/events/01e/reports?status=failed", "", ""}},
		{"cache", func(ctx context.Context, c *client.Client) (any, error) {
			return c.Cache(ctx, "orders", cyclone.Page{})
		}, asked{"GET", "/api/v1/projects/orders/cache", "", ""}},
		{"clear cache", func(ctx context.Context, c *client.Client) (any, error) { return nil, c.ClearCache(ctx, "orders") }, asked{"DELETE", "/api/v1/projects/orders/cache", "", ""}},
		{"create cluster", func(ctx context.Context, c *client.Client) (any, error) {
			return c.CreateCluster(ctx, map[string]any{"name": "prod"})
		}, asked{"POST", "/api/v1/clusters", "", `{"name":"prod"}`}},
		{"check cluster", func(ctx context.Context, c *client.Client) (any, error) { return c.CheckCluster(ctx, "prod") }, asked{"POST", "/api/v1/clusters/prod/check", "", ""}},
		{"put secret", func(ctx context.Context, c *client.Client) (any, error) {
			return c.PutSecret(ctx, "orders", "KEY", client.SecretValue{Value: "v", Masked: true})
		}, asked{"PUT", "/api/v1/projects/orders/secrets/KEY", "", `{"value":"v","masked":true}`}},
		{"delete secret", func(ctx context.Context, c *client.Client) (any, error) {
			return nil, c.DeleteSecret(ctx, "orders", "KEY")
		}, asked{"DELETE", "/api/v1/projects/orders/secrets/KEY", "", ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, got := answering(t, http.StatusOK, `{}`)
			if _, err := tt.call(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			tt.want.Token = "Bearer the-token"
			if diff := cmp.Diff(tt.want, *got); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
		})
	}
}

// Objects are printed as the server sent them, whatever this client knows.
func TestObjectsKeepWhatIsNotKnown(t *testing.T) {
	const body = `{"items":[{"name":"orders","fromTheFuture":[1,2]}],"next":"c","total":7}`
	c, _ := answering(t, http.StatusOK, body)
	list, err := c.Projects(t.Context(), cyclone.Page{})
	if err != nil {
		t.Fatal(err)
	}
	if list.Items[0].Value.Name != "orders" || list.Next != "c" || list.Total != 7 {
		t.Errorf("decoded %+v", list)
	}
	if again, err := json.Marshal(list); err != nil || string(again) != body {
		t.Errorf("%s became %s, %v", body, again, err)
	}
}

func TestErrors(t *testing.T) {
	form := `{"error":{"code":"invalid","message":"repository.url: is missing","details":[{"field":"repository.url","message":"is missing"}],"requestId":"r1"}}`
	for _, tt := range []struct {
		status int
		body   string
		kind   error
		text   string
	}{
		{400, form, cyclone.ErrInvalid, "repository.url: is missing"},
		{401, `{"error":{"message":"token is not known"}}`, client.ErrUnauthenticated, "token is not known"},
		{403, `{"error":{"message":"no"}}`, cyclone.ErrForbidden, "no"},
		{404, `{"error":{"code":"not_found","message":"project \"orders\" does not exist"}}`, cyclone.ErrNotFound, `project "orders" does not exist`},
		{409, `{"error":{"message":"taken"}}`, cyclone.ErrConflict, "taken"},
		{422, `{"error":{"message":"other"}}`, cyclone.ErrInvalid, "other"},
		{429, `{}`, cyclone.ErrUnavailable, "429"},
		{500, `{"error":{"message":"internal error","requestId":"r2"}}`, nil, "internal error (request r2)"},
		{502, `<html>proxy</html>`, cyclone.ErrUnavailable, "502 Bad Gateway"},
		{503, `{"error":{"message":"store is away"}}`, cyclone.ErrUnavailable, "store is away"},
	} {
		c, _ := answering(t, tt.status, tt.body)
		_, err := c.Project(t.Context(), "orders")
		var own *client.Error
		if !errors.As(err, &own) || own.Status != tt.status || !strings.Contains(err.Error(), tt.text) || tt.kind != nil && !errors.Is(err, tt.kind) {
			t.Errorf("%d %s: %#v, %v", tt.status, tt.body, err, err)
		}
	}
	c, _ := answering(t, 200, "<html>")
	if _, err := c.Project(t.Context(), "orders"); err == nil || !strings.Contains(err.Error(), "not answer like a Cyclone server") {
		t.Errorf("a web page: %v", err)
	}
}

func TestAway(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := "http://" + l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, server := range []string{address, "unix://" + filepath.Join(t.TempDir(), "none.sock")} {
		_, err := dial(t, server).Event(t.Context(), "01e")
		if !errors.Is(err, cyclone.ErrUnavailable) || !strings.Contains(err.Error(), server) {
			t.Errorf("%s: %v", server, err)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	cancel(why)
	if _, err := dial(t, address).Event(ctx, "01e"); !errors.Is(err, why) {
		t.Errorf("canceled: %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, server := range []string{"", "example.com", "ftp://example.com", "http://", "unix://host/x", "unix://", "https://user:pw@example.com", "http://example.com?x=1"} {
		if _, err := client.New(server, ""); !errors.Is(err, cyclone.ErrInvalid) {
			t.Errorf("New(%q): %v", server, err)
		}
	}
	if _, err := client.New("http://example.com", "a\nb"); !errors.Is(err, cyclone.ErrInvalid) {
		t.Errorf("a token with a line end: %v", err)
	}
}

func TestUnixSocketAndPrefix(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "server.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	paths := make(chan string, 2)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		paths <- r.URL.Path
		_, _ = io.WriteString(w, `{"name":"orders"}`)
	}))
	if err := s.Listener.Close(); err != nil {
		t.Fatal(err)
	}
	s.Listener = l
	s.Start()
	defer s.Close()
	if p, err := dial(t, "unix://"+socket).Project(t.Context(), "orders"); err != nil || p.Value.Name != "orders" {
		t.Errorf("over a unix socket: %v", err)
	}
	<-paths
	tcp := httptest.NewServer(s.Config.Handler)
	defer tcp.Close()
	if _, err := dial(t, tcp.URL+"/ci/").Project(t.Context(), "orders"); err != nil {
		t.Error(err)
	}
	if p := <-paths; p != "/ci/api/v1/projects/orders" {
		t.Errorf("below a prefix: %s", p)
	}
}

func TestLog(t *testing.T) {
	c, got := answering(t, 200, "one\ntwo\n")
	var out bytes.Buffer
	if err := c.Log(t.Context(), "01e", client.LogQuery{Stage: "build", Tail: 2, Timestamps: true}, &out); err != nil || out.String() != "one\ntwo\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
	if got.URL != "/api/v1/events/01e/logs?stage=build&tail=2&timestamps=true" {
		t.Error(got.URL)
	}
	// An answer that breaks off is not the whole log.
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "one\n")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	defer s.Close()
	if err := dial(t, s.URL).Log(t.Context(), "01e", client.LogQuery{}, io.Discard); !errors.Is(err, cyclone.ErrUnavailable) {
		t.Errorf("half a log: %v", err)
	}
}

// An artifact that breaks off is not taken for a whole one, and who cannot
// write it is told so.
func TestArtifactBreaksOff(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(s.Close)
	var got bytes.Buffer
	if err := dial(t, s.URL).Artifact(t.Context(), "01e", "a", &got); !errors.Is(err, cyclone.ErrUnavailable) {
		t.Errorf("%v after %q", err, &got)
	}
	closed, w := io.Pipe()
	_ = closed.Close()
	if err := dial(t, s.URL).Artifact(t.Context(), "01e", "a", w); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("%v", err)
	}
}
