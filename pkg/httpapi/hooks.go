package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/mux"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/metrics"
)

const (
	// hookTimeout bounds the handling of a stored delivery. It does not end
	// with the forge's connection: what was accepted is handled.
	hookTimeout = 20 * time.Second
	// storeTimeout bounds the storing of a delivery: forges give up after ten
	// seconds, and must know by then that they have to send it again.
	storeTimeout = 4 * time.Second
	// outcomeWait is how long the answer to a forge waits for what became of a
	// delivery, peopleWait that to somebody who had it handled once more.
	outcomeWait = time.Second
	peopleWait  = 5 * time.Second
)

// hookAnswer is what a forge is told.
type hookAnswer struct {
	Delivery cyclone.DeliveryID `json:"delivery"`
	Events   []cyclone.EventID  `json:"events,omitempty"`
	Ignored  string             `json:"ignored,omitempty"`
	Error    string             `json:"error,omitempty"`
}

func answerOf(d *cyclone.Delivery) hookAnswer {
	return hookAnswer{d.ID, d.Events, d.Ignored, d.Error}
}

// receiveHook takes a forge's delivery: verified first, stored second, handled
// third, so that nothing unsigned is kept and nothing accepted is lost. Handling
// goes on when the answer does not wait for it any longer.
func (s *Server) receiveHook(w http.ResponseWriter, r *http.Request) error {
	scm := mux.Vars(r)["scm"]
	forge, ok := s.Forges[scm]
	if !ok || scm == cyclone.SCMPoll { // which nobody sends from outside
		return cyclone.NotFound("there is no forge %q%s", clip(scm, 30), oneOf(s.senders()))
	}
	body, err := readBody(w, r, maxHook)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	p, err := stored(ctx, s, func() (*cyclone.Project, error) { return s.project(r.WithContext(ctx)) })
	if err != nil {
		return needStore(err)
	}
	if err := s.verify(scm, p, r.Header, body); err != nil {
		return err
	}
	d := &cyclone.Delivery{
		ID: forge.DeliveryID(r.Header, body), SCM: scm, Project: p.Name, Kind: hookKind(scm, r.Header),
		ReceivedAt: cyclone.Stamp(time.Now()), Events: []cyclone.EventID{}, Header: hookHeader(r.Header), Body: body,
	}
	if d.ID == "" {
		return cyclone.Invalid("delivery", "the forge's header with the delivery's id is missing")
	}
	_, err = stored(ctx, s, func() (bool, error) { return true, s.Deliveries.Create(ctx, d) })
	if errors.Is(err, cyclone.ErrConflict) {
		return s.answerAgain(ctx, w, d)
	}
	if err != nil {
		return needStore(err)
	}
	s.Metrics.Delivery(scm, metrics.DeliveryAccepted)
	return s.deliver(ctx, w, d)
}

// senders are the forges whose deliveries are taken.
func (s *Server) senders() []string {
	return slices.DeleteFunc(sortedKeys(s.Forges), func(scm string) bool { return scm == cyclone.SCMPoll })
}

// stored makes a call of the store and gives it up when ctx ends: what a store
// waits for, such as a disk, cannot always be interrupted. What is written all
// the same is handled later, or known again when the forge sends it again.
func stored[T any](ctx context.Context, s *Server, call func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	s.handling.add()
	go func() {
		defer s.handling.done()
		value, err := call()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, cyclone.Unavailable("the store did not answer within %s", cyclone.Duration(storeTimeout))
	}
}

// verify checks the signature with the project's key. Who signs wrongly
// leaves nothing behind but a count.
func (s *Server) verify(scm string, p *cyclone.Project, header http.Header, body []byte) error {
	secret, err := s.Sealer.Open(p.WebhookPurpose(), p.WebhookSecret)
	if err != nil {
		return fmt.Errorf("open webhook secret of project %s: %w", p.Name, err)
	}
	err = s.Forges[scm].Verify(header, body, secret)
	if errors.Is(err, cyclone.ErrForbidden) {
		s.rejected.Add(1)
		s.Metrics.Delivery(scm, metrics.DeliveryRejected)
		return unauthenticated("the delivery's signature is missing or wrong; " +
			"the forge must sign with the project's webhook secret")
	}
	return err
}

// deliver has a stored delivery handled and tells the forge what became of it,
// if that is known soon. When handling fails for a reason of ours, or takes
// long, the delivery is accepted all the same: it is stored, and trigger tries
// it again.
func (s *Server) deliver(ctx context.Context, w http.ResponseWriter, d *cyclone.Delivery) error {
	answer, err := s.outcome(ctx, d, outcomeWait)
	if err != nil {
		return err
	}
	if len(answer.Events) == 0 && answer.Ignored == "" {
		answer = hookAnswer{Delivery: answer.Delivery} // what fails here is not the forge's
	}
	writeJSON(w, http.StatusAccepted, answer)
	return nil
}

// outcome has a delivery handled and waits a while for what becomes of it. With
// nothing but the id in the answer that is not known yet. A refusal is 422.
func (s *Server) outcome(ctx context.Context, d *cyclone.Delivery, wait time.Duration) (hookAnswer, error) {
	unknown := hookAnswer{Delivery: d.ID}
	late := time.NewTimer(wait)
	defer late.Stop()
	select {
	case err := <-s.handle(ctx, d):
		if refused(d, err) {
			return unknown, unprocessable(err.Error())
		}
		return answerOf(d), nil
	case <-late.C:
		return unknown, nil
	}
}

// refused reports whether a delivery was handled by saying no to it.
func refused(d *cyclone.Delivery, err error) bool {
	return d.HandledAt != nil && errors.Is(err, cyclone.ErrInvalid)
}

// handle handles a delivery in the background and tells how that went. Drain
// waits for it.
func (s *Server) handle(ctx context.Context, d *cyclone.Delivery) <-chan error {
	done := make(chan error, 1)
	s.handling.add()
	go func() {
		defer s.handling.done()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), hookTimeout)
		defer cancel()
		err := s.Trigger.Deliver(ctx, d)
		if err != nil && !refused(d, err) {
			s.Log.ErrorContext(ctx, "delivery is stored but not handled yet", "project", d.Project, "delivery", d.ID,
				"attempts", d.Attempts, "parked", d.ParkedAt != nil, "error", err)
		}
		done <- err
	}()
	return done
}

// tally counts what is on its way, and can be waited for while more comes: what
// sync.WaitGroup does not allow. The zero value is ready to use.
type tally struct {
	mu    sync.Mutex
	count int
	empty chan struct{} // closed when count is 0 again; nil while nobody waits
}

func (t *tally) add() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count++
}

func (t *tally) done() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.count--; t.count == 0 && t.empty != nil {
		close(t.empty)
		t.empty = nil
	}
}

// wait returns when nothing is on its way, or with the cause of ctx.
func (t *tally) wait(ctx context.Context) error {
	t.mu.Lock()
	if t.count == 0 {
		t.mu.Unlock()
		return nil
	}
	if t.empty == nil {
		t.empty = make(chan struct{})
	}
	empty := t.empty
	t.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// answerAgain gives the first answer to a delivery that comes once more, also
// while the first is still being handled.
func (s *Server) answerAgain(ctx context.Context, w http.ResponseWriter, d *cyclone.Delivery) error {
	s.Metrics.Delivery(d.SCM, metrics.DeliveryAgain)
	first, err := s.firstHandled(ctx, d)
	if err != nil {
		return needStore(err)
	}
	if !bytes.Equal(first.Body, d.Body) {
		s.Log.WarnContext(ctx, "a delivery came again under its id with another body; the first one counts", "project", d.Project, "delivery", d.ID)
	}
	switch {
	case first.ParkedAt != nil:
		// Somebody had the forge send it again.
		if err := s.reset(ctx, first); err != nil {
			return needStore(err)
		}
		return s.deliver(ctx, w, first)
	case first.HandledAt == nil: // its forge is being asked, or it is tried again later
		return show(w, hookAnswer{Delivery: first.ID})
	case first.Error != "" && len(first.Events) == 0:
		return unprocessable(first.Error) // as it was the first time
	}
	return show(w, answerOf(first))
}

// How long a delivery that came again waits for the first one's answer, and
// how often it looks.
const (
	answerWait = 2 * time.Second
	answerLook = 10 * time.Millisecond
)

// firstHandled finds the stored delivery with what became of it. One that is
// not handled within answerWait, or was put off, is left to trigger.
func (s *Server) firstHandled(ctx context.Context, d *cyclone.Delivery) (*cyclone.Delivery, error) {
	limited, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	tick := time.NewTicker(answerLook)
	defer tick.Stop()
	for {
		first, err := s.Deliveries.Find(ctx, d.Project, d.SCM, d.ID)
		if err != nil || first.HandledAt != nil || first.ParkedAt != nil || putOff(first) {
			return first, err
		}
		select {
		case <-limited.Done():
			return first, nil
		case <-tick.C:
		}
	}
}

// putOff reports whether a delivery is not due yet.
func putOff(d *cyclone.Delivery) bool { return d.NextAt != nil && d.NextAt.After(time.Now()) }

// needStore makes every failure of the store one that the forge may try again.
// What the store says of itself is for the log alone: anybody may call here.
func needStore(err error) error {
	for _, kind := range []error{cyclone.ErrNotFound, cyclone.ErrInvalid} {
		if errors.Is(err, kind) {
			return err
		}
	}
	return &storeError{err}
}

// storeError is Unavailable to the caller and keeps the cause for the log.
type storeError struct{ cause error }

func (e *storeError) Error() string   { return "the delivery could not be stored; send it again" }
func (e *storeError) Unwrap() []error { return []error{cyclone.ErrUnavailable, e.cause} }

// hookKind is the forge's own name of what it tells.
func hookKind(scm string, h http.Header) string {
	if scm == "svn" {
		return "commit" // the only one there is
	}
	for _, name := range []string{"X-Gitea-Event", "X-Gitlab-Event", "X-GitHub-Event"} {
		if kind := h.Get(name); kind != "" {
			return clip(kind, 100)
		}
	}
	return ""
}

// hookHeader keeps the headers by which a delivery is understood, and none
// that holds a credential.
func hookHeader(h http.Header) http.Header {
	kept := http.Header{}
	for name, values := range h {
		secret := strings.Contains(name, "Token") || strings.Contains(name, "Signature")
		if !secret && (strings.HasPrefix(name, "X-") || name == "Content-Type" || name == "User-Agent") {
			kept[name] = values
		}
	}
	return kept
}
