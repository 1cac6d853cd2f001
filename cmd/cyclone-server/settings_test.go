package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/config"
)

// key is an encryption key of 32 letters.
const key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

func readSettings(args ...string) (settings, error) {
	var s settings
	err := s.read(args, func(string) (string, bool) { return "", false }, &bytes.Buffer{})
	return s, err
}

// Every wrong value is reported at once, with what to write instead, and no
// secret is repeated.
func TestWrongSettings(t *testing.T) {
	t.Parallel()
	tests := []struct {
		args []string
		want string
	}{
		{[]string{"--workers=many", "--timeout=soon", "--smtp-tls=ssl", "--store=postgres://db", "--encryption-key=hush-hush"},
			`--store: is neither embedded:<folder> nor a mongodb:// URI
--encryption-key: not 32 bytes in base64; make one with: openssl rand -base64 32
--workers: "many" is not a whole number of at least 0
--timeout: "soon" is not a duration; write for instance 90s, 10m or 1h30m
--smtp-tls: "ssl" is none of starttls, tls, none`},
		{[]string{"--nope"}, "flag provided but not defined: -nope; see cyclone-server --help"},
		{[]string{"serve"}, `unexpected argument "serve"; see cyclone-server --help`},
		{[]string{"--store=embedded:"}, `--store: "embedded:" lacks the folder; write for instance embedded:./data`},
		{[]string{"--external-url=ci.example.com"}, `--external-url: "ci.example.com" is not an http:// or https:// URL`},
		{[]string{"--cors-origins=https://a.example.com,https://b.example.com/app"},
			`--cors-origins: "https://b.example.com/app" is more than an origin; write for instance https://ci.example.com`},
		{[]string{"--cors-origins=*"}, `--cors-origins: "*" is not an http:// or https:// URL`},
		{[]string{"--node=kubernetes", "--warm-workers=2"}, `--node: "kubernetes" is not supported by this version yet; use docker or process
--warm-workers: "2": workers kept warm are not supported by this version yet; leave it at 0`},
		{[]string{"--node=podman"}, `--node: "podman" is none of docker, process`},
		{[]string{"--docker-host=/var/run/docker.sock"},
			`--docker-host: "/var/run/docker.sock" is not the address of an engine; write for instance unix:///var/run/docker.sock or tcp://10.0.0.5:2375`},
		{[]string{"--worker-server-url=unix://run/server.sock"}, `--worker-server-url: "unix://run/server.sock": the socket's path must be absolute`},
		{[]string{"--worker-server-url=ws://ci"}, `--worker-server-url: "ws://ci" is not an http:// or https:// URL`},
		{[]string{"--worker-cpus=two", "--worker-memory=much"}, `--worker-cpus: "two" is not a number of at least 0
--worker-memory: "much" is not a size; write for instance 512m, 2g or a number of bytes`},
		{[]string{"--registry=https://registry.example.com"},
			`--registry: "https://registry.example.com" is not a registry; write host[:port][/path] without https://, for instance registry.example.com/team`},
		{[]string{"--smtp-port=70000"}, `--smtp-port: "70000" is not a port; write a number from 1 to 65535`},
		{[]string{"--smtp-from=nobody"}, `--smtp-from: "nobody" is not a mail address; write for instance Cyclone <ci@example.com>`},
		{[]string{"--log-level=loud", "--log-format=xml"}, "--log-level: \"loud\" is none of info, debug, warn, error\n--log-format: \"xml\" is none of text, json"},
		{[]string{"--store=mongodb://a,b/cyclone", "--smtp-host=mail", "--registry-username=ci", "--worker-server-url=unix:///run/s.sock"},
			`encryption-key: is needed with MongoDB, the same for all servers of the installation; make one with: openssl rand -base64 32
worker-server-url: a worker's container has no such socket; leave it empty for the server's own, or write an http:// or https:// URL
registry-username: needs registry and registry-password beside it
smtp-from: is needed with smtp-host: who sends the mail?`},
		{[]string{"--github-oauth-client-id=abc", "--gitlab-oauth-client-secret=hush", "--external-url=https://ci.example.com"},
			`github-oauth-client-id: needs github-oauth-client-secret beside it, and the other way round
gitlab-oauth-client-id: needs gitlab-oauth-client-secret beside it, and the other way round`},
		{[]string{"--gitlab-oauth-client-id=abc", "--gitlab-oauth-client-secret=hush", "--gitlab-oauth-url=git.example.com"},
			`--gitlab-oauth-url: "git.example.com" is not an http:// or https:// URL`},
		{[]string{"--gitlab-oauth-client-id=abc", "--gitlab-oauth-client-secret=hush"},
			`gitlab-oauth-client-id: needs external-url, to which the forge sends people back`},
	}
	for _, tt := range tests {
		_, err := readSettings(tt.args...)
		if err == nil {
			t.Errorf("%v are accepted", tt.args)
			continue
		}
		if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
			t.Errorf("%v: %s", tt.args, diff)
		}
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	got, err := readSettings("--store=mongodb://mongo-0,mongo-1/cyclone?replicaSet=rs0", "--encryption-key="+key, "--cors-origins=https://a.example.com, http://localhost:5173/",
		"--registry=registry.example.com:5000/team/", "--registry-username=ci", "--registry-password=p", "--node=process", "--worker-server-url=unix:///run/s.sock",
		"--smtp-host=mail.example.com", "--smtp-from=Cyclone <ci@example.com>", "--smtp-port=465", "--smtp-tls=tls", "--worker-cpus=1.5", "--worker-memory=4g")
	if err != nil {
		t.Fatal(err)
	}
	if got.folder() != "" || got.registry != "registry.example.com:5000/team" || got.smtpPort != 465 || string(got.encryptionKey) != "0123456789abcdef0123456789abcdef" {
		t.Errorf("settings %+v", got)
	}
	if diff := cmp.Diff([]string{"https://a.example.com", "http://localhost:5173"}, got.corsOrigins); diff != "" {
		t.Error(diff)
	}
	r := &rooms{settings: &got}
	if login := r.registries()["registry.example.com:5000"]; login.Username != "ci" || login.Password != "p" {
		t.Errorf("logins %+v", r.registries())
	}
}

// external is what links begin with.
func TestExternalURL(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"--listen=:7099":                         "http://localhost:7099",
		"--listen=0.0.0.0:80":                    "http://localhost:80",
		"--listen=127.0.0.1:1":                   "http://127.0.0.1:1",
		"--external-url=https://ci.example.com/": "https://ci.example.com",
	} {
		s, err := readSettings(args)
		if err != nil || s.external() != want {
			t.Errorf("%s: %s, %v; want %s", args, s.external(), err, want)
		}
	}
}

// The workers' socket is alone in a folder, at the same place after a restart,
// and short enough for a socket's address.
func TestSocket(t *testing.T) {
	short, err := os.MkdirTemp("", "s-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(short) })
	t.Setenv("TMPDIR", short)
	long := filepath.Join(short, strings.Repeat("d", 100))
	tests := []struct{ args, want string }{
		{"--store=embedded:" + short, filepath.Join(short, "run", "server.sock")},
		{"--store=embedded:" + long, filepath.Join(short, "cyclone-id1--7099", "server.sock")},
		{"--worker-server-url=https://ci.example.com", ""},
	}
	for _, tt := range tests {
		s, err := readSettings(tt.args)
		if err != nil {
			t.Fatal(err)
		}
		r := &rooms{settings: &s}
		if err := r.chooseSocket("id1"); err != nil || r.socket != tt.want {
			t.Errorf("%s: %s, %v; want %s", tt.args, r.socket, err, tt.want)
		}
		if tt.want == "" {
			continue
		}
		l, err := net.Listen("unix", r.socket)
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		if info, err := os.Stat(filepath.Dir(r.socket)); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", tt.args, info.Mode(), err)
		}
	}
}

// setting is one line of --help.
type setting struct{ flag, variable, fallback string }

// helped lists what --help says.
func helped(t *testing.T) []setting {
	t.Helper()
	var s settings
	var out bytes.Buffer
	if err := s.read([]string{"--help"}, os.LookupEnv, &out); !errors.Is(err, config.ErrHelp) {
		t.Fatalf("error %v", err)
	}
	var all []setting
	columns := regexp.MustCompile(`^(--\S+)\s+(CYCLONE_\S+)\s+(\S+)\s+\S`)
	for _, line := range strings.Split(out.String(), "\n") {
		if found := columns.FindStringSubmatch(line); found != nil {
			all = append(all, setting{found[1], found[2], found[3]})
		} else if strings.HasPrefix(line, "--") {
			t.Errorf("--help has a line of another form: %s", line)
		}
	}
	return all
}

// docs/configuration.md has a row for each setting and no other, with the same
// variable and default.
func TestConfigurationIsDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `(--[a-z-]+)` \\| `(CYCLONE_[A-Z_]+)` \\| (?:`([^`|]+)`|(-)) \\| \\S[^|]* \\|$")
	documented := map[setting]bool{}
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		documented[setting{m[1], m[2], m[3] + m[4]}] = true
	}
	if rows := strings.Count(string(text), "\n| `--"); rows != len(documented) {
		t.Errorf("%d rows begin like that of a setting, %d can be read as one", rows, len(documented))
	}
	for _, s := range helped(t) {
		if !documented[s] {
			t.Errorf("docs/configuration.md lacks the row | `%s` | `%s` | %s |", s.flag, s.variable, s.fallback)
		}
		delete(documented, s)
	}
	for s := range documented {
		t.Errorf("docs/configuration.md describes %+v, which cyclone-server --help does not", s)
	}
	// Variables are named in examples too: they must exist.
	known := map[string]bool{}
	for _, s := range helped(t) {
		known[s.variable] = true
	}
	for _, name := range regexp.MustCompile(`CYCLONE_[A-Z_]+`).FindAllString(string(text), -1) {
		if !known[name] {
			t.Errorf("docs/configuration.md names %s, which is no setting", name)
		}
	}
}

// run runs the program as a process and returns what it printed and its exit code.
func run(t *testing.T, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	cmd := command(ctx, t, env, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func command(ctx context.Context, t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Dir = t.TempDir()
	cmd.Env = append([]string{asServer + "=1", "PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir()}, env...)
	return cmd
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	out, errs, code := run(t, nil, "--help")
	if code != 0 || errs != "" || !strings.Contains(out, "--smtp-host") {
		t.Errorf("--help: %d, %q, %q", code, out, errs)
	}
	out, errs, code = run(t, nil, "--version")
	if code != 0 || errs != "" || !strings.HasPrefix(out, "cyclone-server ") {
		t.Errorf("--version: %d, %q, %q", code, out, errs)
	}
	out, errs, code = run(t, []string{"CYCLONE_WORKERS=-1"}, "--smtp-tls", "ssl")
	want := "cyclone-server: wrong settings:\nCYCLONE_WORKERS: \"-1\" is not a whole number of at least 0\n--smtp-tls: \"ssl\" is none of starttls, tls, none\n"
	if code != 2 || out != "" || errs != want {
		t.Errorf("wrong settings: %d, %q, %q", code, out, errs)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, errs, code = run(t, nil, "--store", "embedded:"+filepath.Join(file, "data"), "--listen", "127.0.0.1:0")
	if code != 1 || !strings.HasPrefix(errs, "cyclone-server: open store: make data folder "+file) {
		t.Errorf("no store: %d, %q", code, errs)
	}
}

// A signal ends the server in order, with exit code 0.
func TestSignal(t *testing.T) {
	t.Parallel()
	cmd := command(t.Context(), t, []string{"CYCLONE_LISTEN=127.0.0.1:0", "CYCLONE_WORKERS=0", "CYCLONE_LOG_FORMAT=json"})
	var out output
	cmd.Stdout, cmd.Stderr = &out.stdout, &out.stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	eventually(t, "the server listens", func() bool { return strings.Contains(out.stderr.String(), `"msg":"listening"`) })
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil || !strings.Contains(out.stderr.String(), `"msg":"stopped"`) {
			t.Errorf("%v\n%s", err, out.stderr.String())
		}
	case <-time.After(patience):
		t.Error(errors.Join(fmt.Errorf("the server does not end on SIGTERM"), cmd.Process.Kill()))
	}
}
