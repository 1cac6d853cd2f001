//go:build e2e

package e2e_test

import (
	"context"
	"encoding/base64"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/lab"
)

// shop is the example, with its deploy stage pointed at a cluster and namespace.
func shop(t *testing.T, cluster, namespace string) map[string]string {
	t.Helper()
	files := map[string]string{}
	root := filepath.Join("..", "..", "..", "docs", "examples", "shop")
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(root, path)
		files[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	files["caicloud.yml"] = strings.NewReplacer("cluster: production", "cluster: "+cluster, "namespace: shop", "namespace: "+namespace).Replace(files["caicloud.yml"])
	return files
}

// deployment makes a namespace with a Deployment "shop" of one container "web",
// and registers the cluster under the namespace's name.
func deployment(t *testing.T, deadline int32) string {
	t.Helper()
	ctx := t.Context()
	namespace, err := cluster.Namespace(ctx)
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{"app": "shop"}
	replicas := int32(2)
	_, err = cluster.Client().AppsV1().Deployments(namespace).Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "shop"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, ProgressDeadlineSeconds: &deadline, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "busybox:old"}}},
			},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	err = system.Server.Call(ctx, "POST", "/api/v1/clusters", map[string]any{
		"name": namespace, "host": cluster.Host(), "token": cluster.Token(), "ca": cluster.CA(),
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return namespace
}

// deployed asks the cluster for the image of the container "web".
func deployed(t *testing.T, namespace string) string {
	t.Helper()
	d, err := cluster.Client().AppsV1().Deployments(namespace).Get(t.Context(), "shop", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return d.Spec.Template.Spec.Containers[0].Image
}

// digest asks the registry.
func digest(t *testing.T, name, tag string) string {
	t.Helper()
	d, err := system.Registry.Digest(context.WithoutCancel(t.Context()), name, tag)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestShopGoesThroughAllStages(t *testing.T) {
	t.Parallel()
	namespace := deployment(t, 600)
	p := newProject(t, shop(t, namespace, namespace), nil)
	o := p.finish(p.push(), nil)
	if o.Status != cyclone.StatusSuccess {
		t.Fatalf("status is %s: %s\n%s", o.Status, o.Reason, o.text())
	}
	for _, name := range cyclone.Stages {
		if s := o.in(name); s.Status != cyclone.StatusSuccess || s.FirstLine < 1 || s.LastLine < s.FirstLine || s.StartedAt == nil || s.FinishedAt == nil {
			t.Errorf("stage %s is %+v", name, s)
		}
	}
	if want := "ci-" + p.sha[:7]; o.Version != want || o.Image.Tag != want || o.Commit.SHA != p.sha {
		t.Errorf("version %q, tag %q, commit %q; want %s", o.Version, o.Image.Tag, o.Commit.SHA, want)
	}
	pushed := digest(t, p.name, o.Image.Tag)
	if pushed == "" || pushed != o.Image.Digest {
		t.Errorf("the registry has %q, the event says %q", pushed, o.Image.Digest)
	}
	want := system.Registry.Addr + "/" + p.name + "@" + pushed
	if got := deployed(t, namespace); got != want {
		t.Errorf("the Deployment has %s, want %s", got, want)
	}
	if len(o.Deployments) != 1 || o.Deployments[0].PreviousImage != "busybox:old" || o.Deployments[0].Image != want {
		t.Errorf("deployments are %+v", o.Deployments)
	}
	for _, line := range []string{"$ go vet ./...", "--- PASS: TestIntegration", system.Registry.Addr + "/" + p.name + ":" + o.Image.Tag + " is published"} {
		if !strings.Contains(o.text(), line) {
			t.Errorf("the log lacks %q", line)
		}
	}
}

// The other form of a target: the API server's address in the file, the token
// from a project's secret, which the log must not show.
func TestDeployWithHostAndToken(t *testing.T) {
	t.Parallel()
	namespace := deployment(t, 600)
	files := map[string]string{
		"Dockerfile": "FROM busybox:1\n",
		"caicloud.yml": "build:\n  context_dir: .\ndeploy:\n  - type: kubernetes\n    host: " + cluster.Host() + "\n    token: ${KUBE_TOKEN}\n    secrets: [KUBE_TOKEN]\n" +
			"    ca: " + base64.StdEncoding.EncodeToString([]byte(cluster.CA())) + "\n    cluster: c\n    namespace: " + namespace + "\n    deployment: shop\n    containers: [web]\n",
	}
	p := newProject(t, files, nil)
	p.call("PUT", "/api/v1/projects/"+p.name+"/secrets/KUBE_TOKEN", map[string]any{"value": cluster.Token(), "masked": true}, nil)
	o := p.finish(p.push(), nil)
	if o.Status != cyclone.StatusSuccess {
		t.Fatalf("%s: %s\n%s", o.Status, o.Reason, o.text())
	}
	if got, want := deployed(t, namespace), system.Registry.Addr+"/"+p.name+"@"+o.Image.Digest; got != want {
		t.Errorf("the Deployment has %s, want %s", got, want)
	}
	if strings.Contains(o.text(), cluster.Token()) {
		t.Errorf("the log shows the token:\n%s", o.text())
	}
}

func TestRolloutThatNeverBecomesReady(t *testing.T) {
	t.Parallel()
	namespace := deployment(t, 3)
	files := map[string]string{
		"Dockerfile":   "FROM busybox:1\n",
		"caicloud.yml": "build:\n  context_dir: .\ndeploy:\n  - cluster: " + namespace + "\n    namespace: " + namespace + "\n    deployment: shop\n    containers: [web]\n",
	}
	// The cluster's node never gets pods ready whose image has this name.
	p := newProject(t, files, map[string]any{"image": system.Registry.Addr + "/missing/" + namespace})
	o := p.finish(p.push(), nil)
	expect(t, o, "failure", "deploy", `shop`)
	if got := deployed(t, namespace); got != "busybox:old" {
		t.Errorf("the Deployment has %s after the rollback", got)
	}
	if !regexp.MustCompile(`ImagePullBackOff`).MatchString(o.text()) {
		t.Errorf("the log does not quote the pods:\n%s", o.text())
	}
}

func TestDeployToUnknownThings(t *testing.T) {
	namespace := deployment(t, 600)
	for _, c := range []struct{ name, deploy, reason string }{
		{"cluster", "cluster: nowhere\n    namespace: n\n    deployment: shop\n    containers: [web]", `nowhere`},
		{"deployment", "cluster: " + namespace + "\n    namespace: " + namespace + "\n    deployment: shoop\n    containers: [web]", `shoop.*shop`},
		{"container", "cluster: " + namespace + "\n    namespace: " + namespace + "\n    deployment: shop\n    containers: [wbe]", `wbe.*web`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newProject(t, map[string]string{"Dockerfile": "FROM busybox:1\n", "caicloud.yml": "build:\n  context_dir: .\ndeploy:\n  - " + c.deploy + "\n"}, nil)
			expect(t, p.finish(p.push(), nil), "failure", "deploy", c.reason)
		})
	}
}

func TestPullRequestPushesAndDeploysNothing(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"Dockerfile": "FROM busybox:1\nCOPY caicloud.yml /\n",
		"caicloud.yml": "build:\n  context_dir: .\nintegration:\n  commands: [ls /caicloud.yml]\npost_build:\n  image: busybox:1\n  commands: [echo must not run]\n" +
			"deploy:\n  - cluster: nowhere\n    namespace: n\n    deployment: d\n    containers: [web]\n",
	}
	p := newProject(t, files, map[string]any{"triggers": map[string]any{"pullRequest": map[string]any{"enabled": true}}})
	o := p.finish(p.deliver("pull_request", lab.PullRequest(p.url, 7, "fix", p.sha, "Fix it")), nil)
	if o.Status != cyclone.StatusSuccess || o.Version != "pr-7-"+p.sha[:7] {
		t.Errorf("status %s, version %s: %s\n%s", o.Status, o.Version, o.Reason, o.text())
	}
	if d := digest(t, p.name, o.Version); d != "" {
		t.Errorf("the image was pushed: %s", d)
	}
	for _, stage := range []cyclone.Stage{cyclone.StagePostBuild, cyclone.StageDeploy} {
		if s := o.in(stage); s.Status != cyclone.StatusSkipped {
			t.Errorf("stage %s is %q", stage, s.Status)
		}
	}
}
