package worker_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest"
)

// held stops one call ("clone", "pull alpine", "build ...", "push ...",
// "deploy") until its context ends, or it is let go.
type held struct {
	call    string
	reached chan struct{}
	letGo   chan struct{}
}

func (h *held) pass(ctx context.Context, call string) error {
	if h.call != call {
		return nil
	}
	close(h.reached)
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-h.letGo:
		return nil
	}
}

type heldSource struct {
	*cyclonetest.Source
	h *held
}

func (s heldSource) Clone(ctx context.Context, spec cyclone.CloneSpec, out cyclone.Output) (cyclone.Commit, error) {
	if err := s.h.pass(ctx, "clone"); err != nil {
		return cyclone.Commit{}, err
	}
	return s.Source.Clone(ctx, spec, out)
}

type heldImages struct {
	*cyclonetest.Images
	h *held
}

func (i heldImages) Pull(ctx context.Context, image string, auth *cyclone.RegistryAuth, out cyclone.Output) error {
	if err := i.h.pass(ctx, "pull "+image); err != nil {
		return err
	}
	return i.Images.Pull(ctx, image, auth, out)
}

func (i heldImages) Build(ctx context.Context, spec cyclone.BuildSpec, out cyclone.Output) error {
	if err := i.h.pass(ctx, "build"); err != nil {
		return err
	}
	return i.Images.Build(ctx, spec, out)
}

func (i heldImages) Push(ctx context.Context, image string, auth *cyclone.RegistryAuth, out cyclone.Output) (string, error) {
	if err := i.h.pass(ctx, "push"); err != nil {
		return "", err
	}
	return i.Images.Push(ctx, image, auth, out)
}

type heldCluster struct {
	*cyclonetest.Cluster
	h *held
}

func (c heldCluster) Deploy(ctx context.Context, r cyclone.Rollout, out io.Writer) (cyclone.Deployment, error) {
	if err := c.h.pass(ctx, "deploy"); err != nil {
		return cyclone.Deployment{Status: cyclone.StatusCanceled}, err
	}
	return c.Cluster.Deploy(ctx, r, out)
}

// hold makes the rig stop at a call.
func (r *rig) hold(call string) {
	r.held = held{call: call, reached: make(chan struct{}), letGo: make(chan struct{})}
}

const allStages = `
pre_build:
  image: alpine
  commands: [echo compiled]
build:
  context_dir: .
integration:
  services:
    postgres:
      image: postgres
      wait_for: {port: 1}
  image: alpine
  commands: [echo tested]
post_build:
  image: alpine
  commands: [echo done]
deploy:
  - {type: kubernetes, host: k8s.test, token: abcdefgh, cluster: prod, namespace: a, deployment: b, containers: [c]}
`

// cases are the places where an event can be when it is to end.
func cases() []struct{ name, config, hold, stage, stages string } {
	step := "  image: golang:1.26\n  commands: ['echo > \"$FIFO\"', 'sleep 20']\n"
	noWait := strings.Replace(allStages, "      wait_for: {port: 1}\n", "", 1)
	return []struct{ name, config, hold, stage, stages string }{
		{"clone", allStages, "clone", "clone", "clone canceled"},
		{"pull", allStages, "pull alpine", "pre_build", "clone success, pre_build canceled, build skipped, integration skipped, post_build skipped, deploy skipped"},
		{"step", "pre_build:\n" + step, "", "pre_build", "clone success, pre_build canceled"},
		{"build", allStages, "build", "build", "clone success, pre_build success, build canceled, integration skipped, post_build skipped, deploy skipped"},
		{"push", allStages, "push", "build", "clone success, pre_build success, build canceled, integration skipped, post_build skipped, deploy skipped"},
		{"service that is not ready", allStages, "service", "integration", "clone success, pre_build success, build success, integration canceled, post_build skipped, deploy skipped"},
		{"tests", "integration:\n  services:\n    db: {image: postgres}\n" + step, "", "integration", "clone success, integration canceled"},
		{"post_build", "post_build:\n" + step, "", "post_build", "clone success, post_build canceled"},
		{"deploy", noWait, "deploy", "deploy", "clone success, pre_build success, build success, integration success, post_build success, deploy canceled"},
	}
}

// at starts an event and returns when it is at a place.
func at(t *testing.T, config, hold string) (r *rig, ended chan error) {
	t.Helper()
	r = newRig(t, config, map[string]string{"Dockerfile": "FROM scratch\n"})
	r.withPostgres(t)
	r.hold(hold)
	started := make(chan struct{})
	run := r.engine.Programs["postgres"]
	r.engine.Programs["postgres"] = func(ctx context.Context, c cyclone.ContainerSpec, out cyclone.Output) (cyclone.Exit, error) {
		close(started)
		return run(ctx, c, out)
	}
	reached := func() { <-r.held.reached }
	switch hold {
	case "":
		reached = r.fifo(t)
	case "service":
		reached = func() { <-started }
	}
	ended = make(chan error, 1)
	go func() { ended <- r.work(t.Context()) }()
	reached()
	return r, ended
}

func TestCancelInEveryStage(t *testing.T) {
	t.Parallel()
	for _, tt := range cases() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, ended := at(t, tt.config, tt.hold)
			asked := time.Now()
			r.server.canceled <- cyclone.Cancellation{Reason: "canceled by alice"}
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
			if took := time.Since(asked); took > 10*time.Second {
				t.Errorf("took %v", took)
			}
			r.clean(t)
			result := r.server.result
			if result == nil || result.Status != cyclone.StatusCanceled || result.Reason != "canceled by alice" || result.Error.Stage != cyclone.Stage(tt.stage) {
				t.Errorf("result: %+v", result)
			}
			if got := r.stages(); got != tt.stages {
				t.Errorf("stages: %s\nwant    %s", got, tt.stages)
			}
			if !strings.Contains(r.server.log(), "canceled by alice") {
				t.Errorf("the log does not say why:\n%s", r.server.log())
			}
		})
	}
}

// TestFencedInEveryStage: an attempt that is over stops and leaves nothing;
// there is no result to deliver.
func TestFencedInEveryStage(t *testing.T) {
	t.Parallel()
	for _, tt := range cases() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, ended := at(t, tt.config, tt.hold)
			r.server.err = cyclone.Conflict("this attempt is over: attempt 2 has begun")
			close(r.server.done)
			if err := <-ended; !errors.Is(err, cyclone.ErrConflict) {
				t.Errorf("Run: %v", err)
			}
			r.clean(t)
			if r.server.result != nil {
				t.Errorf("result: %+v", r.server.result)
			}
		})
	}
}

func TestSpareCancellation(t *testing.T) {
	t.Parallel()
	noWait := strings.Replace(allStages, "      wait_for: {port: 1}\n", "", 1)
	spare := cyclone.Cancellation{Reason: "superseded by #43", Spare: true}
	for _, tt := range []struct {
		name, hold string
		then       []cyclone.Cancellation
		status     cyclone.Status
		deploy     string
	}{
		{"before the deployment", "push", nil, "canceled", "deploy skipped"},
		{"of an event that deploys", "deploy", nil, "success", "deploy success"},
		{"and a firm one", "deploy", []cyclone.Cancellation{spare, {Reason: "canceled by alice"}}, "canceled", "deploy canceled"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, ended := at(t, noWait, tt.hold)
			for _, c := range append([]cyclone.Cancellation{spare, spare}, tt.then...) {
				select {
				case r.server.canceled <- c: // two at a time: the first was obeyed, or not, once there is room again
				case err := <-ended:
					ended <- err
				}
			}
			for len(r.server.canceled) > 0 && len(ended) == 0 {
				time.Sleep(time.Millisecond)
			}
			if tt.status == cyclone.StatusSuccess {
				close(r.held.letGo)
			}
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
			r.clean(t)
			if r.server.result.Status != tt.status || !strings.HasSuffix(r.stages(), tt.deploy) {
				t.Errorf("%s: %s; stages %s", r.server.result.Status, r.server.result.Reason, r.stages())
			}
		})
	}
}

// TestStopBetweenStages: of the end of the worker and the beginning of the
// deployment one comes first; then the deploy stage never begins.
func TestStopBetweenStages(t *testing.T) {
	t.Parallel()
	noWait := strings.Replace(allStages, "      wait_for: {port: 1}\n", "", 1)
	r := newRig(t, noWait, map[string]string{"Dockerfile": "FROM scratch\n"})
	r.withPostgres(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	r.server.reported = func(report cyclone.Report) {
		for _, s := range report.Stages {
			if s.Name == cyclone.StagePostBuild && s.Status == cyclone.StatusSuccess {
				stop()
			}
		}
	}
	if err := r.work(ctx); err == nil || r.server.result != nil {
		t.Fatalf("%v, with the result %+v", err, r.server.result)
	}
	r.clean(t)
	last := r.server.last().Stages
	deploy := last[len(last)-1]
	if deploy.Name != cyclone.StageDeploy || deploy.StartedAt != nil || deploy.Status != cyclone.StatusError {
		t.Errorf("%+v", deploy)
	}
	if len(r.cluster.Rollouts()) > 0 {
		t.Error("it was deployed")
	}
	checkLines(t, r)
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	r := newRig(t, "pre_build:\n  image: alpine\n  commands: ['exit 1']\n", nil)
	r.space = func(string) (free, size uint64, err error) { return 4096, 10 << 30, nil }
	result := r.run(t)
	want := `pre_build failed: command 1 "exit 1" exited with 1; the worker's disk was full (` + r.dir + ", 10240 MiB in all)"
	if result.Status != cyclone.StatusError || result.Reason != want {
		t.Errorf("%s: %s\nwant error: %s", result.Status, result.Reason, want)
	}
}
