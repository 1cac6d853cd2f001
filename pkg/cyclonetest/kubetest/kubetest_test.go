//go:build e2e

package kubetest_test

import (
	"context"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"cyclone/pkg/cyclonetest/kubetest"
)

func TestStart(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	begun := time.Now()
	c, err := kubetest.Start(ctx, kubetest.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop()
	t.Logf("ready after %v", time.Since(begun).Round(time.Millisecond))

	version, err := c.Client().Discovery().ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	if version.GitVersion != "v1.37.2" || version.Minor != "37" {
		t.Errorf("version %+v, want v1.37.2", version)
	}
	ns, err := c.Namespace(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Client().CoreV1().ConfigMaps(ns).List(ctx, metav1.ListOptions{}); err != nil {
		t.Error(err)
	}
	c.Stop()
	if _, err := c.Client().CoreV1().Namespaces().List(ctx, metav1.ListOptions{}); err == nil {
		t.Error("the API server still answers after Stop")
	}
}
