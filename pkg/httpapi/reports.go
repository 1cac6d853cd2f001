package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"cyclone/pkg/cyclone"
)

// mostReports bounds what is read of an event's test reports.
const mostReports = 64 << 20

// reportView is what all tests of an event found.
type reportView struct {
	Total   int     `json:"total"`
	Passed  int     `json:"passed"`
	Failed  int     `json:"failed"`
	Skipped int     `json:"skipped"`
	Seconds float64 `json:"seconds"`
	// Failures are the first cyclone.MaxFailures; Cases has all.
	Failures []cyclone.TestCase `json:"failures"`
	Cases    []cyclone.TestCase `json:"cases"`
	// CreatedAt is when the newest part came; nil without reports.
	CreatedAt *time.Time `json:"createdAt,omitempty"`
}

// testStatuses are the ends of a test case.
var testStatuses = []cyclone.TestStatus{cyclone.TestPassed, cyclone.TestFailed, cyclone.TestError, cyclone.TestSkipped}

func (s *Server) showReports(w http.ResponseWriter, r *http.Request) error {
	q := queryOf(r)
	wanted := q.testStatuses("status")
	if err := q.bad.OrNil(); err != nil {
		return err
	}
	e, err := s.event(r)
	if err != nil {
		return err
	}
	files, err := s.keptFiles(r.Context(), e, cyclone.FileReport)
	if err != nil {
		return err
	}
	view, err := s.merge(r.Context(), e.ID, files)
	if err != nil {
		return err
	}
	if len(wanted) > 0 {
		view.Cases = slices.DeleteFunc(view.Cases, func(c cyclone.TestCase) bool { return !slices.Contains(wanted, c.Status) })
	}
	return show(w, view)
}

// testStatuses reads the ends that cases are to have; an error is a failure too.
func (q *query) testStatuses(name string) []cyclone.TestStatus {
	var all []cyclone.TestStatus
	for _, text := range q.values[name] {
		for part := range strings.SplitSeq(text, ",") {
			status := cyclone.TestStatus(part)
			if !slices.Contains(testStatuses, status) {
				q.bad.Add(name, "%q is not how a test ends%s", clip(part, 30), oneOf(texts(testStatuses)))
			}
			all = append(all, status)
			if status == cyclone.TestFailed {
				all = append(all, cyclone.TestError)
			}
		}
	}
	return all
}

// merge adds the reports of an event's steps up, in the order of the stages.
func (s *Server) merge(ctx context.Context, id cyclone.EventID, files []cyclone.File) (*reportView, error) {
	view := &reportView{Failures: []cyclone.TestCase{}, Cases: []cyclone.TestCase{}}
	slices.SortStableFunc(files, func(a, b cyclone.File) int {
		return slices.Index(cyclone.Stages, a.Stage) - slices.Index(cyclone.Stages, b.Stage)
	})
	left := cyclone.Size(mostReports)
	for _, f := range files {
		if left -= f.Size; left < 0 {
			return nil, unprocessable("the test reports of this event are larger than " + cyclone.Size(mostReports).String() + " and cannot be shown together")
		}
		report, err := s.readReport(ctx, id, f.Path)
		if err != nil {
			return nil, err
		}
		view.add(report, f.CreatedAt)
	}
	return view, nil
}

func (v *reportView) add(r *cyclone.TestReport, at time.Time) {
	v.Total += r.Total
	v.Passed += r.Passed
	v.Failed += r.Failed
	v.Skipped += r.Skipped
	v.Seconds += r.Seconds
	v.Cases = append(v.Cases, r.Cases...)
	v.Failures = append(v.Failures, r.Failures...)
	v.Failures = v.Failures[:min(len(v.Failures), cyclone.MaxFailures)]
	if v.CreatedAt == nil || at.After(*v.CreatedAt) {
		v.CreatedAt = &at
	}
}

func (s *Server) readReport(ctx context.Context, id cyclone.EventID, path string) (*cyclone.TestReport, error) {
	_, content, err := s.Files.Open(ctx, id, cyclone.FileReport, path)
	if err != nil {
		return nil, fmt.Errorf("open report %s of event %s: %w", path, id, err)
	}
	defer func() { _ = content.Close() }() // it was only read
	var report cyclone.TestReport
	if err := json.NewDecoder(io.LimitReader(content, mostReports)).Decode(&report); err != nil {
		return nil, fmt.Errorf("read report %s of event %s: %w", path, id, err)
	}
	return &report, nil
}
