package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"cyclone/pkg/cyclone"
)

// hookTimeout bounds the handling of a stored delivery. It does not end with
// the forge's connection: what was accepted is handled.
const hookTimeout = 20 * time.Second

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
// third, so that nothing unsigned is kept and nothing accepted is lost.
func (s *Server) receiveHook(w http.ResponseWriter, r *http.Request) error {
	scm := mux.Vars(r)["scm"]
	forge, ok := s.Forges[scm]
	if !ok {
		return cyclone.NotFound("there is no forge %q%s", clip(scm, 30), oneOf(sortedKeys(s.Forges)))
	}
	body, err := readBody(w, r, maxHook)
	if err != nil {
		return err
	}
	p, err := s.project(r)
	if err != nil {
		return needStore(err)
	}
	if err := s.verify(forge, p, r.Header, body); err != nil {
		return err
	}
	d := &cyclone.Delivery{
		ID: forge.DeliveryID(r.Header, body), SCM: scm, Project: p.Name, Kind: hookKind(r.Header),
		ReceivedAt: cyclone.Stamp(time.Now()), Events: []cyclone.EventID{}, Header: hookHeader(r.Header), Body: body,
	}
	if d.ID == "" {
		return cyclone.Invalid("delivery", "the forge's header with the delivery's id is missing")
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), hookTimeout)
	defer cancel()
	err = s.Deliveries.Create(ctx, d)
	if errors.Is(err, cyclone.ErrConflict) {
		return s.answerAgain(ctx, w, d)
	}
	if err != nil {
		return needStore(err)
	}
	return s.deliver(ctx, w, d)
}

// verify checks the signature with the project's key. Who signs wrongly
// leaves nothing behind but a count.
func (s *Server) verify(forge cyclone.Forge, p *cyclone.Project, header http.Header, body []byte) error {
	secret, err := s.Sealer.Open(p.WebhookPurpose(), p.WebhookSecret)
	if err != nil {
		return fmt.Errorf("open webhook secret of project %s: %w", p.Name, err)
	}
	err = forge.Verify(header, body, secret)
	if errors.Is(err, cyclone.ErrForbidden) {
		s.rejected.Add(1)
		return unauthenticated("the delivery's signature is missing or wrong; " +
			"the forge must sign with the project's webhook secret")
	}
	return err
}

// deliver has a stored delivery handled and says what became of it. When that
// fails for a reason of ours the delivery is accepted all the same: it is
// stored, and Trigger.Recover takes it up again.
func (s *Server) deliver(ctx context.Context, w http.ResponseWriter, d *cyclone.Delivery) error {
	err := s.Trigger.Deliver(ctx, d)
	if errors.Is(err, cyclone.ErrInvalid) {
		return unprocessable(err.Error())
	}
	if err != nil {
		s.Log.ErrorContext(ctx, "delivery is stored but not handled yet", "project", d.Project, "delivery", d.ID, "error", err)
	}
	writeJSON(w, http.StatusAccepted, answerOf(d))
	return nil
}

// answerAgain gives the first answer to a delivery that comes once more, also
// while the first is still being handled.
func (s *Server) answerAgain(ctx context.Context, w http.ResponseWriter, d *cyclone.Delivery) error {
	first, err := s.firstHandled(ctx, d)
	if err != nil {
		return needStore(err)
	}
	if first.Error != "" && len(first.Events) == 0 {
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
// not handled within answerWait is left to Trigger.Recover.
func (s *Server) firstHandled(ctx context.Context, d *cyclone.Delivery) (*cyclone.Delivery, error) {
	limited, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	tick := time.NewTicker(answerLook)
	defer tick.Stop()
	for {
		first, err := s.Deliveries.Find(ctx, d.Project, d.SCM, d.ID)
		if err != nil || first.HandledAt != nil {
			return first, err
		}
		select {
		case <-limited.Done():
			return first, nil
		case <-tick.C:
		}
	}
}

// needStore makes every failure of the store one that the forge may try again.
func needStore(err error) error {
	for _, kind := range []error{cyclone.ErrNotFound, cyclone.ErrUnavailable, cyclone.ErrInvalid} {
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
func hookKind(h http.Header) string {
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
