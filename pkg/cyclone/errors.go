package cyclone

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// The five kinds of error. Wrap them with %w behind "verb object:"; httpapi
// turns the kind into a status code, and anything else into 500.
var (
	ErrNotFound    = errors.New("not found")
	ErrConflict    = errors.New("conflict")
	ErrInvalid     = errors.New("invalid")
	ErrForbidden   = errors.New("forbidden")
	ErrUnavailable = errors.New("unavailable")
)

// kindError is an error of one of the five kinds with a message of its own.
type kindError struct {
	kind    error
	message string
}

func (e *kindError) Error() string { return e.message }
func (e *kindError) Unwrap() error { return e.kind }

// NotFound returns an ErrNotFound whose whole text is the formatted message.
func NotFound(format string, args ...any) error {
	return &kindError{ErrNotFound, fmt.Sprintf(format, args...)}
}

// Conflict returns an ErrConflict whose whole text is the formatted message.
func Conflict(format string, args ...any) error {
	return &kindError{ErrConflict, fmt.Sprintf(format, args...)}
}

// Forbidden returns an ErrForbidden whose whole text is the formatted message.
func Forbidden(format string, args ...any) error {
	return &kindError{ErrForbidden, fmt.Sprintf(format, args...)}
}

// Unavailable returns an ErrUnavailable whose whole text is the formatted message.
func Unavailable(format string, args ...any) error {
	return &kindError{ErrUnavailable, fmt.Sprintf(format, args...)}
}

// laterError is an ErrUnavailable of which is known when to try again.
type laterError struct {
	error
	after time.Duration
}

func (e *laterError) Unwrap() error { return e.error }

// UnavailableFor is Unavailable with the time after which another try makes
// sense, as a forge's Retry-After says it.
func UnavailableFor(after time.Duration, format string, args ...any) error {
	return &laterError{Unavailable(format, args...), after}
}

// RetryAfter is how long to wait before trying again what failed with err; 0
// when nothing is known of it.
func RetryAfter(err error) time.Duration {
	var later *laterError
	if errors.As(err, &later) {
		return later.after
	}
	return 0
}

// FieldProblem says what is wrong with one field of an input.
type FieldProblem struct {
	Field   string `json:"field"` // path in the input: "repository.url"
	Message string `json:"message"`
}

// InvalidError is an ErrInvalid that lists every wrong field at once.
type InvalidError struct{ Fields []FieldProblem }

// Invalid returns an InvalidError about one field.
func Invalid(field, format string, args ...any) *InvalidError {
	return (&InvalidError{}).Add(field, format, args...)
}

// Add appends a problem and returns e.
func (e *InvalidError) Add(field, format string, args ...any) *InvalidError {
	e.Fields = append(e.Fields, FieldProblem{field, fmt.Sprintf(format, args...)})
	return e
}

// OrNil is e, or a nil error when no field was wrong.
func (e *InvalidError) OrNil() error {
	if len(e.Fields) == 0 {
		return nil
	}
	return e
}

func (e *InvalidError) Error() string {
	parts := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		parts[i] = f.Field + ": " + f.Message
	}
	return strings.Join(parts, "; ")
}

func (e *InvalidError) Unwrap() error { return ErrInvalid }
