package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"cyclone/pkg/cyclone"
)

// deleteProject ends the project's events before anything is removed, so that
// no worker goes on for a project that is gone.
func (s *Server) deleteProject(w http.ResponseWriter, r *http.Request) error {
	p, err := s.project(r)
	if err != nil {
		return err
	}
	takeTime(r) // there may be much to end and to remove
	if err := s.cancelAll(r.Context(), p.Name, "project deleted by "+actor(r)); err != nil {
		return err
	}
	if err := s.awaitWorkers(r.Context(), p.Name); err != nil {
		return err
	}
	s.detach(r, p) // while its token is still there
	secrets, err := s.Secrets.List(r.Context(), p.Name)
	if err != nil {
		return fmt.Errorf("list secrets: %w", err)
	}
	for _, secret := range secrets {
		err := s.Secrets.Delete(r.Context(), p.Name, secret.Name)
		if err != nil && !errors.Is(err, cyclone.ErrNotFound) {
			return fmt.Errorf("delete secret: %w", err)
		}
	}
	if err := s.Projects.Delete(r.Context(), p.Name); err != nil && !errors.Is(err, cyclone.ErrNotFound) {
		return fmt.Errorf("delete project: %w", err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// How long a project's deletion waits for its workers to stop, and how often
// it looks. A worker that takes longer finds its event gone and is removed.
const (
	partingWait = 5 * time.Second
	partingLook = 50 * time.Millisecond
)

// awaitWorkers gives canceled events time to end in order, so that who follows
// them sees it.
func (s *Server) awaitWorkers(ctx context.Context, name cyclone.ProjectName) error {
	query := cyclone.EventQuery{Project: name, Statuses: []cyclone.Status{cyclone.StatusRunning}, Page: cyclone.Page{Limit: 1}}
	limited, cancel := context.WithTimeout(ctx, partingWait)
	defer cancel()
	tick := time.NewTicker(partingLook)
	defer tick.Stop()
	for {
		list, err := s.Events.List(ctx, query)
		if err != nil {
			return fmt.Errorf("list running events: %w", err)
		}
		if len(list.Items) == 0 {
			return nil
		}
		select {
		case <-limited.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (s *Server) cancelAll(ctx context.Context, name cyclone.ProjectName, reason string) error {
	query := cyclone.EventQuery{Project: name, Page: cyclone.Page{Limit: maxLimit},
		Statuses: []cyclone.Status{cyclone.StatusPending, cyclone.StatusBlocked, cyclone.StatusRunning}}
	for {
		list, err := s.Events.List(ctx, query)
		if err != nil {
			return fmt.Errorf("list events: %w", err)
		}
		for _, e := range list.Items {
			_, err := s.Progress.Cancel(ctx, e.ID, reason)
			over := errors.Is(err, cyclone.ErrConflict) || errors.Is(err, cyclone.ErrNotFound)
			if err != nil && !over {
				return fmt.Errorf("cancel event %s: %w", e.ID, err)
			}
		}
		if list.Next == "" {
			return nil
		}
		query.Cursor = list.Next
	}
}
