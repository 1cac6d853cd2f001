package kubernetes_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientset "k8s.io/client-go/kubernetes"

	"cyclone/pkg/cyclone"
)

// cluster is what the scenarios run on: the real API server or the stand-in.
type cluster interface {
	Access() cyclone.ClusterAccess
	Client() clientset.Interface
	Namespace(ctx context.Context) (string, error)
}

const (
	oldImage = "registry.test/shop/orders:1"
	newImage = "registry.test/shop/orders@sha256:1111111111111111111111111111111111111111111111111111111111111111"
	badImage = "registry.test/shop/missing@sha256:2222222222222222222222222222222222222222222222222222222222222222"
)

// deployment makes a namespace with the Deployment "orders" of containers web
// and side, and waits until it runs.
func deployment(t *testing.T, c cluster, replicas int32) (namespace string) {
	t.Helper()
	ns, err := c.Namespace(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{"app": "orders"}
	_, err = c.Client().AppsV1().Deployments(ns).Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "orders"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{Containers: []corev1.Container{
					{Name: "web", Image: oldImage}, {Name: "side", Image: oldImage},
				}},
			},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	allAvailable(t, c, ns, replicas)
	return ns
}

// allAvailable waits until exactly n replicas are there, available and up to date.
func allAvailable(t *testing.T, c cluster, ns string, n int32) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		d, err := c.Client().AppsV1().Deployments(ns).Get(ctx, "orders", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		s := d.Status
		if s.ObservedGeneration == d.Generation && s.UpdatedReplicas == n && s.Replicas == n && s.AvailableReplicas == n {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not available: %+v", s)
		}
	}
}

func imagesIn(t *testing.T, c cluster, ns string) map[string]string {
	t.Helper()
	d, err := c.Client().AppsV1().Deployments(ns).Get(t.Context(), "orders", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	images := map[string]string{}
	for _, c := range d.Spec.Template.Spec.Containers {
		images[c.Name] = c.Image
	}
	return images
}

// update changes the Deployment behind the deployer's back.
func update(t *testing.T, c cluster, ns string, change func(*appsv1.Deployment)) {
	t.Helper()
	for range 20 {
		d, err := c.Client().AppsV1().Deployments(ns).Get(t.Context(), "orders", metav1.GetOptions{})
		if err != nil {
			t.Error(err)
			return
		}
		change(d)
		if _, err = c.Client().AppsV1().Deployments(ns).Update(t.Context(), d, metav1.UpdateOptions{}); err == nil {
			return
		}
	}
	t.Error("the deployment cannot be updated")
}

func rollout(c cluster, ns, image string) cyclone.Rollout {
	return cyclone.Rollout{
		Target: cyclone.Target{
			Cluster: "test", Namespace: ns, Deployment: "orders", Containers: []string{"web"},
			Timeout: cyclone.Duration(30 * time.Second),
		},
		Access: c.Access(), Image: image,
	}
}

// recorder keeps what was written, and calls back once when a text appears.
type recorder struct {
	mu   sync.Mutex
	text strings.Builder
	on   string
	call func()
	once sync.Once
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	r.text.Write(p)
	r.mu.Unlock()
	if r.on != "" && strings.Contains(string(p), r.on) {
		r.once.Do(r.call)
	}
	return len(p), nil
}

func (r *recorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}
