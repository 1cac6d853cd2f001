package kubernetes_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/deploy/kubernetes"
)

// scenarios hold on the real API server and on the stand-in alike.
var scenarios = []struct {
	name string
	run  func(t *testing.T, c cluster)
}{
	{"success", testSuccess},
	{"same image again", testSameImage},
	{"two containers", testTwoContainers},
	{"scaled to zero", testScaledToZero},
	{"refusals", testRefusals},
	{"manifest creates", testManifest},
	{"never ready is rolled back", testRollback},
	{"no rollback", testNoRollback},
	{"cancel", testCancel},
	{"overtaken", testOvertaken},
	{"check", testCheck},
}

func testSuccess(t *testing.T, c cluster) {
	ns := deployment(t, c, 3)
	log := &recorder{}
	got, err := (&kubernetes.Deployer{}).Deploy(t.Context(), rollout(c, ns, newImage), log)
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	want := cyclone.Deployment{
		Cluster: "test", Namespace: ns, Deployment: "orders", Containers: []string{"web"},
		Status: cyclone.StatusSuccess, PreviousImage: oldImage, Image: newImage,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"web": newImage, "side": oldImage}, imagesIn(t, c, ns)); diff != "" {
		t.Error(diff)
	}
	for _, line := range []string{"waiting: ", "3 of 3 updated replicas available", "deployed: " + ns + "/orders runs " + newImage} {
		if !strings.Contains(log.String(), line) {
			t.Errorf("the log has no %q:\n%s", line, log)
		}
	}
}

func testSameImage(t *testing.T, c cluster) {
	ns := deployment(t, c, 1)
	log := &recorder{}
	got, err := (&kubernetes.Deployer{}).Deploy(t.Context(), rollout(c, ns, oldImage), log)
	if err != nil || got.Status != cyclone.StatusSuccess || !strings.Contains(log.String(), "has the image already") {
		t.Errorf("%+v, %v\n%s", got, err, log)
	}
}

func testTwoContainers(t *testing.T, c cluster) {
	ns := deployment(t, c, 2)
	r := rollout(c, ns, newImage)
	r.Containers = []string{"web", "side"}
	if _, err := (&kubernetes.Deployer{}).Deploy(t.Context(), r, &recorder{}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"web": newImage, "side": newImage}, imagesIn(t, c, ns)); diff != "" {
		t.Error(diff)
	}
}

func testScaledToZero(t *testing.T, c cluster) {
	ns := deployment(t, c, 0)
	log := &recorder{}
	got, err := (&kubernetes.Deployer{}).Deploy(t.Context(), rollout(c, ns, newImage), log)
	if err != nil || got.Status != cyclone.StatusSuccess || !strings.Contains(log.String(), "scaled to 0") {
		t.Errorf("%+v, %v\n%s", got, err, log)
	}
}

func testRefusals(t *testing.T, c cluster) {
	ns := deployment(t, c, 1)
	for _, tt := range []struct {
		name   string
		change func(r *cyclone.Rollout)
		kind   error
		status cyclone.Status
		says   []string
	}{
		{"unknown container", func(r *cyclone.Rollout) { r.Containers = []string{"web", "wbe"} },
			cyclone.ErrInvalid, cyclone.StatusFailure, []string{`no container "wbe"`, "web, side"}},
		{"empty list", func(r *cyclone.Rollout) { r.Containers = nil },
			cyclone.ErrInvalid, cyclone.StatusFailure, []string{"the list is empty", "web, side"}},
		{"missing deployment", func(r *cyclone.Rollout) { r.Deployment = "order" },
			cyclone.ErrNotFound, cyclone.StatusFailure, []string{`no deployment "order"`, "it has: orders"}},
		{"missing namespace", func(r *cyclone.Rollout) { r.Namespace = "nowhere" },
			cyclone.ErrNotFound, cyclone.StatusFailure, []string{`no namespace "nowhere"`, "default"}},
		{"bad token of the project", func(r *cyclone.Rollout) { r.Access.Token = "wrong"; r.Type = "kubernetes" },
			cyclone.ErrForbidden, cyclone.StatusFailure, []string{"does not accept the token", r401}},
		{"bad token of a registered cluster", func(r *cyclone.Rollout) { r.Access.Token = "wrong" },
			cyclone.ErrForbidden, cyclone.StatusError, []string{"does not accept the token", r401}},
		{"untrusted certificate", func(r *cyclone.Rollout) { r.Access.CA = "" },
			cyclone.ErrUnavailable, cyclone.StatusError, []string{"certificate", "cannot be trusted", "ca"}},
		{"broken ca", func(r *cyclone.Rollout) { r.Access.CA = "!" },
			cyclone.ErrInvalid, cyclone.StatusFailure, []string{"ca: is neither PEM nor base64"}},
		{"plain http to a TLS port", func(r *cyclone.Rollout) {
			r.Access.Host, r.Access.Insecure = strings.Replace(r.Access.Host, "https", "http", 1), true
		}, cyclone.ErrUnavailable, cyclone.StatusError, []string{"http://"}},
		{"paused", func(r *cyclone.Rollout) { pause(t, c, ns) },
			cyclone.ErrInvalid, cyclone.StatusFailure, []string{"is paused", "rollout resume"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := rollout(c, ns, newImage)
			tt.change(&r)
			got, err := (&kubernetes.Deployer{}).Deploy(t.Context(), r, &recorder{})
			if !errors.Is(err, tt.kind) || got.Status != tt.status || got.Error != err.Error() {
				t.Fatalf("error %v, record %+v; want %v and %s", err, got, tt.kind, tt.status)
			}
			for _, s := range tt.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q does not say %q", err, s)
				}
			}
			if strings.Contains(err.Error(), c.Access().Token) {
				t.Errorf("the token is in %q", err)
			}
			if images := imagesIn(t, c, ns); images["web"] != oldImage {
				t.Errorf("refused, but changed: %v", images)
			}
		})
	}
}

const r401 = "(401)"

func pause(t *testing.T, c cluster, ns string) {
	t.Helper()
	update(t, c, ns, func(d *appsv1.Deployment) { d.Spec.Paused = true })
}

func testRollback(t *testing.T, c cluster) {
	ns := deployment(t, c, 3)
	r := rollout(c, ns, badImage)
	r.Timeout = cyclone.Duration(2 * time.Second)
	log := &recorder{}
	got, err := (&kubernetes.Deployer{}).Deploy(t.Context(), r, log)
	if got.Status != cyclone.StatusTimeout || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, s := range []string{"not complete after 2s", "ImagePullBackOff", "Back-off pulling image"} {
		if !strings.Contains(got.Error, s) {
			t.Errorf("%q does not say %q", got.Error, s)
		}
	}
	for _, s := range []string{"rolling back to " + oldImage, "rolled back: " + ns + "/orders runs " + oldImage + " again"} {
		if !strings.Contains(log.String(), s) {
			t.Errorf("the log has no %q:\n%s", s, log)
		}
	}
	if n := strings.Count(log.String(), ": container web: ImagePullBackOff"); n != 2 { // once from a pod, once with the failure
		t.Errorf("the pods' complaint is told %d times:\n%s", n, log)
	}
	if images := imagesIn(t, c, ns); images["web"] != oldImage || images["side"] != oldImage {
		t.Errorf("not rolled back: %v", images)
	}
	allAvailable(t, c, ns, 3)
}

func testNoRollback(t *testing.T, c cluster) {
	ns := deployment(t, c, 2)
	r := rollout(c, ns, badImage)
	r.Timeout, r.NoRollback = cyclone.Duration(time.Second), true
	log := &recorder{}
	got, err := (&kubernetes.Deployer{}).Deploy(t.Context(), r, log)
	if err == nil || got.Status != cyclone.StatusTimeout || !strings.Contains(log.String(), "rollback: false") {
		t.Errorf("%+v, %v\n%s", got, err, log)
	}
	if images := imagesIn(t, c, ns); images["web"] != badImage {
		t.Errorf("rolled back: %v", images)
	}
}

var errStopped = errors.New("stopped by alice")

func testCancel(t *testing.T, c cluster) {
	ns := deployment(t, c, 2)
	ctx, cancel := context.WithCancelCause(t.Context())
	// Cancel in the middle: once the new pods' trouble is on the log.
	log := &recorder{on: "ImagePullBackOff", call: func() { cancel(errStopped) }}
	got, err := (&kubernetes.Deployer{}).Deploy(ctx, rollout(c, ns, badImage), log)
	if got.Status != cyclone.StatusCanceled || !errors.Is(err, errStopped) {
		t.Errorf("%+v, %v", got, err)
	}
	if images := imagesIn(t, c, ns); images["web"] != oldImage {
		t.Errorf("not rolled back: %v\n%s", images, log)
	}
	allAvailable(t, c, ns, 2)
}

func testOvertaken(t *testing.T, c cluster) {
	ns := deployment(t, c, 2)
	other := "registry.test/shop/orders:hotfix"
	log := &recorder{on: "ImagePullBackOff", call: func() {
		update(t, c, ns, func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = other })
	}}
	got, err := (&kubernetes.Deployer{}).Deploy(t.Context(), rollout(c, ns, badImage), log)
	if got.Status != cyclone.StatusFailure || !errors.Is(err, cyclone.ErrConflict) {
		t.Errorf("%+v, %v", got, err)
	}
	if images := imagesIn(t, c, ns); images["web"] != other {
		t.Errorf("somebody else's image was undone: %v\n%s", images, log)
	}
}

func testCheck(t *testing.T, c cluster) {
	d := &kubernetes.Deployer{}
	if err := d.Check(t.Context(), c.Access()); err != nil {
		t.Error(err)
	}
	bad := c.Access()
	bad.Token = "wrong"
	if err := d.Check(t.Context(), bad); !errors.Is(err, cyclone.ErrForbidden) {
		t.Errorf("bad token: %v", err)
	}
	bad.Token = ""
	if err := d.Check(t.Context(), bad); !errors.Is(err, cyclone.ErrForbidden) {
		t.Errorf("no token: %v", err)
	}
	bad = c.Access()
	bad.CA, bad.Insecure = "", true
	if err := d.Check(t.Context(), bad); err != nil {
		t.Errorf("insecure: %v", err)
	}
}
