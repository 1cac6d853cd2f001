package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	appsv1 "k8s.io/api/apps/v1"
	authv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/kubestandin"
	"cyclone/pkg/cyclonetest/kubetest"
)

// target is the Kubernetes API that the demo deploys to.
type target struct {
	what   string // for people
	access cyclone.ClusterAccess
	client kubernetes.Interface
	stop   func()
}

// startTarget takes the real API server when it is built, else the cluster of
// KUBECONFIG, else the stand-in.
func startTarget(ctx context.Context, binary, address string) (*target, error) {
	if binary != "" {
		c, err := kubetest.Start(ctx, kubetest.Options{Binary: binary, BindAddress: address})
		if err != nil {
			return nil, err
		}
		return &target{"the real API server, at " + c.Host(), c.Access(), c.Client(), c.Stop}, nil
	}
	if file := os.Getenv("KUBECONFIG"); file != "" {
		return ownCluster(ctx, file)
	}
	s, err := kubestandin.Start(ctx, kubestandin.Options{BindAddress: address})
	if err != nil {
		return nil, err
	}
	what := "a STAND-IN over client-go's object tracker, at " + s.Host() + " (make e2e builds and uses the real one)"
	return &target{what, s.Access(), s.Client(), s.Stop}, nil
}

// ownCluster uses the cluster of a kubeconfig file, with a token of its own
// that is good for an hour and for the namespace shop only.
func ownCluster(ctx context.Context, file string) (*target, error) {
	config, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		return nil, fmt.Errorf("read KUBECONFIG: %w", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	token, err := serviceToken(ctx, client)
	if err != nil {
		return nil, fmt.Errorf("make a token in the cluster of KUBECONFIG: %w", err)
	}
	if err := rest.LoadTLSFiles(config); err != nil {
		return nil, err
	}
	access := cyclone.ClusterAccess{Host: config.Host, Token: token, CA: string(config.CAData), Insecure: config.Insecure}
	return &target{"the cluster of KUBECONFIG, at " + config.Host, access, client, func() {}}, nil
}

func serviceToken(ctx context.Context, client kubernetes.Interface) (string, error) {
	meta := metav1.ObjectMeta{Name: "cyclone-demo", Namespace: "shop"}
	_, namespace := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}, metav1.CreateOptions{})
	_, account := client.CoreV1().ServiceAccounts("shop").Create(ctx, &corev1.ServiceAccount{ObjectMeta: meta}, metav1.CreateOptions{})
	_, binding := client.RbacV1().RoleBindings("shop").Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "edit"},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: meta.Name, Namespace: "shop"}},
	}, metav1.CreateOptions{})
	for _, err := range []error{namespace, account, binding} {
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return "", err
		}
	}
	answer, err := client.CoreV1().ServiceAccounts("shop").CreateToken(ctx, meta.Name, &authv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return answer.Status.Token, nil
}

// cluster is the target as a client registers it.
func (t *target) cluster() map[string]any {
	return map[string]any{
		"name": "production", "host": t.access.Host, "token": t.access.Token, "ca": t.access.CA, "insecure": t.access.Insecure,
	}
}

// apply creates the objects of a manifest that are not there yet.
func (t *target) apply(ctx context.Context, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		object, _, err := scheme.Codecs.UniversalDeserializer().Decode(document, nil, nil)
		if err != nil {
			return fmt.Errorf("read %s: %w", file, err)
		}
		if err := t.create(ctx, object); err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
}

func (t *target) create(ctx context.Context, object runtime.Object) error {
	var err error
	switch o := object.(type) {
	case *corev1.Namespace:
		_, err = t.client.CoreV1().Namespaces().Create(ctx, o, metav1.CreateOptions{})
	case *appsv1.Deployment:
		_, err = t.client.AppsV1().Deployments(o.Namespace).Create(ctx, o, metav1.CreateOptions{})
	default:
		err = fmt.Errorf("the demo does not create a %T", object)
	}
	return err
}

// image asks for a container's image in a Deployment, and how many replicas
// are ready.
func (t *target) image(ctx context.Context, namespace, name, container string) (string, string, error) {
	d, err := t.client.AppsV1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", "", err
	}
	for _, c := range d.Spec.Template.Spec.Containers {
		if c.Name == container {
			return c.Image, fmt.Sprintf("%d of %d replicas available", d.Status.AvailableReplicas, d.Status.Replicas), nil
		}
	}
	return "", "", fmt.Errorf("deployment %s/%s has no container %s", namespace, name, container)
}
