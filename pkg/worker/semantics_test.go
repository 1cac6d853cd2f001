package worker_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"cyclone/pkg/cyclone"
)

// logins notes the logins that transfers get.
type logins struct {
	cyclone.Images
	mu   sync.Mutex
	used map[string]string // "push image" or "pull image" -> user name
}

func (l *logins) note(call string, auth *cyclone.RegistryAuth) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.used == nil {
		l.used = map[string]string{}
	}
	l.used[call] = "nobody"
	if auth != nil {
		l.used[call] = auth.Username
	}
}

func (l *logins) Pull(ctx context.Context, image string, auth *cyclone.RegistryAuth, out cyclone.Output) error {
	l.note("pull "+image, auth)
	return l.Images.Pull(ctx, image, auth, out)
}

func (l *logins) Push(ctx context.Context, image string, auth *cyclone.RegistryAuth, out cyclone.Output) (string, error) {
	l.note("push "+image, auth)
	return l.Images.Push(ctx, image, auth, out)
}

// TestLoginsStayAtTheirRegistry: a login in caicloud.yml is for the image that
// it stands beside.
func TestLoginsStayAtTheirRegistry(t *testing.T) {
	t.Parallel()
	const config = `pre_build:
  a: {image: base.test/tool:1, auth_config: {username: me, password: "${token}"}, secrets: [token], commands: ['true']}
  b: {image: "other.test/tool:1", commands: ['true']}
build:
  here: {context_dir: ., tags: [latest], secrets: [token], auth_config: {username: me, password: "${token}"}}
  there: {context_dir: ., image_name: base.test/there, tags: [latest], secrets: [token], auth_config: {username: me, password: "${token}"}}
`
	r := newRig(t, config, map[string]string{"Dockerfile": "FROM --platform=linux/amd64 base.test/base:1\n"})
	r.server.job.Registries = map[string]cyclone.RegistryAuth{"registry.test": {Username: "server", Password: "x"}}
	for _, i := range []string{"base.test/tool:1", "other.test/tool:1"} {
		r.engine.Remote[i] = cyclone.ImageInfo{}
	}
	builds := map[string]map[string]cyclone.RegistryAuth{}
	r.engine.Built = func(spec cyclone.BuildSpec) { builds[spec.Image] = spec.Registries }
	l := &logins{}
	r.images = func(i cyclone.Images) cyclone.Images { l.Images = i; return l }
	if result := r.run(t); result.Status != cyclone.StatusSuccess {
		t.Fatalf("%s: %s", result.Status, result.Reason)
	}
	for call, want := range map[string]string{
		"pull base.test/tool:1": "me", "pull other.test/tool:1": "nobody",
		"push registry.test/orders:ci-3f2a1b9": "server", "push registry.test/orders:latest": "server",
		"push base.test/there:ci-3f2a1b9": "me", "push base.test/there:latest": "me",
	} {
		if l.used[call] != want {
			t.Errorf("%s by %q, want %q", call, l.used[call], want)
		}
	}
	for image, registries := range builds {
		if registries["base.test"].Username != "me" || registries["registry.test"].Username != "server" || len(registries) != 2 {
			t.Errorf("build of %s: %v", image, registries)
		}
	}
}

// TestTries holds retries, timeouts and allow_failure to what they say.
func TestTries(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, step string
		status     cyclone.Status
		reason     string
		state      cyclone.Status // of the step
		tries      int
	}{
		{"failures are tried again", "retries: 2\n  commands: ['exit 1']", "failure", "pre_build failed: command 1 \"exit 1\" exited with 1", "failure", 3},
		{"a step that ran out of time is not", "retries: 2\n  timeout: 300ms\n  commands: ['sleep 20']", "timeout", "pre_build timed out after 300ms in command 1 \"sleep 20\"", "timeout", 1},
		{"a failure may be allowed", "allow_failure: true\n  retries: 1\n  commands: ['exit 1']", "success", "pre_build failed, as it may", "failure", 2},
		{"running out of time too", "allow_failure: true\n  timeout: 300ms\n  commands: ['sleep 20']", "success", "pre_build timed out, as it may", "timeout", 1},
		{"a missing output is a failure", "allow_failure: true\n  outputs: [none]\n  commands: ['true']", "success", "pre_build failed, as it may", "failure", 1},
		{"what is ours is not", "allow_failure: true\n  retries: 2\n  pull: always\n  commands: ['true']", "error", "pre_build failed: out of reach", "error", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, "pre_build:\n  image: alpine\n  "+tt.step+"\n", nil)
			if tt.status == "error" {
				r.engine.Errors["pull alpine"] = cyclone.Unavailable("out of reach")
			}
			result := r.run(t)
			if result.Status != tt.status || result.Reason != tt.reason {
				t.Errorf("%s %q, want %s %q\n%s", result.Status, result.Reason, tt.status, tt.reason, r.server.log())
			}
			tries := strings.Count(strings.Join(r.engine.Calls(), "\n"), "run alpine")
			if tries != tt.tries {
				t.Errorf("%d tries, want %d", tries, tt.tries)
			}
			stage := r.server.last().Stages[1]
			if stage.Status != tt.status || stage.Steps[0].Status != tt.state {
				t.Errorf("stage %s, step %s", stage.Status, stage.Steps[0].Status)
			}
		})
	}
}

// TestEveryKeyReachesTheContainer: what a step says of its container.
func TestEveryKeyReachesTheContainer(t *testing.T) {
	t.Parallel()
	const config = `integration:
  image: alpine
  commands: ['true']
  services:
    db:
      image: postgres
      command: postgres -c 'max connections'
      entrypoint: [/entry, point]
      mem_limit: 512m
      cpus: 1.5
      cpuset: 0-1
      ports: ["5432:5432"]
      extra_hosts: ["gateway:10.0.0.1"]
      dns: [10.0.0.2]
      secrets: {PASSWORD: token}
      environment: {A: "1"}
      volumes: ["./data:/data:ro"]
`
	r := newRig(t, config, nil)
	ran := make(chan cyclone.ContainerSpec, 1)
	r.engine.Programs = map[string]func(context.Context, cyclone.ContainerSpec, cyclone.Output) (cyclone.Exit, error){
		"postgres": func(ctx context.Context, c cyclone.ContainerSpec, _ cyclone.Output) (cyclone.Exit, error) {
			ran <- c
			<-ctx.Done()
			return cyclone.Exit{Code: 137}, nil
		},
	}
	if result := r.run(t); result.Status != cyclone.StatusSuccess {
		t.Fatalf("%s: %s\n%s", result.Status, result.Reason, r.server.log())
	}
	c := <-ran
	got := []any{c.Command, c.Entrypoint, c.Memory, c.CPUs, c.CPUSet, c.Ports, c.ExtraHosts, c.DNS, c.Mounts[0].Target, c.Mounts[0].ReadOnly, c.Aliases}
	want := "[[postgres -c max connections] [/entry point] 512m 1.5 0-1 [5432:5432] [gateway:10.0.0.1] [10.0.0.2] /data true [db]]"
	if text := fmt.Sprint(got); text != want {
		t.Errorf("%s, want %s", text, want)
	}
	env := strings.Join(c.Environment, " ")
	for _, v := range []string{"PASSWORD=hush-hush-9", "A=1", "CYCLONE_IMAGE=registry.test/orders:ci-3f2a1b9"} {
		if !strings.Contains(env, v) {
			t.Errorf("the environment lacks %s: %s", v, env)
		}
	}
}

// TestEveryKeyReachesTheBuild: what a build says of its image.
func TestEveryKeyReachesTheBuild(t *testing.T) {
	t.Parallel()
	const config = `build:
  context_dir: .
  build_args: {A: "1"}
  target: final
  labels: {team: a}
  pull: always
  push: false
  tags: [latest]
  secrets: {npm: token}
`
	r := newRig(t, config, map[string]string{"Dockerfile": "FROM scratch AS final\n"})
	var spec cyclone.BuildSpec
	r.engine.Built = func(s cyclone.BuildSpec) { spec = s }
	if result := r.run(t); result.Status != cyclone.StatusSuccess {
		t.Fatalf("%s: %s\n%s", result.Status, result.Reason, r.server.log())
	}
	if spec.Args["A"] != "1" || spec.Target != "final" || spec.Labels["team"] != "a" || !spec.Pull || string(spec.Secrets["npm"]) != "hush-hush-9" {
		t.Errorf("%+v", spec)
	}
	if calls := strings.Join(r.engine.Calls(), "\n"); strings.Contains(calls, "push") {
		t.Error(calls)
	}
	r.has(t, "is not pushed: caicloud.yml says push: false")
}

// TestTagsWithoutTests: what is not tested in this event is tagged all the same.
func TestTagsWithoutTests(t *testing.T) {
	t.Parallel()
	r := newRig(t, "build:\n  context_dir: .\n  tags: [latest]\nintegration:\n  image: alpine\n  when: {branch: release}\n  commands: ['exit 1']\n",
		map[string]string{"Dockerfile": "FROM scratch\n"})
	if result := r.run(t); result.Status != cyclone.StatusSuccess {
		t.Fatalf("%s: %s", result.Status, result.Reason)
	}
	if calls := strings.Join(r.engine.Calls(), "\n"); !strings.Contains(calls, "push registry.test/orders:latest") {
		t.Error(calls)
	}
}

// TestPullPolicies: steps of one event that share an image do not share a
// policy.
func TestPullPolicies(t *testing.T) {
	t.Parallel()
	r := newRig(t, "pre_build:\n  a: {image: alpine, pull: never, allow_failure: true, commands: ['true']}\n  b: {image: alpine, commands: ['true']}\n  c: {image: alpine, pull: always, commands: ['true']}\n", nil)
	if result := r.run(t); result.Status != cyclone.StatusSuccess {
		t.Fatalf("%s: %s\n%s", result.Status, result.Reason, r.server.log())
	}
	if n := strings.Count(strings.Join(r.engine.Calls(), "\n"), "pull alpine"); n < 1 || n > 2 {
		t.Errorf("pulled %d times", n)
	}
}

// TestWhenOfARerun: a rerun does what the event did that it repeats, unless
// the file says otherwise.
func TestWhenOfARerun(t *testing.T) {
	t.Parallel()
	const config = `pre_build:
  a: {image: alpine, when: {event: push}, commands: ['echo as before']}
  b: {image: alpine, when: {event: [push, "!rerun"]}, commands: ['echo only once']}
  c: {image: alpine, when: {event: rerun}, commands: ['echo again']}
  d: {image: alpine, when: {event: "!tag"}, commands: ['echo no tag']}
`
	r := newRig(t, config, nil)
	r.server.job.Event.Trigger.Kind, r.server.job.Origin = cyclone.KindRerun, cyclone.KindPush
	if result := r.run(t); result.Status != cyclone.StatusSuccess {
		t.Fatalf("%s: %s", result.Status, result.Reason)
	}
	r.has(t, "a| as before", "c| again", "d| no tag")
	if strings.Contains(r.server.log(), "b| only once") {
		t.Error("b ran")
	}
}
