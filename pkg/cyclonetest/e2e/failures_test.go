//go:build e2e

package e2e_test

import (
	"regexp"
	"testing"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/lab"
)

// Each stage fails in its own way, and the event says how.
func TestFailures(t *testing.T) {
	refused, err := system.Refused()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		files  map[string]string
		with   map[string]any
		status cyclone.Status
		stage  cyclone.Stage
		reason string // regular expression
	}{
		{
			name: "compile error",
			files: map[string]string{
				"go.mod": "module broken\n", "main.go": "package main\nfunc main() { undefined() }\n",
				"caicloud.yml": "pre_build:\n  image: golang:1.26\n  commands:\n    - go version\n    - go build ./...\n",
			},
			status: "failure", stage: "pre_build", reason: `pre_build failed: command 2 "go build ./..." exited with 1`,
		},
		{
			name:   "no such image",
			files:  map[string]string{"caicloud.yml": "pre_build:\n  image: " + system.Registry.Addr + "/none:1\n  commands: [ls]\n"},
			status: "failure", stage: "pre_build", reason: `none:1.*(does not exist|not found|no such image)`,
		},
		{
			name:   "missing output",
			files:  map[string]string{"caicloud.yml": "pre_build:\n  image: busybox:1\n  commands: [\"true\"]\n  outputs: [program]\n"},
			status: "failure", stage: "pre_build", reason: `program`,
		},
		{
			name: "output that is a symlink out of the tree",
			files: map[string]string{"caicloud.yml": "pre_build:\n  image: busybox:1\n  commands:\n    - ln -s /etc/passwd /out\n    - mkdir -p /d && ln -s ../../../../etc /d/link\n" +
				"  outputs: [/d]\n"},
			status: "failure", stage: "pre_build", reason: `link`,
		},
		{
			name:   "Dockerfile error",
			files:  map[string]string{"caicloud.yml": "build:\n  context_dir: .\n", "Dockerfile": "FROM busybox:1\nRUN echo before && false\n"},
			status: "failure", stage: "build", reason: `build failed: .*(RUN echo before|exit code: 1)`,
		},
		{
			name:   "Dockerfile missing",
			files:  map[string]string{"caicloud.yml": "build:\n  context_dir: .\n  dockerfile_name: Dockerfile_none\n"},
			status: "failure", stage: "build", reason: `Dockerfile_none`,
		},
		{
			name:   "registry down",
			files:  map[string]string{"caicloud.yml": "build:\n  context_dir: .\n", "Dockerfile": "FROM busybox:1\nRUN true\n"},
			with:   map[string]any{"image": refused + "/shop"},
			status: "error", stage: "build", reason: `push.*` + regexp.QuoteMeta(refused),
		},
		{
			name: "service never ready",
			files: map[string]string{"caicloud.yml": "integration:\n  image: busybox:1\n  services:\n    db:\n      image: busybox:1\n      commands: [\"echo starting up; sleep 100\"]\n" +
				"      wait_for: {port: 5432, timeout: 3s}\n  commands: [\"true\"]\n"},
			status: "failure", stage: "integration", reason: `db.*not ready.*3s`,
		},
		{
			name: "service that ends",
			files: map[string]string{"caicloud.yml": "integration:\n  image: busybox:1\n  services:\n    db:\n      image: busybox:1\n      commands: [\"echo no space; exit 3\"]\n" +
				"      wait_for: {port: 5432, timeout: 30s}\n  commands: [\"true\"]\n"},
			status: "failure", stage: "integration", reason: `db.*3`,
		},
		{
			name:   "failing test",
			files:  map[string]string{"caicloud.yml": "integration:\n  image: busybox:1\n  commands:\n    - echo testing\n    - \"exit 7\"\n"},
			status: "failure", stage: "integration", reason: `integration failed: command 2 "exit 7" exited with 7`,
		},
		{
			name:   "failing post-build",
			files:  map[string]string{"caicloud.yml": "post_build:\n  image: busybox:1\n  commands: [ls /nowhere]\n"},
			status: "failure", stage: "post_build", reason: `post_build failed: command 1 "ls /nowhere" exited with 1`,
		},
		{
			name:   "killed by a signal",
			files:  map[string]string{"caicloud.yml": "post_build:\n  image: busybox:1\n  commands: [\"sh -c 'kill -9 $$'\"]\n"},
			status: "failure", stage: "post_build", reason: `killed by SIGKILL`,
		},
		{
			name: "Kubernetes API down",
			files: map[string]string{
				"caicloud.yml": "build:\n  context_dir: .\ndeploy:\n  - type: kubernetes\n    host: https://" + refused + "\n    token: t\n    cluster: c\n    namespace: n\n    deployment: d\n    containers: [web]\n",
				"Dockerfile":   "FROM busybox:1\n",
			},
			status: "error", stage: "deploy", reason: regexp.QuoteMeta(refused),
		},
		{
			name: "bad certificate",
			files: map[string]string{
				"caicloud.yml": "build:\n  context_dir: .\ndeploy:\n  - type: kubernetes\n    host: " + cluster.Host() + "\n    token: t\n    cluster: c\n    namespace: n\n    deployment: d\n    containers: [web]\n",
				"Dockerfile":   "FROM busybox:1\n",
			},
			status: "error", stage: "deploy", reason: `certificate`,
		},
		{
			name:   "invalid caicloud.yml",
			files:  map[string]string{"caicloud.yml": "pre_build:\n  imag: busybox:1\n  commands: [ls]\nbuild:\n  context_dir: ../..\n"},
			status: "failure", stage: "clone", reason: `caicloud.yml:2:3.*imag`,
		},
		{
			name:   "no caicloud.yml",
			files:  map[string]string{"README": "nothing to do\n"},
			status: "failure", stage: "clone", reason: `no caicloud.yml at [0-9a-f]{7}`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newProject(t, c.files, c.with)
			expect(t, p.finish(p.push(), nil), c.status, c.stage, c.reason)
		})
	}
}

// expect compares how an event ended.
func expect(t *testing.T, o *outcome, status cyclone.Status, stage cyclone.Stage, reason string) {
	t.Helper()
	if o.Status != status {
		t.Errorf("status is %s, want %s", o.Status, status)
	}
	if !regexp.MustCompile(reason).MatchString(o.Reason) {
		t.Errorf("reason is %q, want it to match %s", o.Reason, reason)
	}
	if o.Error == nil || o.Error.Stage != stage {
		t.Errorf("error is %+v, want it in stage %s", o.Error, stage)
	}
	for _, s := range o.Stages {
		if s.Status == cyclone.StatusRunning || s.Status == cyclone.StatusPending {
			t.Errorf("stage %s is still %s", s.Name, s.Status)
		}
	}
	if t.Failed() {
		t.Logf("the log:\n%s", o.text())
	}
}

func TestRegistryThatIsReadOnly(t *testing.T) {
	t.Parallel()
	readonly, err := lab.StartRegistry(t.Context(), lab.RegistryOptions{Bind: system.Bridge, Dir: t.TempDir(), ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(readonly.Stop)
	server, err := lab.StartServer(t.Context(), lab.ServerOptions{Bin: binFolder(), Dir: t.TempDir(), Env: serverEnv(map[string]string{
		"CYCLONE_REGISTRY": readonly.Addr, "CYCLONE_INSECURE_REGISTRIES": readonly.Addr + "," + system.Registry.Addr,
	})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	p := newProjectOn(t, server, map[string]string{"caicloud.yml": "build:\n  context_dir: .\n", "Dockerfile": "FROM busybox:1\nRUN true\n"}, nil)
	expect(t, p.finish(p.push(), nil), "error", "build", `push.*`+regexp.QuoteMeta(readonly.Addr))
}

func TestMissingCommit(t *testing.T) {
	t.Parallel()
	p := newProject(t, map[string]string{"caicloud.yml": ""}, nil)
	missing := "1234567890123456789012345678901234567890"
	id := p.deliver("push", lab.Push(p.url, "main", missing, "Gone"))
	expect(t, p.finish(id, nil), "failure", "clone", missing[:7])
}

func TestUnreachableRepository(t *testing.T) {
	t.Parallel()
	p := newProject(t, map[string]string{"caicloud.yml": ""}, nil)
	refused, err := system.Refused()
	if err != nil {
		t.Fatal(err)
	}
	p.name += "-away"
	p.url = "http://" + refused + "/acme/shop.git"
	p.register(nil)
	expect(t, p.finish(p.push(), nil), "error", "clone", regexp.QuoteMeta(refused))
}
