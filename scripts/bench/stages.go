package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/kubetest"
)

const stagesGoal = 1.15

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
	program := p.files["main.go"]
	say("five stages: %d events and a shell script in turns", b.stageRounds)
	var ours, plain series
	var events, scripts []begins
	for i := range b.stageRounds {
		// A change of the program, so that there is something new to push and
		// to roll out.
		p.files["main.go"] = bytes.Replace(program, []byte("shop listens"), fmt.Appendf(nil, "shop %d listens", i), 1)
		if err := p.commit(ctx, "Change"); err != nil {
			return err
		}
		var event, script begins
		sides := []func() error{
			func() (err error) { event, err = p.roll(ctx, cluster); return err },
			func() (err error) { script, err = h.run(ctx, p.sha); return err },
		}
		if i%2 == 1 { // who goes second finds the machine's caches warmer
			slices.Reverse(sides)
		}
		for _, side := range sides {
			if err := side(); err != nil {
				return err
			}
		}
		events, scripts = append(events, event), append(scripts, script)
		ours.add(event["end"])
		plain.add(script["end"])
		fmt.Printf("    %d: event %.2f s; by hand %.2f s; ratio %.2f\n", i+1, event["end"], script["end"], event["end"]/script["end"])
	}
	showParts(events, scripts)
	ratio := ours.over(plain)
	b.goal("five stages / the same by hand", fmt.Sprintf("<= %.2fx", stagesGoal), ratio.median() <= stagesGoal,
		"%s: %s against %s", ratio.show("%.2fx"), ours.seconds(), plain.seconds())
	if !h.buildkit {
		b.note("  note", "the docker client here has no BuildKit: by hand the classic builder built")
	}
	return nil
}

// begins says when the parts of a run began, in seconds from its start; "end"
// is when it was over.
type begins map[string]float64

// roll runs one event through all stages, from the delivery to the end of the
// log at a viewer.
func (p *project) roll(ctx context.Context, cluster *kubetest.Cluster) (begins, error) {
	begun := time.Now()
	id, err := p.deliver(ctx, p.b.system.Server)
	if err != nil {
		return nil, err
	}
	parts := begins{}
	_, err = p.b.system.Server.Follow(ctx, id, func(l cyclone.Line) {
		if strings.HasPrefix(l.Text, "$ go build") {
			parts["commands"] = l.Time.Sub(begun).Seconds()
		}
	})
	if err != nil {
		return nil, err
	}
	parts["end"] = time.Since(begun).Seconds()
	e, err := p.outcome(ctx, id)
	if err != nil {
		return nil, err
	}
	for _, stage := range e.Stages {
		if stage.StartedAt != nil {
			parts[string(stage.Name)] = stage.StartedAt.Sub(begun).Seconds()
		}
		for _, step := range stage.Steps {
			if step.Name == "push" && step.StartedAt != nil {
				parts["push"] = step.StartedAt.Sub(begun).Seconds()
			}
		}
	}
	return parts, sameImage(ctx, cluster, e)
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

// showParts prints where the time went: medians of all turns.
func showParts(events, scripts []begins) {
	fmt.Printf("    where the time went (medians; pre_build pulls its image, then runs its commands):\n")
	fmt.Printf("      %-24s  %8s  %8s\n", "", "event", "by hand")
	names := []string{"", "clone", "pre_build", "commands", "build", "push", "integration", "post_build", "deploy", "end"}
	for i, name := range names[:len(names)-1] {
		var ours, plain series
		for turn := range events {
			ours.add(events[turn][names[i+1]] - events[turn][name])
			plain.add(scripts[turn][names[i+1]] - scripts[turn][name])
		}
		fmt.Printf("      %-24s  %6.2f s  %6.2f s\n", cmp.Or(name, "until the clone begins"), ours.median(), plain.median())
	}
}
