package kubernetes

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/wait"

	"cyclone/pkg/cyclone"
)

// timeoutError is the cause of a context that a rollout's own limit ended.
type timeoutError struct{ limit time.Duration }

func (e *timeoutError) Error() string {
	return fmt.Sprintf("the rollout was not complete after %s", cyclone.Duration(e.limit))
}

// Unwrap makes it a context.DeadlineExceeded.
func (e *timeoutError) Unwrap() error { return context.DeadlineExceeded }

// faultError is an ErrInvalid about the project as a whole, not one key of it.
type faultError struct{ text string }

func fault(format string, args ...any) error { return &faultError{fmt.Sprintf(format, args...)} }

func (e *faultError) Error() string { return e.text }
func (e *faultError) Unwrap() error { return cyclone.ErrInvalid }

// ended puts the reason why ctx ended in the place of whatever error that led
// to; while ctx goes on the error stays as it is.
func ended(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	cause := context.Cause(ctx)
	if errors.Is(err, cause) {
		return err
	}
	var late *timeoutError
	// A time-out during which nobody answered is the cluster's fault, and the
	// reader wants to know.
	if errors.As(cause, &late) && errors.Is(err, cyclone.ErrUnavailable) {
		return fmt.Errorf("%w: %w", cause, err)
	}
	if errors.Is(cause, context.Canceled) {
		return fmt.Errorf("canceled: %w", cause)
	}
	return cause
}

// explain says in a user's words why a request failed, and gives the error its
// kind. What a "not found" means only the caller knows; it stays as it is.
func explain(host, verb string, err error) error {
	var badCertificate *tls.CertificateVerificationError
	var noSuchHost *net.DNSError
	switch {
	case err == nil:
		return nil
	case foreign(err):
		return notKubernetes(host)
	case apierrors.IsNotFound(err):
		return err
	case apierrors.IsUnauthorized(err):
		return cyclone.Forbidden("%s: the API server at %s does not accept the token (401): it is wrong, has expired or belongs to another cluster", verb, host)
	case apierrors.IsForbidden(err):
		return cyclone.Forbidden("%s: the token may not do this (403): %v; docs/deploy.md has the role that is needed", verb, err)
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsRequestEntityTooLargeError(err):
		return fault("%s: the API server refuses it: %v", verb, err)
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		return err
	case errors.As(err, &badCertificate):
		return cyclone.Unavailable("%s: the certificate of %s cannot be trusted: %v; give the authority that signed it as ca (or insecure: true to skip the check)", verb, host, badCertificate.Err)
	case errors.Is(err, http.ErrSchemeMismatch):
		return cyclone.Unavailable("%s: %s speaks plain HTTP, not HTTPS; check the address", verb, host)
	case errors.As(err, &noSuchHost):
		return cyclone.Unavailable("%s: the name of %s cannot be resolved: %v", verb, host, noSuchHost)
	case transient(err):
		return cyclone.Unavailable("%s: the API server at %s cannot be reached: %v", verb, host, reason(err))
	}
	return cyclone.Unavailable("%s: the API server at %s: %v", verb, host, err)
}

// foreign reports whether the answer came from something that is not an API
// server: it is an error, but not in Kubernetes' form.
func foreign(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || !apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse) {
		return false
	}
	// A proxy in front of one says 401, 403, 429 and 5xx in its own form.
	code := status.Status().Code
	return code == http.StatusBadRequest || code == http.StatusNotFound || code == http.StatusMethodNotAllowed
}

func notKubernetes(host string) error {
	return cyclone.Unavailable("%s answers, but not like a Kubernetes API server with Deployments (apps/v1, Kubernetes 1.9 or later); check the address", host)
}

// reason strips the request's URL from a connection's error: the text already
// says what was asked of whom.
func reason(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op
	}
	return err
}

// transient reports whether the same request may succeed a moment later.
func transient(err error) bool {
	var timeout interface{ Timeout() bool }
	var status apierrors.APIStatus
	switch {
	case apierrors.IsServerTimeout(err), apierrors.IsTimeout(err), apierrors.IsTooManyRequests(err):
		return true
	case errors.As(err, &status) && status.Status().Code >= http.StatusInternalServerError:
		return true
	case utilnet.IsConnectionRefused(err), utilnet.IsConnectionReset(err), utilnet.IsProbableEOF(err), utilnet.IsHTTP2ConnectionLost(err):
		return true
	case errors.As(err, &timeout) && timeout.Timeout():
		return true
	}
	var op *net.OpError
	return errors.As(err, &op)
}

// retried does a request again while it fails in a way that may pass: six
// times in about six seconds.
func retried(ctx context.Context, request func() error) error {
	var last error
	backoff := wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.1, Steps: 6}
	err := wait.ExponentialBackoffWithContext(ctx, backoff, func(context.Context) (bool, error) {
		last = request()
		if last != nil && transient(last) && ctx.Err() == nil {
			return false, nil
		}
		return true, last
	})
	if last != nil {
		return last
	}
	return err
}
