package gitea

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/rest"
)

// maxHookPages is how many pages of a repository's webhooks are read.
const maxHookPages = 10

// hookEvents are what a webhook tells us. pull_request stands for all that
// happens to one; older versions want each of them named.
func hookEvents() []string {
	return []string{"push", "create", "pull_request", "pull_request_sync", "pull_request_comment", "issue_comment", "release"}
}

// webhook is a webhook as Gitea lists it.
type webhook struct {
	ID     int64  `json:"id"`
	Type   string `json:"type"`
	Config struct {
		URL string `json:"url"`
	} `json:"config"`
}

// ours says that the webhook delivers what we understand, and not for instance
// messages for a chat. The type of one cannot be changed.
func (h webhook) ours() bool { return h.Type == "gitea" || h.Type == "forgejo" }

// wantedHook is what Gitea is told to make. What is not told it empties, such
// as a filter of branches.
type wantedHook struct {
	Type   string     `json:"type,omitempty"`
	Active bool       `json:"active"`
	Events []string   `json:"events"`
	Config hookConfig `json:"config"`
}

type hookConfig struct {
	URL         string `json:"url"`
	ContentType string `json:"content_type"`
	Secret      string `json:"secret"`
}

// PutHook makes the webhook that leads to spec.URL, or mends the one that is
// there: what the secret is cannot be read, so that it is always written. More
// than one are made one. Whether certificates are checked is a setting of the
// whole Gitea (SKIP_TLS_VERIFY): spec.Insecure says nothing.
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
	var keep, drop []webhook
	for _, h := range there {
		if h.ours() && len(keep) == 0 {
			keep = append(keep, h)
		} else {
			drop = append(drop, h)
		}
	}
	call := rest.Call{Method: http.MethodPost, Path: at.path("hooks")}
	if len(keep) > 0 {
		call = rest.Call{Method: http.MethodPatch, Path: at.hook(keep[0])}
	}
	id, err := tellHook(ctx, c, spec, call)
	if err != nil {
		return 0, err
	}
	if err := removeHooks(ctx, c, at, drop); err != nil || len(keep) > 0 {
		return id, err
	}
	return alone(ctx, c, at, id, spec.URL)
}

// alone makes one of what two servers made at the same time: Gitea takes any
// number that lead to one address. The first stays.
func alone(ctx context.Context, c *rest.Client, at place, made int64, url string) (int64, error) {
	there, err := hooksTo(ctx, c, at, url)
	first := made
	for _, h := range there {
		if h.ours() {
			first = min(first, h.ID)
		}
	}
	if err != nil || first == made {
		return made, err // whoever made another one removes that
	}
	return first, removeHooks(ctx, c, at, []webhook{{ID: made}})
}

func (p place) hook(h webhook) string { return p.path("hooks", strconv.FormatInt(h.ID, 10)) }

// tellHook makes or changes a webhook and returns its id.
func tellHook(ctx context.Context, c *rest.Client, spec cyclone.HookSpec, call rest.Call) (int64, error) {
	wanted := wantedHook{Active: true, Events: hookEvents(), Config: hookConfig{spec.URL, "json", spec.Secret}}
	if call.Method == http.MethodPost {
		wanted.Type = "gitea" // which Forgejo takes too
	}
	var made webhook
	call.Body, call.Into, call.Need, call.Hide = wanted, &made, needHooks, []string{spec.Secret}
	if _, err := c.Do(ctx, call); err != nil {
		return 0, err
	}
	if made.ID == 0 {
		return 0, cyclone.Unavailable("Gitea does not say which webhook it made")
	}
	return made.ID, nil
}

// hooksTo are the repository's webhooks that lead to an address.
func hooksTo(ctx context.Context, c *rest.Client, at place, url string) ([]webhook, error) {
	all, _, err := rest.All(maxHookPages, func(p rest.Place) ([]webhook, *rest.Answer, error) {
		var some []webhook
		return page(ctx, c, p, rest.Call{Path: at.path("hooks"), Into: &some, Need: needHooks}, func() []webhook { return some })
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
