package fakeforge

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// What GitHub lists at most.
const (
	githubCompared  = 300
	githubPullFiles = 3000
)

func githubRoutes() []route {
	paged := []string{"per_page", "page"}
	hook := Shape{
		"active": {Type: "bool"}, "events": {Type: "strings", OneOf: []string{"push", "pull_request", "release", "issue_comment", "create", "delete", "ping", "*"}},
		"config": {Type: "object", Required: true, Object: Shape{
			"url": {Type: "string", Required: true}, "content_type": {Type: "string", OneOf: []string{"json", "form"}},
			"secret": {Type: "string"}, "insecure_ssl": {Type: "flag"},
		}},
	}
	made := Shape{"name": {Type: "string", OneOf: []string{"web"}}}
	for name, field := range hook {
		made[name] = field
	}
	text := Shape{"body": {Type: "string", Required: true, Max: 65536}}
	status := Shape{
		"state":      {Type: "string", Required: true, OneOf: []string{"error", "failure", "pending", "success"}},
		"target_url": {Type: "string"}, "description": {Type: "string", Max: 140}, "context": {Type: "string", Max: 255},
	}
	const repo = "/repos/{owner}/{repo}"
	return []route{
		{method: "GET", pattern: "/user", do: (*Forge).githubUser},
		{method: "GET", pattern: "/user/repos", query: append([]string{"visibility", "affiliation", "type", "sort", "direction"}, paged...), do: (*Forge).githubRepos},
		{method: "GET", pattern: repo, open: true, do: (*Forge).githubRepo},
		{method: "POST", pattern: repo + "/statuses/{sha}", body: status, do: (*Forge).githubStatus},
		{method: "GET", pattern: repo + "/issues/{number}/comments", query: append([]string{"since"}, paged...), open: true, do: (*Forge).githubComments},
		{method: "POST", pattern: repo + "/issues/{number}/comments", body: text, do: (*Forge).githubComment},
		{method: "PATCH", pattern: repo + "/issues/comments/{id}", body: text, do: (*Forge).githubEdit},
		{method: "GET", pattern: repo + "/compare/{basehead}", query: paged, open: true, do: (*Forge).githubCompare},
		{method: "GET", pattern: repo + "/pulls/{number}", open: true, do: (*Forge).githubPull},
		{method: "GET", pattern: repo + "/pulls/{number}/files", query: paged, open: true, do: (*Forge).githubFiles},
		{method: "GET", pattern: repo + "/collaborators/{username}/permission", do: (*Forge).githubPermission},
		{method: "GET", pattern: repo + "/hooks", query: paged, do: (*Forge).githubHooks},
		{method: "POST", pattern: repo + "/hooks", body: made, do: (*Forge).githubMakeHook},
		{method: "PATCH", pattern: repo + "/hooks/{id}", body: hook, do: (*Forge).githubMendHook},
		{method: "DELETE", pattern: repo + "/hooks/{id}", do: (*Forge).githubRemoveHook},
		{method: "GET", pattern: repo + "/branches", query: append([]string{"protected"}, paged...), open: true, do: (*Forge).githubBranches},
		{method: "GET", pattern: repo + "/tags", query: paged, open: true, do: (*Forge).githubTags},
	}
}

func (f *Forge) githubUser(r *Request) {
	tellScopes(r)
	if r.Token.App {
		r.Refuse(http.StatusForbidden, "Resource not accessible by integration")
		return
	}
	u := f.user(r.Token.Login)
	r.Answer(http.StatusOK, map[string]any{"login": u.Login, "id": u.ID, "type": "User"})
}

func (f *Forge) githubRepo(r *Request) {
	if f.github(r, Read) {
		tellScopes(r)
		r.Answer(http.StatusOK, f.githubRepository(r.Repo, r.Role))
	}
}

func (f *Forge) githubRepos(r *Request) {
	tellScopes(r)
	var all []map[string]any
	for _, repo := range f.repositories {
		if role := repo.role(r.Token.Login); role > Read || role == Read && repo.Private {
			all = append(all, f.githubRepository(repo, role))
		}
	}
	slices.SortFunc(all, func(a, b map[string]any) int {
		return strings.Compare(fmt.Sprint(a["full_name"]), fmt.Sprint(b["full_name"]))
	})
	AnswerPage(r, all, "per_page", 30, 100)
}

func (f *Forge) githubStatus(r *Request) {
	if !f.github(r, Write, "repo", "repo:status", "statuses:write") {
		return
	}
	sha := r.Params["sha"]
	if !r.Repo.has(sha) {
		r.Refuse(http.StatusUnprocessableEntity, "No commit found for SHA: "+sha)
		return
	}
	s := Status{
		ID: f.id(), SHA: sha, State: r.Text("state"), Context: r.Text("context"), URL: r.Text("target_url"), Text: r.Text("description"), By: r.Token.Login,
	}
	if u, err := url.Parse(s.URL); s.URL != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https") {
		r.Violate("target_url %q is no address", s.URL)
	}
	r.Repo.Statuses = append(r.Repo.Statuses, s)
	r.Answer(http.StatusCreated, map[string]any{"id": s.ID, "state": s.State, "context": s.Context, "description": s.Text, "target_url": s.URL})
}

func (f *Forge) githubCommentBody(c Comment) map[string]any {
	u := f.user(c.Author)
	kind := "User"
	if u.Bot {
		kind = "Bot"
	}
	return map[string]any{"id": c.ID, "body": c.Text, "user": map[string]any{"login": u.Login, "id": u.ID, "type": kind}}
}

// githubNumber finds the pull request of a call that needs a right.
func (f *Forge) githubNumber(r *Request, need Role, scopes ...string) *PullRequest {
	if !f.github(r, need, scopes...) {
		return nil
	}
	p := r.Repo.pull(r.Int("number"))
	if p == nil {
		r.Refuse(http.StatusNotFound, "Not Found")
	}
	return p
}

func (f *Forge) githubComments(r *Request) {
	p := f.githubNumber(r, Read, "repo", "pull_requests:read", "pull_requests:write")
	if p == nil {
		return
	}
	var all []map[string]any
	for _, c := range r.Repo.Comments {
		if c.Number == p.Number {
			all = append(all, f.githubCommentBody(c))
		}
	}
	AnswerPage(r, all, "per_page", 30, 100)
}

func (f *Forge) githubComment(r *Request) {
	p := f.githubNumber(r, Read, "repo", "pull_requests:write")
	if p == nil {
		return
	}
	c := Comment{ID: f.id(), Number: p.Number, Author: r.Token.Login, Text: r.Text("body")}
	r.Repo.Comments = append(r.Repo.Comments, c)
	r.Answer(http.StatusCreated, f.githubCommentBody(c))
}

// githubEdit lets those who may write change anybody's comment, as GitHub does.
func (f *Forge) githubEdit(r *Request) {
	if !f.github(r, Read, "repo", "pull_requests:write") {
		return
	}
	for i := range r.Repo.Comments {
		c := &r.Repo.Comments[i]
		if c.ID != r.Int("id") {
			continue
		}
		if r.Role < Write && !strings.EqualFold(c.Author, r.Token.Login) {
			r.Refuse(http.StatusForbidden, "Must have admin rights to Repository.")
			return
		}
		c.Text = r.Text("body")
		r.Answer(http.StatusOK, f.githubCommentBody(*c))
		return
	}
	r.Refuse(http.StatusNotFound, "Not Found")
}

func githubDiff(files []string) []map[string]any {
	all := []map[string]any{}
	for _, name := range files {
		one := map[string]any{"filename": name, "status": "modified", "patch": "@@ -1 +1 @@\n-a\n+b"}
		if from, to, renamed := strings.Cut(name, " => "); renamed {
			one["filename"], one["previous_filename"], one["status"] = to, from, "renamed"
		}
		all = append(all, one)
	}
	return all
}

func (f *Forge) githubCompare(r *Request) {
	if !f.github(r, Read, "repo", "contents:read") {
		return
	}
	before, after, ok := strings.Cut(r.Params["basehead"], "...")
	for _, c := range r.Repo.Compared {
		if !ok || c.Before != before || c.After != after {
			continue
		}
		status := "ahead"
		if c.Diverged {
			status = "diverged"
		}
		files := githubDiff(c.Files[:min(len(c.Files), githubCompared)])
		r.Answer(http.StatusOK, map[string]any{"status": status, "total_commits": 1, "commits": []any{map[string]any{"sha": after}}, "files": files})
		return
	}
	r.Refuse(http.StatusNotFound, "Not Found")
}

func (f *Forge) githubPull(r *Request) {
	if p := f.githubNumber(r, Read, "repo", "pull_requests:read", "pull_requests:write"); p != nil {
		r.Answer(http.StatusOK, f.githubPullRequest(r.Repo, p))
	}
}

// githubPullRequest is GitHub's description of a pull request.
func (f *Forge) githubPullRequest(r *Repository, p *PullRequest) map[string]any {
	state := "open"
	if p.Closed {
		state = "closed"
	}
	base := f.githubRepository(r, Read)
	head := any(base)
	if p.Fork {
		head = map[string]any{"id": 1_000_000 + r.ID, "full_name": p.Author + "/fork"}
	}
	if p.ForkGone {
		head = nil
	}
	return map[string]any{
		"id": 5000 + p.Number, "number": p.Number, "title": p.Title, "state": state, "draft": p.Draft, "merged": false,
		"html_url": fmt.Sprintf("%s/%s/pull/%d", f.URL, r.Name, p.Number), "user": map[string]any{"login": p.Author},
		"head": map[string]any{"ref": p.Source, "sha": p.SHA, "repo": head},
		"base": map[string]any{"ref": p.Target, "sha": strings.Repeat("b", 40), "repo": base},
	}
}

func (f *Forge) githubFiles(r *Request) {
	if p := f.githubNumber(r, Read, "repo", "pull_requests:read", "pull_requests:write"); p != nil {
		AnswerPage(r, githubDiff(p.Files[:min(len(p.Files), githubPullFiles)]), "per_page", 30, 100)
	}
}

func (f *Forge) githubPermission(r *Request) {
	if !f.github(r, Write) {
		return
	}
	u := f.findUser(r.Params["username"])
	if u == nil {
		r.Refuse(http.StatusNotFound, r.Params["username"]+" is not a user")
		return
	}
	role := r.Repo.role(u.Login)
	names := map[Role][2]string{
		None: {"none", ""}, Read: {"read", "read"}, Triage: {"read", "triage"},
		Write: {"write", "write"}, Maintain: {"write", "maintain"}, Admin: {"admin", "admin"},
	}
	r.Answer(http.StatusOK, map[string]any{"permission": names[role][0], "role_name": names[role][1], "user": map[string]any{"login": u.Login}})
}

func githubRefs(refs []Ref) []map[string]any {
	var all []map[string]any
	for _, one := range refs {
		all = append(all, map[string]any{"name": one.Name, "commit": map[string]any{"sha": one.SHA}})
	}
	return all
}

func (f *Forge) githubBranches(r *Request) {
	if f.github(r, Read, "repo", "contents:read") {
		AnswerPage(r, githubRefs(r.Repo.Branches), "per_page", 30, 100)
	}
}

func (f *Forge) githubTags(r *Request) {
	if f.github(r, Read, "repo", "contents:read") {
		AnswerPage(r, githubRefs(r.Repo.Tags), "per_page", 30, 100)
	}
}
