package fakeforge

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

func giteaRoutes() []route {
	paged := []string{"page", "limit"}
	search := append([]string{
		"q", "topic", "includeDesc", "uid", "priority_owner_id", "team_id", "starredBy", "private", "is_private",
		"template", "archived", "mode", "exclusive", "sort", "order",
	}, paged...)
	text := Shape{"body": {Type: "string", Required: true}}
	status := Shape{
		"state":      {Type: "string", OneOf: []string{"pending", "success", "error", "failure", "warning"}},
		"target_url": {Type: "string"}, "description": {Type: "string"}, "context": {Type: "string"},
	}
	const repo = "/repos/{owner}/{repo}"
	return []route{
		{method: "GET", pattern: "/user", do: (*Forge).giteaMe},
		{method: "GET", pattern: "/user/repos", query: paged, do: (*Forge).giteaOwn},
		{method: "GET", pattern: "/repos/search", query: search, open: true, do: (*Forge).giteaSearch},
		{method: "GET", pattern: repo, open: true, do: (*Forge).giteaRepo},
		{method: "POST", pattern: repo + "/statuses/{sha}", body: status, do: (*Forge).giteaStatus},
		{method: "GET", pattern: repo + "/issues/{number}/comments", query: []string{"since", "before"}, open: true, do: (*Forge).giteaComments},
		{method: "POST", pattern: repo + "/issues/{number}/comments", body: text, do: (*Forge).giteaComment},
		{method: "PATCH", pattern: repo + "/issues/comments/{id}", body: text, do: (*Forge).giteaEdit},
		{method: "GET", pattern: repo + "/compare/{basehead}", open: true, do: (*Forge).giteaCompare},
		{method: "GET", pattern: repo + "/pulls/{number}", open: true, do: (*Forge).giteaPull},
		{method: "GET", pattern: repo + "/pulls/{number}/files", query: append([]string{"skip-to", "whitespace"}, paged...), open: true, do: (*Forge).giteaFiles},
		{method: "GET", pattern: repo + "/collaborators/{collaborator}/permission", do: (*Forge).giteaPermission},
		{method: "GET", pattern: repo + "/hooks", query: paged, do: (*Forge).giteaHooks},
		{method: "POST", pattern: repo + "/hooks", body: giteaHookShape(true), do: (*Forge).giteaMakeHook},
		{method: "PATCH", pattern: repo + "/hooks/{id}", body: giteaHookShape(false), do: (*Forge).giteaMendHook},
		{method: "DELETE", pattern: repo + "/hooks/{id}", do: (*Forge).giteaRemoveHook},
		{method: "GET", pattern: repo + "/branches", query: paged, open: true, do: (*Forge).giteaBranches},
		{method: "GET", pattern: repo + "/tags", query: paged, open: true, do: (*Forge).giteaTags},
	}
}

func (f *Forge) giteaMe(r *Request) {
	if r.giteaScope("read:user", "write:user") {
		r.Answer(http.StatusOK, f.giteaUser(r.Token.Login))
	}
}

func (f *Forge) giteaRepo(r *Request) {
	if f.gitea(r, Read, "read:repository", "write:repository") {
		r.Answer(http.StatusOK, f.giteaRepository(r.Repo, r.Role))
	}
}

// giteaSearch finds what the caller may see; with uid only what that user owns
// or contributes to.
func (f *Forge) giteaSearch(r *Request) {
	if !r.giteaScope("read:repository", "write:repository") {
		return
	}
	q := r.URL.Query()
	uid, _ := strconv.Atoi(q.Get("uid")) // 0 is nobody's
	all := f.giteaFound(r, func(repo *Repository) bool {
		part := uid == 0 || slices.ContainsFunc(f.users, func(u *User) bool { return u.ID == uid && repo.Roles[u.Login] != None })
		return part && giteaNamed(repo.Name, q.Get("q"))
	})
	r.Answer(http.StatusOK, map[string]any{"ok": true, "data": all})
}

// giteaNamed reports whether a repository's name, without its owner's, has one
// of the keywords in it; a keyword with a slash is a part of both.
func giteaNamed(name, keywords string) bool {
	owner, name, _ := strings.Cut(strings.ToLower(name), "/")
	return keywords == "" || slices.ContainsFunc(strings.Split(strings.ToLower(keywords), ","), func(word string) bool {
		of, part, both := strings.Cut(word, "/")
		return strings.Contains(name, word) || both && strings.Contains(owner, of) && strings.Contains(name, part)
	})
}

// giteaOwn lists what the caller owns or contributes to.
func (f *Forge) giteaOwn(r *Request) {
	if r.giteaScope("read:user", "write:user") && r.giteaScope("read:repository", "write:repository") {
		r.Answer(http.StatusOK, f.giteaFound(r, func(repo *Repository) bool { return repo.Roles[r.Token.Login] != None }))
	}
}

// giteaFound is the page of the repositories that the caller may see and that
// are wanted.
func (f *Forge) giteaFound(r *Request, wanted func(*Repository) bool) []map[string]any {
	var found []map[string]any
	for _, repo := range f.repositories {
		role := None
		if r.Token != nil {
			role = repo.role(r.Token.Login)
		} else if !repo.Private {
			role = Read
		}
		if role != None && wanted(repo) {
			found = append(found, f.giteaRepository(repo, role))
		}
	}
	slices.SortFunc(found, func(a, b map[string]any) int {
		return strings.Compare(fmt.Sprint(a["full_name"]), fmt.Sprint(b["full_name"]))
	})
	return cutPage(r, found, "limit", 30, giteaPage)
}

func (f *Forge) giteaStatus(r *Request) {
	if !f.gitea(r, Write, "write:repository") {
		return
	}
	sha := r.Params["sha"]
	if !r.Repo.has(sha) {
		r.Refuse(http.StatusInternalServerError, "object does not exist [id: "+sha+", rel_path: ]")
		return
	}
	s := Status{
		ID: f.id(), SHA: sha, State: r.Text("state"), Context: r.Text("context"), URL: r.Text("target_url"), Text: r.Text("description"), By: r.Token.Login,
	}
	if u, err := url.Parse(s.URL); s.URL != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https") {
		r.Violate("target_url %q is no address", s.URL)
	}
	r.Repo.Statuses = append(r.Repo.Statuses, s)
	r.Answer(http.StatusCreated, map[string]any{"id": s.ID, "status": s.State, "context": s.Context, "description": s.Text, "target_url": s.URL})
}

func (f *Forge) giteaCommentBody(c Comment) map[string]any {
	return map[string]any{"id": c.ID, "body": c.Text, "user": f.giteaUser(c.Author), "assets": []any{}}
}

// giteaIssue finds the pull request of a call about its comments; one that is
// not there Gitea takes for its own failure.
func (f *Forge) giteaIssue(r *Request, scopes ...string) *PullRequest {
	if !f.gitea(r, Read, scopes...) {
		return nil
	}
	p := r.Repo.pull(r.Int("number"))
	if p == nil {
		r.Refuse(http.StatusInternalServerError, "")
	}
	return p
}

// giteaComments answers all at once: this list has no pages.
func (f *Forge) giteaComments(r *Request) {
	p := f.giteaIssue(r, "read:issue", "write:issue")
	if p == nil {
		return
	}
	all := []map[string]any{}
	for _, c := range r.Repo.Comments {
		if c.Number == p.Number {
			all = append(all, f.giteaCommentBody(c))
		}
	}
	r.SetHeader("X-Total-Count", fmt.Sprint(len(all)))
	r.Answer(http.StatusOK, all)
}

func (f *Forge) giteaComment(r *Request) {
	p := f.giteaIssue(r, "write:issue")
	if p == nil {
		return
	}
	c := Comment{ID: f.id(), Number: p.Number, Author: r.Token.Login, Text: r.Text("body")}
	r.Repo.Comments = append(r.Repo.Comments, c)
	r.Answer(http.StatusCreated, f.giteaCommentBody(c))
}

// giteaEdit lets those who may write change anybody's comment, as Gitea does.
func (f *Forge) giteaEdit(r *Request) {
	if !f.gitea(r, Read, "write:issue") {
		return
	}
	i := slices.IndexFunc(r.Repo.Comments, func(c Comment) bool { return c.ID == r.Int("id") })
	switch {
	case i < 0:
		r.Refuse(http.StatusNotFound, "comment does not exist")
	case r.Role < Write && !strings.EqualFold(r.Repo.Comments[i].Author, r.Token.Login):
		r.Answer(http.StatusForbidden, nil)
	default:
		r.Repo.Comments[i].Text = r.Text("body")
		r.Answer(http.StatusOK, f.giteaCommentBody(r.Repo.Comments[i]))
	}
}

// giteaCompare answers with the commits between two, each with its files, of
// which a renamed one was removed and added. Two commits lead from one to the
// other.
func (f *Forge) giteaCompare(r *Request) {
	if !f.gitea(r, Read, "read:repository", "write:repository") {
		return
	}
	before, after, ok := strings.Cut(r.Params["basehead"], "...")
	for _, c := range r.Repo.Compared {
		if !ok || c.Before != before || c.After != after {
			continue
		}
		base, between := c.Before, strings.Repeat("7", 40)
		if c.Diverged {
			base = strings.Repeat("8", 40) // where both come from
		}
		half := len(c.Files) / 2
		commits := []any{giteaCommit(after, between, c.Files[:half]), giteaCommit(between, base, c.Files[half:])}
		r.Answer(http.StatusOK, map[string]any{"total_commits": len(commits), "commits": commits})
		return
	}
	r.Refuse(http.StatusNotFound, "The target couldn't be found.")
}

func giteaCommit(sha, parent string, files []string) map[string]any {
	all := []any{}
	add := func(name, status string) { all = append(all, map[string]any{"filename": name, "status": status}) }
	for _, name := range files {
		if from, to, renamed := strings.Cut(name, " => "); renamed {
			add(from, "removed")
			add(to, "added")
			continue
		}
		add(name, "modified")
	}
	return map[string]any{"sha": sha, "parents": []any{map[string]any{"sha": parent}}, "files": all}
}

// giteaNumber finds the pull request of a call.
func (f *Forge) giteaNumber(r *Request) *PullRequest {
	if !f.gitea(r, Read, "read:repository", "write:repository") {
		return nil
	}
	p := r.Repo.pull(r.Int("number"))
	if p == nil {
		r.Refuse(http.StatusNotFound, "The target couldn't be found.")
	}
	return p
}

func (f *Forge) giteaPull(r *Request) {
	if p := f.giteaNumber(r); p != nil {
		r.Answer(http.StatusOK, f.giteaPullRequest(r.Repo, p))
	}
}

// giteaPullRequest is Gitea's description of a pull request.
func (f *Forge) giteaPullRequest(r *Repository, p *PullRequest) map[string]any {
	state := "open"
	if p.Closed {
		state = "closed"
	}
	base := f.giteaRepository(r, Read)
	head, from := any(base), r.ID
	if p.Fork {
		from = 1_000_000 + r.ID
		head = map[string]any{"id": from, "full_name": p.Author + "/fork"}
	}
	if p.ForkGone {
		head = nil
	}
	return map[string]any{
		"id": 5000 + p.Number, "number": p.Number, "title": p.Title, "state": state, "draft": p.Draft, "merged": false,
		"html_url": fmt.Sprintf("%s/%s/pulls/%d", f.URL, r.Name, p.Number), "user": f.giteaUser(p.Author),
		"head": map[string]any{"label": p.Source, "ref": p.Source, "sha": p.SHA, "repo_id": from, "repo": head},
		"base": map[string]any{"label": p.Target, "ref": p.Target, "sha": strings.Repeat("b", 40), "repo_id": r.ID, "repo": base},
	}
}

func (f *Forge) giteaFiles(r *Request) {
	if p := f.giteaNumber(r); p != nil {
		AnswerPage(r, giteaDiff(p.Files), "limit", 30, giteaPage)
	}
}

func giteaDiff(files []string) []map[string]any {
	all := []map[string]any{}
	for _, name := range files {
		one := map[string]any{"filename": name, "status": "changed", "additions": 1, "deletions": 1, "changes": 2}
		if from, to, renamed := strings.Cut(name, " => "); renamed {
			one["filename"], one["previous_filename"], one["status"] = to, from, "renamed"
		}
		all = append(all, one)
	}
	return all
}

func (f *Forge) giteaPermission(r *Request) {
	if !f.gitea(r, Read, "read:repository", "write:repository") {
		return
	}
	login := r.Params["collaborator"]
	if r.Role < Admin && !strings.EqualFold(login, r.Token.Login) {
		r.Refuse(http.StatusForbidden, "Only admins can query all permissions, repo admins can query all repo permissions, collaborators can query only their own")
		return
	}
	if f.findUser(login) == nil {
		r.Refuse(http.StatusNotFound, "user does not exist [uid: 0, name: "+login+"]")
		return
	}
	names := map[Role]string{None: "none", Read: "read", Triage: "read", Write: "write", Maintain: "write", Admin: "admin"}
	permission := names[r.Repo.role(login)]
	if strings.EqualFold(login, r.Params["owner"]) {
		permission = "owner"
	}
	r.Answer(http.StatusOK, map[string]any{"permission": permission, "role_name": permission, "user": f.giteaUser(login)})
}

func (f *Forge) giteaBranches(r *Request) {
	if !f.gitea(r, Read, "read:repository", "write:repository") {
		return
	}
	var all []map[string]any
	for _, one := range r.Repo.Branches {
		all = append(all, map[string]any{"name": one.Name, "protected": false, "commit": map[string]any{"id": one.SHA, "message": ""}})
	}
	AnswerPage(r, all, "limit", 30, giteaPage)
}

// giteaTags shows annotated tags, whose id is not that of the commit.
func (f *Forge) giteaTags(r *Request) {
	if !f.gitea(r, Read, "read:repository", "write:repository") {
		return
	}
	var all []map[string]any
	for _, one := range r.Repo.Tags {
		all = append(all, map[string]any{"name": one.Name, "id": strings.Repeat("9", 40), "commit": map[string]any{"sha": one.SHA}})
	}
	AnswerPage(r, all, "limit", 30, giteaPage)
}
