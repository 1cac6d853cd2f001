package kubernetes

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/url"
	"strings"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientset "k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"cyclone/pkg/cyclone"
)

const (
	// requestTimeout bounds one request, so that a server which accepts
	// connections and says nothing is noticed.
	requestTimeout = 30 * time.Second
	// checkTimeout bounds Check.
	checkTimeout = 15 * time.Second
)

// Check reports whether an API server can be reached, is Kubernetes, and
// takes the token. It changes nothing. Errors are ErrInvalid (the access
// itself), ErrForbidden (the token) or ErrUnavailable (everything between).
func (d *Deployer) Check(ctx context.Context, access cyclone.ClusterAccess) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	client, err := connect(access)
	if err != nil {
		return fmt.Errorf("check cluster: %w", err)
	}
	if err := check(ctx, client, access.Host); err != nil {
		return fmt.Errorf("check cluster: %w", err)
	}
	return nil
}

func check(ctx context.Context, client clientset.Interface, host string) error {
	body, err := client.Discovery().RESTClient().Get().AbsPath("/apis/apps/v1").DoRaw(ctx)
	if apierrors.IsNotFound(err) {
		return notKubernetes(host)
	}
	if err != nil {
		return explain(host, "read /apis/apps/v1", err)
	}
	var resources metav1.APIResourceList
	if json.Unmarshal(body, &resources) != nil || resources.GroupVersion != "apps/v1" {
		return notKubernetes(host)
	}
	// Every authenticated user may ask what he may do; others get 401 or 403.
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Group: "apps", Resource: "deployments", Verb: "patch"},
	}}
	_, err = client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return explain(host, "authenticate", err)
	}
	return nil
}

// connect makes a client. Nothing is sent yet.
func connect(access cyclone.ClusterAccess) (clientset.Interface, error) {
	config, err := clientConfig(access)
	if err != nil {
		return nil, err
	}
	client, err := clientset.NewForConfig(config)
	if err != nil {
		return nil, cyclone.Invalid("host", "%s cannot be used: %v", access.Host, err)
	}
	return client, nil
}

// clientConfig turns an access into client-go's terms. It is built from the
// access alone: neither a kubeconfig nor a pod's own account plays a part.
func clientConfig(access cyclone.ClusterAccess) (*rest.Config, error) {
	host, err := hostURL(access)
	if err != nil {
		return nil, err
	}
	ca, err := authority(access.CA)
	if err != nil {
		return nil, err
	}
	config := &rest.Config{
		Host:            host,
		BearerToken:     strings.TrimSpace(access.Token),
		TLSClientConfig: rest.TLSClientConfig{CAData: ca, Insecure: access.Insecure},
		ContentConfig:   rest.ContentConfig{ContentType: runtime.ContentTypeJSON},
		UserAgent:       "cyclone",
		Timeout:         requestTimeout,
		// Our pace is the rollout's own; client-go's limiter fails requests
		// shortly before a deadline, which looks like a server that is down.
		QPS:            -1,
		WarningHandler: rest.NoWarnings{}, // otherwise they go to our own stderr
	}
	if access.Insecure {
		config.CAData = nil // client-go refuses both at once
	}
	return config, nil
}

// hostURL completes "1.2.3.4:6443" to a URL and refuses what would send the
// token astray.
func hostURL(access cyclone.ClusterAccess) (string, error) {
	host := strings.TrimSpace(access.Host)
	if host == "" {
		return "", cyclone.Invalid("host", "is missing; write the API server's URL, for instance https://10.0.0.1:6443")
	}
	if !strings.Contains(host, "://") {
		host = "https://" + host
	}
	u, err := url.Parse(host)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http"):
		return "", cyclone.Invalid("host", "is not the URL of an API server; write for instance https://10.0.0.1:6443")
	case u.User != nil:
		return "", cyclone.Invalid("host", "has a user or password in it; give a token instead")
	case u.RawQuery != "" || u.Fragment != "":
		return "", cyclone.Invalid("host", "has a query or fragment in it; write for instance https://10.0.0.1:6443")
	case u.Scheme == "http" && !access.Insecure:
		return "", cyclone.Invalid("host", "is plain http, which would send the token unprotected; use https (or insecure: true, if it must be)")
	}
	return u.Scheme + "://" + u.Host + strings.TrimSuffix(u.Path, "/"), nil
}

// authority reads a CA given as PEM or as base64 of PEM (the form that
// kubeconfig files have). Empty stays empty: the system's authorities.
func authority(text string) ([]byte, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, nil
	}
	b := []byte(text)
	if !strings.Contains(text, "-----BEGIN") {
		decoded, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
		if err != nil {
			return nil, cyclone.Invalid("ca", "is neither PEM nor base64 of it")
		}
		b = decoded
	}
	if block, _ := pem.Decode(b); block == nil || block.Type != "CERTIFICATE" {
		return nil, cyclone.Invalid("ca", "holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)")
	}
	return b, nil
}
