package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"cyclone/pkg/cyclone"
)

// ErrUnauthenticated is wrapped by an *Error when the token is missing or
// not known to the server.
var ErrUnauthenticated = errors.New("unauthenticated")

// Error is what the server answered instead of doing what was asked. It wraps
// one of cyclone's kinds of error, or ErrUnauthenticated.
type Error struct {
	Status     int    // of HTTP
	Code       string // "not_found", "invalid", ...
	Message    string
	Details    []cyclone.FieldProblem
	RequestID  string        // finds the request in the server's log
	RetryAfter time.Duration // 0 when the server does not say
}

func (e *Error) Error() string {
	text := e.Message
	if len(e.Details) > 0 {
		parts := make([]string, len(e.Details))
		for i, d := range e.Details {
			parts[i] = d.Field + ": " + d.Message
		}
		if details := strings.Join(parts, "; "); !strings.Contains(text, details) {
			text += " (" + details + ")"
		}
	}
	if e.Status >= http.StatusInternalServerError && e.RequestID != "" {
		text += " (request " + e.RequestID + ")"
	}
	return text
}

// Unwrap is the kind of the error, nil for one without a kind.
func (e *Error) Unwrap() error {
	switch e.Status {
	case http.StatusUnauthorized:
		return ErrUnauthenticated
	case http.StatusForbidden:
		return cyclone.ErrForbidden
	case http.StatusNotFound, http.StatusGone:
		return cyclone.ErrNotFound
	case http.StatusConflict:
		return cyclone.ErrConflict
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return cyclone.ErrUnavailable
	}
	if e.Status < http.StatusInternalServerError {
		return cyclone.ErrInvalid
	}
	return nil
}

// readError reads the server's form of an error. What stands between, a proxy
// for instance, may have answered in a form of its own.
func readError(answer *http.Response) *Error {
	var form struct {
		Error struct {
			Code      string                 `json:"code"`
			Message   string                 `json:"message"`
			Details   []cyclone.FieldProblem `json:"details"`
			RequestID string                 `json:"requestId"`
		} `json:"error"`
	}
	e := &Error{Status: answer.StatusCode}
	if seconds, err := strconv.Atoi(answer.Header.Get("Retry-After")); err == nil && seconds > 0 {
		e.RetryAfter = time.Duration(seconds) * time.Second
	}
	data, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err == nil && json.Unmarshal(data, &form) == nil && form.Error.Message != "" {
		e.Code, e.Message = form.Error.Code, form.Error.Message
		e.Details, e.RequestID = form.Error.Details, form.Error.RequestID
		return e
	}
	e.Message = fmt.Sprintf("the server answered %d %s", answer.StatusCode, http.StatusText(answer.StatusCode))
	return e
}
