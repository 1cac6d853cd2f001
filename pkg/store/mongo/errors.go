package mongo

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/topology"

	"cyclone/pkg/cyclone"
)

// MongoDB's error codes.
const (
	notAuthorized = 13
	authFailed    = 18
	indexNotFound = 27
)

// stepDown are the codes of a server that is not, or is no longer, the primary:
// during an election, a shutdown or the time after one.
var stepDown = []int{
	91, 189, 10058, 10107, 11600, 11602, 13435, 13436,
}

// wrap puts "verb object" before an error and gives those of a server that
// cannot be reached the kind ErrUnavailable. Errors that this package made
// itself say what and where already.
func wrap(err error, format string, args ...any) error {
	if err == nil || said(err) {
		return err
	}
	what := fmt.Sprintf(format, args...)
	if unreachable(err) {
		return fmt.Errorf("%s: %w: %w", what, cyclone.ErrUnavailable, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// unreachable reports whether no server was there to answer or to take a
// write, as opposed to one that refused.
func unreachable(err error) bool {
	if errors.Is(err, context.Canceled) {
		return false
	}
	var unselected topology.ServerSelectionError
	return errors.As(err, &unselected) || errors.Is(err, mongo.ErrClientDisconnected) || broken(err) || mongo.IsTimeout(err)
}

// broken reports whether the connection or the primary went away during a
// call, so that a write may have been carried out or not.
func broken(err error) bool {
	var labeled mongo.LabeledError
	if errors.As(err, &labeled) && labeled.HasErrorLabel("RetryableWriteError") || mongo.IsNetworkError(err) {
		return true
	}
	// The pool of connections was emptied because another call's broke.
	var emptied interface{ Retryable() bool }
	if errors.As(err, &emptied) && emptied.Retryable() {
		return true
	}
	var refused mongo.ServerError
	return errors.As(err, &refused) && slices.ContainsFunc(stepDown, refused.HasErrorCode)
}

func said(err error) bool {
	return errors.Is(err, cyclone.ErrNotFound) || errors.Is(err, cyclone.ErrConflict) ||
		errors.Is(err, cyclone.ErrInvalid) || errors.Is(err, cyclone.ErrUnavailable)
}
