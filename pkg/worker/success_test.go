package worker_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
)

func TestSuccesses(t *testing.T) {
	tests := []struct {
		name, config string
		files        map[string]string
		change       func(r *rig)
		reason       string
		stages       string
		log          []string
		never        []string
	}{
		{name: "empty file", config: "# nothing\n", reason: "caicloud.yml has no stages: nothing was done", stages: "clone success"},
		{name: "only a Dockerfile", files: map[string]string{"Dockerfile": "FROM scratch\n"}, stages: "clone success, build success",
			log: []string{"No caicloud.yml, but a Dockerfile"}},
		{name: "pull request", config: "build:\n  context_dir: .\n  tags: [latest]\ndeploy:\n  - {type: kubernetes, host: h, token: t, namespace: a, deployment: b, containers: [c]}\n",
			files: map[string]string{"Dockerfile": "FROM scratch\n"},
			change: func(r *rig) {
				r.server.job.Push = false
				r.server.job.Stages = []cyclone.Stage{"clone", "pre_build", "build", "integration"}
				r.server.job.Event.PullRequest = &cyclone.PullRequest{Number: 7}
			},
			stages: "clone success, build success, deploy skipped",
			log:    []string{"registry.test/orders:pr-7-3f2a1b9 is not pushed"}, never: []string{"Pushing"}},
		{name: "secrets are hidden", config: "pre_build:\n  image: alpine\n  secrets: {TOKEN: token}\n  commands: ['echo the token is $TOKEN.', 'echo hush-hush-9 >&2', 'test \"$TOKEN\" = hush-hush-9']\n",
			stages: "clone success, pre_build success", log: []string{"the token is ******.", "$ echo ******"}, never: []string{"hush-hush"}},
		{name: "a step may fail", config: "pre_build:\n  lint:\n    image: alpine\n    allow_failure: true\n    commands: [exit 1]\n  compile:\n    image: alpine\n    commands: [echo compiled]\n",
			reason: "pre_build/lint failed, as it may",
			stages: "clone success, pre_build success", log: []string{"compile| compiled", "lint| pre_build/lint failed", "lint| The run goes on"}},
		{name: "when", config: "pre_build:\n  a:\n    image: alpine\n    when: {branch: [\"release/*\"]}\n    commands: [echo never]\n  b:\n    image: alpine\n    when: {branch: [\"!dev\"], event: push}\n    commands: [echo yes]\n",
			stages: "clone success, pre_build success", log: []string{"b| yes"}, never: []string{"a| never"}},
		{name: "retries", config: "pre_build:\n  image: alpine\n  retries: 2\n  commands: ['echo x >> tries', 'test $(wc -l < tries) = 3']\n",
			stages: "clone success, pre_build success", log: []string{"trying again (2 of 2)"}},
		{name: "quotes, newlines and tracing", config: "pre_build:\n  image: alpine\n  commands:\n    - echo \"it's\" 'a \"test\"'\n    - |\n      cat <<EOF\n      multi\n      EOF\n    - set -x\n    - printf 'no line end'\n    - cd /; pwd\n    - pwd\n",
			stages: "clone success, pre_build success",
			log:    []string{`it's a "test"`, "pre_build| multi\n", "pre_build| no line end\npre_build| $ cd /; pwd\n", "pre_build| /\npre_build| $ pwd\n"},
			never:  []string{"cyclone "}},
		{name: "progress is rewritten", config: "pre_build:\n  image: alpine\n  commands: [\"printf '10%%\\\\r50%%\\\\r100%%\\\\n'\"]\n",
			stages: "clone success, pre_build success", log: []string{"pre_build| 100%\n"}, never: []string{"50%\n", "10%\r"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, tt.config, tt.files)
			if tt.change != nil {
				tt.change(r)
			}
			result := r.run(t)
			if result.Status != cyclone.StatusSuccess || result.Reason != tt.reason {
				t.Errorf("%s %q, want success %q\n%s", result.Status, result.Reason, tt.reason, r.server.log())
			}
			if r.stages() != tt.stages {
				t.Errorf("stages %s, want %s", r.stages(), tt.stages)
			}
			for _, want := range tt.log {
				if !strings.Contains(r.server.log(), want) {
					t.Errorf("the log lacks %q:\n%s", want, r.server.log())
				}
			}
			for _, never := range tt.never {
				if strings.Contains(r.server.log(), never) {
					t.Errorf("the log has %q:\n%s", never, r.server.log())
				}
			}
		})
	}
}

func TestImagesArePulledAhead(t *testing.T) {
	r := newRig(t, "pre_build:\n  image: golang:1.26\n  commands: ['read x < \"$FIFO\"']\npost_build:\n  image: alpine\n  commands: ['true']\n", nil)
	fifo := filepath.Join(r.dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	r.server.job.Variables["FIFO"] = fifo
	// pre_build ends only once the image of post_build was asked for.
	go func() {
		for !slices.Contains(r.engine.Calls(), "pull alpine") {
			time.Sleep(time.Millisecond)
		}
		f, err := os.OpenFile(fifo, os.O_WRONLY, 0)
		if err != nil {
			return
		}
		_, _ = f.WriteString("go\n")
		_ = f.Close()
	}()
	if result := r.run(t); result.Status != cyclone.StatusSuccess {
		t.Errorf("%s: %s", result.Status, result.Reason)
	}
	checkLines(t, r)
}

// A worker that is stopped has no result: what becomes of the event is the
// server's to say. All of the log is there, and nothing is left.
func TestWorkerIsStopped(t *testing.T) {
	r := newRig(t, "pre_build:\n  image: alpine\n  commands: ['echo up', 'sleep 20']\n", nil)
	ctx, stop := context.WithCancel(t.Context())
	r.server.seen = func(l cyclone.Line) {
		if l.Text == "up" {
			stop()
		}
	}
	err := r.work(ctx)
	if err == nil || !strings.Contains(err.Error(), "the worker was stopped") || r.server.result != nil {
		t.Errorf("Run: %v, with the result %+v", err, r.server.result)
	}
	if last := r.server.lines[len(r.server.lines)-1].Text; !strings.Contains(last, "the worker was stopped") {
		t.Errorf("the log ends with %q", last)
	}
	r.clean(t)
}
