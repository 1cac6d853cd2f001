//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/local"
)

// runFolder makes a folder "orders" with files.
func runFolder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "orders")
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o750), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// runLine runs `cyclone run` with arguments; no engine is there.
func runLine(t *testing.T, args ...string) (code int, out, problems string) {
	t.Helper()
	var o, e bytes.Buffer
	environment := map[string]string{"DOCKER_HOST": "unix:///nowhere/docker.sock", "FROM_ENV": "of the environment"}
	code = run(t.Context(), append([]string{"run"}, args...), terminal{strings.NewReader(""), &o, &e}, func(name string) string { return environment[name] })
	return code, o.String(), e.String()
}

const runShop = `
pre_build:
  vet:
    image: golang:${GO}
    commands: [go vet ./...]
    when: {branch: release/*}
  compile:
    image: golang:${GO}
    environment: [CGO_ENABLED=0, "LOGIN=user:${TOKEN}"]
    secrets: [TOKEN]
    volumes: [".:/src", "./cache:/cache:ro"]
    commands:
      - go build -o out/app
      - |
        echo one
        echo two
    outputs: [out, "/etc/app.conf:conf/"]
    cache: [/root/.cache]
    artifacts: ["out/*.txt"]
    reports: {junit: report.xml}
    timeout: 10m
    retries: 2
    allow_failure: true
    mem_limit: 512m
    cpus: 1.5
build:
  app: {context_dir: out, dockerfile_name: Dockerfile.app, target: final, build_args: {A: "1"}, tags: [latest], secrets: [TOKEN]}
  tool: {context_dir: tools, push: false}
integration:
  image: BUILT_IMAGE.tool
  commands: [./test]
  links: ["db:postgres"]
  services:
    db:
      image: postgres:17
      environment: {POSTGRES_PASSWORD: secret-of-tests}
      entrypoint: [docker-entrypoint.sh, -c, "max connections"]
      extra_hosts: ["host:10.0.0.1"]
      wait_for: {port: 5432, timeout: 30s}
    app: {image: BUILT_IMAGE, wait_for: {http: /healthz, port: 8080}, dns: [10.0.0.2]}
post_build:
  image: busybox:1
  pull: always
  commands: [ls]
deploy:
  - {cluster: prod, namespace: shop, deployment: orders, containers: [web], type: kubernetes, host: k8s.test, token: "${KUBE}", secrets: {KUBE: KUBE_TOKEN}}
`

func TestRunPlans(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config string
		args   []string
	}{
		"shop":       {runShop, []string{"--env", "GO=1.26", "--secret", "TOKEN=hush-hush"}},
		"everything": {runShop, []string{"--env", "GO=1.26", "--push", "--deploy", "--image", "r.test/orders", "--version", "7", "--event", "push", "--branch", "release/1"}},
		"one stage":  {runShop, []string{"--env", "GO=1.26", "--stage", "post_build"}},
		"empty":      {"", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := runFolder(t, map[string]string{"caicloud.yml": c.config})
			code, out, problems := runLine(t, append(c.args, "--dry-run", dir)...)
			if code != exitOK || problems != "" {
				t.Fatalf("exit code %d: %s\n%s", code, problems, out)
			}
			if strings.Contains(out, "hush-hush") {
				t.Errorf("the secret is there:\n%s", out)
			}
			out = strings.ReplaceAll(out, dir, "/orders")
			path := filepath.Join("testdata", "run", strings.ReplaceAll(name, " ", "_")+".txt")
			if *update {
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o750), os.WriteFile(path, []byte(out), 0o600)); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), out); diff != "" {
				t.Errorf("the plan differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRunPlanAsJSON(t *testing.T) {
	t.Parallel()
	dir := runFolder(t, map[string]string{"Dockerfile": "FROM scratch\n"})
	code, out, problems := runLine(t, "--dry-run", "--json", dir)
	if code != exitOK {
		t.Fatalf("exit code %d: %s", code, problems)
	}
	var plan local.Plan
	if err := json.Unmarshal([]byte(out), &plan); err != nil {
		t.Fatal(err)
	}
	want := []local.PlanStage{{Name: "build", Steps: []local.PlanStep{{
		Name: "build", NotPushed: "--push is not given",
		Build: &local.PlanBuild{Image: "orders:local", Context: ".", Dockerfile: "Dockerfile"},
	}}}}
	if diff := cmp.Diff(want, plan.Stages); diff != "" || plan.Project != "orders" || plan.Image != "orders:local" {
		t.Errorf("%+v\n%s", plan, diff)
	}
}

func TestRunPlanOfAFileThatIsWrongInThisRun(t *testing.T) {
	t.Parallel()
	dir := runFolder(t, map[string]string{"caicloud.yml": "post_build:\n  image: x:${NOPE}\n  commands: [ls]\n"})
	code, out, _ := runLine(t, "--dry-run", dir)
	if code != exitFailed || !strings.Contains(out, "caicloud.yml:2:10") || !strings.Contains(out, "^") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
}

func TestRunUsage(t *testing.T) {
	t.Parallel()
	dir := runFolder(t, map[string]string{
		"caicloud.yml": "post_build:\n  image: x\n  commands: [ls]\n", "bad.yml": "post_build:\n  imaje: x\n", "vars": "# none\nA=1\n\nB\n",
		"secret": "of a file\n",
	})
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"two folders":       {[]string{dir, dir}, exitUsage, "at most one DIR"},
		"no folder":         {[]string{dir + "/no"}, exitUsage, "no such file"},
		"stage":             {[]string{"--stage", "test", dir}, exitUsage, `no stage \"test\"`},
		"stage clone":       {[]string{"--stage", "clone", dir}, exitUsage, "there are pre_build"},
		"from":              {[]string{"--from", "x", dir}, exitUsage, "there is no stage"},
		"event":             {[]string{"--event", "comment", dir}, exitUsage, "--event is push"},
		"color":             {[]string{"--color", "red", dir}, exitUsage, "--color is auto"},
		"timeout":           {[]string{"--timeout", "-1s", dir}, exitUsage, "--timeout"},
		"version":           {[]string{"--version", "a b", dir}, exitUsage, "cannot be the tag"},
		"env":               {[]string{"--env", "=x", dir}, exitUsage, "is no variable"},
		"env file":          {[]string{"--env-file", dir + "/no", dir}, exitUsage, "cannot be read"},
		"secret":            {[]string{"--secret", "=x", dir}, exitUsage, "--secret wants"},
		"secret not set":    {[]string{"--secret", "NOPE", dir}, exitUsage, "the environment has no NOPE"},
		"secret file":       {[]string{"--secret", "A=@" + dir + "/no", dir}, exitUsage, "cannot be read"},
		"push and not":      {[]string{"--push", "--no-push", dir}, exitUsage, "no-push"},
		"json without plan": {[]string{"--json", dir}, exitUsage, "--json prints the plan"},
		"file outside":      {[]string{"--file", "/etc/passwd", dir}, exitUsage, "is not in"},
		"no file":           {[]string{"--file", "no.yml", dir}, exitUsage, "there is no no.yml"},
		"ref":               {[]string{"--ref", "main", dir}, exitUsage, "not in a git repository"},
		"bad file":          {[]string{"--file", "bad.yml", dir}, exitFailed, ""},
		"no engine":         {[]string{"--no-push", "--no-deploy", "--env-file", dir + "/vars", "--secret", "S=@" + dir + "/secret", "--secret", "FROM_ENV", dir}, exitFailed, "no Docker engine answers at unix:///nowhere/docker.sock"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, out, problems := runLine(t, c.args...)
			if code != c.code || !strings.Contains(problems, strings.ReplaceAll(c.want, `\"`, `"`)) || strings.Count(problems, "\n") > 1 {
				t.Errorf("exit code %d: %s\n%s", code, problems, out)
			}
		})
	}
	empty := runFolder(t, nil)
	if code, _, problems := runLine(t, empty); code != exitUsage || !strings.Contains(problems, "neither a caicloud.yml nor a Dockerfile") {
		t.Errorf("an empty folder: exit code %d: %s", code, problems)
	}
}
