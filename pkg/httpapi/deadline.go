package httpapi

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"cyclone/pkg/cyclone"
)

// storeTime is how long a request waits for the store, less than most clients
// wait for an answer: one that says "try again" is worth more than none.
const storeTime = 8 * time.Second

// errSlowStore is the cause of the end of a request's context when the store
// took too long.
var errSlowStore = errors.New("the store did not answer in time")

// deadline ends a request's context when the store takes too long. The time
// that a caller takes to send a body does not count.
type deadline struct {
	mu    sync.Mutex
	timer *time.Timer
	done  bool
}

// start sets the deadline; the returned function ends it.
func (d *deadline) start(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	d.timer = time.AfterFunc(storeTime, func() { cancel(errSlowStore) })
	return ctx, func() {
		d.mu.Lock()
		d.done = true
		d.timer.Stop()
		d.mu.Unlock()
		cancel(nil)
	}
}

// suspend stops the clock until resume is called.
func (d *deadline) suspend() (resume func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.timer.Stop()
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if !d.done {
			d.timer.Reset(storeTime)
		}
	}
}

type deadlineKey struct{}

// suspendDeadline gives a request time for something else than the store,
// until resume is called.
func suspendDeadline(r *http.Request) (resume func()) {
	if d, ok := r.Context().Value(deadlineKey{}).(*deadline); ok {
		return d.suspend()
	}
	return func() {}
}

// takeTime lifts the deadline of a request that has clocks of its own from
// here on, or that takes long because there is much to do.
func takeTime(r *http.Request) { _ = suspendDeadline(r) }

// inTime has a request handled with a deadline. What fails after it has passed
// failed because of the store, whatever that calls it.
func inTime(w http.ResponseWriter, r *http.Request, handle handler) error {
	d := &deadline{}
	ctx, end := d.start(context.WithValue(r.Context(), deadlineKey{}, d))
	defer end()
	err := handle(w, r.WithContext(ctx))
	if err == nil || !errors.Is(context.Cause(ctx), errSlowStore) {
		return err
	}
	for _, kind := range []error{cyclone.ErrNotFound, cyclone.ErrConflict, cyclone.ErrInvalid, cyclone.ErrForbidden} {
		if errors.Is(err, kind) {
			return err // it was known before
		}
	}
	return &slowError{err}
}

// slowError is Unavailable to the caller and keeps the cause for the log.
type slowError struct{ cause error }

func (e *slowError) Error() string {
	return "the store did not answer within " + cyclone.Duration(storeTime).String() + "; try again"
}
func (e *slowError) Unwrap() []error { return []error{cyclone.ErrUnavailable, e.cause} }
