package connect

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/oauth2"

	"cyclone/pkg/cyclone"
)

const (
	// claimFor is how long one server has to renew a token. It bounds how long
	// the others wait for one that died over it.
	claimFor = 45 * time.Second
	// renewTime bounds the forge's part of it, well within the claim.
	renewTime = 20 * time.Second
	// awaitTime is how long the others wait for the result, and look at it
	// every awaitLook.
	awaitTime = 15 * time.Second
	awaitLook = 100 * time.Millisecond
)

// renewed returns an account's grant with a token that lasts long enough to be
// used. A refresh token is good for one use only, and to use it twice can cost
// the whole grant, so that it is claimed in the store first: of all servers and
// all callers one renews, and the others read the result.
func (c *Connector) renewed(ctx context.Context, id string) (*grant, error) {
	limited, cancel := context.WithTimeout(ctx, awaitTime)
	defer cancel()
	for {
		g, m, err := c.grant(ctx, id)
		if err != nil {
			return nil, err
		}
		now := c.Now()
		switch {
		case g.fresh(now):
			return g, nil
		case g.Refresh == "":
			return g.orExpired(id, now)
		case g.Claim.After(now):
			if err := pause(limited); err == nil {
				continue
			}
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			if g.Expiry.After(now) {
				return g, nil // better than nothing
			}
			return nil, cyclone.Unavailable("the token of the account %s is being renewed: try again in a moment", id)
		}
		g.Claim = now.Add(claimFor)
		err = c.put(ctx, m, g)
		if errors.Is(err, cyclone.ErrConflict) {
			continue // somebody else claimed it
		}
		if err != nil {
			return nil, fmt.Errorf("claim account %s: %w", id, err)
		}
		return c.renew(ctx, id, m, g)
	}
}

// pause waits for awaitLook, or says that ctx is over.
func pause(ctx context.Context) error {
	timer := time.NewTimer(awaitLook)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// orExpired is a grant that cannot be renewed, as long as its token lasts.
func (g *grant) orExpired(id string, now time.Time) (*grant, error) {
	if g.Expiry.IsZero() || g.Expiry.After(now) {
		return g, nil
	}
	why := g.Broken
	if why == "" {
		why = "the forge gave nothing to renew it with"
	}
	return nil, cyclone.Forbidden("the token of the account %s has expired and cannot be renewed (%s): connect the account again with `cyclone scm login`", id, why)
}

// renew uses the refresh token of a claimed grant and saves the result. It goes
// on when the caller has gone: what the forge gave for the refresh token is
// all that is left of the grant.
func (c *Connector) renew(ctx context.Context, id string, m *cyclone.Mark, g *grant) (*grant, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), renewTime)
	defer cancel()
	old := *g
	token, err := c.exchangeRefresh(ctx, m, g)
	now := c.Now()
	g.Claim = time.Time{}
	switch {
	case err == nil:
		g.Access, g.Expiry = token.AccessToken, c.expiry(token)
		if token.RefreshToken != "" {
			g.Refresh = token.RefreshToken
		}
	case errors.Is(err, cyclone.ErrForbidden):
		g.Refresh, g.Broken = "", err.Error()
	}
	switch saveErr := c.putRenewed(ctx, m, g); {
	case errors.Is(saveErr, cyclone.ErrConflict):
		// It took longer than the claim, or the account was connected anew or
		// forgotten meanwhile: what is stored now counts.
		if g, _, err = c.grant(ctx, id); err != nil {
			return nil, err
		}
		return g.orExpired(id, now)
	case saveErr != nil:
		return nil, fmt.Errorf("save the renewed token of account %s: %w", id, saveErr)
	}
	switch {
	case err == nil:
		c.Log.InfoContext(ctx, "token of account renewed", "account", id, "until", g.Expiry)
		return g, nil
	case old.Expiry.After(now):
		c.Log.WarnContext(ctx, "token of account could not be renewed; it still lasts", "account", id, "until", old.Expiry, "error", err)
		return &old, nil
	case g.Broken != "":
		return g.orExpired(id, now)
	}
	return nil, fmt.Errorf("renew the token of account %s: %w", id, err)
}

func (c *Connector) exchangeRefresh(ctx context.Context, m *cyclone.Mark, g *grant) (*oauth2.Token, error) {
	a := g.account(m)
	app, err := c.app(a.SCM, a.Host)
	if err != nil {
		return nil, cyclone.Unavailable("%v", err) // the administrator may set it again
	}
	source := c.config(app).TokenSource(c.calling(ctx), &oauth2.Token{RefreshToken: g.Refresh})
	token, err := source.Token()
	if err != nil {
		return nil, app.problem(err, g.Refresh)
	}
	return token, nil
}

// putRenewed tries hard to save what cannot be had again.
func (c *Connector) putRenewed(ctx context.Context, m *cyclone.Mark, g *grant) error {
	// The time for it is its own: the forge may have used up the other.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), renewTime)
	defer cancel()
	for {
		next := *m // Put may have counted before it failed
		err := c.put(ctx, &next, g)
		if err == nil || errors.Is(err, cyclone.ErrConflict) {
			return err
		}
		if pause(ctx) != nil {
			return err
		}
	}
}

// expiry is when a token runs out, by our clock; zero when it lasts.
func (c *Connector) expiry(token *oauth2.Token) time.Time {
	if token.ExpiresIn > 0 {
		return cyclone.Stamp(c.Now().Add(time.Duration(token.ExpiresIn) * time.Second))
	}
	if token.Expiry.IsZero() {
		return time.Time{}
	}
	return cyclone.Stamp(token.Expiry)
}
