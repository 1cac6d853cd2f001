// Package connect connects projects with their forges: it opens the credential
// that a project names, checks that the repository can be read with it, makes
// and removes the webhook, and asks the forge for what a payload does not say.
// The other way to a credential is here too: an account at GitHub or GitLab
// that a person connects by OAuth, whose token is renewed in time.
//
// It speaks no forge's language: that is the drivers' in scm. It decides no
// event and sets no status; trigger and notify/forge do.
package connect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"cyclone/pkg/cyclone"
)

// Driver is all that a forge's API is used for.
type Driver interface {
	cyclone.StatusSetter
	cyclone.RepositoryReader
	cyclone.HookKeeper
	cyclone.RepositoryLister
}

// Connector connects projects. Fields without "optional" must be set; its
// methods are safe for concurrent use, also by several servers on one store.
type Connector struct {
	Projects cyclone.ProjectStore
	Secrets  cyclone.SecretStore
	Marks    cyclone.MarkStore
	Sealer   cyclone.Sealer
	// Drivers are the forges' APIs by type of repository: "github", ...
	Drivers map[string]Driver
	// Heads look at repositories without an API: "git" and "svn".
	Heads map[string]cyclone.HeadReader
	// ExternalURL is how forges reach this server, without a slash at the end.
	ExternalURL string
	// Apps are the OAuth apps by which accounts are connected; optional.
	Apps []OAuthApp
	// Client calls the OAuth apps' forges; nil means one with a time limit.
	Client *http.Client
	Now    func() time.Time
	Log    *slog.Logger
}

// connectionMark is where a project's Connection is kept.
const connectionMark = "connection"

// Connect checks that p's repository can be read with the project's credential,
// makes or mends the webhook, and remembers how that went. What does not work
// beyond reading is in the connection's Problems. Doing it again repairs.
//
// Host keys that are seen for the first time are kept in the project, in p too.
//
// Errors: ErrForbidden when the credential is missing, wrong or lacks a
// permission, ErrNotFound when the repository is not there or not visible,
// ErrInvalid when the credential does not fit, ErrUnavailable to try again.
func (c *Connector) Connect(ctx context.Context, p *cyclone.Project) (*cyclone.Connection, error) {
	credential, err := c.Credential(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("connect project %s: %w", p.Name, err)
	}
	seen, err := c.read(ctx, p, credential)
	if err != nil {
		return nil, fmt.Errorf("read the repository of project %s: %w", p.Name, err)
	}
	if err := c.keepHostKeys(ctx, p, seen.hostKeys); err != nil {
		return nil, fmt.Errorf("keep the host keys of project %s: %w", p.Name, err)
	}
	before, err := c.Connection(ctx, p)
	if err != nil && !errors.Is(err, cyclone.ErrNotFound) {
		return nil, err
	}
	made := &cyclone.Connection{Account: seen.Account, CheckedAt: cyclone.Stamp(c.Now()), Problems: []string{}}
	made.Problems = append(made.Problems, seen.problems(p)...)
	if err := c.hook(ctx, p, credential, before, made); err != nil {
		return nil, fmt.Errorf("make the webhook of project %s: %w", p.Name, err)
	}
	if err := c.save(ctx, p.Name, made); err != nil {
		return nil, fmt.Errorf("keep the connection of project %s: %w", p.Name, err)
	}
	c.Log.InfoContext(ctx, "project connected", "project", p.Name, "hook", made.HookURL, "problems", len(made.Problems))
	return made, nil
}

// keepHostKeys writes the keys that the ssh host showed into a project that
// pins none yet.
func (c *Connector) keepHostKeys(ctx context.Context, p *cyclone.Project, keys []string) error {
	for len(keys) > 0 && len(p.Repository.HostKeys) == 0 {
		stored, err := c.Projects.Find(ctx, p.Name)
		if err != nil {
			return fmt.Errorf("find project: %w", err)
		}
		if len(stored.Repository.HostKeys) == 0 && stored.Repository.URL == p.Repository.URL {
			stored.Repository.HostKeys = keys
			err = c.Projects.Replace(ctx, stored)
		}
		if errors.Is(err, cyclone.ErrConflict) {
			continue // somebody else changed it; look again
		}
		if err != nil {
			return fmt.Errorf("save project: %w", err)
		}
		p.Repository.HostKeys, p.Revision = stored.Repository.HostKeys, stored.Revision
		return nil
	}
	return nil
}

// Connection is how p was connected last; ErrNotFound when it is not.
func (c *Connector) Connection(ctx context.Context, p *cyclone.Project) (*cyclone.Connection, error) {
	m, err := c.Marks.Find(ctx, p.Name, connectionMark)
	if errors.Is(err, cyclone.ErrNotFound) {
		return nil, cyclone.NotFound("project %q is not connected: connect it with `cyclone project connect %s`", p.Name, p.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("find the connection of project %s: %w", p.Name, err)
	}
	made := &cyclone.Connection{Problems: []string{}}
	if err := json.Unmarshal(m.Value, made); err != nil {
		return nil, fmt.Errorf("read the connection of project %s: %w", p.Name, err)
	}
	return made, nil
}

// saveAttempts is how often a mark is written while others write it too.
const saveAttempts = 5

// save writes how a project is connected over what is there: the last one to
// look is right.
func (c *Connector) save(ctx context.Context, project cyclone.ProjectName, made *cyclone.Connection) error {
	value, err := json.Marshal(made)
	if err != nil {
		return fmt.Errorf("encode connection: %w", err)
	}
	for attempt := 1; ; attempt++ {
		m, err := c.Marks.Find(ctx, project, connectionMark)
		if errors.Is(err, cyclone.ErrNotFound) {
			m = &cyclone.Mark{Project: project, Name: connectionMark}
		} else if err != nil {
			return err
		}
		m.Value = value
		err = c.Marks.Put(ctx, m)
		if !errors.Is(err, cyclone.ErrConflict) || attempt == saveAttempts {
			return err
		}
	}
}

// Disconnect removes the webhook that was made and forgets the connection.
// ErrNotFound when p is not connected; otherwise the errors of Connect, which
// leave the connection as it is.
func (c *Connector) Disconnect(ctx context.Context, p *cyclone.Project) error {
	made, err := c.Connection(ctx, p)
	if err != nil {
		return err
	}
	if made.HookURL != "" {
		driver, access, err := c.access(ctx, p)
		if err != nil {
			return fmt.Errorf("remove the webhook of project %s: %w", p.Name, err)
		}
		if err := driver.RemoveHook(ctx, access, made.HookURL); err != nil {
			return fmt.Errorf("remove the webhook of project %s: %w", p.Name, err)
		}
	}
	if err := c.Marks.Delete(ctx, p.Name, connectionMark); err != nil && !errors.Is(err, cyclone.ErrNotFound) {
		return fmt.Errorf("forget the connection of project %s: %w", p.Name, err)
	}
	c.Log.InfoContext(ctx, "project disconnected", "project", p.Name, "hook", made.HookURL)
	return nil
}
