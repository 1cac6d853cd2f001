package httpapi

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gorilla/mux"

	"cyclone/pkg/cyclone"
)

// projectBody is a project in requests and answers. WebhookURLs and the times
// are ours: what a request says of them is ignored, so that an answer can be
// edited and sent back.
type projectBody struct {
	cyclone.Project
	// WebhookSecret is taken from requests. Answers hold it once: in the
	// answer to the creation, when it was made here.
	WebhookSecret string            `json:"webhookSecret,omitempty"`
	WebhookURLs   map[string]string `json:"webhookUrls"`
}

func projectName(r *http.Request) cyclone.ProjectName {
	return cyclone.ProjectName(mux.Vars(r)["project"])
}

// project finds the project of the address.
func (s *Server) project(r *http.Request) (*cyclone.Project, error) {
	return s.findProject(r.Context(), projectName(r))
}

func (s *Server) findProject(ctx context.Context, name cyclone.ProjectName) (*cyclone.Project, error) {
	p, err := s.Projects.Find(ctx, name)
	if err != nil {
		return nil, notFound(err, "project %q does not exist", clip(string(name), 60))
	}
	return p, nil
}

func (s *Server) projectView(p *cyclone.Project) projectBody {
	view := projectBody{Project: *p, WebhookURLs: map[string]string{}}
	if view.Variables == nil {
		view.Variables = map[string]string{}
	}
	for scm := range s.Forges {
		// A project of a known forge has one address; the deliveries of a
		// plain git repository may come from any forge.
		if _, own := s.Forges[p.Repository.Type]; !own || scm == p.Repository.Type {
			view.WebhookURLs[scm] = s.ExternalURL + "/api/v1/hooks/" + scm + "/" + string(p.Name)
		}
	}
	return view
}

func (s *Server) listProjects(w http.ResponseWriter, r *http.Request) error {
	q := queryOf(r)
	page := q.page()
	if err := q.bad.OrNil(); err != nil {
		return err
	}
	list, err := s.Projects.List(r.Context(), page)
	if err != nil {
		return fmt.Errorf("list projects: %w", err)
	}
	views := cyclone.List[projectBody]{Items: []projectBody{}, Next: list.Next, Total: list.Total}
	for _, p := range list.Items {
		views.Items = append(views.Items, s.projectView(p))
	}
	return show(w, views)
}

func (s *Server) showProject(w http.ResponseWriter, r *http.Request) error {
	p, err := s.project(r)
	if err != nil {
		return err
	}
	return show(w, s.projectView(p))
}

func (s *Server) createProject(w http.ResponseWriter, r *http.Request) error {
	var body projectBody
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	p := &body.Project
	s.setDefaults(p, actor(r))
	if err := checkProject(p); err != nil {
		return err
	}
	secret, made := body.WebhookSecret, ""
	if secret == "" {
		made = newWebhookSecret()
		secret = made
	}
	if err := s.sealWebhookSecret(p, secret); err != nil {
		return err
	}
	p.CreatedAt = cyclone.Stamp(time.Now())
	p.UpdatedAt, p.Revision = p.CreatedAt, 0
	if err := s.Projects.Create(r.Context(), p); errors.Is(err, cyclone.ErrConflict) {
		return cyclone.Conflict("project %q exists already", p.Name)
	} else if err != nil {
		return fmt.Errorf("create project: %w", err)
	}
	view := s.projectView(p)
	view.WebhookSecret = made
	return created(w, "/api/v1/projects/"+string(p.Name), view)
}

// newWebhookSecret makes the key that a forge signs its deliveries with.
func newWebhookSecret() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

func (s *Server) sealWebhookSecret(p *cyclone.Project, secret string) error {
	if len(secret) > 1024 {
		return cyclone.Invalid("webhookSecret", "must be at most 1024 bytes long")
	}
	sealed, err := s.Sealer.Seal(p.WebhookPurpose(), []byte(secret))
	if err != nil {
		return fmt.Errorf("seal webhook secret: %w", err)
	}
	p.WebhookSecret = sealed
	return nil
}

// setDefaults fills in what a request may leave out.
func (s *Server) setDefaults(p *cyclone.Project, owner string) {
	orElse(&p.Owner, owner)
	orElse(&p.Visibility, "private")
	orElse(&p.ConfigFile, "caicloud.yml")
	orElse(&p.Repository.DefaultBranch, "main")
	if p.Image == "" && p.Name != "" {
		p.Image = string(p.Name)
		if s.Registry != "" {
			p.Image = s.Registry + "/" + p.Image
		}
	}
	if p.Variables == nil {
		p.Variables = map[string]string{}
	}
	if pr := p.Triggers.PullRequest; pr != nil {
		orElse(&pr.Approval, "forks")
	}
	if mail := p.Notifications.Email; mail != nil {
		orElse(&mail.When, cyclone.WhenAlways)
	}
	for i := range p.Notifications.Webhooks {
		orElse(&p.Notifications.Webhooks[i].When, cyclone.WhenAlways)
	}
}

func orElse[T ~string](value *T, otherwise T) {
	if *value == "" {
		*value = otherwise
	}
}

func (s *Server) replaceProject(w http.ResponseWriter, r *http.Request) error {
	var body projectBody
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	return s.changeProject(w, r, func(*cyclone.Project) (*projectBody, error) {
		fresh := body // the change may be made again after a conflict
		return &fresh, nil
	})
}

func (s *Server) patchProject(w http.ResponseWriter, r *http.Request) error {
	patch, err := readPatch(w, r)
	if err != nil {
		return err
	}
	return s.changeProject(w, r, func(p *cyclone.Project) (*projectBody, error) {
		tree, err := patched(projectBody{Project: *p}, patch)
		if err != nil {
			return nil, err
		}
		var body projectBody
		return &body, decodeTree(tree, &body)
	})
}

// writeAttempts is how often a change is tried while others change the same thing.
const writeAttempts = 5

// changeProject replaces the project of the address by what change makes of it.
func (s *Server) changeProject(w http.ResponseWriter, r *http.Request,
	change func(*cyclone.Project) (*projectBody, error)) error {
	for attempt := 1; ; attempt++ {
		old, err := s.project(r)
		if err != nil {
			return err
		}
		body, err := change(old)
		if err != nil {
			return err
		}
		if err := s.succeed(old, body); err != nil {
			return err
		}
		err = s.Projects.Replace(r.Context(), &body.Project)
		if err == nil {
			return show(w, s.projectView(&body.Project))
		}
		if !errors.Is(err, cyclone.ErrConflict) || attempt == writeAttempts {
			return fmt.Errorf("save project: %w", err)
		}
	}
}

// succeed makes body the successor of old: checked, with what a request
// cannot change taken over.
func (s *Server) succeed(old *cyclone.Project, body *projectBody) error {
	p := &body.Project
	orElse(&p.Name, old.Name)
	if p.Name != old.Name {
		return cyclone.Invalid("name", "cannot be changed")
	}
	s.setDefaults(p, old.Owner)
	if err := checkProject(p); err != nil {
		return err
	}
	p.CreatedAt, p.UpdatedAt = old.CreatedAt, cyclone.Stamp(time.Now())
	p.Revision, p.WebhookSecret = old.Revision, old.WebhookSecret
	if body.WebhookSecret == "" {
		return nil
	}
	return s.sealWebhookSecret(p, body.WebhookSecret)
}

// deleteProject ends the project's events before anything is removed, so that
// no worker goes on for a project that is gone.
func (s *Server) deleteProject(w http.ResponseWriter, r *http.Request) error {
	p, err := s.project(r)
	if err != nil {
		return err
	}
	if err := s.cancelAll(r.Context(), p.Name, "project deleted by "+actor(r)); err != nil {
		return err
	}
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
