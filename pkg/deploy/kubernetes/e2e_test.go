//go:build e2e

package kubernetes_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/cyclonetest/kubetest"
	"cyclone/pkg/cyclonetest/testcert"
	"cyclone/pkg/deploy/kubernetes"
)

// TestOnRealAPI runs everything on a real API server with the real controllers.
func TestOnRealAPI(t *testing.T) {
	c, err := kubetest.Start(t.Context(), kubetest.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop()
	all := append(scenarios[:len(scenarios):len(scenarios)], []struct {
		name string
		run  func(t *testing.T, c cluster)
	}{
		{"progress deadline", testProgressDeadline},
		{"crash loop", testCrashLoop},
		{"quota", testQuota},
		{"limited token", testLimitedToken},
		{"token of another namespace", testForeignToken},
		{"bad ca", testBadCA},
		{"API down from the start", testDown},
		{"API down for a while", testOutage},
		{"API down to the end", testOutageToTheEnd},
		{"deleted meanwhile", testDeleted},
	}...)
	t.Run("", func(t *testing.T) {
		for _, sc := range all {
			t.Run(sc.name, func(t *testing.T) {
				t.Parallel()
				sc.run(t, c)
			})
		}
	})
}

func testProgressDeadline(t *testing.T, c cluster) {
	ns := deployment(t, c, 2)
	update(t, c, ns, func(d *appsv1.Deployment) {
		two := int32(2)
		d.Spec.ProgressDeadlineSeconds = &two
	})
	// Twice: the condition that the first leaves behind must not end the second.
	for range 2 {
		log := &recorder{}
		got, err := (&kubernetes.Deployer{}).Deploy(t.Context(), rollout(c, ns, badImage), log)
		if got.Status != cyclone.StatusFailure || !errors.Is(err, cyclone.ErrInvalid) ||
			!strings.Contains(got.Error, "exceeded its progress deadline") && !strings.Contains(got.Error, "has timed out progressing") {
			t.Fatalf("%+v\n%s", got, log)
		}
		if !strings.Contains(log.String(), "rolled back: ") {
			t.Errorf("not rolled back:\n%s", log)
		}
		allAvailable(t, c, ns, 2)
	}
	log := &recorder{}
	if _, err := (&kubernetes.Deployer{}).Deploy(t.Context(), rollout(c, ns, newImage), log); err != nil {
		t.Errorf("a good rollout after failed ones: %v\n%s", err, log)
	}
}

func testCrashLoop(t *testing.T, c cluster) {
	ns := deployment(t, c, 1)
	r := rollout(c, ns, "registry.test/shop/crashing:2")
	r.Timeout = cyclone.Duration(2 * time.Second)
	got, _ := (&kubernetes.Deployer{}).Deploy(t.Context(), r, &recorder{})
	for _, s := range []string{"CrashLoopBackOff", "exit code 2", "panic: no database"} {
		if !strings.Contains(got.Error, s) {
			t.Errorf("%q does not say %q", got.Error, s)
		}
	}
}

func testQuota(t *testing.T, c cluster) {
	ns := deployment(t, c, 2)
	two := corev1.ResourceList{"pods": resource.MustParse("2")}
	quotas := c.Client().CoreV1().ResourceQuotas(ns)
	made, err := quotas.Create(t.Context(), &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "small"}, Spec: corev1.ResourceQuotaSpec{Hard: two},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// What the quota controller would count, which is not among those that run.
	made.Status = corev1.ResourceQuotaStatus{Hard: two, Used: two}
	if _, err := quotas.UpdateStatus(t.Context(), made, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	r := rollout(c, ns, newImage)
	r.Timeout = cyclone.Duration(3 * time.Second)
	got, _ := (&kubernetes.Deployer{}).Deploy(t.Context(), r, &recorder{})
	if !strings.Contains(got.Error, "FailedCreate") || !strings.Contains(got.Error, "small") {
		t.Errorf("the quota is not named: %q", got.Error)
	}
}

// token makes a service account that may do what the rules say in its
// namespace, and returns a token of it.
func token(t *testing.T, c cluster, ns string, rules ...rbacv1.PolicyRule) string {
	t.Helper()
	meta := metav1.ObjectMeta{Name: "cyclone"}
	opts := metav1.CreateOptions{}
	_, err1 := c.Client().CoreV1().ServiceAccounts(ns).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: meta}, opts)
	_, err2 := c.Client().RbacV1().Roles(ns).Create(t.Context(), &rbacv1.Role{ObjectMeta: meta, Rules: rules}, opts)
	_, err3 := c.Client().RbacV1().RoleBindings(ns).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "cyclone"},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: "cyclone", Namespace: ns}},
	}, opts)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	hour := int64(3600)
	made, err := c.Client().CoreV1().ServiceAccounts(ns).CreateToken(t.Context(), "cyclone",
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &hour}}, opts)
	if err != nil {
		t.Fatal(err)
	}
	return made.Status.Token
}

// The role of docs/deploy.md is enough, and the least one does with less said.
func testLimitedToken(t *testing.T, c cluster) {
	documented := []rbacv1.PolicyRule{
		{APIGroups: []string{"apps"}, Resources: []string{"deployments"}, Verbs: []string{"get", "list", "watch", "patch", "create"}},
		{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list"}},
		{APIGroups: []string{""}, Resources: []string{"services", "configmaps"}, Verbs: []string{"create"}},
	}
	least := []rbacv1.PolicyRule{
		{APIGroups: []string{"apps"}, Resources: []string{"deployments"}, Verbs: []string{"get", "patch"}, ResourceNames: []string{"orders"}},
	}
	for name, rules := range map[string][]rbacv1.PolicyRule{"documented": documented, "least": least} {
		ns := deployment(t, c, 2)
		r := rollout(c, ns, newImage)
		r.Access.Token = token(t, c, ns, rules...)
		if err := (&kubernetes.Deployer{}).Check(t.Context(), r.Access); err != nil {
			t.Errorf("%s: check: %v", name, err)
		}
		log := &recorder{}
		if _, err := (&kubernetes.Deployer{}).Deploy(t.Context(), r, log); err != nil {
			t.Errorf("%s: %v\n%s", name, err, log)
		}
		r.Image, r.Timeout = badImage, cyclone.Duration(2*time.Second)
		got, _ := (&kubernetes.Deployer{}).Deploy(t.Context(), r, log)
		if got.Status != cyclone.StatusTimeout || imagesIn(t, c, ns)["web"] != newImage {
			t.Errorf("%s: %+v\n%s", name, got, log)
		}
	}
}

func testForeignToken(t *testing.T, c cluster) {
	ns, other := deployment(t, c, 1), deployment(t, c, 1)
	read := rbacv1.PolicyRule{APIGroups: []string{"apps"}, Resources: []string{"deployments"}, Verbs: []string{"get"}}
	r := rollout(c, ns, newImage)
	r.Access.Token = token(t, c, ns, read)
	for namespace, says := range map[string]string{ns: "cannot patch resource", other: "cannot get resource"} {
		r.Namespace = namespace
		got, err := (&kubernetes.Deployer{}).Deploy(t.Context(), r, io.Discard)
		if !errors.Is(err, cyclone.ErrForbidden) || got.Status != cyclone.StatusError ||
			!strings.Contains(got.Error, says) || !strings.Contains(got.Error, "docs/deploy.md") {
			t.Errorf("%+v, want %q", got, says)
		}
	}
}

func testBadCA(t *testing.T, c cluster) {
	other, err := testcert.New("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	r := rollout(c, deployment(t, c, 1), newImage)
	r.Access.CA = string(other.CA)
	got, err := (&kubernetes.Deployer{}).Deploy(t.Context(), r, io.Discard)
	if !errors.Is(err, cyclone.ErrUnavailable) || got.Status != cyclone.StatusError || !strings.Contains(got.Error, "cannot be trusted") {
		t.Errorf("%+v", got)
	}
}

func testDown(t *testing.T, c cluster) {
	p := newProxy(t, c)
	p.cut()
	r := rollout(c, "default", newImage)
	r.Access.Host = p.host
	got, err := (&kubernetes.Deployer{}).Deploy(t.Context(), r, io.Discard)
	if !errors.Is(err, cyclone.ErrUnavailable) || got.Status != cyclone.StatusError || !strings.Contains(got.Error, "cannot be reached") {
		t.Errorf("%+v, %v", got, err)
	}
	if err := (&kubernetes.Deployer{}).Check(t.Context(), r.Access); !errors.Is(err, cyclone.ErrUnavailable) {
		t.Errorf("check: %v", err)
	}
}

// The API server goes away in the middle and comes back: nobody has to care.
func testOutage(t *testing.T, c cluster) {
	ns := deployment(t, c, 2)
	p := newProxy(t, c)
	r := rollout(c, ns, badImage)
	r.Access.Host = p.host
	down := &recorder{on: "ImagePullBackOff", call: p.cut}
	back := &recorder{on: "asking again", call: p.join}
	r.Timeout = cyclone.Duration(5 * time.Second)
	got, err := (&kubernetes.Deployer{}).Deploy(t.Context(), r, io.MultiWriter(down, back))
	if got.Status != cyclone.StatusTimeout || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%+v\n%s", got, back)
	}
	if !strings.Contains(back.String(), "cannot be reached") || !strings.Contains(back.String(), "rolled back: ") {
		t.Errorf("log:\n%s", back)
	}
}

// The API server goes away and stays away: an error of ours, at the time-out,
// that says that the rollback did not happen either.
func testOutageToTheEnd(t *testing.T, c cluster) {
	ns := deployment(t, c, 2)
	p := newProxy(t, c)
	r := rollout(c, ns, badImage)
	r.Access.Host = p.host
	r.Timeout = cyclone.Duration(3 * time.Second)
	log := &recorder{on: "ImagePullBackOff", call: p.cut}
	got, err := (&kubernetes.Deployer{RollbackTimeout: time.Second}).Deploy(t.Context(), r, log)
	if got.Status != cyclone.StatusError || !errors.Is(err, cyclone.ErrUnavailable) || !strings.Contains(got.Error, "roll back: ") {
		t.Errorf("%+v\n%s", got, log)
	}
}

func testDeleted(t *testing.T, c cluster) {
	ns := deployment(t, c, 2)
	log := &recorder{on: "ImagePullBackOff", call: func() {
		if err := c.Client().AppsV1().Deployments(ns).Delete(t.Context(), "orders", metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	}}
	got, err := (&kubernetes.Deployer{}).Deploy(t.Context(), rollout(c, ns, badImage), log)
	if got.Status != cyclone.StatusFailure || !errors.Is(err, cyclone.ErrNotFound) || !strings.Contains(got.Error, "was deleted") {
		t.Errorf("%+v\n%s", got, log)
	}
}
