package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/gorilla/mux"

	"cyclone/pkg/cyclone"
)

// lister lists what a project form offers.
type lister interface {
	Repositories(ctx context.Context, p *cyclone.Project, query string, page cyclone.Page) (cyclone.List[cyclone.RepositoryInfo], error)
	AccountRepositories(ctx context.Context, account, query string, page cyclone.Page) (cyclone.List[cyclone.RepositoryInfo], error)
	Branches(ctx context.Context, p *cyclone.Project, query string, page cyclone.Page) (cyclone.List[cyclone.RefInfo], error)
	Tags(ctx context.Context, p *cyclone.Project, query string, page cyclone.Page) (cyclone.List[cyclone.RefInfo], error)
}

// What lists of a forge can be asked for.
var (
	repositoriesQuery = []string{"project", "account", "query", "limit", "cursor"}
	refsQuery         = []string{"project", "query", "limit", "cursor"}
)

// maxListQuery is the most bytes of a part of a name.
const maxListQuery = 200

// listing is what a list of a forge was asked for.
type listing struct {
	forges  connector
	project *cyclone.Project // nil for an account's
	account string
	query   string
	page    cyclone.Page
}

// listing reads what the parameters ask for, and checks that the caller may
// use the credential behind them.
func (s *Server) listing(r *http.Request) (*listing, error) {
	forges, err := s.forges()
	if err != nil {
		return nil, err
	}
	q := queryOf(r)
	l := &listing{forges: forges, account: q.values.Get("account"), query: q.values.Get("query"), page: q.page()}
	project := q.values.Get("project")
	if len(l.query) > maxListQuery || hasControl(l.query) {
		q.bad.Add("query", "must be a part of a name of at most %d bytes", maxListQuery)
	}
	if (project == "") == (l.account == "") {
		q.bad.Add("project", "name the project or, for repositories, the account whose credential is to be used")
	}
	if err := q.bad.OrNil(); err != nil {
		return nil, err
	}
	scm := mux.Vars(r)["scm"]
	if project == "" {
		a, err := s.account(r, l.account)
		if err != nil {
			return nil, err
		}
		if a.SCM != scm {
			return nil, cyclone.Invalid("account", "is an account of %s, not of %s", a.SCM, clip(scm, 30))
		}
		l.account = a.ID
		return l, nil
	}
	if l.project, err = s.findProject(r.Context(), cyclone.ProjectName(project)); err != nil {
		return nil, err
	}
	if kind := l.project.Repository.Type; kind != scm {
		return nil, cyclone.Invalid("project", "has a repository of type %s, not %s", kind, clip(scm, 30))
	}
	return l, s.credentialThere(r, l.project)
}

// listProblem is repositoryProblem for lists, whose cursor may be wrong too.
func (l *listing) listProblem(err error) error {
	var invalid *cyclone.InvalidError
	if errors.As(err, &invalid) && len(invalid.Fields) > 0 && invalid.Fields[0].Field == "cursor" {
		return err
	}
	refused := errors.Is(err, cyclone.ErrForbidden) || errors.Is(err, cyclone.ErrNotFound) || errors.Is(err, cyclone.ErrInvalid)
	if l.project == nil && refused {
		return refuseField("account", err.Error())
	}
	return repositoryProblem(credentialField(&projectBody{Project: *l.project}), err)
}

func (s *Server) listRepositories(w http.ResponseWriter, r *http.Request) error {
	l, err := s.listing(r)
	if err != nil {
		return err
	}
	ctx, cancel := atForge(r)
	defer cancel()
	var found cyclone.List[cyclone.RepositoryInfo]
	if l.project != nil {
		found, err = l.forges.Repositories(ctx, l.project, l.query, l.page)
	} else {
		found, err = l.forges.AccountRepositories(ctx, l.account, l.query, l.page)
	}
	if err != nil {
		return l.listProblem(err)
	}
	return show(w, listOf(found))
}

func (s *Server) listBranches(w http.ResponseWriter, r *http.Request) error {
	return s.listRefs(w, r, connector.Branches)
}

func (s *Server) listTags(w http.ResponseWriter, r *http.Request) error {
	return s.listRefs(w, r, connector.Tags)
}

type refLister func(connector, context.Context, *cyclone.Project, string, cyclone.Page) (cyclone.List[cyclone.RefInfo], error)

func (s *Server) listRefs(w http.ResponseWriter, r *http.Request, list refLister) error {
	l, err := s.listing(r)
	if err != nil {
		return err
	}
	ctx, cancel := atForge(r)
	defer cancel()
	found, err := list(l.forges, ctx, l.project, l.query, l.page)
	if err != nil {
		return l.listProblem(err)
	}
	return show(w, listOf(found))
}

// account finds a connected account that the caller may use: their own, or any
// for an administrator. Of others' nobody learns that they are there.
func (s *Server) account(r *http.Request, id string) (*cyclone.Account, error) {
	forges, err := s.forges()
	if err != nil {
		return nil, err
	}
	a, err := forges.Account(r.Context(), id)
	if errors.Is(err, cyclone.ErrNotFound) {
		a, err = ownAccount(r, forges, id)
	}
	if err == nil && !mayUse(r, a) {
		err = cyclone.ErrNotFound
	}
	if err != nil {
		return nil, notFound(err, "there is no account %q that you connected", clip(id, 100))
	}
	return a, nil
}

// ownAccount finds an account by its short name, github/alice, when the caller
// has one alone of that name.
func ownAccount(r *http.Request, forges connector, name string) (*cyclone.Account, error) {
	all, err := forges.Accounts(r.Context())
	if err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	var found *cyclone.Account
	for _, a := range all {
		if !strings.EqualFold(a.SCM+"/"+a.Login, name) || !mayUse(r, &a) {
			continue
		}
		if found != nil {
			return nil, cyclone.Conflict("%q is the name of several accounts; give the id, which has the host in it", name)
		}
		found = &a
	}
	if found == nil {
		return nil, cyclone.ErrNotFound
	}
	return found, nil
}

func mayUse(r *http.Request, a *cyclone.Account) bool {
	who := identity(r)
	return who.Role == RoleAdmin || a.Owner == who.Name
}

// checkAccount lets a project name only an account that the caller may use; one
// that it had before stays.
func (s *Server) checkAccount(r *http.Request, old, p *cyclone.Project) error {
	if p.Repository.Account == "" || old != nil && old.Repository.Account == p.Repository.Account && old.Repository.URL == p.Repository.URL {
		return nil
	}
	forges, err := s.forges()
	if err != nil {
		return err
	}
	a, err := forges.AccountOf(r.Context(), p)
	if err == nil && !mayUse(r, a) {
		err = cyclone.ErrNotFound
	}
	if errors.Is(err, cyclone.ErrNotFound) {
		return cyclone.Invalid("repository.account", "is not an account that you connected; `cyclone scm accounts` shows yours")
	}
	return err
}

func (s *Server) listAccounts(w http.ResponseWriter, r *http.Request) error {
	forges, err := s.forges()
	if err != nil {
		return err
	}
	all, err := forges.Accounts(r.Context())
	if err != nil {
		return fmt.Errorf("list accounts: %w", err)
	}
	own := []cyclone.Account{}
	for _, a := range all {
		if mayUse(r, &a) {
			own = append(own, a)
		}
	}
	return writePage(w, r, own, func(a cyclone.Account) string { return a.ID })
}

func (s *Server) deleteAccount(w http.ResponseWriter, r *http.Request) error {
	a, err := s.account(r, mux.Vars(r)["account"])
	if err != nil {
		return err
	}
	if err := s.Connector.Forget(r.Context(), a.ID); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
