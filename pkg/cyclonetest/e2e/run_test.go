//go:build e2e

package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/lab"
)

func binFolder() string { return os.Getenv("CYCLONE_E2E_BIN") }

// serverEnv is what a further server needs to work with the shared parts.
func serverEnv(more map[string]string) map[string]string {
	env := system.Env()
	for name, value := range more {
		env[name] = value
	}
	return env
}

const sleeper = "pre_build:\n  image: busybox:1\n  commands:\n    - echo awake\n    - sleep 300\n"

// onLine returns a function for finish that calls do once a line with the text comes.
func onLine(text string, do func()) func(cyclone.Line) {
	var once sync.Once
	return func(l cyclone.Line) {
		if l.Text == text {
			once.Do(do)
		}
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	p := newProject(t, map[string]string{"caicloud.yml": sleeper}, nil)
	id := p.push()
	o := p.finish(id, onLine("awake", func() { p.call("POST", "/api/v1/events/"+id+"/cancel", nil, nil) }))
	if o.Status != cyclone.StatusCanceled || o.in(cyclone.StagePreBuild).Status != cyclone.StatusCanceled {
		t.Errorf("event %s, pre_build %s", o.Status, o.in(cyclone.StagePreBuild).Status)
	}
	if n := strings.Count(o.text(), o.Reason); n != 1 {
		t.Errorf("the log says %d times why:\n%s", n, o.text())
	}
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	p := newProject(t, map[string]string{"caicloud.yml": sleeper}, map[string]any{"limits": map[string]any{"timeout": "12s"}})
	o := p.finish(p.push(), nil)
	if o.Status != cyclone.StatusTimeout || !strings.Contains(o.Reason, "12s") {
		t.Errorf("event %s: %s", o.Status, o.Reason)
	}
}

func TestStepTimeout(t *testing.T) {
	t.Parallel()
	p := newProject(t, map[string]string{"caicloud.yml": sleeper + "  timeout: 1s\n"}, nil)
	o := p.finish(p.push(), nil)
	if o.Status != cyclone.StatusTimeout || !strings.Contains(o.Reason, "1s") {
		t.Errorf("event %s: %s", o.Status, o.Reason)
	}
}

// A step sees what CAICLOUD-YML promises: one shell, variables, the source as
// working directory, and stdout and stderr in order.
func TestStep(t *testing.T) {
	t.Parallel()
	p := newProject(t, map[string]string{
		"sub/file": "content\n",
		"caicloud.yml": `
pre_build:
  image: busybox:1
  volumes:
    - .:/root/src
  environment:
    - GREETING = hello world
    - OCTAL=0755
  commands:
    - pwd
    - cd sub
    - cat file
    - export LATER="$GREETING $OCTAL"
    - echo "$LATER"; echo to stderr >&2; echo after
    - echo "$CYCLONE_PROJECT $CYCLONE_BRANCH $CYCLONE_COMMIT_SHORT_SHA $CI $CYCLONE_IMAGE"
    - printf 'no newline'
    - printf 'a\rb\rdone\n'
    - mkdir -p /made/dir && echo 1 >/made/dir/one && ln -s one /made/dir/link && chmod 755 /made/dir/one
  outputs:
    - /made/dir:from
post_build:
  image: busybox:1
  commands:
    - ls -l from | awk 'NR>1 {print $1, $9, $10, $11}'
    - cat from/link
`,
	}, nil)
	o := p.finish(p.push(), nil)
	if o.Status != cyclone.StatusSuccess {
		t.Fatalf("%s: %s\n%s", o.Status, o.Reason, o.text())
	}
	var got []string
	for _, l := range o.lines {
		if (l.Stage == cyclone.StagePreBuild || l.Stage == cyclone.StagePostBuild) && l.Stream != cyclone.System && !strings.HasPrefix(l.Text, "$ ") {
			got = append(got, l.Text)
		}
	}
	want := []string{
		"/root/src", "content", "hello world 0755", "to stderr", "after",
		p.name + " main " + p.sha[:7] + " true " + system.Registry.Addr + "/" + p.name + ":ci-" + p.sha[:7],
		"no newline", "done", "lrwxrwxrwx link -> one", "-rwxr-xr-x one  ", "1",
	}
	// The shell's two streams are two pipes: their order is the order of arrival.
	if strings.Join(sorted(got), "\n") != strings.Join(sorted(want), "\n") {
		t.Errorf("the steps printed\n%q\nwant\n%q", got, want)
	}
}

func TestPrivateRepository(t *testing.T) {
	t.Parallel()
	p := newProject(t, map[string]string{"caicloud.yml": "pre_build:\n  image: busybox:1\n  commands: [cat .git/config, env]\n"}, nil)
	password := "s3cret-of-the-repository"
	system.Git.Close(p.name, "robot", password)
	expect(t, p.finish(p.push(), nil), "failure", "clone", `(?i)credential|login|denied`)
	p.call("PUT", "/api/v1/projects/"+p.name+"/secrets/clone", map[string]any{"value": "robot:" + password, "masked": true}, nil)
	p.call("PATCH", "/api/v1/projects/"+p.name, map[string]any{"repository": map[string]any{"credential": "clone"}}, nil)
	o := p.finish(p.push(), nil)
	if o.Status != cyclone.StatusSuccess {
		t.Fatalf("%s: %s\n%s", o.Status, o.Reason, o.text())
	}
	if strings.Contains(o.text(), password) {
		t.Errorf("the log shows the password:\n%s", o.text())
	}
}

// A server that is killed and started again goes on with what runs: the worker
// comes back, no line is lost or doubled, and the end is told once.
func TestServerKilledWhileAnEventRuns(t *testing.T) {
	server, err := lab.StartServer(t.Context(), lab.ServerOptions{Bin: binFolder(), Dir: filepath.Join(t.TempDir(), "data"), Env: serverEnv(nil)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	p := newProjectOn(t, server, map[string]string{"caicloud.yml": "pre_build:\n  image: busybox:1\n  commands:\n    - i=0; while [ $i -lt 200 ]; do echo line $i; i=$((i+1)); sleep 0.02; done\n"}, nil)
	id := p.push()
	if _, err := server.Follow(p.ctx, id, onLine("line 20", server.Kill)); err == nil {
		t.Fatal("the stream survived the server")
	}
	if err := server.Start(p.ctx); err != nil {
		t.Fatal(err)
	}
	o := p.finish(id, nil)
	if o.Status != cyclone.StatusSuccess || o.Worker.Attempt != 1 {
		t.Errorf("%s in attempt %d: %s", o.Status, o.Worker.Attempt, o.Reason)
	}
	if n := strings.Count(o.text(), "\nline "); n != 200 {
		t.Errorf("%d of 200 lines are there:\n%s", n, o.text())
	}
}

// The same event on a machine without worker containers: a child process on
// the machine's own engine.
func TestProcessNode(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server, err := lab.StartServer(t.Context(), lab.ServerOptions{Bin: binFolder(), Dir: filepath.Join(dir, "data"), Env: serverEnv(map[string]string{"CYCLONE_NODE": "process"})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	p := newProjectOn(t, server, map[string]string{
		"Dockerfile":   "FROM cyclone/busybox:demo\nCOPY made /\n",
		"caicloud.yml": "pre_build:\n  image: cyclone/busybox:demo\n  commands: [echo built >made]\nbuild:\n  context_dir: .\n  push: false\nintegration:\n  services:\n    other:\n      image: BUILT_IMAGE\n      commands: [sleep 100]\n  commands: [cat /made, ping -c 1 other]\n",
	}, nil)
	o := p.finish(p.push(), nil)
	if o.Status != cyclone.StatusSuccess || !strings.Contains(o.text(), "built") {
		t.Errorf("%s: %s\n%s", o.Status, o.Reason, o.text())
	}
}

// The second event of a project builds on the layers of the first, although
// its engine is new.
func TestLayersAreReused(t *testing.T) {
	t.Parallel()
	p := newProject(t, map[string]string{"Dockerfile": "FROM busybox:1\nRUN echo expensive >/made\nCOPY change /\n", "change": "1\n", "caicloud.yml": "build:\n  context_dir: .\n"}, nil)
	p.finish(p.push(), nil)
	var err error
	if p.sha, err = system.Git.Commit(p.ctx, p.name, "main", "Change again", map[string][]byte{"change": []byte("2\n")}); err != nil {
		t.Fatal(err)
	}
	o := p.finish(p.push(), nil)
	if o.Status != cyclone.StatusSuccess || !regexp.MustCompile(`(?m)^#\d+ CACHED`).MatchString(o.text()) {
		t.Errorf("%s: the layer was built again:\n%s", o.Status, o.text())
	}
}

// A step that needs more memory than it may have is killed, and the event says why.
func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	p := newProject(t, map[string]string{"caicloud.yml": "pre_build:\n  image: busybox:1\n  mem_limit: 32m\n  commands: [dd if=/dev/zero of=/dev/null bs=256M count=1]\n"}, nil)
	expect(t, p.finish(p.push(), nil), "failure", "pre_build", `(?i)out of memory|memory limit`)
}

func TestSkippedEventIsToldToo(t *testing.T) {
	t.Parallel()
	p := newProject(t, map[string]string{"caicloud.yml": ""}, nil)
	o := p.finish(p.deliver("push", lab.Push(p.url, "main", p.sha, "Tidy [skip ci]")), nil)
	if o.Status != cyclone.StatusSkipped || !strings.Contains(o.Reason, "skip ci") {
		t.Errorf("%s: %s", o.Status, o.Reason)
	}
}

func TestEmptyFileIsASuccess(t *testing.T) {
	t.Parallel()
	p := newProject(t, map[string]string{"caicloud.yml": "# nothing yet\n"}, nil)
	o := p.finish(p.push(), nil)
	if o.Status != cyclone.StatusSuccess || !strings.Contains(o.text(), "nothing") {
		t.Errorf("%s: %s\n%s", o.Status, o.Reason, o.text())
	}
}

func sorted(lines []string) []string {
	out := slices.Clone(lines)
	slices.Sort(out)
	return out
}

// What a crash left behind is removed when a server starts again, and nothing else.
func TestLeftoversAreSweptAtTheStart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	server, err := lab.StartServer(t.Context(), lab.ServerOptions{Bin: binFolder(), Dir: dir, Env: serverEnv(nil)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	p := newProjectOn(t, server, map[string]string{"caicloud.yml": sleeper}, nil)
	id := p.push()
	if _, err := server.Follow(p.ctx, id, onLine("awake", server.Kill)); err == nil {
		t.Fatal("the stream survived the server")
	}
	// The machine crashes too: the worker is dead, its container and volume are
	// there. A container of somebody else's installation looks just like it.
	ids := docker(t, "ps", "-q", "--filter", "label="+cyclone.LabelEvent+"="+id)
	docker(t, "kill", ids)
	stranger := docker(t, "create", "--label", cyclone.LabelRole+"=worker", "--label", cyclone.LabelServer+"=another", "--label", cyclone.LabelWorker+"=w-1", "cyclone/busybox:demo", "true")
	t.Cleanup(func() { docker(t, "rm", "-f", stranger) })
	if err := server.Start(p.ctx); err != nil {
		t.Fatal(err)
	}
	// The second attempt runs on a worker of its own and is canceled.
	awake := 0
	o := p.finish(id, func(l cyclone.Line) {
		if l.Text != "awake" {
			return
		}
		if awake++; awake == 2 {
			p.call("POST", "/api/v1/events/"+id+"/cancel", nil, nil)
		}
	})
	if o.Status != cyclone.StatusCanceled || o.Worker.Attempt != 2 {
		t.Errorf("%s in attempt %d: %s\n%s", o.Status, o.Worker.Attempt, o.Reason, o.text())
	}
	docker(t, "inspect", stranger)
}

func docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %v: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}
