package kubestandin_test

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"cyclone/pkg/cyclonetest/kubestandin"
)

func TestStandin(t *testing.T) {
	ctx := t.Context()
	s, err := kubestandin.Start(ctx, kubestandin.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	v, err := s.Client().Discovery().ServerVersion()
	if err != nil || !strings.HasSuffix(v.GitVersion, "+cyclone-standin") {
		t.Errorf("version %+v, %v", v, err)
	}

	stranger := s.Config()
	stranger.BearerToken = "wrong"
	unknown, err := kubernetes.NewForConfig(stranger)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unknown.CoreV1().Namespaces().List(ctx, metav1.ListOptions{}); !apierrors.IsUnauthorized(err) {
		t.Errorf("wrong token: %v", err)
	}

	deployments := s.Client().AppsV1().Deployments("default")
	changes, err := deployments.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=web"})
	if err != nil {
		t.Fatal(err)
	}
	defer changes.Stop()
	made, err := deployments.Create(ctx, deployment("web"), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if made.UID == "" || made.Generation != 1 || *made.Spec.Replicas != 1 {
		t.Errorf("created %+v", made.ObjectMeta)
	}
	for c := range changes.ResultChan() {
		if d := c.Object.(*appsv1.Deployment); d.Status.AvailableReplicas == 1 {
			break
		}
	}
	if _, err := deployments.Create(ctx, deployment("web"), metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
		t.Errorf("created twice: %v", err)
	}
	stale := []byte(`{"metadata":{"resourceVersion":"1"},"spec":{"replicas":3}}`)
	if _, err := deployments.Patch(ctx, "web", types.StrategicMergePatchType, stale, metav1.PatchOptions{}); !apierrors.IsConflict(err) {
		t.Errorf("stale patch: %v", err)
	}
	bad := deployment("bad")
	bad.Spec.Template.Labels = nil
	if _, err := deployments.Create(ctx, bad, metav1.CreateOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("selector that matches nothing: %v", err)
	}
	if _, err := s.Client().AppsV1().Deployments("nowhere").Create(ctx, deployment("web"), metav1.CreateOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("missing namespace: %v", err)
	}
}

func deployment(name string) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "image:1"}}},
			},
		},
	}
}
