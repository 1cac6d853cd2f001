package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/client"

	"cyclone/pkg/cyclone"
)

// engineError gives an error of the engine its kind and keeps its text.
type engineError struct{ kind, err error }

func (e *engineError) Error() string   { return e.err.Error() }
func (e *engineError) Unwrap() []error { return []error{e.kind, e.err} }

// kinds says which of Cyclone's kinds an error of the engine's API is.
var kinds = []struct {
	is   func(error) bool
	kind error
}{
	{cerrdefs.IsNotFound, cyclone.ErrNotFound},
	{cerrdefs.IsConflict, cyclone.ErrConflict},
	{cerrdefs.IsAlreadyExists, cyclone.ErrConflict},
	{cerrdefs.IsInvalidArgument, cyclone.ErrInvalid},
	{cerrdefs.IsUnauthorized, cyclone.ErrForbidden},
	{cerrdefs.IsPermissionDenied, cyclone.ErrForbidden},
	{cerrdefs.IsUnavailable, cyclone.ErrUnavailable},
	{disconnected, cyclone.ErrUnavailable},
}

// disconnected reports whether the engine could not be reached or went away
// in the middle of an answer.
func disconnected(err error) bool {
	var op *net.OpError
	return client.IsErrConnectionFailed(err) || errors.As(err, &op) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// failed puts "verb object:" before an error of the engine and gives it its
// kind. Once ctx is over, its cause is the better answer.
func failed(ctx context.Context, err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	what := fmt.Sprintf(format, args...)
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", what, context.Cause(ctx))
	}
	for _, k := range kinds {
		if k.is(err) {
			return &engineError{k.kind, fmt.Errorf("%s: %w", what, plain(err))}
		}
	}
	return fmt.Errorf("%s: %w", what, plain(err))
}

// plainError is an error without the phrases that every engine error repeats.
type plainError struct {
	text string
	err  error
}

func (e *plainError) Error() string { return e.text }
func (e *plainError) Unwrap() error { return e.err }

func plain(err error) error {
	text := strings.ReplaceAll(err.Error(), "Error response from daemon: ", "")
	return &plainError{strings.TrimSpace(text), err}
}

// fault is what the text of a registry's or a builder's error means.
type fault struct {
	kind error
	hint string // what to do; %s is the registry
}

// faults finds the fault in a text. The engine hands a registry's answer on as
// text alone, so there is nothing firmer to look at. The first match wins.
var faults = []struct {
	texts []string
	fault
}{
	{[]string{"no space left on device"}, fault{cyclone.ErrUnavailable, "the engine's disk is full"}},
	{[]string{"server gave http response to https client"},
		fault{cyclone.ErrUnavailable, "registry %s does not speak TLS; list it under CYCLONE_INSECURE_REGISTRIES"}},
	{[]string{"x509:", "tls: "},
		fault{cyclone.ErrUnavailable, "the certificate of registry %s is not accepted"}},
	{[]string{"pull access denied", "may require authorization", "may require 'docker login'"},
		fault{cyclone.ErrNotFound, "there is no such image at registry %s, or it wants a login"}},
	{[]string{"manifest unknown", "name unknown", "not found: manifest", "no such image", "does not exist locally"},
		fault{cyclone.ErrNotFound, "check the image's name and tag"}},
	{[]string{"unauthorized", "authentication required", "no basic auth credentials", "access to the resource is denied",
		"access denied", "insufficient_scope", "status: 403", "403 forbidden", "failed to fetch oauth token", "failed to authorize"},
		fault{cyclone.ErrForbidden, "registry %s wants a login that may do this; check its username and password"}},
	{[]string{"connection refused", "no such host", "server misbehaving", "i/o timeout", "client.timeout", "no route to host",
		"network is unreachable", "connection reset", "http status: 5", "status: 500", "status: 502", "status: 503", "status: 504",
		"503 service unavailable", "toomanyrequests", "unexpected eof", "tls handshake timeout", "deadline exceeded"},
		fault{cyclone.ErrUnavailable, "registry %s cannot be reached or does not work"}},
	{[]string{": not found"}, fault{cyclone.ErrNotFound, "check the image's name and tag"}},
}

// faultIn returns the fault that a text tells of, or false.
func faultIn(text string) (fault, bool) {
	text = strings.ToLower(text)
	for _, f := range faults {
		for _, t := range f.texts {
			if strings.Contains(text, t) {
				return f.fault, true
			}
		}
	}
	return fault{}, false
}

// advice is the hint for a registry.
func (f fault) advice(registry string) string {
	if strings.Contains(f.hint, "%s") {
		return fmt.Sprintf(f.hint, registry)
	}
	return f.hint
}
