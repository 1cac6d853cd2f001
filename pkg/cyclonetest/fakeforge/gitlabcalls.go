package fakeforge

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

func gitlabRoutes() []route {
	paged := func(more ...string) []string { return append([]string{"per_page", "page"}, more...) }
	text := Shape{"body": {Type: "string", Required: true, Max: 1_000_000}}
	status := Shape{
		"state": {Type: "string", Required: true, OneOf: []string{"pending", "running", "success", "failed", "canceled", "skipped"}},
		"ref":   {Type: "string", Max: 255}, "name": {Type: "string", Max: 255}, "context": {Type: "string", Max: 255},
		"target_url": {Type: "string", Max: 255}, "description": {Type: "string", Max: 255},
		"coverage": {Type: "number"}, "pipeline_id": {Type: "number"},
	}
	hook := Shape{
		"url": {Type: "string", Required: true}, "token": {Type: "string"}, "name": {Type: "string"},
		"enable_ssl_verification": {Type: "bool"}, "push_events_branch_filter": {Type: "string"},
	}
	for event := range gitlabEvents() {
		hook[event] = Field{Type: "bool"}
	}
	const id, mr = "/projects/{id}", "/projects/{id}/merge_requests/{iid}"
	projects := paged("membership", "search", "search_namespaces", "simple", "order_by", "sort", "archived", "min_access_level")
	return []route{
		{method: "GET", pattern: "/user", do: (*Forge).gitlabSelf},
		{method: "GET", pattern: "/users", query: paged("username"), do: (*Forge).gitlabUsers},
		{method: "GET", pattern: "/personal_access_tokens/self", do: (*Forge).gitlabOwnToken},
		{method: "GET", pattern: "/projects", query: projects, open: true, do: (*Forge).gitlabProjects},
		{method: "GET", pattern: id, open: true, do: (*Forge).gitlabProjectCall},
		{method: "GET", pattern: id + "/members/all/{user}", do: (*Forge).gitlabMember},
		{method: "POST", pattern: id + "/statuses/{sha}", body: status, do: (*Forge).gitlabStatus},
		{method: "GET", pattern: id + "/repository/compare", query: []string{"from", "to", "straight", "from_project_id"}, open: true, do: (*Forge).gitlabCompare},
		{method: "GET", pattern: id + "/repository/branches", query: paged("search"), open: true, do: (*Forge).gitlabBranches},
		{method: "GET", pattern: id + "/repository/tags", query: paged("search", "order_by", "sort"), open: true, do: (*Forge).gitlabTags},
		{method: "GET", pattern: mr, open: true, do: (*Forge).gitlabMerge},
		{method: "GET", pattern: mr + "/diffs", query: paged(), open: true, do: (*Forge).gitlabDiffs},
		{method: "GET", pattern: mr + "/changes", query: []string{"access_raw_diffs"}, open: true, do: (*Forge).gitlabChanges},
		{method: "GET", pattern: mr + "/notes", query: paged("sort", "order_by"), open: true, do: (*Forge).gitlabNotes},
		{method: "POST", pattern: mr + "/notes", body: text, do: (*Forge).gitlabNote},
		{method: "PUT", pattern: mr + "/notes/{note}", body: text, do: (*Forge).gitlabEdit},
		{method: "GET", pattern: id + "/hooks", query: paged(), do: (*Forge).gitlabHooks},
		{method: "POST", pattern: id + "/hooks", body: hook, do: (*Forge).gitlabMakeHook},
		{method: "PUT", pattern: id + "/hooks/{hook}", body: hook, do: (*Forge).gitlabMendHook},
		{method: "DELETE", pattern: id + "/hooks/{hook}", do: (*Forge).gitlabRemoveHook},
	}
}

// gitlabSelf is the one call that a token with no other scope than read_user
// may make.
func (f *Forge) gitlabSelf(r *Request) {
	if r.Token.allows([]string{"read_user"}) || f.gitlabScope(r) {
		r.Answer(http.StatusOK, f.gitlabUser(f.user(r.Token.Login)))
	}
}

func (f *Forge) gitlabUsers(r *Request) {
	if !f.gitlabScope(r) {
		return
	}
	name := r.URL.Query().Get("username")
	if name == "" {
		r.Violate("lists all users")
	}
	var all []map[string]any
	if u := f.findUser(name); u != nil {
		all = append(all, f.gitlabUser(u))
	}
	AnswerPage(r, all, "per_page", 20, 100)
}

func (f *Forge) gitlabOwnToken(r *Request) {
	if strings.HasPrefix(r.Token.Value, "oauth-") {
		r.Refuse(http.StatusBadRequest, "This endpoint requires token type to be a personal access token")
		return
	}
	scopes := r.Token.Scopes
	if scopes == nil {
		scopes = []string{"api"}
	}
	r.Answer(http.StatusOK, map[string]any{"id": 1, "active": true, "revoked": false, "scopes": scopes, "user_id": f.user(r.Token.Login).ID})
}

func (f *Forge) gitlabProjects(r *Request) {
	if !f.gitlabScope(r) {
		return
	}
	q, login := r.URL.Query(), ""
	if r.Token != nil {
		login = r.Token.Login
	}
	var all []*Repository
	for _, repo := range f.repositories {
		if _, member := repo.member(login); member || q.Get("membership") != "true" && !repo.Private {
			all = append(all, repo)
		}
	}
	if query := q.Get("search"); query != "" && len([]rune(query)) < 3 {
		all = slices.DeleteFunc(all, func(repo *Repository) bool { return !strings.HasSuffix("/"+repo.Name, "/"+query) }) // whole names only
	} else {
		all = gitlabSearch(all, query, func(repo *Repository) string { return repo.Name })
	}
	slices.SortFunc(all, func(a, b *Repository) int { return strings.Compare(a.Name, b.Name) })
	described := make([]map[string]any, len(all))
	for i, repo := range all {
		described[i] = f.gitlabProject(repo, login)
	}
	AnswerPage(r, described, "per_page", 20, 100)
}

func (f *Forge) gitlabProjectCall(r *Request) {
	if !f.gitlab(r, Read) {
		return
	}
	login := ""
	if r.Token != nil {
		login = r.Token.Login
	}
	r.Answer(http.StatusOK, f.gitlabProject(r.Repo, login))
}

func (f *Forge) gitlabMember(r *Request) {
	if !f.gitlab(r, Read) {
		return
	}
	for _, u := range f.users {
		if role, member := r.Repo.member(u.Login); u.ID == r.Int("user") && member {
			described := f.gitlabUser(u)
			described["access_level"], described["membership_state"] = gitlabLevel(role), "active"
			r.Answer(http.StatusOK, described)
			return
		}
	}
	r.Refuse(http.StatusNotFound, "404 Not found")
}

func (f *Forge) gitlabCompare(r *Request) {
	if !f.gitlab(r, Read) {
		return
	}
	q := r.URL.Query()
	for _, c := range r.Repo.Compared {
		if c.Before != q.Get("from") || c.After != q.Get("to") {
			continue
		}
		if c.Diverged && q.Get("straight") != "true" {
			r.Violate("asks what differs from where the two commits parted")
		}
		files := c.Files[:min(len(c.Files), gitlabListed)]
		r.Answer(http.StatusOK, map[string]any{
			"commit": map[string]any{"id": c.After}, "commits": []any{map[string]any{"id": c.After}}, "diffs": gitlabDiff(files),
			"compare_timeout": len(files) < len(c.Files), "compare_same_ref": false,
		})
		return
	}
	r.Refuse(http.StatusNotFound, "404 Ref Not Found")
}

// gitlabListed is how many changed files GitLab lists unless its administrator
// says otherwise.
const gitlabListed = 1000

func gitlabDiff(files []string) []map[string]any {
	all := []map[string]any{}
	for _, name := range files {
		from, to, renamed := strings.Cut(name, " => ")
		if !renamed {
			to = from
		}
		all = append(all, map[string]any{
			"old_path": from, "new_path": to, "a_mode": "100644", "b_mode": "100644", "diff": "@@ -1 +1 @@\n-a\n+b",
			"new_file": false, "renamed_file": renamed, "deleted_file": false, "collapsed": false, "too_large": false,
		})
	}
	return all
}

func gitlabRefs(refs []Ref, query string) []map[string]any {
	var all []map[string]any
	for _, one := range refs {
		all = append(all, map[string]any{"name": one.Name, "commit": map[string]any{"id": one.SHA}, "protected": false})
	}
	return gitlabSearch(all, query, func(one map[string]any) string { return fmt.Sprint(one["name"]) })
}

func (f *Forge) gitlabBranches(r *Request) {
	if f.gitlab(r, Read) {
		AnswerPage(r, gitlabRefs(r.Repo.Branches, r.URL.Query().Get("search")), "per_page", 20, 100)
	}
}

func (f *Forge) gitlabTags(r *Request) {
	if f.gitlab(r, Read) {
		AnswerPage(r, gitlabRefs(r.Repo.Tags, r.URL.Query().Get("search")), "per_page", 20, 100)
	}
}
