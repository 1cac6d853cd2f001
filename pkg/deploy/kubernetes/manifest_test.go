package kubernetes_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/deploy/kubernetes"
)

const manifestText = `
# What the shop needs.
apiVersion: v1
kind: ConfigMap
metadata: {name: orders}
data: {greeting: hello}
---
apiVersion: v1
kind: Service
metadata: {name: orders}
spec:
  selector: {app: orders}
  ports: [{port: 80}]
---
# The application itself.
apiVersion: apps/v1
kind: Deployment
metadata: {name: orders}
spec:
  replicas: 2
  selector: {matchLabels: {app: orders}}
  template:
    metadata: {labels: {app: orders}}
    spec:
      containers:
        - {name: web, image: BUILT_IMAGE}
---
`

func testManifest(t *testing.T, c cluster) {
	ns, err := c.Namespace(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r := rollout(c, ns, newImage)
	r.Manifest = []byte(manifestText)
	log := &recorder{}
	got, err := (&kubernetes.Deployer{}).Deploy(t.Context(), r, log)
	if err != nil || got.Status != cyclone.StatusSuccess || got.PreviousImage != "" {
		t.Fatalf("%+v, %v\n%s", got, err, log)
	}
	if diff := cmp.Diff(map[string]string{"web": newImage}, imagesIn(t, c, ns)); diff != "" {
		t.Error(diff)
	}
	if _, err := c.Client().CoreV1().Services(ns).Get(t.Context(), "orders", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	// The second time the Deployment is there, and the manifest plays no part.
	again := "registry.test/shop/orders:3"
	r.Image = again
	got, err = (&kubernetes.Deployer{}).Deploy(t.Context(), r, log)
	if err != nil || got.PreviousImage != newImage {
		t.Errorf("%+v, %v\n%s", got, err, log)
	}
	testManifestRefusals(t, c)
}

func testManifestRefusals(t *testing.T, c cluster) {
	ns, err := c.Namespace(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, from, to, says string }{
		{"misspelt key", "replicas: 2", "replica: 2", `unknown field "spec.replica"`},
		{"other kind", "kind: Service", "kind: Secret", `kind "Secret" of apiVersion "v1" is not created from here`},
		{"unknown kind", "apiVersion: v1\nkind: Service", "apiVersion: acme.test/v1\nkind: Shop", `kind "Shop" of apiVersion "acme.test/v1" is not created from here`},
		{"other namespace", "kind: Service\nmetadata: {name: orders}", "kind: Service\nmetadata: {name: orders, namespace: elsewhere}", `"orders" is of namespace "elsewhere"`},
		{"other deployment", "kind: Deployment\nmetadata: {name: orders}", "kind: Deployment\nmetadata: {name: bills}", `no Deployment "orders"; it has: bills`},
		{"other container", "{name: web,", "{name: www,", `no container "web"; it has: www`},
		{"refused by the server", "matchLabels: {app: orders}", "matchLabels: {app: bills}", "the API server refuses it"},
		{"not YAML", "kind: Service", "kind: [", "document 2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := rollout(c, ns, newImage)
			r.Manifest = []byte(strings.Replace(manifestText, tt.from, tt.to, 1))
			got, err := (&kubernetes.Deployer{}).Deploy(t.Context(), r, &recorder{})
			if !errors.Is(err, cyclone.ErrInvalid) || got.Status != cyclone.StatusFailure || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%s: %v; want %q", got.Status, err, tt.says)
			}
		})
	}
}
