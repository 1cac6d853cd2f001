package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/gorilla/mux"

	"cyclone/pkg/cyclone"
)

func (s *Server) listDeliveries(w http.ResponseWriter, r *http.Request) error {
	p, err := s.project(r)
	if err != nil {
		return err
	}
	q := queryOf(r)
	page := q.page()
	if err := q.bad.OrNil(); err != nil {
		return err
	}
	list, err := s.Deliveries.List(r.Context(), p.Name, page)
	if err != nil {
		return fmt.Errorf("list deliveries: %w", err)
	}
	for _, d := range list.Items {
		noNullEvents(d)
	}
	return show(w, listOf(list))
}

func noNullEvents(d *cyclone.Delivery) *cyclone.Delivery {
	if d.Events == nil {
		d.Events = []cyclone.EventID{}
	}
	return d
}

// delivery finds the delivery of the address. Its forge is not part of that:
// the project's own is tried first.
func (s *Server) delivery(r *http.Request) (*cyclone.Delivery, error) {
	p, err := s.project(r)
	if err != nil {
		return nil, err
	}
	id := cyclone.DeliveryID(mux.Vars(r)["delivery"])
	forges := slices.DeleteFunc(s.senders(), func(scm string) bool { return scm == p.Repository.Type })
	for _, scm := range append([]string{p.Repository.Type, cyclone.SCMPoll}, forges...) {
		d, err := s.Deliveries.Find(r.Context(), p.Name, scm, id)
		if err == nil {
			return d, nil
		}
		if !errors.Is(err, cyclone.ErrNotFound) {
			return nil, fmt.Errorf("find delivery: %w", err)
		}
	}
	return nil, cyclone.NotFound("project %q has no delivery %q", p.Name, clip(string(id), 100))
}

func (s *Server) showDelivery(w http.ResponseWriter, r *http.Request) error {
	d, err := s.delivery(r)
	if err != nil {
		return err
	}
	return show(w, noNullEvents(d))
}

// redeliver handles a delivery once more, with the project as it is now, also
// one that was parked. What it started the first time is not started again:
// events know the delivery they came from.
func (s *Server) redeliver(w http.ResponseWriter, r *http.Request) error {
	d, err := s.delivery(r)
	if err != nil {
		return err
	}
	if err := s.reset(r.Context(), d); err != nil {
		return err
	}
	answer, err := s.outcome(r.Context(), d, peopleWait)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusAccepted, answer)
	return nil
}

// reset puts a delivery back among those that wait, so that it is handled
// whatever becomes of this request. NextAt leaves it to this request first.
func (s *Server) reset(ctx context.Context, d *cyclone.Delivery) error {
	now := cyclone.Stamp(time.Now())
	d.Events, d.Ignored, d.Error, d.HandledAt = nil, "", "", nil
	d.Attempts, d.NextAt, d.ParkedAt = 0, &now, nil
	if err := s.Deliveries.Replace(ctx, d); err != nil {
		return fmt.Errorf("put delivery back: %w", err)
	}
	return nil
}
