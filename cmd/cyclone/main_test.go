package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/mux"
	"github.com/gorilla/websocket"
)

var update = flag.Bool("update", false, "write the golden files anew")

// api is a server that answers as API.md says.
type api struct {
	*httptest.Server
	mu     sync.Mutex
	bodies []string // of requests, as "POST /path body"
	status string   // of the event when it is asked for after its log
}

const (
	project = `{"name":"orders","description":"Takes orders","owner":"alice","visibility":"private","repository":{"type":"github","url":"https://github.com/acme/orders.git","defaultBranch":"main","credential":""},"configFile":"caicloud.yml","image":"registry.example.com/acme/orders","triggers":{},"notifications":{"email":{"recipients":["dev@example.com"],"when":"always"}},"variables":{},"limits":{},"cancelSuperseded":false,"trusted":false,"createdAt":"2026-01-02T03:04:05Z","updatedAt":"2026-01-02T03:04:05Z","webhookUrls":{"github":"https://ci.example.com/api/v1/hooks/github/orders"},"newField":{"kept":true}}`
	event   = `{"id":"01event","project":"orders","number":42,"status":"%s","reason":"%s","trigger":{"kind":"push","actor":"alice","delivery":"","parent":""},"ref":"refs/heads/main","branch":"main","tag":"","version":"ci-3f2a1b9","commit":{"sha":"3f2a1b9c0ffee","message":"Fix\u001b[31m the\tthing\n\nBecause.","author":"Alice <a@example.com>","url":""},"image":{"name":"registry.example.com/acme/orders","tag":"ci-3f2a1b9","digest":"sha256:0123"},"stages":[{"name":"clone","status":"success","startedAt":"2026-01-02T03:04:05Z","finishedAt":"2026-01-02T03:04:06.25Z","firstLine":1,"lastLine":1,"steps":[]},{"name":"build","status":"%s","startedAt":"2026-01-02T03:04:07Z","finishedAt":"2026-01-02T03:05:38Z","firstLine":2,"lastLine":3,"steps":[]}],"deployments":[{"cluster":"prod","namespace":"shop","deployment":"orders","containers":["web"],"status":"success","previousImage":"","image":"orders@sha256:0123","error":""}],"worker":{"id":"","node":"","attempt":0},"logLines":3,"createdAt":"2026-01-02T03:04:04Z","startedAt":"2026-01-02T03:04:05Z","finishedAt":"2026-01-02T03:05:40Z"}`
	cluster = `{"name":"prod","description":"","host":"https://10.0.0.1:6443","namespaces":[],"projects":["orders"],"insecure":false,"createdAt":"2026-01-02T03:04:05Z","updatedAt":"2026-01-02T03:04:05Z"}`
	secret  = `{"name":"KEY","events":[],"masked":true,"createdAt":"2026-01-02T03:04:05Z","updatedAt":"2026-01-02T03:04:05Z"}`
)

func newAPI(t *testing.T) *api {
	t.Helper()
	a := &api{status: "success"}
	r := mux.NewRouter()
	answer := func(method, path, body string) {
		r.HandleFunc("/api/v1"+path, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }).Methods(method)
	}
	list := func(item string) string { return `{"items":[` + item + `],"next":"","total":1}` }
	running := fmt.Sprintf(event, "running", "", "running")
	answer("GET", "/version", `{"version":"1.2.3","commit":"abc","go":"go1.26"}`)
	answer("GET", "/projects", `{"items":[`+project+`],"next":"o2","total":7}`)
	answer("POST", "/projects", project)
	answer("GET", "/projects/orders", project)
	answer("GET", "/projects/orders/events", list(running))
	answer("GET", "/events", list(running))
	answer("POST", "/projects/orders/events", running)
	answer("POST", "/events/01event/cancel", fmt.Sprintf(event, "canceled", "canceled by alice", "canceled"))
	answer("POST", "/events/01event/rerun", running)
	answer("POST", "/events/01event/approve", fmt.Sprintf(event, "pending", "approved by alice", "pending"))
	answerOperations(answer)
	answerForges(answer)
	answerFiles(r, answer)
	answer("GET", "/clusters", list(cluster))
	answer("POST", "/clusters", cluster)
	answer("GET", "/clusters/prod", cluster)
	answer("POST", "/clusters/prod/check", `{"ok":true,"message":"the cluster answers and accepts the token"}`)
	answer("POST", "/clusters/down/check", `{"ok":false,"message":"no route to host"}`)
	answer("GET", "/projects/orders/secrets", list(secret))
	answer("PUT", "/projects/orders/secrets/KEY", secret)
	for _, path := range []string{"/projects/orders", "/clusters/prod", "/projects/orders/secrets/KEY", "/nodes/old", "/projects/orders/cache"} {
		r.HandleFunc("/api/v1"+path, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }).Methods("DELETE")
	}
	r.HandleFunc("/api/v1/events/01event", a.event)
	r.HandleFunc("/api/v1/events/01event/logs", a.logs)
	r.HandleFunc("/api/v1/events/01event/logs/stream", a.stream)
	for code, status := range map[string]int{"not_found": 404, "forbidden": 403, "conflict": 409, "invalid": 400, "unavailable": 503, "internal": 500} {
		r.HandleFunc("/api/v1/events/"+code, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = fmt.Fprintf(w, `{"error":{"code":%q,"message":"the server says\n%s","requestId":"r1"}}`, code, code)
		})
	}
	r.NotFoundHandler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		_, _ = fmt.Fprintf(w, `{"error":{"code":"not_found","message":"%s does not exist"}}`, r.URL.Path)
	})
	a.Server = httptest.NewServer(a.guard(r))
	t.Cleanup(a.Close)
	return a
}

func (a *api) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer the-token" {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"error":{"code":"unauthenticated","message":"the token is not known"}}`)
			return
		}
		if r.Method != http.MethodGet {
			body, _ := io.ReadAll(r.Body)
			a.mu.Lock()
			a.bodies = append(a.bodies, r.Method+" "+r.URL.RequestURI()+" "+string(body))
			a.mu.Unlock()
		}
		next.ServeHTTP(w, r)
	})
}

func (a *api) event(w http.ResponseWriter, _ *http.Request) {
	reason := map[string]string{"success": "", "failure": "build failed"}[a.status]
	_, _ = fmt.Fprintf(w, event, a.status, reason, a.status)
}

func (a *api) logs(w http.ResponseWriter, r *http.Request) {
	_, _ = fmt.Fprintf(w, "Cloning\n$ go build\n%s\n", r.URL.RawQuery)
}

func (a *api) stream(w http.ResponseWriter, r *http.Request) {
	upgrader := websocket.Upgrader{}
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	line := `{"n":%d,"t":"2026-01-01T00:00:00.123Z","stage":%q,"step":%q,"stream":"stdout","text":%q}`
	for _, frame := range []string{
		`{"type":"lines","lines":[` + fmt.Sprintf(line, 1, "clone", "clone", "Cloning") + `]}`,
		`{"type":"lines","lines":[` + fmt.Sprintf(line, 2, "build", "build", "$ go build") + `,` + fmt.Sprintf(line, 3, "build", "build", "ok") + `]}`,
		`{"type":"end","status":"` + a.status + `","lines":3}`,
	} {
		_ = conn.WriteMessage(websocket.TextMessage, []byte(frame)) // a viewer that left is no matter
	}
}

// cli runs one command line against the server.
func (a *api) cli(ctx context.Context, in string, args ...string) (code int, out, problems string) {
	env := map[string]string{"CYCLONE_TOKEN": "the-token"}
	if a != nil && a.Server != nil {
		env["CYCLONE_SERVER"] = a.URL
	}
	var stdout, stderr bytes.Buffer
	code = run(ctx, args, terminal{strings.NewReader(in), &stdout, &stderr}, func(name string) string { return env[name] })
	return code, stdout.String(), stderr.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestOutput(t *testing.T) {
	a := newAPI(t)
	for _, tt := range []struct {
		name string
		args string
		code int
	}{
		{"project-list", "project list", 0},
		{"project-show", "project show orders", 0},
		{"project-show-json", "project show orders --json", 0},
		{"project-delete", "project delete orders", 0},
		{"event-list", "event list", 0},
		{"event-list-project", "event list orders --status running,failure --since 24h", 0},
		{"event-show", "event show 01event", 0},
		{"event-start", "event start orders --branch main", 0},
		{"event-start-wait", "event start orders --wait", 0},
		{"event-start-wait-json", "event start orders --wait --json", 0},
		{"event-approve", "event approve 01event", 0},
		{"event-cancel", "event cancel 01event --reason enough", 0},
		{"event-rerun", "event rerun 01event --from build", 0},
		{"logs", "logs 01event --tail 2 --timestamps --stage build", 0},
		{"logs-follow", "logs 01event -f", 0},
		{"logs-follow-stage", "logs 01event -f --stage build --timestamps", 0},
		{"logs-follow-json", "logs 01event --follow --json", 0},
		{"cluster-list", "cluster list", 0},
		{"cluster-show", "cluster show prod", 0},
		{"cluster-check", "cluster check prod", 0},
		{"cluster-check-down", "cluster check down", 1},
		{"cluster-delete", "cluster delete prod", 0},
		{"secret-list", "secret list orders", 0},
		{"secret-delete", "secret delete orders KEY", 0},
		{"version", "version", 0},
		{"version-json", "version --json", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out, problems := a.cli(t.Context(), "", strings.Fields(tt.args)...)
			if code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			golden(t, tt.name+".txt", out+problems)
		})
	}
}

func TestWaitFails(t *testing.T) {
	a := newAPI(t)
	a.status = "failure"
	for _, args := range [][]string{{"event", "start", "orders", "--wait"}, {"event", "rerun", "01event", "--wait"}, {"event", "start", "orders", "--wait", "--json"}} {
		code, out, problems := a.cli(t.Context(), "", args...)
		if code != 1 || !strings.Contains(out, "build failed") || problems != "" {
			t.Errorf("%v: exit code %d\n%s%s", args, code, out, problems)
		}
	}
}

func TestJSONIsExact(t *testing.T) {
	a := newAPI(t)
	_, out, _ := a.cli(t.Context(), "", "project", "show", "orders", "--json")
	var got, want any
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(project), &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRequests(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "project.json")
	if err := os.WriteFile(file, []byte(`{"name":"other","repository":{"url":"https://gitlab.com/a/b.git"},"future":1,"triggers":{"tag":{"patterns":["v*"]}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	all := strings.Fields("project create orders --repository git@github.com:acme/orders.git --default-branch main --credential key --description d --owner alice " +
		"--visibility public --config-file ci.yml --image registry.example.com/o --push-branch main --push-branch release/* --push-path src/** --tag-pattern v* --releases " +
		"--pull-requests --approval always --email a@example.com,b@example.com --email-when change --variable A=b=c --variable x.y=1 --timeout 1h --cpus 1.5 --memory 2g " +
		"--concurrency 2 --cancel-superseded --trusted --webhook https://example.com/x --webhook-secret s")
	for _, tt := range []struct {
		name string
		args []string
		in   string
		want string
	}{
		{"short", strings.Fields("project create orders --repo https://example.com/a.git"), "", `POST /api/v1/projects {"name":"orders","repository":{"type":"git","url":"https://example.com/a.git"}}`},
		{"every flag", append(all, "--cron", "0 3 * * *"), "", `POST /api/v1/projects {"cancelSuperseded":true,"configFile":"ci.yml","description":"d","image":"registry.example.com/o",` +
			`"limits":{"concurrency":2,"cpus":1.5,"memory":"2g","timeout":"1h"},"name":"orders","notifications":{"email":{"recipients":["a@example.com","b@example.com"],"when":"change"},"webhooks":[{"url":"https://example.com/x"}]},` +
			`"owner":"alice","repository":{"credential":"key","defaultBranch":"main","type":"github","url":"git@github.com:acme/orders.git"},` +
			`"triggers":{"cron":[{"schedule":"0 3 * * *"}],"pullRequest":{"approval":"always","enabled":true},"push":{"branches":["main","release/*"],"paths":["src/**"]},"release":{"enabled":true},"tag":{"patterns":["v*"]}},` +
			`"trusted":true,"variables":{"A":"b=c","x.y":"1"},"visibility":"public","webhookSecret":"s"}`},
		{"file", []string{"project", "create", "-f", file, "--no-push"}, "", `POST /api/v1/projects {"future":1,"name":"other","repository":{"type":"gitlab","url":"https://gitlab.com/a/b.git"},"triggers":{"push":{"disabled":true},"tag":{"patterns":["v*"]}}}`},
		{"standard input", strings.Fields("project create mine -f -"), `{"name":"x"}`, `POST /api/v1/projects {"name":"mine"}`},
		{"start", strings.Fields("event start orders --tag v1 --set-version 1.0 --stage build,deploy --variable A=1"), "", `POST /api/v1/projects/orders/events {"tag":"v1","version":"1.0","stages":["build","deploy"],"variables":{"A":"1"}}`},
		{"cancel", strings.Fields("event cancel 01event --reason enough"), "", `POST /api/v1/events/01event/cancel {"reason":"enough"}`},
		{"rerun", strings.Fields("event rerun 01event --from integration"), "", `POST /api/v1/events/01event/rerun {"from":"integration"}`},
		{"rerun all", strings.Fields("event rerun 01event"), "", `POST /api/v1/events/01event/rerun `},
		{"cluster", strings.Fields("cluster create prod --host https://10.0.0.1:6443 --token-file - --namespace shop --project orders"), "tok\n", `POST /api/v1/clusters {"host":"https://10.0.0.1:6443","name":"prod","namespaces":["shop"],"projects":["orders"],"token":"tok"}`},
		{"secret", strings.Fields("secret set orders KEY --event push,tag"), "a\nb\n", `PUT /api/v1/projects/orders/secrets/KEY {"value":"a\nb","events":["push","tag"],"masked":true}`},
		{"visible secret", strings.Fields("secret set orders KEY --no-mask"), "v", `PUT /api/v1/projects/orders/secrets/KEY {"value":"v","masked":false}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newAPI(t)
			code, _, problems := a.cli(t.Context(), tt.in, tt.args...)
			if code != 0 {
				t.Fatalf("exit code %d: %s", code, problems)
			}
			if diff := cmp.Diff([]string{tt.want}, a.bodies); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
		})
	}
}

func TestExitCodes(t *testing.T) {
	a := newAPI(t)
	for _, tt := range []struct {
		args string
		code int
		says string
	}{
		{"event show not_found", 5, "the server says not_found"},
		{"project show nowhere", 5, "does not exist"},
		{"event show forbidden", 4, "use a token that may"},
		{"project list --token wrong", 4, "CYCLONE_TOKEN"},
		{"logs 01event -f --token wrong", 4, "CYCLONE_TOKEN"},
		{"event show conflict", 6, "conflict"},
		{"event show invalid", 6, "invalid"},
		{"event show unavailable", 3, "CYCLONE_SERVER"},
		{"event show internal", 1, "request r1"},
		{"project list --server http://127.0.0.1:1", 3, "cannot be reached"},
		{"project list --server unix:///nowhere.sock", 3, "cannot be reached"},
		{"project list --server nonsense", 2, "unix:///path"},
		{"nonsense", 2, "unknown command"},
		{"project", 2, "needs a command"},
		{"project nonsense", 2, "unknown command"},
		{"project show", 2, "wants PROJECT, not 0 arguments"},
		{"completion tcsh", 2, "unknown command"},
		{"completion", 2, "needs a command of its own"},
		{"project list extra", 2, "--help"},
		{"project list --nonsense", 2, "unknown flag"},
		{"event start orders --branch a --tag b", 2, "none of the others"},
		{"event start orders --stage nonsense", 2, "is not a stage"},
		{"event start orders --variable nonsense", 2, "NAME=value"},
		{"event list --since yesterday", 2, "24h"},
		{"event list --limit x", 2, "invalid argument"},
		{"project create -f /nowhere.json", 2, "no such file"},
		{"secret set orders KEY", 2, "empty"},
		{"lint /nowhere.yml", 2, "no such file"},
		{"lint --format xml -", 2, "text, json or sarif"},
		{"lint", 2, "caicloud.yml cannot be read"},
	} {
		code, out, problems := a.cli(t.Context(), "", strings.Fields(tt.args)...)
		if code != tt.code || !strings.Contains(problems, tt.says) || strings.Count(problems, "\n") != 1 || out != "" {
			t.Errorf("%s: exit code %d, want %d; it says %q%q, want %q in one line", tt.args, code, tt.code, out, problems, tt.says)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if code, _, _ := a.cli(ctx, "", "project", "list"); code != 130 {
		t.Errorf("interrupted: exit code %d", code)
	}
}

func TestCompletionAndHelp(t *testing.T) {
	for _, args := range []string{"completion bash", "completion zsh", "completion fish", "--help", "event start --help", "", "version --client"} {
		code, out, problems := (&api{}).cli(t.Context(), "", strings.Fields(args)...)
		if code != 0 || out == "" || problems != "" {
			t.Errorf("%q: exit code %d, %q", args, code, problems)
		}
	}
}
