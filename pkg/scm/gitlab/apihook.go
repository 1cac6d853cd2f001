package gitlab

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/rest"
)

// maxHookPages is how many pages of a project's webhooks are read: GitLab
// allows 100 of them, unless its administrator allows more.
const maxHookPages = 5

// webhook is a webhook as GitLab lists it; its token is never told.
type webhook struct {
	ID  int64  `json:"id"`
	URL string `json:"url"`
	// Alert is "executable" of one that works, "temporarily_disabled" or
	// "disabled" of one that was not answered well; older ones do not say.
	Alert string `json:"alert_status"`
}

// dead says that GitLab does not call the webhook, for up to a day or for good.
// Only a delivery by hand brings it back to life, which would start an event
// here.
func (h webhook) dead() bool { return h.Alert == "disabled" || h.Alert == "temporarily_disabled" }

// wantedHook is what GitLab is told to make.
type wantedHook struct {
	URL           string `json:"url"`
	Token         string `json:"token"`
	Push          bool   `json:"push_events"`
	TagPush       bool   `json:"tag_push_events"`
	MergeRequests bool   `json:"merge_requests_events"`
	Notes         bool   `json:"note_events"`
	Releases      bool   `json:"releases_events"`
	// Branches is emptied: what it leaves out would never reach us.
	Branches string `json:"push_events_branch_filter"`
	Verify   bool   `json:"enable_ssl_verification"`
}

// PutHook makes the webhook that leads to spec.URL, or mends the one that is
// there: what the token is cannot be read, so that it is always written. More
// than one are made one, and one that GitLab turned off is made anew.
func (g *API) PutHook(ctx context.Context, a cyclone.ForgeAccess, spec cyclone.HookSpec) (string, error) {
	c, at, err := g.project(a)
	if err != nil {
		return "", fmt.Errorf("make webhook: %w", err)
	}
	id, err := putHook(ctx, c, at, spec)
	if err != nil {
		return "", fmt.Errorf("make webhook: %w", err)
	}
	return strconv.FormatInt(id, 10), nil
}

func putHook(ctx context.Context, c *rest.Client, at place, spec cyclone.HookSpec) (int64, error) {
	there, err := hooksTo(ctx, c, at, spec.URL)
	if err != nil {
		return 0, err
	}
	var alive, dead []webhook
	for _, h := range there {
		if h.dead() {
			dead = append(dead, h)
		} else {
			alive = append(alive, h)
		}
	}
	if len(alive) == 0 {
		made, err := tellHook(ctx, c, spec, rest.Call{Method: http.MethodPost, Path: at.below("hooks")})
		if err != nil {
			return 0, err
		}
		if err := removeHooks(ctx, c, at, dead); err != nil {
			return 0, err
		}
		return alone(ctx, c, at, made, spec.URL)
	}
	id, err := tellHook(ctx, c, spec, rest.Call{Method: http.MethodPut, Path: at.hook(alive[0])})
	if err != nil {
		return 0, err
	}
	return id, removeHooks(ctx, c, at, append(alive[1:], dead...))
}

// alone makes one of what two servers made at the same time: GitLab takes any
// number that lead to one address. The first stays.
func alone(ctx context.Context, c *rest.Client, at place, made int64, url string) (int64, error) {
	there, err := hooksTo(ctx, c, at, url)
	if err != nil || len(there) == 0 {
		return made, err
	}
	first := there[0]
	for _, h := range there[1:] {
		if h.ID < first.ID {
			first = h
		}
	}
	if first.ID == made {
		return made, nil // whoever made another one removes that
	}
	return first.ID, removeHooks(ctx, c, at, []webhook{{ID: made}})
}

func (p place) hook(h webhook) string { return p.below("hooks", strconv.FormatInt(h.ID, 10)) }

// tellHook makes or changes a webhook and returns its id.
func tellHook(ctx context.Context, c *rest.Client, spec cyclone.HookSpec, call rest.Call) (int64, error) {
	var made webhook
	call.Body = wantedHook{
		URL: spec.URL, Token: spec.Secret, Push: true, TagPush: true, MergeRequests: true, Notes: true, Releases: true, Verify: !spec.Insecure,
	}
	call.Into, call.Need, call.Hide = &made, needHooks, []string{spec.Secret}
	if _, err := c.Do(ctx, call); err != nil {
		return 0, err
	}
	if made.ID == 0 {
		return 0, cyclone.Unavailable("GitLab does not say which webhook it made")
	}
	return made.ID, nil
}

// hooksTo are the project's webhooks that lead to an address.
func hooksTo(ctx context.Context, c *rest.Client, at place, url string) ([]webhook, error) {
	all, _, err := rest.All(maxHookPages, func(p rest.Place) ([]webhook, *rest.Answer, error) {
		var some []webhook
		answer, err := c.Do(ctx, rest.Call{Path: at.below("hooks"), Query: p.Query("per_page"), Into: &some, Need: needHooks})
		return some, answer, err
	})
	var those []webhook
	for _, h := range all {
		if h.URL == url {
			those = append(those, h)
		}
	}
	return those, err
}

// RemoveHook removes every webhook that leads to the address.
func (g *API) RemoveHook(ctx context.Context, a cyclone.ForgeAccess, url string) error {
	c, at, err := g.project(a)
	if err != nil {
		return fmt.Errorf("remove webhook: %w", err)
	}
	there, err := hooksTo(ctx, c, at, url)
	if err != nil {
		return fmt.Errorf("remove webhook: %w", err)
	}
	return wrap("remove webhook", removeHooks(ctx, c, at, there))
}

func removeHooks(ctx context.Context, c *rest.Client, at place, those []webhook) error {
	for _, h := range those {
		_, err := c.Do(ctx, rest.Call{Method: http.MethodDelete, Path: at.hook(h), Need: needHooks})
		if err != nil && !errors.Is(err, cyclone.ErrNotFound) { // gone meanwhile
			return err
		}
	}
	return nil
}
