package fakeforge

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
)

// giteaEvents are the names that Gitea knows. Others it takes, and does
// nothing for them; here they are refused.
func giteaEvents() []string {
	return append([]string{
		"push", "create", "delete", "fork", "release", "wiki", "repository", "pull_request_only",
		"issues", "issue_assign", "issue_label", "issue_milestone", "issue_comment",
	}, giteaPullEvents()...)
}

// giteaPullEvents are those that "pull_request" stands for.
func giteaPullEvents() []string {
	return []string{
		"pull_request", "pull_request_assign", "pull_request_label", "pull_request_milestone", "pull_request_comment",
		"pull_request_review", "pull_request_review_request", "pull_request_sync",
	}
}

// giteaHookShape is how a webhook is made or changed.
func giteaHookShape(making bool) Shape {
	s := Shape{
		"active": {Type: "bool"}, "events": {Type: "strings", OneOf: giteaEvents()},
		"branch_filter": {Type: "string"}, "authorization_header": {Type: "string"},
		"config": {Type: "object", Required: making, Object: Shape{
			"url": {Type: "string", Required: making}, "content_type": {Type: "string", Required: making, OneOf: []string{"json", "form"}},
			"secret": {Type: "string"},
		}},
	}
	if making {
		s["type"] = Field{Type: "string", Required: true, OneOf: []string{
			"dingtalk", "discord", "gitea", "gogs", "msteams", "slack", "telegram", "feishu", "wechatwork", "packagist",
		}}
	}
	return s
}

// giteaHook is what Gitea shows of a webhook: never its secret.
func giteaHook(h Hook) map[string]any {
	return map[string]any{
		"id": h.ID, "type": h.Type, "active": h.Active, "events": h.Events, "branch_filter": "", "authorization_header": "",
		"config": map[string]any{"url": h.URL, "content_type": "json"},
	}
}

// fillGitea takes over what the body says of a webhook. Events that it does not
// name are off.
func (h *Hook) fillGitea(r *Request) {
	config, _ := r.Body["config"].(map[string]any)
	take := func(into *string, key string) {
		if s, ok := config[key].(string); ok {
			*into = s
		}
	}
	take(&h.URL, "url")
	take(&h.Secret, "secret")
	if active, ok := r.Body["active"].(bool); ok {
		h.Active = active
	}
	h.Events = nil
	events, _ := r.Body["events"].([]any)
	for _, e := range events {
		switch name, _ := e.(string); name {
		case "pull_request":
			h.Events = append(h.Events, giteaPullEvents()...)
		case "pull_request_only":
			h.Events = append(h.Events, "pull_request")
		default:
			h.Events = append(h.Events, name)
		}
	}
	if events == nil {
		h.Events = []string{"push"}
	}
	slices.Sort(h.Events)
	h.Events = slices.Compact(h.Events)
}

func (f *Forge) giteaHooks(r *Request) {
	if !f.gitea(r, Admin, "read:repository", "write:repository") {
		return
	}
	var all []map[string]any
	for _, h := range r.Repo.Hooks {
		all = append(all, giteaHook(h))
	}
	AnswerPage(r, all, "limit", 30, giteaPage)
}

// giteaMakeHook makes a second webhook to the same address too.
func (f *Forge) giteaMakeHook(r *Request) {
	if !f.gitea(r, Admin, "write:repository") {
		return
	}
	h := Hook{ID: f.id(), Type: r.Text("type")}
	h.fillGitea(r)
	r.Repo.Hooks = append(r.Repo.Hooks, h)
	r.Answer(http.StatusCreated, giteaHook(h))
}

func (f *Forge) giteaMendHook(r *Request) {
	if !f.gitea(r, Admin, "write:repository") {
		return
	}
	if i := r.hook(); i >= 0 {
		r.Repo.Hooks[i].fillGitea(r)
		r.Answer(http.StatusOK, giteaHook(r.Repo.Hooks[i]))
	}
}

func (f *Forge) giteaRemoveHook(r *Request) {
	if !f.gitea(r, Admin, "write:repository") {
		return
	}
	if i := r.hook(); i >= 0 {
		r.Repo.Hooks = slices.Delete(r.Repo.Hooks, i, i+1)
		r.Answer(http.StatusNoContent, nil)
	}
}

// Push delivers a push of one commit to a branch.
func (g *Gitea) Push(t testing.TB, repository, branch, before, after, message string, files ...string) []Delivered {
	t.Helper()
	var by map[string]any
	g.Change(repository, func(r *Repository) {
		r.push(branch, after)
		by = g.giteaUser("alice")
	})
	r := g.Repository(repository)
	author := map[string]any{"name": "Alice", "email": "alice@example.com", "username": "alice"}
	commit := map[string]any{
		"id": after, "message": message + "\n", "url": g.URL + "/" + r.Name + "/commit/" + after, "timestamp": "2026-03-01T13:51:02Z",
		"author": author, "committer": author, "verification": nil,
		"added": []string{}, "removed": []string{}, "modified": append([]string{}, files...),
	}
	return g.tell(t, repository, "push", map[string]any{
		"ref": "refs/heads/" + branch, "before": before, "after": after, "compare_url": g.URL + "/" + r.Name + "/compare/" + before + "..." + after,
		"commits": []any{commit}, "total_commits": 1, "head_commit": commit,
		"repository": g.giteaRepository(&r, None), "pusher": by, "sender": by,
	})
}

// PullRequestEvent delivers what happened to a pull request: "opened",
// "synchronized", "closed". GitHub's "synchronize" does too, for tests that are
// about all forges.
func (g *Gitea) PullRequestEvent(t testing.TB, repository string, number int, action string) []Delivered {
	t.Helper()
	event := "pull_request"
	if action == "synchronize" || action == "synchronized" {
		event, action = "pull_request_sync", "synchronized"
	}
	var payload map[string]any
	g.Change(repository, func(r *Repository) {
		if p := r.pull(number); p != nil {
			payload = map[string]any{
				"action": action, "number": number, "pull_request": g.giteaPullRequest(r, p), "requested_reviewer": nil,
				"repository": g.giteaRepository(r, None), "sender": g.giteaUser(p.Author), "commit_id": "", "review": nil,
			}
		}
	})
	if payload == nil {
		t.Fatalf("%s has no pull request %d", repository, number)
	}
	return g.tell(t, repository, event, payload)
}

// Comment writes a comment to a pull request, as a user does on its page, and
// delivers that.
func (g *Gitea) Comment(t testing.TB, repository string, number int, author, text string) []Delivered {
	t.Helper()
	var payload map[string]any
	g.Change(repository, func(r *Repository) {
		p := r.pull(number)
		if p == nil {
			return
		}
		c := Comment{ID: g.id(), Number: number, Author: author, Text: text}
		r.Comments = append(r.Comments, c)
		page, state := fmt.Sprintf("%s/%s/pulls/%d", g.URL, r.Name, number), "open"
		if p.Closed {
			state = "closed"
		}
		said := g.giteaCommentBody(c)
		said["html_url"], said["pull_request_url"], said["issue_url"] = fmt.Sprintf("%s#issuecomment-%d", page, c.ID), page, ""
		payload = map[string]any{
			"action": "created", "is_pull": true, "comment": said,
			"issue": map[string]any{
				"id": 5000 + number, "number": number, "title": p.Title, "state": state, "user": g.giteaUser(p.Author), "html_url": page,
				"pull_request": map[string]any{"merged": false, "draft": p.Draft, "html_url": page},
			},
			"repository": g.giteaRepository(r, None), "sender": g.giteaUser(author),
		}
	})
	if payload == nil {
		t.Fatalf("%s has no pull request %d", repository, number)
	}
	return g.tell(t, repository, "pull_request_comment", payload)
}

// tell delivers to all webhooks, which must be sound addresses.
func (g *Gitea) tell(t testing.TB, repository, event string, payload any) []Delivered {
	t.Helper()
	all, err := g.Deliver(t.Context(), repository, event, payload)
	if err != nil {
		t.Fatal(err)
	}
	return all
}
