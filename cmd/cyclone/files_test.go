package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/mux"
)

// What an event with everything to it looks like, and what is kept with it.
const (
	rich = `{"id":"02event","project":"orders","number":43,"status":"success","reason":"","trigger":{"kind":"rerun","actor":"alice","delivery":"","parent":"01event","from":"integration"},` +
		`"ref":"refs/heads/main","branch":"main","tag":"","version":"ci-3f2a1b9","commit":{"sha":"3f2a1b9c0ffee","message":"Fix","author":"","url":""},` +
		`"image":{"name":"registry.example.com/orders","tag":"ci-3f2a1b9","digest":"sha256:01"},` +
		`"images":[{"build":"api","name":"registry.example.com/orders","tag":"ci-3f2a1b9","digest":"sha256:01"},{"build":"web","name":"registry.example.com/orders-web","tag":"ci-3f2a1b9","digest":"sha256:02"}],` +
		`"stages":[{"name":"clone","status":"success","startedAt":"2026-01-02T03:04:05Z","finishedAt":"2026-01-02T03:04:06Z","firstLine":1,"lastLine":1,"steps":[]},` +
		`{"name":"build","status":"skipped","firstLine":2,"lastLine":2,"steps":[]},` +
		`{"name":"integration","status":"success","startedAt":"2026-01-02T03:04:07Z","finishedAt":"2026-01-02T03:05:38Z","firstLine":3,"lastLine":9,"steps":[{"name":"integration","status":"failure","image":"","exitCode":1,"error":"exited with 1"}]},` +
		`{"name":"post_build","status":"skipped","firstLine":0,"lastLine":0,"steps":[]}],` +
		`"deployments":[],"worker":{"id":"","node":"","attempt":0},"logLines":9,"createdAt":"2026-01-02T03:04:04Z","files":2,` +
		`"tests":{"total":25,"passed":2,"failed":22,"skipped":1,"seconds":3.25,"failures":[{"stage":"integration","step":"integration","suite":"s","class":"shop/cart","name":"Test\u001b[31mAdd","status":"failed","seconds":0.2,"message":"got 1\nwant 2"}]},` +
		`"problems":[{"file":"ci/caicloud.yml","line":3,"column":12,"path":"pre_build.image","severity":"warning","message":"image has no tag","hint":"write golang:1.26"},{"line":4,"column":1,"path":"","severity":"error","message":"no","hint":""}]}`
	binary  = `{"path":"bin/orders","size":7340032,"sha256":"ab","stage":"pre_build","step":"compile","createdAt":"2026-01-02T03:04:05Z","url":"https://ci.example.com/x","newField":1}`
	shot    = `{"path":"shots/a b.png","size":12,"sha256":"cd","stage":"integration","step":"integration","createdAt":"2026-01-02T03:04:05Z","url":"https://ci.example.com/y"}`
	results = `{"total":3,"passed":1,"failed":2,"skipped":0,"seconds":0.75,"failures":[],"cases":[` +
		`{"stage":"pre_build","step":"unit","suite":"s","class":"shop/cart","name":"TestEmpty","status":"passed","seconds":0.25},` + failing + `],"createdAt":"2026-01-02T03:04:05Z"}`
	failing = `{"stage":"pre_build","step":"unit","suite":"s","class":"shop/cart","name":"TestAdd","status":"failed","seconds":0.25,"message":"got 1 want 2","output":"=== RUN\n    cart.go:1: \u001b[31mgot 1 want 2\r\n"},` +
		`{"stage":"integration","step":"integration","suite":"e2e","class":"","name":"order","status":"error","seconds":0.25,"message":"refused"}`
	onlyFailing = `{"total":3,"passed":1,"failed":2,"skipped":0,"seconds":0.75,"failures":[],"cases":[` + failing + `]}`
	caches      = `{"items":[{"node":"local","id":"c1","kind":"paths","size":1048576,"usedAt":"2026-01-02T03:04:05Z","inUse":false},{"node":"local","id":"c2","kind":"engine","size":2147483648,"usedAt":"2026-01-02T03:04:05Z","inUse":true}],"next":"","total":2,"size":2148532224}`
)

// answerFiles has the server keep files with an event.
func answerFiles(r *mux.Router, answer func(method, path, body string)) {
	answer("GET", "/events/02event", rich)
	answer("GET", "/events/01event/artifacts", `{"items":[`+binary+`,`+shot+`],"next":"","total":2}`)
	answer("GET", "/events/02event/artifacts", `{"items":[{"path":"../../evil","size":1}],"next":"","total":1}`)
	answer("GET", "/projects/orders/cache", caches)
	r.HandleFunc("/api/v1/events/01event/reports", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("status") == "failed" {
			_, _ = io.WriteString(w, onlyFailing)
			return
		}
		_, _ = io.WriteString(w, results)
	})
	r.HandleFunc("/api/v1/events/01event/artifacts/bin/orders", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "\x7fELF") })
	r.HandleFunc("/api/v1/events/01event/artifacts/shots/a b.png", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "PNG") })
	r.HandleFunc("/api/v1/events/01event/artifacts/broken", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "half")
		panic(http.ErrAbortHandler)
	})
}

func TestFilesOutput(t *testing.T) {
	a := newAPI(t)
	for _, tt := range []struct {
		name string
		args string
		code int
	}{
		{"event-show-rich", "event show 02event", 0},
		{"artifact-list", "artifact list 01event", 0},
		{"artifact-get", "artifact get 01event bin/orders -o -", 0},
		{"report", "report 01event", 0},
		{"report-failed", "report 01event --failed", 0},
		{"cache-show", "cache show orders", 0},
		{"cache-clear", "cache clear orders", 0},
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

func TestFilesJSON(t *testing.T) {
	a := newAPI(t)
	for args, want := range map[string]string{
		"artifact list 01event --json":   `{"items":[` + binary + `,` + shot + `],"next":"","total":2}`,
		"report 01event --json":          results,
		"report 01event --failed --json": onlyFailing,
		"cache show orders --json":       caches,
		"event show 02event --json":      rich,
	} {
		code, out, problems := a.cli(t.Context(), "", strings.Fields(args)...)
		var got, exact any
		if err := json.Unmarshal([]byte(out), &got); code != 0 || err != nil {
			t.Errorf("%s: exit code %d, %v: %s%s", args, code, err, out, problems)
			continue
		}
		if err := json.Unmarshal([]byte(want), &exact); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(exact, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", args, diff)
		}
	}
}

// tree lists what is in a folder: paths and contents.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(filepath.Clean(path))
		rel, _ := filepath.Rel(dir, path) // it is below dir
		found[filepath.ToSlash(rel)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestArtifactGet(t *testing.T) {
	a := newAPI(t)
	get := func(code int, args ...string) (out, problems string) {
		t.Helper()
		got, out, problems := a.cli(t.Context(), "", append([]string{"artifact", "get", "01event"}, args...)...)
		if got != code {
			t.Errorf("%q: exit code %d, want %d: %s%s", args, got, code, out, problems)
		}
		return out, problems
	}
	dir := t.TempDir()
	out, _ := get(0, "--all", "-o", filepath.Join(dir, "new/folder"))
	if diff := cmp.Diff(map[string]string{"new/folder/bin/orders": "\x7fELF", "new/folder/shots/a b.png": "PNG"}, tree(t, dir)); diff != "" {
		t.Errorf("--all (-want +got):\n%s", diff)
	}
	if want := filepath.Join(dir, "new/folder/bin/orders") + "\n" + filepath.Join(dir, "new/folder/shots/a b.png") + "\n"; out != want {
		t.Errorf("it says %q, want %q", out, want)
	}

	file := filepath.Join(t.TempDir(), "orders")
	get(0, "bin/orders", "-o", file)
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, problems := get(6, "bin/orders", "-o", file); !strings.Contains(problems, "there already; --force") {
		t.Errorf("it says %q", problems)
	}
	if got := tree(t, filepath.Dir(file)); got["orders"] != "mine" {
		t.Errorf("the file was overwritten: %v", got)
	}
	get(0, "bin/orders", "-o", file, "--force")

	folder := t.TempDir()
	out, _ = get(0, "bin/orders", "shots/a b.png", "-o", folder, "--json")
	var list struct{ Items []saved }
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list.Items) != 2 || list.Items[0].File != filepath.Join(folder, "bin/orders") {
		t.Errorf("%v %s", err, out)
	}
	// What stands in the way of one is found before another is fetched.
	if err := os.Remove(filepath.Join(folder, "bin/orders")); err != nil {
		t.Fatal(err)
	}
	get(6, "bin/orders", "shots/a b.png", "-o", folder)
	if got := tree(t, folder); len(got) != 1 {
		t.Errorf("%v", got)
	}
	// One that breaks off leaves nothing behind.
	get(3, "broken", "-o", folder)
	get(5, "none", "-o", folder)
	if got := tree(t, folder); len(got) != 1 {
		t.Errorf("%v", got)
	}
}

// Whatever a server says, nothing is written outside of the folder.
func TestArtifactGetStaysInItsFolder(t *testing.T) {
	a := newAPI(t)
	dir := t.TempDir()
	inner := filepath.Join(dir, "in")
	if err := os.Mkdir(inner, 0o700); err != nil {
		t.Fatal(err)
	}
	if code, _, problems := a.cli(t.Context(), "", "artifact", "get", "02event", "--all", "-o", inner); code != 2 || !strings.Contains(problems, "evil") {
		t.Errorf("exit code %d: %s", code, problems)
	}
	if err := os.Symlink(dir, filepath.Join(inner, "bin")); err != nil {
		t.Fatal(err)
	}
	if code, _, problems := a.cli(t.Context(), "", "artifact", "get", "01event", "bin/orders", "-o", inner, "--force"); code != 1 || !strings.Contains(problems, "bin/orders") {
		t.Errorf("exit code %d: %s", code, problems)
	}
	if got := tree(t, dir); len(got) != 0 {
		t.Errorf("written: %v", got)
	}
}

func TestFilesRequestsAndExitCodes(t *testing.T) {
	a := newAPI(t)
	if code, _, problems := a.cli(t.Context(), "", "cache", "clear", "orders"); code != 0 || !cmp.Equal(a.bodies, []string{"DELETE /api/v1/projects/orders/cache "}) {
		t.Errorf("exit code %d, %v: %s", code, a.bodies, problems)
	}
	for args, want := range map[string]int{
		"artifact":                           2,
		"artifact list":                      2,
		"artifact list none":                 5,
		"artifact get":                       2,
		"artifact get 01event":               2,
		"artifact get 01event a --all":       2,
		"artifact get 01event ../a":          2,
		"artifact get 01event /etc/passwd":   2,
		"artifact get 01event a b -o -":      2,
		"artifact get 01event --all -o -":    2,
		"report":                             2,
		"report none":                        5,
		"report 01event --token wrong":       4,
		"cache":                              2,
		"cache show":                         2,
		"cache show none":                    5,
		"cache clear none":                   5,
		"event rerun 01event --from nowhere": 2,
	} {
		if code, out, problems := a.cli(t.Context(), "", strings.Fields(args)...); code != want || out != "" || strings.Count(problems, "\n") != 1 {
			t.Errorf("%s: exit code %d, want %d; it says %q%q", args, code, want, out, problems)
		}
	}
}
