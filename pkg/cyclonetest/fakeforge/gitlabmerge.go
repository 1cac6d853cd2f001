package fakeforge

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// gitlabPull finds the merge request of a call that needs a role.
func (f *Forge) gitlabPull(r *Request, need Role) *PullRequest {
	if !f.gitlab(r, need) {
		return nil
	}
	p := r.Repo.pull(r.Int("iid"))
	if p == nil {
		r.Refuse(http.StatusNotFound, "404 Not found")
	}
	return p
}

// gitlabRequest is GitLab's description of a merge request, in answers and, but
// for a few fields, in deliveries.
func (f *Forge) gitlabRequest(r *Repository, p *PullRequest) map[string]any {
	state := "opened"
	if p.Closed {
		state = "closed"
	}
	source := any(r.ID)
	if p.Fork {
		source = 1_000_000 + r.ID
	}
	if p.ForkGone {
		source = nil
	}
	count := fmt.Sprint(len(p.Files))
	if len(p.Files) > gitlabListed {
		count = fmt.Sprintf("%d+", gitlabListed)
	}
	return map[string]any{
		"id": 5000 + p.Number, "iid": p.Number, "title": p.Title, "state": state, "draft": p.Draft, "work_in_progress": p.Draft,
		"source_branch": p.Source, "target_branch": p.Target, "source_project_id": source, "target_project_id": r.ID, "project_id": r.ID,
		"sha": p.SHA, "changes_count": count, "web_url": f.gitlabPage(r, p.Number), "author": f.gitlabUser(f.user(p.Author)),
	}
}

func (f *Forge) gitlabPage(r *Repository, number int) string {
	return fmt.Sprintf("%s/%s/-/merge_requests/%d", f.URL, r.Name, number)
}

func (f *Forge) gitlabMerge(r *Request) {
	if p := f.gitlabPull(r, Read); p != nil {
		r.Answer(http.StatusOK, f.gitlabRequest(r.Repo, p))
	}
}

func (f *Forge) gitlabDiffs(r *Request) {
	if p := f.gitlabPull(r, Read); p != nil {
		AnswerPage(r, gitlabDiff(p.Files[:min(len(p.Files), gitlabListed)]), "per_page", 20, 100)
	}
}

func (f *Forge) gitlabChanges(r *Request) {
	if p := f.gitlabPull(r, Read); p != nil {
		described := f.gitlabRequest(r.Repo, p)
		described["changes"], described["overflow"] = gitlabDiff(p.Files[:min(len(p.Files), gitlabListed)]), len(p.Files) > gitlabListed
		r.Answer(http.StatusOK, described)
	}
}

func (f *Forge) gitlabNoteBody(c Comment) map[string]any {
	return map[string]any{
		"id": c.ID, "body": c.Text, "system": false, "noteable_type": "MergeRequest", "noteable_iid": c.Number, "author": f.gitlabUser(f.user(c.Author)),
	}
}

// gitlabNotes lists the newest first unless asked otherwise.
func (f *Forge) gitlabNotes(r *Request) {
	p := f.gitlabPull(r, Read)
	if p == nil {
		return
	}
	var all []map[string]any
	for _, c := range r.Repo.Comments {
		if c.Number == p.Number {
			all = append(all, f.gitlabNoteBody(c))
		}
	}
	if r.URL.Query().Get("sort") != "asc" {
		slices.Reverse(all)
	}
	AnswerPage(r, all, "per_page", 20, 100)
}

func (f *Forge) gitlabNote(r *Request) {
	p := f.gitlabPull(r, Read)
	if p == nil {
		return
	}
	c := Comment{ID: f.id(), Number: p.Number, Author: r.Token.Login, Text: r.Text("body")}
	r.Repo.Comments = append(r.Repo.Comments, c)
	r.Answer(http.StatusCreated, f.gitlabNoteBody(c))
}

// gitlabEdit lets maintainers change anybody's note, as GitLab does.
func (f *Forge) gitlabEdit(r *Request) {
	p := f.gitlabPull(r, Read)
	if p == nil {
		return
	}
	i := slices.IndexFunc(r.Repo.Comments, func(c Comment) bool { return c.ID == r.Int("note") && c.Number == p.Number })
	switch {
	case i < 0:
		r.Refuse(http.StatusNotFound, "404 Note Not Found")
	case r.Role < Maintain && !strings.EqualFold(r.Repo.Comments[i].Author, r.Token.Login):
		r.Refuse(http.StatusForbidden, "403 Forbidden")
	default:
		r.Repo.Comments[i].Text = r.Text("body")
		r.Answer(http.StatusOK, f.gitlabNoteBody(r.Repo.Comments[i]))
	}
}
