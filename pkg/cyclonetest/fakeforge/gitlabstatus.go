package fakeforge

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// gitlabStatus sets a status as GitLab's machine of states lets it: what waits
// or runs is changed, of what is over another one is made.
func (f *Forge) gitlabStatus(r *Request) {
	if !f.gitlab(r, Write) {
		return
	}
	s := Status{
		SHA: r.Params["sha"], State: r.Text("state"), Context: r.Text("name"), URL: r.Text("target_url"),
		Ref: r.Text("ref"), Text: r.Text("description"), By: r.Token.Login,
	}
	if s.Context == "" {
		s.Context = r.Text("context")
	}
	if !r.Repo.has(s.SHA) {
		r.Refuse(http.StatusNotFound, "404 Commit Not Found")
		return
	}
	if s.Ref == "" {
		i := slices.IndexFunc(r.Repo.Branches, func(b Ref) bool { return b.SHA == s.SHA })
		if i < 0 {
			r.Refuse(http.StatusNotFound, "404 References for commit Not Found")
			return
		}
		s.Ref = r.Repo.Branches[i].Name
	}
	if strings.HasPrefix(s.Ref, "refs/heads/") || strings.HasPrefix(s.Ref, "refs/tags/") {
		r.Violate("ref %q is not the name of a branch or tag", s.Ref)
	}
	if u, err := url.Parse(s.URL); s.URL != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https") {
		r.Answer(http.StatusBadRequest, map[string]any{"message": map[string]any{"target_url": []string{"is blocked: Only allowed schemes are http, https"}}})
		return
	}
	f.gitlabMove(r, s)
}

// gitlabMove moves the job that s is about on.
func (f *Forge) gitlabMove(r *Request, s Status) {
	i := slices.IndexFunc(r.Repo.Statuses, func(old Status) bool {
		return old.SHA == s.SHA && old.Ref == s.Ref && old.Context == s.Context && old.By == s.By && (old.State == "pending" || old.State == "running")
	})
	from := "created"
	if i >= 0 {
		from = r.Repo.Statuses[i].State
	}
	verb, refused := "", false
	switch s.State {
	case "pending":
		verb, refused = "enqueue", from != "created"
	case "running":
		verb, refused = "run", from == "running"
	case "skipped":
		verb, refused = "skip", from == "running"
	}
	if refused {
		r.Refuse(http.StatusBadRequest, fmt.Sprintf("Cannot transition status via :%s from :%s (Reason(s): Status cannot transition via \"%s\")", verb, from, verb))
		return
	}
	if i >= 0 {
		s.ID = r.Repo.Statuses[i].ID
		r.Repo.Statuses[i] = s
	} else {
		s.ID = f.id()
		r.Repo.Statuses = append(r.Repo.Statuses, s)
	}
	r.Answer(http.StatusCreated, map[string]any{
		"id": s.ID, "sha": s.SHA, "ref": s.Ref, "status": s.State, "name": s.Context, "target_url": s.URL, "description": s.Text, "allow_failure": false,
	})
}
