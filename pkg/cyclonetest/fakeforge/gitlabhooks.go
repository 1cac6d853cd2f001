package fakeforge

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
)

// gitlabHook is what GitLab shows of a webhook: never its secret. One that is
// not active is one that failed too often.
func gitlabHook(h Hook) map[string]any {
	described := map[string]any{"id": h.ID, "url": h.URL, "enable_ssl_verification": !h.Insecure, "alert_status": "executable", "disabled_until": nil}
	if !h.Active {
		described["alert_status"] = "disabled"
	}
	for event := range gitlabEvents() {
		described[event] = slices.Contains(h.Events, event)
	}
	return described
}

func (f *Forge) gitlabHooks(r *Request) {
	if !f.gitlab(r, Maintain) {
		return
	}
	var all []map[string]any
	for _, h := range r.Repo.Hooks {
		all = append(all, gitlabHook(h))
	}
	AnswerPage(r, all, "per_page", 20, 100)
}

// fillGitLab takes over what the body says of a webhook, or refuses the call.
// What it does not say stays.
func (h *Hook) fillGitLab(r *Request) bool {
	u, err := url.Parse(r.Text("url"))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		r.Refuse(http.StatusUnprocessableEntity, "Invalid url given")
		return false
	}
	h.URL = r.Text("url")
	if _, told := r.Body["token"]; told {
		h.Secret = r.Text("token")
	}
	if verify, told := r.Body["enable_ssl_verification"].(bool); told {
		h.Insecure = !verify
	}
	for _, event := range slices.Sorted(maps.Keys(gitlabEvents())) {
		on, told := r.Body[event].(bool)
		if told {
			h.Events = slices.DeleteFunc(slices.Clone(h.Events), func(e string) bool { return e == event })
		}
		if on {
			h.Events = append(h.Events, event)
		}
	}
	return true
}

// gitlabMakeHook makes a webhook, also when there is one like it.
func (f *Forge) gitlabMakeHook(r *Request) {
	if !f.gitlab(r, Maintain) {
		return
	}
	h := Hook{ID: f.id(), Active: true, Events: []string{"push_events"}}
	if h.fillGitLab(r) {
		r.Repo.Hooks = append(r.Repo.Hooks, h)
		r.Answer(http.StatusCreated, gitlabHook(h))
	}
}

// gitlabHookOf finds the webhook of a call; -1 after an answer.
func (f *Forge) gitlabHookOf(r *Request) int {
	if !f.gitlab(r, Maintain) {
		return -1
	}
	i := slices.IndexFunc(r.Repo.Hooks, func(h Hook) bool { return h.ID == r.Int("hook") })
	if i < 0 {
		r.Refuse(http.StatusNotFound, "404 Not found")
	}
	return i
}

// gitlabMendHook changes a webhook, which turns none on again.
func (f *Forge) gitlabMendHook(r *Request) {
	if i := f.gitlabHookOf(r); i >= 0 && r.Repo.Hooks[i].fillGitLab(r) {
		r.Answer(http.StatusOK, gitlabHook(r.Repo.Hooks[i]))
	}
}

func (f *Forge) gitlabRemoveHook(r *Request) {
	if i := f.gitlabHookOf(r); i >= 0 {
		r.Repo.Hooks = slices.Delete(r.Repo.Hooks, i, i+1)
		r.Answer(http.StatusNoContent, nil)
	}
}
