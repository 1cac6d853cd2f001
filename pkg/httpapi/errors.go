package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"cyclone/pkg/cyclone"
)

// errorBody is the form of every error.
type errorBody struct {
	Error errorDetail `json:"error"`
}

type errorDetail struct {
	Code      string                 `json:"code"`
	Message   string                 `json:"message"`
	Details   []cyclone.FieldProblem `json:"details,omitempty"`
	RequestID string                 `json:"requestId"`
}

// statusError is an error of HTTP itself, which has no kind in cyclone.
type statusError struct {
	status  int
	code    string
	message string
}

func (e *statusError) Error() string { return e.message }

func unauthenticated(message string) error {
	return &statusError{http.StatusUnauthorized, "unauthenticated", message}
}

func unprocessable(message string) error {
	return &statusError{http.StatusUnprocessableEntity, "unprocessable", message}
}

// refusedError is 422 about one field of a request that is right in itself.
type refusedError struct{ problem cyclone.FieldProblem }

func refuseField(field, message string) error {
	return &refusedError{cyclone.FieldProblem{Field: field, Message: message}}
}

func (e *refusedError) Error() string { return e.problem.Field + ": " + e.problem.Message }

// retryAfter is how many seconds a caller should wait when something the
// server needs is out of reach.
const retryAfter = 5

// writeError turns the kind of an error into a status. What has no kind is
// our own fault: the caller learns no more than that, the log everything.
func (s *Server) writeError(w http.ResponseWriter, r *http.Request, err error) {
	status, detail := describe(err)
	// That a server which ends refuses what comes is no failure.
	ending := status == http.StatusServiceUnavailable && s.sockets.draining()
	if status >= http.StatusInternalServerError && !ending && !errors.Is(err, context.Canceled) {
		s.Log.ErrorContext(r.Context(), "request failed", "method", r.Method, "path", r.URL.Path,
			"request", requestID(r), "error", cause(err))
	}
	switch status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="cyclone"`)
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", strconv.Itoa(secondsUntilRetry(err)))
	}
	detail.RequestID = requestID(r)
	writeJSON(w, status, errorBody{detail})
}

// secondsUntilRetry is what a forge that takes no calls for a while said, or
// the usual time.
func secondsUntilRetry(err error) int {
	if wait := cyclone.RetryAfter(err); wait > 0 {
		return int((wait + time.Second - 1) / time.Second)
	}
	return retryAfter
}

// cause is what the log is told: the whole of it.
func cause(err error) error {
	var store *storeError
	if errors.As(err, &store) {
		return store.cause
	}
	var slow *slowError
	if errors.As(err, &slow) {
		return fmt.Errorf("%w: %w", errSlowStore, slow.cause)
	}
	return err
}

func describe(err error) (int, errorDetail) {
	var own *statusError
	var refused *refusedError
	var invalid *cyclone.InvalidError
	switch {
	case errors.As(err, &refused):
		return http.StatusUnprocessableEntity, errorDetail{Code: "unprocessable", Message: err.Error(), Details: []cyclone.FieldProblem{refused.problem}}
	case errors.As(err, &own):
		return own.status, errorDetail{Code: own.code, Message: own.message}
	case errors.As(err, &invalid):
		return http.StatusBadRequest, errorDetail{Code: "invalid", Message: err.Error(), Details: invalid.Fields}
	case errors.Is(err, cyclone.ErrInvalid):
		return http.StatusBadRequest, errorDetail{Code: "invalid", Message: err.Error()}
	case errors.Is(err, cyclone.ErrNotFound):
		return http.StatusNotFound, errorDetail{Code: "not_found", Message: err.Error()}
	case errors.Is(err, cyclone.ErrConflict):
		return http.StatusConflict, errorDetail{Code: "conflict", Message: err.Error()}
	case errors.Is(err, cyclone.ErrForbidden):
		return http.StatusForbidden, errorDetail{Code: "forbidden", Message: err.Error()}
	case errors.Is(err, cyclone.ErrUnavailable):
		return http.StatusServiceUnavailable, errorDetail{Code: "unavailable", Message: err.Error()}
	}
	return http.StatusInternalServerError, errorDetail{Code: "internal", Message: "internal error"}
}

// notFound replaces a store's words for "there is none" by the API's.
func notFound(err error, format string, args ...any) error {
	if errors.Is(err, cyclone.ErrNotFound) {
		return cyclone.NotFound(format, args...)
	}
	return err
}
