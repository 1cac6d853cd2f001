package httpapi

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"cyclone/pkg/cyclone"
)

// projectBody is a project in requests and answers. WebhookURLs and the times
// are ours: what a request says of them is ignored, so that an answer can be
// edited and sent back.
//
// Repository hides the one of Project, which has no token: what a request says
// is taken over into it by complete.
type projectBody struct {
	cyclone.Project
	Repository repositoryBody `json:"repository"`
	// Connect set to false keeps a project with a token from being connected,
	// set to true has one without a token connected too. Only in requests.
	Connect *bool `json:"connect,omitempty"`
	// Connection is in answers to what connected the project.
	Connection *cyclone.Connection `json:"connection,omitempty"`
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
	view := projectBody{Project: *p, Repository: repositoryBody{Repository: p.Repository}, WebhookURLs: map[string]string{}}
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
	err := readJSON(w, r, &body)
	p := &body.Project
	err = allWrong(err, func() error { return s.complete(&body, actor(r)) })
	if err == nil {
		err = s.admissible(r, nil, &body)
	}
	if err != nil {
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
		return taken(p.Name)
	} else if err != nil {
		return fmt.Errorf("create project: %w", err)
	}
	connection, err := s.attachNew(r, &body)
	if err != nil {
		return err
	}
	view := s.projectView(p)
	view.WebhookSecret, view.Connection = made, connection
	return created(w, "/api/v1/projects/"+string(p.Name), view)
}

// admissible refuses what only a look at the forge or at other things can find
// wrong with a project. The repository is looked at when the request brings
// what to reach it with.
func (s *Server) admissible(r *http.Request, old *cyclone.Project, body *projectBody) error {
	p := &body.Project
	if err := possible(p); err != nil {
		return err
	}
	if err := s.checkAccount(r, old, p); err != nil {
		return err
	}
	if old == nil && body.wanted() {
		// Create would find this too, but the forge need not be asked then.
		if _, err := s.Projects.Find(r.Context(), p.Name); err == nil {
			return taken(p.Name)
		}
	}
	if body.Repository.Token != "" || old == nil && body.wanted() {
		return s.examine(r, body)
	}
	return nil
}

func taken(name cyclone.ProjectName) error {
	return cyclone.Conflict("project %q exists already", name)
}

// wanted reports whether a new project is to be connected at once: it brings
// what to reach its repository with, or asks for it.
func (b *projectBody) wanted() bool {
	return b.Repository.Token != "" || b.Repository.Account != "" || b.Connect != nil && *b.Connect
}

// attachNew connects a project that was just created. A project whose token
// cannot be stored does not stay.
func (s *Server) attachNew(r *http.Request, body *projectBody) (*cyclone.Connection, error) {
	if !body.wanted() {
		return nil, nil
	}
	connection, err := s.attach(r, body)
	if err != nil {
		undo := s.Projects.Delete(context.WithoutCancel(r.Context()), body.Name)
		return nil, errors.Join(err, undo)
	}
	return connection, nil
}

// newWebhookSecret makes the key that a forge signs its deliveries with.
func newWebhookSecret() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

func (s *Server) sealWebhookSecret(p *cyclone.Project, secret string) error {
	sealed, err := s.Sealer.Seal(p.WebhookPurpose(), []byte(secret))
	if err != nil {
		return fmt.Errorf("seal webhook secret: %w", err)
	}
	p.WebhookSecret = sealed
	return nil
}

// complete fills in what a request left out and reports everything that is
// wrong with the project then.
func (s *Server) complete(body *projectBody, owner string) error {
	body.Project.Repository = body.Repository.Repository
	if body.Repository.Token != "" {
		orElse(&body.Project.Repository.Credential, credentialSecret)
	}
	s.setDefaults(&body.Project, owner)
	var bad cyclone.InvalidError
	if len(body.Repository.Token) > maxSecret {
		bad.Add("repository.token", "must be at most %d bytes long", maxSecret)
	}
	if len(body.WebhookSecret) > 1024 {
		bad.Add("webhookSecret", "must be at most 1024 bytes long")
	}
	return allWrong(checkProject(&body.Project), bad.OrNil)
}

// setDefaults fills in what a request may leave out.
func (s *Server) setDefaults(p *cyclone.Project, owner string) {
	orElse(&p.Owner, owner)
	orElse(&p.Visibility, "private")
	orElse(&p.ConfigFile, "caicloud.yml")
	if p.Repository.Type == "svn" {
		orElse(&p.Repository.DefaultBranch, "trunk")
	}
	orElse(&p.Repository.DefaultBranch, "main")
	if p.Image == "" && cyclone.ValidName(string(p.Name)) {
		p.Image = imageName(p.Name)
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

// imageName is the project's name as images may be called: registries allow
// less between letters and digits than projects' names may have there.
func imageName(name cyclone.ProjectName) string {
	return separators.ReplaceAllStringFunc(string(name), func(run string) string {
		if len(run) == 1 || run == "__" || strings.Trim(run, "-") == "" {
			return run
		}
		return "-"
	})
}

var separators = regexp.MustCompile(`[._-]+`)

func orElse[T ~string](value *T, otherwise T) {
	if *value == "" {
		*value = otherwise
	}
}

func (s *Server) replaceProject(w http.ResponseWriter, r *http.Request) error {
	var body projectBody
	problems := readJSON(w, r, &body)
	return s.changeProject(w, r, func(*cyclone.Project) (*projectBody, error) {
		fresh := body // the change may be made again after a conflict
		return &fresh, problems
	})
}

func (s *Server) patchProject(w http.ResponseWriter, r *http.Request) error {
	patch, err := readPatch(w, r)
	if err != nil {
		return err
	}
	return s.changeProject(w, r, func(p *cyclone.Project) (*projectBody, error) {
		var body projectBody
		tree, err := patched(projectBody{Project: *p, Repository: repositoryBody{Repository: p.Repository}}, patch)
		if err != nil {
			return nil, err
		}
		return &body, decodeTree(tree, &body)
	})
}

// writeAttempts is how often a change is tried while others change the same thing.
const writeAttempts = 5

// changeProject replaces the project of the address by what change makes of
// it. An InvalidError of change does not end the search for what is wrong.
func (s *Server) changeProject(w http.ResponseWriter, r *http.Request,
	change func(*cyclone.Project) (*projectBody, error)) error {
	old, body, err := s.replaced(r, change)
	if err != nil {
		return err
	}
	connection, err := s.reattach(r, old, body)
	if err != nil {
		return fmt.Errorf("connect changed project: %w", err)
	}
	view := s.projectView(&body.Project)
	view.Connection = connection
	return show(w, view)
}

// replaced writes what change makes of the project of the address, and returns
// it with what it was before.
func (s *Server) replaced(r *http.Request, change func(*cyclone.Project) (*projectBody, error)) (*cyclone.Project, *projectBody, error) {
	for attempt := 1; ; attempt++ {
		old, err := s.project(r)
		if err != nil {
			return nil, nil, err
		}
		body, err := change(old)
		if err := allWrong(err, func() error { return s.succeed(old, body) }); err != nil {
			return nil, nil, err
		}
		if err := s.admissible(r, old, body); err != nil {
			return nil, nil, err
		}
		err = s.Projects.Replace(r.Context(), &body.Project)
		if err == nil {
			return old, body, nil
		}
		if !errors.Is(err, cyclone.ErrConflict) || attempt == writeAttempts {
			return nil, nil, fmt.Errorf("save project: %w", err)
		}
	}
}

// succeed makes body the successor of old: checked, with what a request
// cannot change taken over.
func (s *Server) succeed(old *cyclone.Project, body *projectBody) error {
	p := &body.Project
	orElse(&p.Name, old.Name)
	var bad cyclone.InvalidError
	if p.Name != old.Name {
		bad.Add("name", "cannot be changed")
	}
	if err := allWrong(bad.OrNil(), func() error { return s.complete(body, old.Owner) }); err != nil {
		return err
	}
	p.CreatedAt, p.UpdatedAt = old.CreatedAt, cyclone.Stamp(time.Now())
	p.Revision, p.WebhookSecret, p.CacheEpoch = old.Revision, old.WebhookSecret, old.CacheEpoch
	if body.WebhookSecret == "" {
		return nil
	}
	return s.sealWebhookSecret(p, body.WebhookSecret)
}
