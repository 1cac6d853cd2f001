//go:build e2e

package e2e_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/lab"
)

// counting has a path outside of the source tree, and one in it that the image
// is made of.
const counting = `
pre_build:
  image: busybox:1
  cache: [/var/count, made]
  commands:
    - echo "counted $(cat /var/count/n 2>/dev/null || echo 0) $(cat made/n 2>/dev/null || echo 0)"
    - n=$(($(cat /var/count/n 2>/dev/null || echo 0) + 1)); echo $n >/var/count/n; echo $n >made/n
    - echo "shown by $(grep ' /var/count ' /proc/mounts | cut -d' ' -f3)"
    - echo written; if [ -f slow ] && [ -z "$CYCLONE_PULL_REQUEST" ]; then sleep 300; fi
build:
  context_dir: .
  push: false
integration:
  commands: ['echo "the image has $(cat /made/n)"']
`

func countingFiles() map[string]string {
	return map[string]string{"caicloud.yml": counting, "Dockerfile": "FROM busybox:1\nCOPY made /made\n"}
}

// succeed follows an event to its success.
func (p *project) succeed(id string) *outcome {
	p.t.Helper()
	o := p.finish(id, nil)
	if o.Status != cyclone.StatusSuccess {
		p.t.Fatalf("event %s: %s\n%s", o.Status, o.Reason, o.text())
	}
	return o
}

// mustCount holds an event to what its paths held before it.
func mustCount(t *testing.T, o *outcome, before, after1 string) {
	t.Helper()
	if got := after(t, o, "counted "); got != before+" "+before {
		t.Errorf("event %d found %q, want %q twice\n%s", o.Number, got, before, o.text())
	}
	if got := after(t, o, "the image has "); got != after1 {
		t.Errorf("event %d put %q into the image, want %q", o.Number, got, after1)
	}
}

// volumes lists what the engine keeps for a project of the shared server.
func (p *project) volumes(kind cyclone.CacheKind) []string {
	p.t.Helper()
	id, err := p.server.Installation(p.ctx)
	if err != nil {
		p.t.Fatal(err)
	}
	args := []string{"volume", "ls", "-q"}
	for name, value := range map[string]string{cyclone.LabelRole: "cache", cyclone.LabelServer: id, cyclone.LabelProject: p.name, "cyclone.kind": string(kind)} {
		args = append(args, "--filter", "label="+name+"="+value)
	}
	return strings.Fields(docker(p.t, args...))
}

// An event of a fork finds what the project's events left, and whatever it does
// leaves no trace.
func TestForksReadCachesAndNeverWrite(t *testing.T) {
	t.Parallel()
	p := newProject(t, countingFiles(), map[string]any{"triggers": map[string]any{"pullRequest": map[string]any{"enabled": true, "approval": "never"}}})
	mustCount(t, p.succeed(p.push()), "0", "1")
	payload := lab.PullRequest(p.url, 7, "fix", p.sha, "Fix it")
	head := payload["pull_request"].(map[string]any)["head"].(map[string]any)
	head["repo"] = map[string]any{"full_name": "mallory/shop", "clone_url": p.url, "html_url": p.url}
	o := p.succeed(p.deliver("pull_request", payload))
	if !o.PullRequest.Fork {
		t.Fatalf("the event is not of a fork: %+v", o.PullRequest)
	}
	mustCount(t, o, "1", "2")
	if got := after(t, o, "shown by "); got != "overlay" {
		t.Errorf("a cache was copied: %s", got)
	}
	if strings.Contains(o.text(), "kept:") {
		t.Errorf("the fork kept something:\n%s", o.text())
	}
	mustCount(t, p.succeed(p.push()), "1", "2")
}

// A worker that is killed in the middle leaves the next event what was there
// before it.
func TestKilledWorkerLeavesCachesAsTheyWere(t *testing.T) {
	t.Parallel()
	p := newProject(t, countingFiles(), map[string]any{"limits": map[string]any{"onWorkerLost": "fail"}})
	mustCount(t, p.succeed(p.push()), "0", "1")
	before := p.sha
	p.commit(map[string]string{"slow": "1\n"})
	id := p.push()
	o := p.finish(id, onLine("written", func() {
		docker(t, "kill", docker(t, "ps", "-q", "--filter", "label="+cyclone.LabelEvent+"="+id))
	}))
	if o.Status != cyclone.StatusError {
		t.Fatalf("event %s: %s\n%s", o.Status, o.Reason, o.text())
	}
	p.sha = before
	mustCount(t, p.succeed(p.push()), "1", "2")
	mustCount(t, p.succeed(p.push()), "2", "3")
}

// Two events at once both begin with what is published; neither is in the
// other's way, and each has an engine with data of its own.
func TestTwoEventsAtOnceShareCaches(t *testing.T) {
	t.Parallel()
	p := newProject(t, countingFiles(), nil)
	mustCount(t, p.succeed(p.push()), "0", "1")
	first, second := p.manual(), p.manual()
	for _, o := range []*outcome{p.succeed(first), p.succeed(second)} {
		if got := after(t, o, "counted "); got != "1 1" && got != "2 2" {
			t.Errorf("event %d found %q", o.Number, got)
		}
	}
	o := p.succeed(p.manual())
	if got := after(t, o, "counted "); got != "2 2" && got != "3 3" {
		t.Errorf("the last event found %q", got)
	}
	if n := len(p.volumes(cyclone.CachePaths)); n != 1 {
		t.Errorf("%d volumes of paths", n)
	}
	if n := len(p.volumes(cyclone.CacheEngine)); n < 1 || n > 2 {
		t.Errorf("%d volumes of engines", n)
	}
}

const hushed = "hush-hush-0815-4711"

// What an event leaves in its engine's data are layers, and nothing else that a
// later event could see; nor a secret, wherever it was used.
func TestEngineDataHoldNothingButLayers(t *testing.T) {
	t.Parallel()
	files := countingFiles()
	files["caicloud.yml"] = strings.Replace(strings.Replace(counting, "  push: false\n", "  push: false\n  secrets: [TOKEN]\n", 1),
		"  cache: [", "  secrets: [TOKEN]\n  cache: [", 1)
	files["Dockerfile"] = "FROM busybox:1\nRUN --mount=type=secret,id=TOKEN grep -q " + hushed[:4] + " /run/secrets/TOKEN\nCOPY made /made\n"
	p := newProject(t, files, nil)
	p.call("PUT", "/api/v1/projects/"+p.name+"/secrets/TOKEN", map[string]any{"value": hushed, "masked": true}, nil)
	p.succeed(p.push())
	names := p.volumes(cyclone.CacheEngine)
	if len(names) != 1 {
		t.Fatalf("volumes %q", names)
	}
	dir := docker(t, "volume", "inspect", "--format", "{{.Mountpoint}}", names[0])
	p.onlyLayers(dir)
	for _, place := range append(p.volumes(cyclone.CachePaths), names...) {
		found, err := exec.Command("grep", "-rlF", hushed, docker(t, "volume", "inspect", "--format", "{{.Mountpoint}}", place)).Output()
		if len(found) > 0 {
			t.Errorf("%v: the secret is in %s", err, found)
		}
	}
	// The next event has the layers: nothing is downloaded, nothing built again.
	o := p.succeed(p.push())
	if strings.Contains(o.text(), "Downloading") || strings.Contains(o.text(), "Pull complete") {
		t.Errorf("the image came again:\n%s", o.text())
	}
}

// onlyLayers looks through an engine's data folder.
func (p *project) onlyLayers(dir string) {
	p.t.Helper()
	for _, sub := range []string{"containers", "volumes", "cyclone", "network"} {
		entries, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil && !os.IsNotExist(err) {
			p.t.Fatal(err)
		}
		for _, e := range entries {
			if e.IsDir() {
				p.t.Errorf("%s/%s is left", sub, e.Name())
			}
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "image/overlay2/repositories.json"))
	if err != nil {
		p.t.Fatal(err)
	}
	var stored struct{ Repositories map[string]any }
	if err := json.Unmarshal(text, &stored); err != nil || len(stored.Repositories) != 1 {
		p.t.Errorf("%v: images %s", err, text)
	}
	for name := range stored.Repositories {
		if !strings.HasPrefix(name, "kept.cyclone.invalid/") {
			p.t.Errorf("the image %s has its name", name)
		}
	}
}

// `pull: missing` means missing in this event: an image that changed meanwhile
// is the new one, also for FROM, and only while its registry is away the
// earlier one is used.
func TestKeptImagesAreNeverStale(t *testing.T) {
	t.Parallel()
	registry, err := lab.StartRegistry(t.Context(), lab.RegistryOptions{Bind: system.Bridge, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(registry.Stop)
	server, err := lab.StartServer(t.Context(), lab.ServerOptions{Bin: binFolder(), Dir: t.TempDir(), Env: serverEnv(map[string]string{
		"CYCLONE_INSECURE_REGISTRIES": registry.Addr + "," + system.Registry.Addr,
	})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	image := registry.Addr + "/tool:1"
	upload := func(version string) {
		t.Helper()
		build := exec.Command("docker", "build", "-q", "-t", "cyclone/tool:"+version, "-")
		build.Stdin = strings.NewReader("FROM cyclone/busybox:demo\nRUN echo " + version + " >/version\n")
		build.Env = append(os.Environ(), "DOCKER_BUILDKIT=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		t.Cleanup(func() { docker(t, "rmi", "-f", "cyclone/tool:"+version) })
		if err := registry.Upload(t.Context(), "cyclone/tool:"+version, "tool:1"); err != nil {
			t.Fatal(err)
		}
	}
	upload("one")
	p := newProjectOn(t, server, map[string]string{
		"caicloud.yml": "pre_build:\n  image: " + image + "\n  commands: ['echo \"step $(cat /version)\"']\n" +
			"build:\n  context_dir: .\n  push: false\nintegration:\n  commands: ['echo \"image $(cat /version)\"']\n",
		"Dockerfile": "FROM " + image + "\nRUN true\n",
	}, nil)
	versions := func(want string) {
		t.Helper()
		o := p.succeed(p.push())
		if got := []string{after(t, o, "step "), after(t, o, "image ")}; !slices.Equal(got, []string{want, want}) {
			t.Errorf("versions %q, want %s\n%s", got, want, o.text())
		}
	}
	versions("one")
	upload("two")
	versions("two")
	registry.Stop()
	p.commit(map[string]string{"caicloud.yml": "pre_build:\n  image: " + image + "\n  commands: ['echo \"step $(cat /version)\"']\n"})
	o := p.succeed(p.push())
	if got := after(t, o, "step "); got != "two" || !strings.Contains(o.text(), "an earlier event pulled") {
		t.Errorf("without the registry: %s\n%s", got, o.text())
	}
	p.commit(map[string]string{"caicloud.yml": "pre_build:\n  image: " + image + "\n  pull: always\n  commands: [ls]\n"})
	expect(t, p.finish(p.push(), nil), "error", "pre_build", `cannot be reached`)
}

// On a process node paths are kept too.
func TestProcessNodeKeepsPaths(t *testing.T) {
	t.Parallel()
	server, err := lab.StartServer(t.Context(), lab.ServerOptions{Bin: binFolder(), Dir: filepath.Join(t.TempDir(), "data"), Env: serverEnv(map[string]string{"CYCLONE_NODE": "process"})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	files := countingFiles()
	files["caicloud.yml"] = strings.ReplaceAll(counting, "busybox:1", "cyclone/busybox:demo")
	files["Dockerfile"] = strings.ReplaceAll(files["Dockerfile"], "busybox:1", "cyclone/busybox:demo")
	p := newProjectOn(t, server, files, nil)
	mustCount(t, p.succeed(p.push()), "0", "1")
	mustCount(t, p.succeed(p.push()), "1", "2")
	mustCount(t, p.succeed(p.push()), "2", "3")
}

// manual starts an event by hand and returns its id.
func (p *project) manual() string {
	p.t.Helper()
	var e cyclone.Event
	p.call("POST", "/api/v1/projects/"+p.name+"/events", map[string]any{"branch": "main"}, &e)
	return string(e.ID)
}

// commit changes files of the repository.
func (p *project) commit(files map[string]string) {
	p.t.Helper()
	content := map[string][]byte{}
	for path, text := range files {
		content[path] = []byte(text)
	}
	var err error
	if p.sha, err = system.Git.Commit(p.ctx, p.name, "main", "Change again", content); err != nil {
		p.t.Fatal(err)
	}
}
