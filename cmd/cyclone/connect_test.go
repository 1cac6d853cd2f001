package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	connection = `{"account":"alice","hookUrl":"https://ci.example.com/api/v1/hooks/github/orders","hookId":"7","checkedAt":"2026-01-02T03:04:05Z","problems":["results will not stand\u001b[31m next to commits","more"]}`
	repository = `{"name":"acme/orders","url":"https://github.com/acme/orders.git","sshUrl":"git@github.com:acme/orders.git","webUrl":"https://github.com/acme/orders","defaultBranch":"main","private":true,"mayPush":true,"mayAdmin":false}`
	account    = `{"id":"github/github.com/alice","scm":"github","host":"github.com","login":"alice","owner":"bob","createdAt":"2026-01-02T03:04:05Z","expiresAt":"2026-01-02T05:04:05Z"}`
)

func answerForges(answer func(method, path, body string)) {
	list := func(item string) string { return `{"items":[` + item + `],"next":"more","total":9}` }
	answer("POST", "/projects/orders/connection", connection)
	answer("DELETE", "/projects/orders/connection", "")
	answer("GET", "/scm/github/repositories", list(repository))
	answer("GET", "/scm/github/branches", list(`{"name":"main","commit":"3f2a1b9"}`))
	answer("GET", "/scm/github/tags", list(`{"name":"v1","commit":"3f2a1b9"}`))
	answer("POST", "/scm/github/login", `{"url":"https://github.com/login/oauth/authorize?state=x&client_id=y"}`)
	answer("GET", "/scm/accounts", list(account))
	answer("DELETE", "/scm/accounts/github/github.com/alice", "")
}

func TestForgeOutput(t *testing.T) {
	a := newAPI(t)
	for name, args := range map[string]string{
		"project-connect":      "project connect orders",
		"project-connect-json": "project connect orders --json",
		"project-disconnect":   "project disconnect orders",
		"scm-repositories":     "scm repositories --account github/alice --query ord",
		"scm-branches":         "scm branches orders --limit 5",
		"scm-tags":             "scm tags orders",
		"scm-login":            "scm login github",
		"scm-accounts":         "scm accounts",
		"scm-logout":           "scm logout github/github.com/alice",
	} {
		t.Run(name, func(t *testing.T) {
			code, out, problems := a.cli(t.Context(), "", strings.Fields(args)...)
			if code != 0 {
				t.Errorf("exit code %d", code)
			}
			golden(t, name+".txt", out+problems)
		})
	}
}

// A token comes from a file, standard input or the environment, and goes to
// the server alone.
func TestRepositoryToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const create = `POST /api/v1/projects {"name":"orders","repository":{"token":"%","type":"github","url":"https://github.com/acme/Orders.git"}}`
	const connect = `POST /api/v1/projects/orders/connection {"token":"%"}`
	for _, tt := range []struct {
		args, in, variable, want, token string
	}{
		{"project create --repo https://github.com/acme/Orders.git --token-file " + file, "", "ignored", create, "from-file"},
		{"project create --repo https://github.com/acme/Orders.git --token-file -", " from-input \n", "", create, "from-input"},
		{"project create --repo https://github.com/acme/Orders.git", "", "from-environment", create, "from-environment"},
		{"project connect orders --token-file " + file, "", "", connect, "from-file"},
		{"project connect orders", "", "from-environment", connect, "from-environment"},
		{"project connect orders", "", "", `POST /api/v1/projects/orders/connection {}`, ""},
		{"project create o --repo https://example.com/a.git --poll 5m --account github/alice --comment --connect=false --merge --host-key A --pull-request-path src/**", "", "",
			`POST /api/v1/projects {"connect":false,"name":"o","notifications":{"comment":{"enabled":true}},"poll":"5m","repository":{"account":"github/alice","hostKeys":["A"],"type":"git","url":"https://example.com/a.git"},"triggers":{"pullRequest":{"merge":true,"paths":["src/**"]}}}`, ""},
	} {
		a := newAPI(t)
		env := map[string]string{"CYCLONE_TOKEN": "the-token", "CYCLONE_SERVER": a.URL, "CYCLONE_SCM_TOKEN": tt.variable}
		var out, problems bytes.Buffer
		code := run(t.Context(), strings.Fields(tt.args), terminal{strings.NewReader(tt.in), &out, &problems}, func(name string) string { return env[name] })
		if diff := cmp.Diff([]string{strings.Replace(tt.want, "%", tt.token, 1)}, a.bodies); code != 0 || diff != "" {
			t.Errorf("%s: exit code %d, %s\n%s", tt.args, code, problems.String(), diff)
		}
		if tt.token != "" && strings.Contains(out.String()+problems.String(), tt.token) {
			t.Errorf("%s: the token is printed", tt.args)
		}
	}
}

func TestForgeUsage(t *testing.T) {
	a := newAPI(t)
	for args, says := range map[string]string{
		"project create --repo https://example.com/a.git --token-file /nowhere":      "cannot be read",
		"project create --repo https://example.com/a.git --token-file -":             "no token",
		"project create --repo https://example.com/a.git --ask-token":                "no terminal",
		"project create --repo https://example.com/a.git --ask-token --token-file x": "none of the others",
		"project create -f - --token-file -":                                         "not both",
		"project create --repo https://example.com/%%%":                              "needs a name",
		"project connect":  "wants PROJECT",
		"scm":              "needs a command",
		"scm login":        "github or gitlab",
		"scm repositories": "at least one",
		"scm repositories --project a --account b": "none of the others",
	} {
		code, out, problems := a.cli(t.Context(), "", strings.Fields(args)...)
		if code != 2 || !strings.Contains(problems, says) || out != "" {
			t.Errorf("%s: exit code %d, %s%s", args, code, out, problems)
		}
	}
}

func TestGuesses(t *testing.T) {
	for url, want := range map[string][2]string{
		"https://github.com/acme/Orders.git":              {"github", "orders"},
		"git@gitlab.com:group/sub/orders.git":             {"gitlab", "orders"},
		"https://gitlab.example.com/a/b_c/":               {"gitlab", "b_c"},
		"ssh://git@git.example.com:2222/a/My Project.git": {"git", "my-project"},
		"https://codeberg.org/a/.profile":                 {"gitea", "profile"},
		"svn://svn.example.com/repos/app/trunk":           {"svn", "app"},
		"svn+ssh://host/repos/app":                        {"svn", "app"},
		"https://svn.example.com/app":                     {"svn", "app"},
		"host:orders.git":                                 {"git", "orders"},
		"https://example.com/" + strings.Repeat("x", 60):  {"git", strings.Repeat("x", 40)},
		"https://example.com/%%%":                         {"git", ""},
	} {
		if got := [2]string{guessType(url), guessName(url)}; got != want {
			t.Errorf("%s: got %q, want %q", url, got, want)
		}
	}
}
