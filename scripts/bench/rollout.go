package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// rolloutCommand makes this program the smallest kubectl: for hand.sh it sets
// the image of the Deployment shop and waits for the rollout.
const rolloutCommand = "rollout"

// rollOut reads KUBE_HOST, KUBE_TOKEN, KUBE_CA and NAMESPACE.
func rollOut(args []string) int {
	if len(args) != 1 {
		fmt.Fprintln(os.Stderr, "usage: bench rollout IMAGE")
		return 2
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(os.Getenv("KUBE_CA")))
	k := &kube{
		url:    os.Getenv("KUBE_HOST") + "/apis/apps/v1/namespaces/" + os.Getenv("NAMESPACE") + "/deployments/shop",
		token:  os.Getenv("KUBE_TOKEN"),
		client: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}},
	}
	if err := k.rollOut(ctx, args[0]); err != nil {
		fmt.Fprintln(os.Stderr, "rollout:", err)
		return 1
	}
	return 0
}

type kube struct {
	url, token string
	client     *http.Client
}

// deployment is what kubectl looks at.
type deployment struct {
	Metadata struct{ Generation int64 }
	Spec     struct{ Replicas int }
	Status   struct {
		ObservedGeneration                           int64
		Replicas, UpdatedReplicas, AvailableReplicas int
	}
}

func (d *deployment) done() bool {
	s := d.Status
	return s.ObservedGeneration >= d.Metadata.Generation && s.UpdatedReplicas == d.Spec.Replicas &&
		s.Replicas == s.UpdatedReplicas && s.AvailableReplicas >= s.UpdatedReplicas
}

func (k *kube) rollOut(ctx context.Context, image string) error {
	patch := fmt.Sprintf(`{"spec":{"template":{"spec":{"containers":[{"name":"web","image":%q}]}}}}`, image)
	d, err := k.call(ctx, http.MethodPatch, patch)
	for err == nil && !d.done() {
		select {
		case <-ctx.Done():
			return errors.New("not done within a minute")
		case <-time.After(50 * time.Millisecond):
		}
		d, err = k.call(ctx, http.MethodGet, "")
	}
	return err
}

func (k *kube) call(ctx context.Context, method, body string) (*deployment, error) {
	req, err := http.NewRequestWithContext(ctx, method, k.url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+k.token)
	req.Header.Set("Content-Type", "application/strategic-merge-patch+json")
	answer, err := k.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s %s: %s: %s", method, k.url, answer.Status, text)
	}
	var d deployment
	return &d, json.Unmarshal(text, &d)
}
