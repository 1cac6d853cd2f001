package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"cyclone/pkg/cyclone"
)

func eventID(r *http.Request) cyclone.EventID {
	return cyclone.EventID(mux.Vars(r)["event"])
}

// event finds the event of the address.
func (s *Server) event(r *http.Request) (*cyclone.Event, error) {
	e, err := s.Events.Find(r.Context(), eventID(r))
	if err != nil {
		return nil, notFound(err, "event %q does not exist", clip(string(eventID(r)), 60))
	}
	return e, nil
}

// eventWithLog finds the event of the address, whose log must still be kept:
// an empty answer would look as if it had printed nothing.
func (s *Server) eventWithLog(r *http.Request) (*cyclone.Event, error) {
	e, err := s.event(r)
	if err != nil {
		return nil, err
	}
	if e.LogRemovedAt != nil {
		return nil, logRemoved(e)
	}
	return e, nil
}

func logRemoved(e *cyclone.Event) error {
	return cyclone.NotFound("the log of event #%d was removed on %s by retention", e.Number, e.LogRemovedAt.UTC().Format(time.DateOnly))
}

// eventViews shows events as they are now: empty lists as [], and of those
// that are pending what they wait for, which is stored nowhere.
func (s *Server) eventViews(ctx context.Context, events []*cyclone.Event) []*cyclone.Event {
	views := make([]*cyclone.Event, len(events))
	var seen *queueView
	for i, e := range events {
		views[i] = noNullStages(e)
		if e.Status != cyclone.StatusPending || e.Reason != "" {
			continue
		}
		if seen == nil {
			seen = s.viewQueue(ctx)
		}
		views[i].Reason = seen.reason(ctx, e)
	}
	return views
}

// eventView is eventViews of one.
func (s *Server) eventView(r *http.Request, e *cyclone.Event) *cyclone.Event {
	return s.eventViews(r.Context(), []*cyclone.Event{e})[0]
}

func noNullStages(e *cyclone.Event) *cyclone.Event {
	view := *e
	if view.Stages == nil {
		view.Stages = []cyclone.StageState{}
	}
	if view.Deployments == nil {
		view.Deployments = []cyclone.Deployment{}
	}
	return &view
}

func (s *Server) listProjectEvents(w http.ResponseWriter, r *http.Request) error {
	p, err := s.project(r)
	if err != nil {
		return err
	}
	return s.writeEvents(w, r, p.Name)
}

func (s *Server) listEvents(w http.ResponseWriter, r *http.Request) error {
	return s.writeEvents(w, r, "")
}

func (s *Server) writeEvents(w http.ResponseWriter, r *http.Request, project cyclone.ProjectName) error {
	q := queryOf(r)
	query := cyclone.EventQuery{
		Project: project, Statuses: q.statuses("status"), Branch: q.values.Get("branch"), Kind: q.kind("kind"),
		Since: q.time("since"), Until: q.time("until"), Page: q.page(),
	}
	if err := q.bad.OrNil(); err != nil {
		return err
	}
	list, err := s.Events.List(r.Context(), query)
	if err != nil {
		return fmt.Errorf("list events: %w", err)
	}
	list.Items = s.eventViews(r.Context(), list.Items)
	return show(w, listOf(list))
}

func (s *Server) showEvent(w http.ResponseWriter, r *http.Request) error {
	e, err := s.event(r)
	if err != nil {
		return err
	}
	return show(w, s.eventView(r, e))
}

func (s *Server) startEvent(w http.ResponseWriter, r *http.Request) error {
	p, err := s.project(r)
	if err != nil {
		return err
	}
	var request cyclone.StartRequest
	err = allWrong(readOptionalJSON(w, r, &request), func() error { return checkStart(&request) })
	if err != nil {
		return err
	}
	request.Actor = actor(r)
	e, err := s.Trigger.Start(r.Context(), p, request)
	if err != nil {
		return err
	}
	return created(w, "/api/v1/events/"+string(e.ID), s.eventView(r, e))
}

// commitPattern is a hash of git or a revision of Subversion; which of them it
// must be the trigger knows.
var commitPattern = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64}|r[1-9][0-9]{0,18})$`)

// checkStart reports everything that is wrong with a manual event at once.
func checkStart(r *cyclone.StartRequest) error {
	var bad cyclone.InvalidError
	sources := 0
	for _, part := range []struct{ field, value string }{
		{"ref", r.Ref}, {"branch", r.Branch}, {"tag", r.Tag}, {"commit", r.Commit},
	} {
		if part.value == "" {
			continue
		}
		sources++
		if sources > 1 {
			bad.Add(part.field, "only one of ref, branch, tag and commit may be given")
		}
		if !validBranch(part.value) {
			bad.Add(part.field, "is not the name of a %s", part.field)
		}
	}
	if r.Commit != "" && !commitPattern.MatchString(r.Commit) {
		bad.Add("commit", "must be a commit's full hash: 40 (or 64) digits and letters from a to f; or a revision of Subversion: r42")
	}
	if r.Ref != "" && !strings.HasPrefix(r.Ref, "refs/") {
		bad.Add("ref", "must be written in full, such as refs/heads/main")
	}
	if r.Version != "" && cyclone.DockerTag(r.Version) != r.Version {
		bad.Add("version", "must be fit to be an image's tag: up to 128 letters, digits, '_', '.' and '-'")
	}
	checkStages("stages", r.Stages, &bad)
	checkEnvironment("variables", r.Variables, &bad)
	return bad.OrNil()
}

// cancelBody may say why.
type cancelBody struct {
	Reason string `json:"reason"`
}

func (s *Server) cancelEvent(w http.ResponseWriter, r *http.Request) error {
	var body cancelBody
	err := allWrong(readOptionalJSON(w, r, &body), func() error {
		var bad cyclone.InvalidError
		checkText("reason", body.Reason, 500, &bad)
		return bad.OrNil()
	})
	if err != nil {
		return err
	}
	if _, err := s.event(r); err != nil {
		return err
	}
	reason := "canceled by " + actor(r)
	if body.Reason != "" {
		reason += ": " + body.Reason
	}
	e, err := s.Progress.Cancel(r.Context(), eventID(r), reason)
	if err != nil {
		return err
	}
	return show(w, s.eventView(r, e))
}

// rerunBody may name the stage to begin with.
type rerunBody struct {
	From cyclone.Stage `json:"from"`
}

func (s *Server) rerunEvent(w http.ResponseWriter, r *http.Request) error {
	var body rerunBody
	err := allWrong(readOptionalJSON(w, r, &body), func() error {
		var bad cyclone.InvalidError
		if body.From != "" {
			checkOneOf("from", string(body.From), &bad, texts(cyclone.Stages)...)
		}
		return bad.OrNil()
	})
	if err != nil {
		return err
	}
	parent, err := s.event(r)
	if err != nil {
		return err
	}
	e, err := s.Trigger.Rerun(r.Context(), parent, actor(r), body.From)
	if err != nil {
		return err
	}
	return created(w, "/api/v1/events/"+string(e.ID), s.eventView(r, e))
}

func (s *Server) approveEvent(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.event(r); err != nil {
		return err
	}
	e, err := s.Progress.Approve(r.Context(), eventID(r), actor(r))
	if err != nil {
		return err
	}
	return show(w, s.eventView(r, e))
}
