package kubernetes

import (
	"context"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"cyclone/pkg/cyclone"
)

// mostNames bounds how many names an error lists.
const mostNames = 20

// find reads the Deployment. When there is none, the ErrNotFound names those
// that there are, as far as the token may see them.
func (j *job) find(ctx context.Context) (*appsv1.Deployment, error) {
	var found *appsv1.Deployment
	err := retried(ctx, func() (err error) {
		found, err = j.client.AppsV1().Deployments(j.Namespace).Get(ctx, j.Deployment, metav1.GetOptions{})
		return err
	})
	if err = explain(j.Access.Host, "read deployment "+j.name(), err); apierrors.IsNotFound(err) {
		return nil, j.missing(ctx)
	}
	return found, err
}

// missing says what is there instead of the Deployment.
func (j *job) missing(ctx context.Context) error {
	if err := j.missingNamespace(ctx); err != nil {
		return err
	}
	hint := "; create it, or name a manifest that does"
	list, err := j.client.AppsV1().Deployments(j.Namespace).List(ctx, metav1.ListOptions{Limit: mostNames})
	if err != nil {
		// The token need not be allowed to list; the answer is just shorter.
		return cyclone.NotFound("namespace %q has no deployment %q%s", j.Namespace, j.Deployment, hint)
	}
	var names []string
	for _, d := range list.Items {
		names = append(names, d.Name)
	}
	return cyclone.NotFound("namespace %q has no deployment %q; it has: %s%s",
		j.Namespace, j.Deployment, listed(names, list.Continue != ""), hint)
}

// missingNamespace is an error only when the namespace certainly is missing: a
// token for one namespace usually may not look at namespaces.
func (j *job) missingNamespace(ctx context.Context) error {
	_, err := j.client.CoreV1().Namespaces().Get(ctx, j.Namespace, metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		return nil
	}
	list, err := j.client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{Limit: mostNames})
	if err != nil {
		return cyclone.NotFound("the cluster has no namespace %q", j.Namespace)
	}
	var names []string
	for _, n := range list.Items {
		names = append(names, n.Name)
	}
	return cyclone.NotFound("the cluster has no namespace %q; it has: %s", j.Namespace, listed(names, list.Continue != ""))
}

func listed(names []string, more bool) string {
	if len(names) == 0 {
		return "none"
	}
	slices.Sort(names)
	text := strings.Join(names, ", ")
	if more {
		text += ", ..."
	}
	return text
}
