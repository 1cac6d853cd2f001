package fakeforge

import (
	"fmt"
	"strings"
	"testing"
)

// Push delivers a push of one commit to a branch.
func (g *GitHub) Push(t testing.TB, repository, branch, before, after, message string, files ...string) []Delivered {
	t.Helper()
	g.Change(repository, func(r *Repository) { r.push(branch, after) })
	r := g.Repository(repository)
	commit := map[string]any{
		"id": after, "message": message, "url": g.URL + "/" + r.Name + "/commit/" + after,
		"author": map[string]any{"name": "Alice", "email": "alice@example.com", "username": "alice"},
		"added":  []string{}, "removed": []string{}, "modified": append([]string{}, files...),
	}
	return g.tell(t, repository, "push", map[string]any{
		"ref": "refs/heads/" + branch, "before": before, "after": after,
		"created": strings.Trim(before, "0") == "", "deleted": false, "forced": false,
		"commits": []any{commit}, "head_commit": commit, "repository": g.githubRepository(&r, Read),
		"pusher": map[string]any{"name": "alice"}, "sender": map[string]any{"login": "alice"},
	})
}

// PullRequestEvent delivers what happened to a pull request: "opened",
// "synchronize", "closed".
func (g *GitHub) PullRequestEvent(t testing.TB, repository string, number int, action string) []Delivered {
	t.Helper()
	r := g.Repository(repository)
	p := r.pull(number)
	if p == nil {
		t.Fatalf("%s has no pull request %d", repository, number)
	}
	return g.tell(t, repository, "pull_request", map[string]any{
		"action": action, "number": number, "pull_request": g.githubPullRequest(&r, p),
		"repository": g.githubRepository(&r, Read), "sender": map[string]any{"login": p.Author},
	})
}

// Comment writes a comment to a pull request, as a user does on its page, and
// delivers that.
func (g *GitHub) Comment(t testing.TB, repository string, number int, author, text string) []Delivered {
	t.Helper()
	var c Comment
	g.Change(repository, func(r *Repository) {
		c = Comment{ID: g.id(), Number: number, Author: author, Text: text}
		r.Comments = append(r.Comments, c)
		g.user(author)
	})
	r := g.Repository(repository)
	p := r.pull(number)
	if p == nil {
		t.Fatalf("%s has no pull request %d", repository, number)
	}
	association := "NONE"
	if r.role(author) >= Write {
		association = "COLLABORATOR"
	}
	page := fmt.Sprintf("%s/%s/pull/%d", g.URL, r.Name, number)
	return g.tell(t, repository, "issue_comment", map[string]any{
		"action": "created",
		"issue": map[string]any{
			"number": number, "title": p.Title, "state": "open", "user": map[string]any{"login": p.Author},
			"html_url": page, "pull_request": map[string]any{"html_url": page},
		},
		"comment": map[string]any{
			"id": c.ID, "body": text, "user": map[string]any{"login": author, "type": "User"}, "author_association": association,
			"html_url": fmt.Sprintf("%s#issuecomment-%d", page, c.ID),
		},
		"repository": g.githubRepository(&r, Read), "sender": map[string]any{"login": author, "type": "User"},
	})
}

// tell delivers to all webhooks, which must be sound addresses.
func (g *GitHub) tell(t testing.TB, repository, event string, payload any) []Delivered {
	t.Helper()
	all, err := g.Deliver(t.Context(), repository, event, payload)
	if err != nil {
		t.Fatal(err)
	}
	return all
}
