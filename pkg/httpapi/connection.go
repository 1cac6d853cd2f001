package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"cyclone/pkg/cyclone"
)

// forgeTimeout bounds what a request waits for a forge in all.
const forgeTimeout = 30 * time.Second

// partingTimeout bounds what is tried at a forge for a project that leaves it.
const partingTimeout = 10 * time.Second

// credentialSecret is the name of the secret in which a project's token is
// kept when repository.credential names none.
const credentialSecret = "repository"

// connector connects projects with their forges.
type connector interface {
	connections
	lister
	accounts
}

// connections checks, makes, shows and removes a project's connection.
type connections interface {
	// Check reads the repository with a token that is not stored yet, or with
	// the project's own credential, and stores nothing.
	Check(ctx context.Context, p *cyclone.Project, token string) (*cyclone.RepositoryInfo, error)
	Connect(ctx context.Context, p *cyclone.Project) (*cyclone.Connection, error)
	Connection(ctx context.Context, p *cyclone.Project) (*cyclone.Connection, error)
	Disconnect(ctx context.Context, p *cyclone.Project) error
}

// repositoryBody is a repository in requests and answers. The token is taken
// from requests and never leaves again.
type repositoryBody struct {
	cyclone.Repository
	Token string `json:"token,omitempty"`
}

// atForge gives a request the time that calls of a forge take.
func atForge(r *http.Request) (context.Context, context.CancelFunc) {
	takeTime(r)
	return context.WithTimeout(r.Context(), forgeTimeout)
}

// forges is the connector, or why there is none.
func (s *Server) forges() (connector, error) {
	if s.Connector == nil {
		return nil, cyclone.Unavailable("this server does not connect repositories")
	}
	return s.Connector, nil
}

// examine checks the repository with the credential of a request before
// anything is stored, and fills in the default branch that was left out.
func (s *Server) examine(r *http.Request, body *projectBody) error {
	forges, err := s.forges()
	if err != nil {
		return err
	}
	if body.Repository.Token == "" {
		if err := s.credentialThere(r, &body.Project); err != nil {
			return err
		}
	}
	ctx, cancel := atForge(r)
	defer cancel()
	info, err := forges.Check(ctx, &body.Project, body.Repository.Token)
	if err != nil {
		return repositoryProblem(credentialField(body), err)
	}
	if body.Repository.DefaultBranch == "" && validBranch(info.DefaultBranch) {
		body.Project.Repository.DefaultBranch = info.DefaultBranch
	}
	return nil
}

// credentialThere refuses a project that names a secret which it does not have.
func (s *Server) credentialThere(r *http.Request, p *cyclone.Project) error {
	name := p.Repository.Credential
	if name == "" {
		return nil
	}
	_, err := s.Secrets.Find(r.Context(), p.Name, name)
	if errors.Is(err, cyclone.ErrNotFound) {
		return refuseField("repository.credential", "the project has no secret "+name+": give a token, or store the secret")
	}
	if err != nil {
		return fmt.Errorf("find secret: %w", err)
	}
	return nil
}

// credentialField is the field of a request that says what to reach the
// repository with.
func credentialField(body *projectBody) string {
	switch {
	case body.Repository.Token != "":
		return "repository.token"
	case body.Project.Repository.Credential == "" && body.Project.Repository.Account != "":
		return "repository.account"
	}
	return "repository.credential"
}

// repositoryProblem turns what was found wrong at a forge into 422: the
// request itself is right, and 403 or 404 would be about us. The field is the
// one that holds the credential.
func repositoryProblem(field string, err error) error {
	var invalid *cyclone.InvalidError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return late(err)
	case errors.Is(err, cyclone.ErrUnavailable):
		return err
	case errors.As(err, &invalid) && len(invalid.Fields) > 0:
		if first := invalid.Fields[0]; first.Field == "repository.url" {
			return refuseField(first.Field, first.Message)
		}
		return refuseField(field, invalid.Fields[0].Message)
	case errors.Is(err, cyclone.ErrForbidden):
		return refuseField(field, err.Error())
	case errors.Is(err, cyclone.ErrNotFound), errors.Is(err, cyclone.ErrInvalid):
		return refuseField("repository.url", err.Error())
	}
	return err
}

// late is the error of what took longer than a request waits for a forge.
func late(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return cyclone.Unavailable("the forge did not answer within %s", cyclone.Duration(forgeTimeout))
	}
	return err
}

// attach stores the token that came with a project and connects the project,
// unless the request says not to. A connection that fails does not undo the
// project: its problems say what to do.
func (s *Server) attach(r *http.Request, body *projectBody) (*cyclone.Connection, error) {
	if body.Repository.Token != "" {
		if _, err := s.storeSecret(r.Context(), &cyclone.Secret{
			Project: body.Name, Name: body.Project.Repository.Credential, Masked: true,
		}, body.Repository.Token); err != nil {
			return nil, err
		}
	}
	if body.Connect != nil && !*body.Connect {
		return nil, nil
	}
	return s.connected(r, &body.Project), nil
}

// connected connects a project; what fails stands in the problems.
func (s *Server) connected(r *http.Request, p *cyclone.Project) *cyclone.Connection {
	ctx, cancel := atForge(r)
	defer cancel()
	made, err := s.Connector.Connect(ctx, p)
	if err == nil {
		return made
	}
	s.Log.WarnContext(ctx, "project could not be connected", "project", p.Name, "error", err)
	status, detail := describe(late(err))
	if status == http.StatusInternalServerError {
		detail.Message = "something went wrong here; the server's log has the rest"
	}
	return &cyclone.Connection{CheckedAt: cyclone.Stamp(time.Now()), Problems: []string{
		detail.Message + "; try again with `cyclone project connect " + string(p.Name) + "`"}}
}

// reattach connects a changed project anew where the change asks for that: a
// token came with it, or what the webhook was made of is another now. It
// answers with nothing when there is nothing to do.
func (s *Server) reattach(r *http.Request, old *cyclone.Project, body *projectBody) (*cyclone.Connection, error) {
	if s.Connector == nil {
		return nil, nil
	}
	moved := old.Repository.URL != body.Project.Repository.URL || old.Repository.Type != body.Project.Repository.Type
	_, err := s.Connector.Connection(r.Context(), old)
	if err != nil && !errors.Is(err, cyclone.ErrNotFound) {
		return nil, err
	}
	linked := err == nil
	if linked && moved {
		s.detach(r, old)
	}
	if body.Repository.Token != "" || linked && (moved || body.WebhookSecret != "") {
		return s.attach(r, body)
	}
	return nil, nil
}

// detach removes the webhook of a project that leaves its forge, as far as
// that goes: neither the forge nor a token that was revoked keeps it there.
func (s *Server) detach(r *http.Request, p *cyclone.Project) {
	if s.Connector == nil {
		return
	}
	takeTime(r)
	ctx, cancel := context.WithTimeout(r.Context(), partingTimeout)
	defer cancel()
	if err := s.Connector.Disconnect(ctx, p); err != nil && !errors.Is(err, cyclone.ErrNotFound) {
		s.Log.WarnContext(ctx, "webhook could not be removed; remove it at the forge", "project", p.Name, "error", err)
	}
}

func (s *Server) showConnection(w http.ResponseWriter, r *http.Request) error {
	forges, p, err := s.forgesOf(r)
	if err != nil {
		return err
	}
	made, err := forges.Connection(r.Context(), p)
	if err != nil {
		return err
	}
	return show(w, made)
}

// forgesOf is the connector and the project of the address.
func (s *Server) forgesOf(r *http.Request) (connector, *cyclone.Project, error) {
	p, err := s.project(r)
	if err != nil {
		return nil, nil, err
	}
	forges, err := s.forges()
	return forges, p, err
}

// connectionBody is what a connection may be asked for with.
type connectionBody struct {
	Token string `json:"token,omitempty"`
}

// connectProject connects a project or repairs its connection, with a new
// token where one is given.
func (s *Server) connectProject(w http.ResponseWriter, r *http.Request) error {
	var given connectionBody
	if err := readOptionalJSON(w, r, &given); err != nil {
		return err
	}
	forges, p, err := s.forgesOf(r)
	if err != nil {
		return err
	}
	if given.Token != "" {
		return s.connectWith(w, r, given.Token)
	}
	if err := s.credentialThere(r, p); err != nil {
		return err
	}
	ctx, cancel := atForge(r)
	defer cancel()
	made, err := forges.Connect(ctx, p)
	if err != nil {
		return repositoryProblem(credentialField(&projectBody{Project: *p}), err)
	}
	return show(w, made)
}

func (s *Server) connectWith(w http.ResponseWriter, r *http.Request, token string) error {
	old, body, err := s.replaced(r, func(p *cyclone.Project) (*projectBody, error) {
		return &projectBody{Project: *p, Repository: repositoryBody{p.Repository, token}}, nil
	})
	if err != nil {
		return err
	}
	made, err := s.reattach(r, old, body)
	if err != nil {
		return fmt.Errorf("connect project: %w", err)
	}
	return show(w, made)
}

func (s *Server) disconnectProject(w http.ResponseWriter, r *http.Request) error {
	forges, p, err := s.forgesOf(r)
	if err != nil {
		return err
	}
	if _, err := forges.Connection(r.Context(), p); err != nil {
		return err
	}
	ctx, cancel := atForge(r)
	defer cancel()
	if err := forges.Disconnect(ctx, p); err != nil {
		return repositoryProblem(credentialField(&projectBody{Project: *p}), err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
