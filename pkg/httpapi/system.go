package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"cyclone/pkg/cyclone"
)

// readyTimeout is how long one condition of readiness may take.
const readyTimeout = 5 * time.Second

func (s *Server) health(w http.ResponseWriter, _ *http.Request) error {
	return show(w, map[string]string{"status": "ok"})
}

// readyAnswer says whether the server can do its work, and if not why.
type readyAnswer struct {
	Ready  bool         `json:"ready"`
	Checks []readyCheck `json:"checks"`
}

type readyCheck struct {
	Name    string `json:"name"`
	OK      bool   `json:"ok"`
	Message string `json:"message"`
}

func (s *Server) readiness(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	answer := readyAnswer{Ready: !s.sockets.draining(), Checks: make([]readyCheck, len(s.Ready))}
	var wg sync.WaitGroup
	for i, check := range s.Ready {
		wg.Go(func() { answer.Checks[i] = runCheck(ctx, check) })
	}
	wg.Wait()
	for _, c := range answer.Checks {
		answer.Ready = answer.Ready && c.OK
	}
	status := http.StatusOK
	if !answer.Ready {
		status = http.StatusServiceUnavailable
	}
	writeJSON(w, status, answer)
	return nil
}

func runCheck(ctx context.Context, check Check) readyCheck {
	err := check.Run(ctx)
	if err != nil && ctx.Err() != nil {
		return readyCheck{Name: check.Name, Message: "no answer within " + cyclone.Duration(readyTimeout).String()}
	}
	if err != nil {
		return readyCheck{Name: check.Name, Message: err.Error()}
	}
	return readyCheck{Name: check.Name, OK: true}
}

func (s *Server) version(w http.ResponseWriter, _ *http.Request) error {
	return show(w, s.Version)
}

func (s *Server) me(w http.ResponseWriter, r *http.Request) error {
	return show(w, identity(r))
}

// workerView is one worker and what it runs.
type workerView struct {
	ID         cyclone.WorkerID    `json:"id"`
	Node       string              `json:"node"`
	Attempt    int                 `json:"attempt"`
	Event      cyclone.EventID     `json:"event"`
	Project    cyclone.ProjectName `json:"project"`
	Number     int64               `json:"number"`
	StartedAt  *time.Time          `json:"startedAt,omitempty"`
	LeaseUntil time.Time           `json:"leaseUntil"`
	// LastSeen is when the worker was last heard of; nil while it starts.
	LastSeen *time.Time `json:"lastSeen,omitempty"`
}

func (s *Server) workers(w http.ResponseWriter, r *http.Request) error {
	running, err := s.Queue.Running(r.Context())
	if err != nil {
		return fmt.Errorf("list running events: %w", err)
	}
	var views []workerView
	for _, e := range running {
		views = append(views, workerView{
			ID: e.Worker.ID, Node: e.Worker.Node, Attempt: e.Worker.Attempt,
			Event: e.ID, Project: e.Project, Number: e.Number,
			StartedAt: e.StartedAt, LeaseUntil: e.Run.LeaseUntil, LastSeen: lastSeen(e, time.Now()),
		})
	}
	return writePage(w, r, views, func(v workerView) string { return string(v.ID) })
}

// lastSeen follows from the lease, which every sign of life extends by the
// same time. While the worker starts, the lease is the launch's, which is
// longer and says nothing.
func lastSeen(e *cyclone.Event, now time.Time) *time.Time {
	seen := e.Run.LeaseUntil.Add(-cyclone.LeaseTime)
	if e.Run.SessionHash == nil || e.Run.LeaseUntil.IsZero() || seen.After(now) {
		return nil
	}
	return &seen
}

func (s *Server) showMetrics(w http.ResponseWriter, r *http.Request) error {
	if s.Metrics == nil {
		return cyclone.NotFound("this server keeps no metrics")
	}
	s.Metrics.Handler(s.Census).ServeHTTP(w, r)
	return nil
}

// applyRetention removes what is no longer kept at once, without waiting for
// the time at which the server does it by itself.
func (s *Server) applyRetention(w http.ResponseWriter, r *http.Request) error {
	q := queryOf(r)
	dry := q.flag("dryRun")
	if err := q.bad.OrNil(); err != nil {
		return err
	}
	if s.Retention == nil {
		return cyclone.NotFound("this server removes nothing by age or number")
	}
	takeTime(r)
	report, err := s.Retention.Apply(r.Context(), dry)
	if err != nil {
		return fmt.Errorf("apply retention: %w", err)
	}
	if report.Projects == nil {
		report.Projects = []cyclone.ProjectRetention{}
	}
	return show(w, report)
}
