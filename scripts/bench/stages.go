package main

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/kubetest"
)

//go:embed hand.sh
var handScript string

const (
	stagesGoal  = 1.15
	workerImage = "cyclone-worker:dev"
)

// stages measures the example's five stages, less the checks before the
// compilation, against hand.sh, which does the same work in a container like
// the worker's. Both begin with nothing: a fresh container, an engine with no
// images, and end when the rollout is done and whoever watches knows it.
func (b *bench) stages(ctx context.Context) error {
	cluster, err := kubetest.Start(ctx, kubetest.Options{Binary: b.kubeapi, BindAddress: b.system.Bridge})
	if err != nil {
		return err
	}
	defer cluster.Stop()
	p, err := b.stagesProject(ctx, cluster)
	if err != nil {
		return err
	}
	h, err := b.newHand(ctx, cluster, p)
	if err != nil {
		return err
	}
	defer h.remove()
	say("five stages: %d events and a shell script in turns, after one of each that does not count", b.stageRounds)
	var ours, plain series
	var last *cyclone.Event
	for i := range b.stageRounds + 1 {
		if err := p.commit(ctx, "Change"); err != nil {
			return err
		}
		byHand, err := h.run(ctx, p.sha)
		if err != nil {
			return err
		}
		begun := time.Now()
		id, err := p.deliver(ctx, b.system.Server)
		if err != nil {
			return err
		}
		if _, err := b.system.Server.Follow(ctx, id, func(cyclone.Line) {}); err != nil {
			return err
		}
		took := time.Since(begun).Seconds()
		if last, err = p.outcome(ctx, id); err != nil {
			return err
		}
		if err := sameImage(ctx, cluster, last); err != nil {
			return err
		}
		fmt.Printf("    %d: event %.2f s; by hand %.2f s; ratio %.3f\n", i, took, byHand, took/byHand)
		if i > 0 {
			ours.add(took)
			plain.add(byHand)
		}
	}
	showStages(last)
	ratio := ours.over(plain)
	b.goal("five stages / the same by hand", fmt.Sprintf("<= %.2fx", stagesGoal), ratio.median() <= stagesGoal,
		"%s: %s against %s", ratio.show("%.3fx"), ours.seconds(), plain.seconds())
	if !h.buildkit {
		b.note("  note", "the docker client here has no BuildKit: by hand the classic builder built")
	}
	return nil
}

// stagesProject is the example with a smaller pre_build and a cluster of its own.
func (b *bench) stagesProject(ctx context.Context, cluster *kubetest.Cluster) (*project, error) {
	files := map[string][]byte{}
	root := filepath.Join(b.root, "docs/examples/shop")
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		files[strings.TrimPrefix(path, root+"/")] = content
		return err
	})
	if err != nil {
		return nil, err
	}
	files["caicloud.yml"] = []byte(strings.NewReplacer("    - go vet ./...\n", "", "    - go test ./...\n", "", "namespace: shop", "namespace: bench").
		Replace(string(files["caicloud.yml"])))
	for _, namespace := range []string{"bench", "hand"} {
		if err := deploymentIn(ctx, cluster, namespace); err != nil {
			return nil, err
		}
	}
	access := cluster.Access()
	err = b.system.Server.Call(ctx, "POST", "/api/v1/clusters", map[string]any{
		"name": "production", "host": access.Host, "token": access.Token, "ca": access.CA,
	}, nil)
	if err != nil {
		return nil, err
	}
	return b.newProject(ctx, b.system.Server, "bench-shop", files)
}

// deploymentIn makes a namespace with the example's Deployment.
func deploymentIn(ctx context.Context, cluster *kubetest.Cluster, namespace string) error {
	labels, replicas := map[string]string{"app": "shop"}, int32(2)
	_, err := cluster.Client().CoreV1().Namespaces().Create(ctx,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	_, err = cluster.Client().AppsV1().Deployments(namespace).Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "shop"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "busybox:1"}}},
			},
		},
	}, metav1.CreateOptions{})
	return err
}

// sameImage checks that the event's image is what the cluster runs.
func sameImage(ctx context.Context, cluster *kubetest.Cluster, e *cyclone.Event) error {
	d, err := cluster.Client().AppsV1().Deployments("bench").Get(ctx, "shop", metav1.GetOptions{})
	if err != nil {
		return err
	}
	if got, want := d.Spec.Template.Spec.Containers[0].Image, e.Image.Name+"@"+e.Image.Digest; got != want {
		return fmt.Errorf("the Deployment has %s, the event made %s", got, want)
	}
	return nil
}

// showStages prints where the time of an event went.
func showStages(e *cyclone.Event) {
	fmt.Printf("    the last event, from its start:\n")
	for _, stage := range e.Stages {
		for _, s := range stage.Steps {
			if s.StartedAt != nil && s.FinishedAt != nil {
				fmt.Printf("      %6.2f s  (+%.2f)  %s: %s\n", s.StartedAt.Sub(e.CreatedAt).Seconds(), s.FinishedAt.Sub(*s.StartedAt).Seconds(), stage.Name, s.Name)
			}
		}
	}
}

// hand runs the script.
type hand struct {
	docker   []string // arguments of docker run but for the commit
	image    string
	dir      string
	buildkit bool
}

// newHand prepares what the script's container is started with.
func (b *bench) newHand(ctx context.Context, cluster *kubetest.Cluster, p *project) (*hand, error) {
	h := &hand{image: b.system.Registry.Addr + "/hand-shop", buildkit: clientBuilds(ctx)}
	client, err := exec.LookPath("docker")
	if err != nil {
		return nil, err
	}
	if client, err = filepath.EvalSymlinks(client); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if h.dir, err = os.MkdirTemp("", "cyclone-bench-"); err != nil {
		return nil, err
	}
	script := filepath.Join(h.dir, "hand.sh")
	if err := os.WriteFile(script, []byte(handScript), 0o600); err != nil {
		return nil, errors.Join(err, os.RemoveAll(h.dir))
	}
	access := cluster.Access()
	h.docker = append([]string{"run", "--rm", "--name", "cyclone-bench-hand", "--entrypoint", "/bin/sh", "-v", "/var/lib/docker"}, rights(ctx)...)
	for from, to := range map[string]string{client: "/usr/bin/docker", self: "/bench/bench", script: "/bench/hand.sh"} {
		h.docker = append(h.docker, "-v", from+":"+to+":ro")
	}
	for name, value := range map[string]string{
		"URL": p.url, "REGISTRY": b.system.Registry.Addr, "NAMESPACE": "hand", "DOCKER_BUILDKIT": strconv.Itoa(map[bool]int{true: 1}[h.buildkit]),
		"KUBE_HOST": access.Host, "KUBE_TOKEN": access.Token, "KUBE_CA": access.CA,
	} {
		h.docker = append(h.docker, "-e", name+"="+value)
	}
	return h, nil
}

func (h *hand) remove() { _ = os.RemoveAll(h.dir) } // a temporary folder

// clientBuilds reports whether the docker client can build with BuildKit by
// itself, which those from 18.09 to 20.10 do; later ones need a plugin.
func clientBuilds(ctx context.Context) bool {
	out, err := exec.CommandContext(ctx, "docker", "version", "--format", "{{.Client.Version}}").Output()
	major, _, _ := strings.Cut(strings.TrimSpace(string(out)), ".")
	n, convErr := strconv.Atoi(major)
	return err == nil && convErr == nil && n <= 20
}

// rights are those that the launcher gives a worker on this host.
func rights(ctx context.Context) []string {
	if exec.CommandContext(ctx, "docker", "run", "--rm", "--privileged", "--entrypoint", "/bin/true", workerImage).Run() == nil {
		return []string{"--privileged"}
	}
	return []string{
		"--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE", "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined",
		"--security-opt", "systempaths=unconfined", "-v", "/sys/fs/cgroup:/sys/fs/cgroup",
	}
}

// run runs the script on a commit and returns the seconds until it said that
// all is done; removing the container comes after that.
func (h *hand) run(ctx context.Context, sha string) (float64, error) {
	args := append(append([]string{}, h.docker...), "-e", "SHA="+sha, "-e", "IMAGE="+h.image+":ci-"+sha[:7], workerImage, "/bench/hand.sh")
	cmd := exec.CommandContext(ctx, "docker", args...)
	// Killing the client would leave the container.
	cmd.Cancel = func() error { return exec.Command("docker", "rm", "-f", "cyclone-bench-hand").Run() }
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	var complaints strings.Builder
	cmd.Stderr = &complaints
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	var took float64
	var said strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		said.WriteString(lines.Text() + "\n")
		if lines.Text() == "all done" {
			took = time.Since(begun).Seconds()
		}
	}
	if err := cmd.Wait(); err != nil || took == 0 {
		return 0, fmt.Errorf("the script by hand: %w:\n%s%s", err, said.String(), complaints.String())
	}
	if !strings.Contains(said.String(), "PASS: TestIntegration") {
		return 0, fmt.Errorf("the script by hand ran no test:\n%s", said.String())
	}
	return took, nil
}
