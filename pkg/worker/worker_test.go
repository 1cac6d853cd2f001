package worker_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest"
)

const fiveStages = `
pre_build:
  image: golang:1.26
  volumes: [".:/src"]
  environment: [greeting = hello]
  commands:
    - echo "$greeting $GOFLAGS $CYCLONE_BRANCH $CYCLONE_VERSION"
    - cd publish && export HERE=$PWD
    - echo built > app
  outputs: [publish/app]
build:
  context_dir: publish
  dockerfile_name: Dockerfile_publish
  tags: [latest]
integration:
  services:
    postgres:
      image: postgres
      command: serve
  commands:
    - echo testing with $CYCLONE_IMAGE
post_build:
  image: alpine
  commands: [cat publish/app]
deploy:
  - cluster: prod
    namespace: shop
    deployment: orders
    containers: [web]
`

// serve listens like a service until its container is stopped.
func serve(t *testing.T) (info cyclone.ContainerInfo, program func(context.Context, cyclone.ContainerSpec, cyclone.Output) (cyclone.Exit, error)) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return cyclone.ContainerInfo{IP: "127.0.0.1", Ports: []string{port + "/tcp"}},
		func(ctx context.Context, _ cyclone.ContainerSpec, out cyclone.Output) (cyclone.Exit, error) {
			out.Write(cyclone.Stderr, []byte("ready for connections"))
			<-ctx.Done()
			return cyclone.Exit{Code: 137, Signal: "SIGKILL"}, nil
		}
}

func (r *rig) withPostgres(t *testing.T) {
	info, program := serve(t)
	r.engine.Info = map[string]cyclone.ContainerInfo{"postgres": info}
	r.engine.Programs = map[string]func(context.Context, cyclone.ContainerSpec, cyclone.Output) (cyclone.Exit, error){"postgres": program}
}

func TestFiveStages(t *testing.T) {
	r := newRig(t, fiveStages, map[string]string{"publish/Dockerfile_publish": "FROM scratch\n"})
	r.withPostgres(t)
	r.server.job.Clusters = map[cyclone.ClusterName]cyclone.ClusterAccess{"prod": {Host: "https://k8s.test", Token: "t0ken-of-prod"}}
	r.server.job.LastLine = 7
	result := r.run(t)
	if result.Status != cyclone.StatusSuccess {
		t.Fatalf("status %s: %s\n%s", result.Status, result.Reason, r.server.log())
	}
	want := "clone success, pre_build success, build success, integration success, post_build success, deploy success"
	if got := r.stages(); got != want {
		t.Errorf("stages: %s\nwant    %s", got, want)
	}
	for _, line := range []string{
		`pre_build| $ echo "$greeting $GOFLAGS $CYCLONE_BRANCH $CYCLONE_VERSION"`,
		"pre_build| hello -mod=vendor main ci-3f2a1b9",
		"integration/postgres| ready for connections",
		"integration| testing with registry.test/orders:ci-3f2a1b9",
		"post_build| built",
		"Deployment orders has rolled out",
	} {
		if !strings.Contains(r.server.log(), line) {
			t.Errorf("the log lacks %q", line)
		}
	}
	report := r.server.last()
	if report.Image != (cyclone.Image{Name: "registry.test/orders", Tag: "ci-3f2a1b9", Digest: cyclonetest.Digest}) {
		t.Errorf("image: %+v", report.Image)
	}
	rollouts := r.cluster.Rollouts()
	if len(rollouts) != 1 || rollouts[0].Image != "registry.test/orders@"+cyclonetest.Digest || rollouts[0].Access.Token != "t0ken-of-prod" {
		t.Errorf("rollouts: %+v", rollouts)
	}
	if d := report.Deployments; len(d) != 1 || d[0].Status != cyclone.StatusSuccess {
		t.Errorf("deployments: %+v", d)
	}
	calls := r.engine.Calls()
	tested, latest := slices.Index(calls, "run registry.test/orders:ci-3f2a1b9"), slices.Index(calls, "push registry.test/orders:latest")
	if tested < 0 || latest < tested {
		t.Errorf("latest must be pushed after the tests: %v", calls)
	}
	checkLines(t, r)
	if string(report.Config) != fiveStages {
		t.Error("the configuration was not reported")
	}
}

// checkLines holds the stages' first and last line against the log.
func checkLines(t *testing.T, r *rig) {
	t.Helper()
	for _, s := range r.server.last().Stages {
		for _, l := range r.server.lines {
			if inside := l.N >= s.FirstLine && l.N <= s.LastLine; inside != (l.Stage == s.Name) {
				t.Errorf("line %d of stage %s; %s has lines %d to %d", l.N, l.Stage, s.Name, s.FirstLine, s.LastLine)
			}
		}
	}
}

func TestFailures(t *testing.T) {
	const build = "build:\n  context_dir: .\n"
	dockerfile := map[string]string{"Dockerfile": "FROM scratch\n"}
	tests := []struct {
		name   string
		config string
		files  map[string]string
		change func(r *rig)
		status cyclone.Status
		reason string
	}{
		{name: "a command fails", config: "pre_build:\n  image: alpine\n  commands: ['true', 'echo no; exit 3', 'echo never']\n",
			status: "failure", reason: `pre_build failed: command 2 "echo no; exit 3" exited with 3`},
		{name: "an earlier command fails", config: "pre_build:\n  image: alpine\n  commands: ['false && true', 'true']\n",
			status: "failure", reason: `pre_build failed: command 1 "false && true" exited with 1`},
		{name: "syntax error in the second command", config: "post_build:\n  image: alpine\n  commands: ['true', 'if true', 'fi']\n",
			status: "failure", reason: `post_build failed: command 2 "if true" exited with 2`},
		{name: "a named step is killed", config: "pre_build:\n  compile:\n    image: alpine\n    commands: ['kill -KILL $$']\n",
			status: "failure", reason: `pre_build/compile failed: command 1 "kill -KILL $$" was killed by SIGKILL`},
		{name: "out of memory", config: "pre_build:\n  image: alpine\n  mem_limit: 64m\n",
			change: func(r *rig) { r.ends("alpine", cyclone.Exit{Code: 137, OOMKilled: true}) },
			status: "failure", reason: "pre_build failed: its command was killed: out of memory (mem_limit is 64m)"},
		{name: "no caicloud.yml", status: "failure", reason: "no caicloud.yml at " + sha},
		{name: "invalid caicloud.yml", config: "pre_build:\n  imag: alpine\nbuidl: {}\n", status: "failure", reason: "caicloud.yml is not valid:\ncaicloud.yml:"},
		{name: "caicloud.yml outside", files: map[string]string{"caicloud.yml": "-> /etc/hostname"},
			status: "failure", reason: "clone/caicloud.yml failed: cannot read caicloud.yml: path escapes from parent"},
		{name: "privileged without trust", config: "pre_build:\n  image: alpine\n  privileged: true\n", status: "failure", reason: "caicloud.yml is not valid:\ncaicloud.yml:"},
		{name: "missing image", config: "pre_build:\n  image: nowhere\n", status: "failure", reason: "pre_build failed: there is no image nowhere"},
		{name: "registry down", config: "pre_build:\n  image: alpine\n",
			change: func(r *rig) { r.engine.Errors["pull alpine"] = cyclone.Unavailable("registry.test does not answer") },
			status: "error", reason: "pre_build failed: registry.test does not answer"},
		{name: "disk full", config: "pre_build:\n  image: alpine\n",
			change: func(r *rig) { r.engine.Errors["pull alpine"] = errors.New("write layer: no space left on device") },
			status: "error", reason: "pre_build failed: the worker's disk is full: write layer: no space left on device"},
		{name: "disk full while copying", config: "pre_build:\n  image: alpine\n",
			change: func(r *rig) { r.engine.Errors["create alpine"] = syscall.ENOSPC },
			status: "error", reason: "pre_build failed: the worker's disk is full: no space left on device"},
		{name: "missing commit", change: func(r *rig) { r.source.Err = cyclone.NotFound("commit %s does not exist", sha) },
			status: "failure", reason: "clone failed: commit " + sha + " does not exist"},
		{name: "unreachable repository", change: func(r *rig) { r.source.Err = cyclone.Unavailable("git.test does not answer") },
			status: "error", reason: "clone failed: git.test does not answer"},
		{name: "missing output", config: "pre_build:\n  image: alpine\n  commands: ['true']\n  outputs: [bin/app]\n",
			status: "failure", reason: `pre_build failed: output "bin/app" is missing: there is no /workspace/bin/app in the container`},
		{name: "output leaves the tree", config: "pre_build:\n  image: alpine\n  commands: ['ln -s /etc/passwd app']\n  outputs: [app]\n",
			status: "failure", reason: `pre_build failed: output "app": app: is a symbolic link to /etc/passwd, which leaves the source tree`},
		{name: "unknown secret", config: "pre_build:\n  image: alpine\n  secrets: [nope]\n  commands: ['true']\n",
			status: "failure", reason: `pre_build failed: the project has no secret "nope" that this event may see`},
		{name: "Dockerfile missing", config: build, status: "failure", reason: "build failed: there is no Dockerfile Dockerfile in the repository"},
		{name: "Dockerfile outside", config: build, files: map[string]string{"Dockerfile": "-> ../../x"},
			status: "failure", reason: "build failed: Dockerfile Dockerfile: path escapes from parent"},
		{name: "build fails", config: build, files: dockerfile,
			change: func(r *rig) {
				r.engine.Errors["build registry.test/orders:ci-3f2a1b9"] = cyclone.Invalid("Dockerfile:3", "RUN make: exit code 2")
			},
			status: "failure", reason: "build failed: Dockerfile:3: RUN make: exit code 2"},
		{name: "push refused", config: build, files: dockerfile,
			change: func(r *rig) {
				r.engine.Errors["push registry.test/orders:ci-3f2a1b9"] = cyclone.Forbidden("registry.test refuses the push")
			},
			status: "failure", reason: "build/push failed: registry.test refuses the push"},
		{name: "service ends", config: "integration:\n  services:\n    db:\n      image: postgres\n  image: alpine\n  commands: ['true']\n",
			change: func(r *rig) { r.ends("postgres", cyclone.Exit{Code: 5}) },
			status: "failure", reason: "integration/db failed: the service exited with 5 before it was ready"},
		{name: "service never ready", config: "integration:\n  services:\n    db:\n      image: postgres\n      wait_for: {port: 1, timeout: 50ms}\n  image: alpine\n  commands: ['true']\n",
			change: func(r *rig) { r.runsOn("postgres") },
			status: "failure", reason: "integration/db failed: the service was not ready within 50ms: port 1 does not answer"},
		{name: "service ends during the tests", config: "integration:\n  services:\n    db:\n      image: postgres\n      commands: ['echo dying', 'read x < \"$FIFO\"', 'exit 4']\n  image: alpine\n  commands: ['echo > \"$FIFO\"', 'sleep 20']\n",
			change: func(r *rig) {
				fifo := filepath.Join(r.dir, "fifo")
				if err := syscall.Mkfifo(fifo, 0o600); err != nil {
					panic(err)
				}
				r.server.job.Variables["FIFO"] = fifo
			},
			status: "failure", reason: `integration/db failed: the service ended: command 3 "exit 4" exited with 4 while the tests ran`},
		{name: "tests fail", config: "integration:\n  image: alpine\n  commands: ['exit 7']\n",
			status: "failure", reason: `integration failed: command 1 "exit 7" exited with 7`},
		{name: "unknown cluster", config: build + "deploy:\n  - {cluster: prod, namespace: a, deployment: b, containers: [c]}\n", files: dockerfile,
			status: "failure", reason: `deploy/prod/a/b failed: no cluster "prod" is registered that this project may deploy to; write its host and token, or ask an administrator`},
		{name: "rollout fails", config: build + "deploy:\n  - {type: kubernetes, host: k8s.test, token: abcdefgh, cluster: prod, namespace: a, deployment: b, containers: [c]}\n", files: dockerfile,
			change: func(r *rig) {
				r.cluster.Err, r.cluster.Status = errors.New("pod b-1: ImagePullBackOff"), cyclone.StatusFailure
			},
			status: "failure", reason: "deploy/prod/a/b failed: pod b-1: ImagePullBackOff"},
		{name: "nothing pushed to deploy", config: build + "deploy:\n  - {type: kubernetes, host: k8s.test, token: abcdefgh, namespace: a, deployment: b, containers: [c]}\n", files: dockerfile,
			change: func(r *rig) { r.server.job.Push = false },
			status: "failure", reason: "deploy/k8s.test/a/b failed: registry.test/orders:ci-3f2a1b9 was not pushed, so no cluster can run it"},
		{name: "step time-out", config: "pre_build:\n  image: alpine\n  timeout: 100ms\n  commands: ['echo x', 'sleep 20']\n",
			status: "timeout", reason: `pre_build timed out after 100ms in command 2 "sleep 20"`},
		{name: "event time-out", config: "pre_build:\n  image: alpine\n  commands: ['sleep 20']\n",
			change: func(r *rig) { r.server.job.Timeout = cyclone.Duration(200 * time.Millisecond) },
			status: "timeout", reason: "timed out after 200ms, the limit of the project"},
		{name: "canceled", config: "pre_build:\n  image: alpine\n  commands: ['echo up', 'sleep 20']\n",
			change: func(r *rig) {
				r.server.seen = func(l cyclone.Line) {
					if l.Text == "up" {
						r.server.canceled <- cyclone.Cancellation{Reason: "canceled by alice"}
					}
				}
			},
			status: "canceled", reason: "canceled by alice"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, tt.config, tt.files)
			if tt.change != nil {
				tt.change(r)
			}
			result := r.run(t)
			if result.Status != tt.status || !strings.HasPrefix(result.Reason, tt.reason) ||
				(!strings.HasSuffix(tt.reason, ":") && result.Reason != tt.reason) {
				t.Errorf("%s: %s\nwant %s: %s", result.Status, result.Reason, tt.status, tt.reason)
			}
			if !strings.Contains(r.server.log(), strings.Split(tt.reason, "\n")[0]) {
				t.Errorf("the log does not say why:\n%s", r.server.log())
			}
			if result.Error == nil || result.Error.Stage == "" {
				t.Errorf("failure: %+v", result.Error)
			}
			if strings.Contains(r.stages(), "running") || strings.Contains(r.stages(), "pending") {
				t.Errorf("stages: %s", r.stages())
			}
		})
	}
}

// ends makes containers of an image end at once.
func (r *rig) ends(image string, exit cyclone.Exit) {
	r.engine.Programs = map[string]func(context.Context, cyclone.ContainerSpec, cyclone.Output) (cyclone.Exit, error){
		image: func(context.Context, cyclone.ContainerSpec, cyclone.Output) (cyclone.Exit, error) { return exit, nil },
	}
}

// runsOn makes containers of an image run until they are stopped.
func (r *rig) runsOn(image string) {
	r.engine.Info = map[string]cyclone.ContainerInfo{image: {IP: "127.0.0.1"}}
	r.engine.Programs = map[string]func(context.Context, cyclone.ContainerSpec, cyclone.Output) (cyclone.Exit, error){
		image: func(ctx context.Context, _ cyclone.ContainerSpec, _ cyclone.Output) (cyclone.Exit, error) {
			<-ctx.Done()
			return cyclone.Exit{}, nil
		},
	}
}
