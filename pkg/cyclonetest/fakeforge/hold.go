package fakeforge

import (
	"maps"
	"slices"
	"strings"
)

// Role is what a user may do in a repository.
type Role int

// The roles, each with all that the ones before it may do.
const (
	None Role = iota
	Read
	Triage
	Write
	Maintain
	Admin
)

// User is a user of a forge.
type User struct {
	ID    int
	Login string
	Bot   bool
}

// Token is what a user calls the API with.
type Token struct {
	Value string
	Login string
	// Scopes are the forge's words for what the token may do; nil means all.
	Scopes []string
	// FineGrained says that it is one of GitHub's tokens with permissions
	// instead of scopes: "statuses:write".
	FineGrained bool
	// App says that it is an app's own, which has no user.
	App bool
	// Expired is set by Expire and Revoke.
	Expired bool
}

// Ref is a branch or a tag.
type Ref struct{ Name, SHA string }

// Comparison is what differs between two commits.
type Comparison struct {
	Before, After string
	// Diverged says that Before is no ancestor of After.
	Diverged bool
	Files    []string
}

// PullRequest is a pull (or merge) request.
type PullRequest struct {
	Number         int
	Title          string
	Source, Target string
	SHA            string
	Fork           bool // of a repository of the author's
	ForkGone       bool // which was deleted
	Closed, Draft  bool
	Author         string
	Files          []string
}

// Status is the status of a commit as it was set.
type Status struct {
	ID                                  int
	SHA, State, Context, URL, Ref, Text string
	By                                  string
}

// Comment is a comment of a pull request.
type Comment struct {
	ID, Number   int
	Author, Text string
}

// Hook is a webhook.
type Hook struct {
	ID          int
	URL, Secret string
	Events      []string
	Active      bool
	Insecure    bool
	// Type is the content type, or Gitea's type of hook.
	Type string
}

// Repository is a repository and all about it. Tests fill one in and read
// copies.
type Repository struct {
	ID            int
	Name          string // "acme/orders"; GitLab's groups may be nested
	Private       bool
	DefaultBranch string // empty means main
	Branches      []Ref
	Tags          []Ref
	Commits       []string // that are there; nil means any
	Compared      []Comparison
	PullRequests  []PullRequest
	Roles         map[string]Role // by login
	Statuses      []Status
	Comments      []Comment
	Hooks         []Hook
}

// AddUser makes a user; with a token, one that calls with it. No scopes means
// all of them.
func (f *Forge) AddUser(login, token string, scopes ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.user(login)
	if token != "" {
		f.tokens = append(f.tokens, &Token{Value: token, Login: login, Scopes: scopes})
	}
}

// AddToken makes a token, and its user if there is none.
func (f *Forge) AddToken(t Token) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.user(t.Login).Bot = t.App
	f.tokens = append(f.tokens, &t)
}

// Expire makes tokens of a user invalid.
func (f *Forge) Expire(login string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range f.tokens {
		if strings.EqualFold(t.Login, login) {
			t.Expired = true
		}
	}
}

// user is the one of that login, made if it must be; the lock is held.
func (f *Forge) user(login string) *User {
	if u := f.findUser(login); u != nil {
		return u
	}
	u := &User{ID: f.id(), Login: login}
	f.users = append(f.users, u)
	return u
}

func (f *Forge) findUser(login string) *User {
	for _, u := range f.users {
		if strings.EqualFold(u.Login, login) {
			return u
		}
	}
	return nil
}

// AddRepository makes a repository; users of its roles are made too.
func (f *Forge) AddRepository(r Repository) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r.ID = f.id()
	if r.DefaultBranch == "" {
		r.DefaultBranch = "main"
	}
	for login := range r.Roles {
		f.user(login)
	}
	for i := range r.Comments {
		r.Comments[i].ID = f.id()
		f.user(r.Comments[i].Author)
	}
	for i := range r.Hooks {
		r.Hooks[i].ID = f.id()
	}
	f.repositories = append(f.repositories, &r)
}

// Change changes a repository under the forge's lock.
func (f *Forge) Change(name string, change func(*Repository)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r := f.find(name); r != nil {
		change(r)
	}
}

// Repository is a copy of a repository; the zero value when there is none.
func (f *Forge) Repository(name string) Repository {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.find(name)
	if r == nil {
		return Repository{}
	}
	c := *r
	c.Statuses, c.Comments, c.Hooks = slices.Clone(r.Statuses), slices.Clone(r.Comments), slices.Clone(r.Hooks)
	c.Branches, c.Tags, c.Commits = slices.Clone(r.Branches), slices.Clone(r.Tags), slices.Clone(r.Commits)
	c.Compared, c.PullRequests, c.Roles = slices.Clone(r.Compared), slices.Clone(r.PullRequests), maps.Clone(r.Roles)
	return c
}

// find is the repository of that name; the lock is held.
func (f *Forge) find(name string) *Repository {
	for _, r := range f.repositories {
		if strings.EqualFold(r.Name, name) {
			return r
		}
	}
	return nil
}

// RepositoryURL is where the repository is cloned from.
func (f *Forge) RepositoryURL(name string) string { return f.URL + "/" + name + ".git" }

// role is what a user may do in r.
func (r *Repository) role(login string) Role {
	for name, role := range r.Roles {
		if strings.EqualFold(name, login) {
			return role
		}
	}
	if r.Private {
		return None
	}
	return Read
}

func (r *Repository) pull(number int) *PullRequest {
	for i := range r.PullRequests {
		if r.PullRequests[i].Number == number {
			return &r.PullRequests[i]
		}
	}
	return nil
}

func (r *Repository) has(sha string) bool { return r.Commits == nil || slices.Contains(r.Commits, sha) }
