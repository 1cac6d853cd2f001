package fakeforge

import (
	"strings"
	"testing"
)

// gitlabDelivery begins a delivery about a repository: what it is, who did it
// and where.
func (f *Forge) gitlabDelivery(r *Repository, kind, login string) map[string]any {
	page := f.URL + "/" + r.Name
	urls := map[string]any{
		"id": r.ID, "name": r.Name[strings.LastIndex(r.Name, "/")+1:], "path_with_namespace": r.Name, "default_branch": r.DefaultBranch,
		"web_url": page, "homepage": page, "git_http_url": page + ".git", "http_url": page + ".git",
		"git_ssh_url": "git@" + strings.TrimPrefix(f.URL, "http://") + ":" + r.Name + ".git",
	}
	return map[string]any{
		"object_kind": kind, "event_type": kind, "project_id": r.ID, "project": urls, "repository": urls,
		"user": map[string]any{"username": login, "name": login, "email": "[REDACTED]"},
	}
}

func (f *Forge) gitlabCommit(r *Repository, sha, message string, files []string) map[string]any {
	return map[string]any{
		"id": sha, "message": message, "title": message, "timestamp": "2026-03-02T09:12:01+01:00",
		"url":    f.URL + "/" + r.Name + "/-/commit/" + sha,
		"author": map[string]any{"name": "Alice", "email": "alice@example.com"},
		"added":  []string{}, "removed": []string{}, "modified": append([]string{}, files...),
	}
}

// Push delivers a push of one commit to a branch.
func (g *GitLab) Push(t testing.TB, repository, branch, before, after, message string, files ...string) []Delivered {
	t.Helper()
	g.Change(repository, func(r *Repository) { r.push(branch, after) })
	r := g.Repository(repository)
	payload := g.gitlabDelivery(&r, "push", "alice")
	delete(payload, "user") // pushes name theirs at the top
	for name, value := range map[string]any{
		"event_name": "push", "ref": "refs/heads/" + branch, "before": before, "after": after, "checkout_sha": after,
		"user_username": "alice", "user_name": "Alice", "total_commits_count": 1, "commits": []any{g.gitlabCommit(&r, after, message, files)},
	} {
		payload[name] = value
	}
	return g.tell(t, repository, "push_events", payload)
}

// PullRequestEvent delivers what happened to a merge request: "open", "update"
// (with new commits), "reopen", "close", "merge". GitHub's words for these do
// too, for tests that are about all forges.
func (g *GitLab) PullRequestEvent(t testing.TB, repository string, number int, action string) []Delivered {
	t.Helper()
	r := g.Repository(repository)
	payload := g.gitlabDelivery(&r, "merge_request", "")
	if own, known := map[string]string{"opened": "open", "synchronize": "update", "reopened": "reopen", "closed": "close"}[action]; known {
		action = own
	}
	attributes, author := g.gitlabAttributes(t, &r, number)
	attributes["action"] = action
	if action == "update" {
		attributes["oldrev"] = strings.Repeat("b", 40)
	}
	payload["object_attributes"], payload["changes"] = attributes, map[string]any{}
	payload["user"] = map[string]any{"username": author, "name": author}
	return g.tell(t, repository, "merge_requests_events", payload)
}

// gitlabAttributes describe a merge request in a delivery.
func (g *GitLab) gitlabAttributes(t testing.TB, r *Repository, number int) (attributes map[string]any, author string) {
	t.Helper()
	p := r.pull(number)
	if p == nil {
		t.Fatalf("%s has no merge request %d", r.Name, number)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	attributes = g.gitlabRequest(r, p)
	for _, name := range []string{"sha", "web_url", "changes_count", "author"} {
		delete(attributes, name)
	}
	attributes["url"] = g.gitlabPage(r, number)
	attributes["last_commit"] = g.gitlabCommit(r, p.SHA, p.Title, nil)
	return attributes, p.Author
}

// Comment writes a note to a merge request, as a user does on its page, and
// delivers that.
func (g *GitLab) Comment(t testing.TB, repository string, number int, author, text string) []Delivered {
	t.Helper()
	var c Comment
	g.Change(repository, func(r *Repository) {
		c = Comment{ID: g.id(), Number: number, Author: author, Text: text}
		r.Comments = append(r.Comments, c)
		g.user(author)
	})
	r := g.Repository(repository)
	payload := g.gitlabDelivery(&r, "note", author)
	payload["merge_request"], _ = g.gitlabAttributes(t, &r, number)
	payload["object_attributes"] = map[string]any{
		"id": c.ID, "note": text, "noteable_type": "MergeRequest", "action": "create", "system": false, "internal": false, "project_id": r.ID,
	}
	return g.tell(t, repository, "note_events", payload)
}

// tell delivers to all webhooks, which must be sound addresses.
func (g *GitLab) tell(t testing.TB, repository, event string, payload any) []Delivered {
	t.Helper()
	all, err := g.Deliver(t.Context(), repository, event, payload)
	if err != nil {
		t.Fatal(err)
	}
	return all
}
