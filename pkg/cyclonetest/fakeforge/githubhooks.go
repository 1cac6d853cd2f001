package fakeforge

import (
	"net/http"
	"net/url"
	"slices"
)

// githubHook is what GitHub shows of a webhook: never its secret.
func githubHook(h Hook) map[string]any {
	config := map[string]any{"url": h.URL, "content_type": h.Type, "insecure_ssl": "0"}
	if h.Secret != "" {
		config["secret"] = "********"
	}
	if h.Insecure {
		config["insecure_ssl"] = "1"
	}
	return map[string]any{"type": "Repository", "id": h.ID, "name": "web", "active": h.Active, "events": h.Events, "config": config}
}

func (f *Forge) githubHooks(r *Request) {
	if !f.github(r, Admin, "repo", "admin:repo_hook", "write:repo_hook", "read:repo_hook", "repository_hooks:read", "repository_hooks:write") {
		return
	}
	var all []map[string]any
	for _, h := range r.Repo.Hooks {
		all = append(all, githubHook(h))
	}
	AnswerPage(r, all, "per_page", 30, 100)
}

// githubWrites checks a call that makes, changes or removes a webhook.
func (f *Forge) githubWrites(r *Request) bool {
	return f.github(r, Admin, "repo", "admin:repo_hook", "write:repo_hook", "repository_hooks:write")
}

// fill takes over what the body says of a webhook.
func (h *Hook) fill(r *Request) {
	config, _ := r.Body["config"].(map[string]any)
	text := func(key string) string { s, _ := config[key].(string); return s }
	h.URL, h.Secret, h.Type = text("url"), text("secret"), text("content_type")
	h.Insecure = config["insecure_ssl"] == "1" || config["insecure_ssl"] == 1.0
	if active, ok := r.Body["active"].(bool); ok {
		h.Active = active
	}
	if events, ok := r.Body["events"].([]any); ok {
		h.Events = nil
		for _, e := range events {
			if name, ok := e.(string); ok {
				h.Events = append(h.Events, name)
			}
		}
	}
}

func githubHookError(message string) any {
	return map[string]any{
		"message": "Validation Failed", "documentation_url": "https://docs.github.com/rest/webhooks/repos#create-a-repository-webhook",
		"errors": []any{map[string]any{"resource": "Hook", "code": "custom", "message": message}},
	}
}

func (f *Forge) githubMakeHook(r *Request) {
	if !f.githubWrites(r) {
		return
	}
	h := Hook{ID: f.id(), Active: true, Events: []string{"push"}}
	h.fill(r)
	u, err := url.Parse(h.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		r.Answer(http.StatusUnprocessableEntity, githubHookError("Sorry, the URL host is not supported"))
		return
	case slices.ContainsFunc(r.Repo.Hooks, func(other Hook) bool { return other.URL == h.URL && slices.Equal(other.Events, h.Events) }):
		r.Answer(http.StatusUnprocessableEntity, githubHookError("Hook already exists on this repository"))
		return
	}
	r.Repo.Hooks = append(r.Repo.Hooks, h)
	r.Answer(http.StatusCreated, githubHook(h))
}

// hook finds the webhook of a call; -1 after an answer.
func (r *Request) hook() int {
	i := slices.IndexFunc(r.Repo.Hooks, func(h Hook) bool { return h.ID == r.Int("id") })
	if i < 0 {
		r.Refuse(http.StatusNotFound, "Not Found")
	}
	return i
}

func (f *Forge) githubMendHook(r *Request) {
	if !f.githubWrites(r) {
		return
	}
	if i := r.hook(); i >= 0 {
		r.Repo.Hooks[i].fill(r)
		r.Answer(http.StatusOK, githubHook(r.Repo.Hooks[i]))
	}
}

func (f *Forge) githubRemoveHook(r *Request) {
	if !f.githubWrites(r) {
		return
	}
	if i := r.hook(); i >= 0 {
		r.Repo.Hooks = slices.Delete(r.Repo.Hooks, i, i+1)
		r.Answer(http.StatusNoContent, nil)
	}
}
