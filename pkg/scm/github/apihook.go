package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/rest"
)

// maxHookPages is how many pages of a repository's webhooks are read: GitHub
// allows 20 of an event.
const maxHookPages = 5

// hookEvents are what a webhook tells us.
func hookEvents() []string { return []string{"push", "pull_request", "release", "issue_comment"} }

// webhook is a webhook as GitHub lists it, and as it is told to make one.
type webhook struct {
	ID     int64      `json:"id,omitempty"`
	Name   string     `json:"name,omitempty"`
	Active bool       `json:"active"`
	Events []string   `json:"events"`
	Config hookConfig `json:"config"`
}

type hookConfig struct {
	URL         string `json:"url"`
	ContentType string `json:"content_type"`
	Secret      string `json:"secret,omitempty"`
	// InsecureSSL is "0" or "1"; GitHub has been seen to answer with a number.
	InsecureSSL any `json:"insecure_ssl"`
}

// PutHook makes the webhook that leads to spec.URL, or mends the one that is
// there: what the secret is cannot be read, so that it is always written. More
// than one are made one.
func (g *API) PutHook(ctx context.Context, a cyclone.ForgeAccess, spec cyclone.HookSpec) (string, error) {
	c, at, err := g.forge(a)
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
	if len(there) == 0 {
		id, err := tellHook(ctx, c, spec, rest.Call{Method: http.MethodPost, Path: at.path("hooks")})
		if !errors.Is(err, cyclone.ErrInvalid) {
			return id, err
		}
		// Maybe somebody else made it since, which GitHub calls invalid.
		if there, _ = hooksTo(ctx, c, at, spec.URL); len(there) == 0 {
			return 0, err
		}
	}
	id, err := tellHook(ctx, c, spec, rest.Call{Method: http.MethodPatch, Path: at.hook(there[0])})
	if err != nil {
		return 0, err
	}
	return id, removeHooks(ctx, c, at, there[1:])
}

func (p place) hook(h webhook) string { return p.path("hooks", strconv.FormatInt(h.ID, 10)) }

// tellHook makes or changes a webhook and returns its id.
func tellHook(ctx context.Context, c *rest.Client, spec cyclone.HookSpec, call rest.Call) (int64, error) {
	wanted := webhook{Active: true, Events: hookEvents(), Config: hookConfig{spec.URL, "json", spec.Secret, "0"}}
	if call.Method == http.MethodPost {
		wanted.Name = "web"
	}
	if spec.Insecure {
		wanted.Config.InsecureSSL = "1"
	}
	var made webhook
	call.Body, call.Into, call.Need, call.Hide = wanted, &made, needHooks, []string{spec.Secret}
	if _, err := c.Do(ctx, call); err != nil {
		return 0, err
	}
	if made.ID == 0 {
		return 0, cyclone.Unavailable("GitHub does not say which webhook it made")
	}
	return made.ID, nil
}

// hooksTo are the repository's webhooks that lead to an address.
func hooksTo(ctx context.Context, c *rest.Client, at place, url string) ([]webhook, error) {
	all, _, err := rest.All(maxHookPages, func(p rest.Place) ([]webhook, *rest.Answer, error) {
		var some []webhook
		answer, err := c.Do(ctx, rest.Call{Path: at.path("hooks"), Query: p.Query("per_page"), Into: &some, Need: needHooks})
		return some, answer, err
	})
	var those []webhook
	for _, h := range all {
		if h.Config.URL == url {
			those = append(those, h)
		}
	}
	return those, err
}

// RemoveHook removes every webhook that leads to the address.
func (g *API) RemoveHook(ctx context.Context, a cyclone.ForgeAccess, url string) error {
	c, at, err := g.forge(a)
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
