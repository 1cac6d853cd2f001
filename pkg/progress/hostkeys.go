package progress

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode"

	"cyclone/pkg/cyclone"
)

// Bounds of what a worker may tell of a host.
const (
	maxHostKeys = 16
	maxHostKey  = 4 << 10 // characters: an RSA key of 16,384 bits has 2,800
	learnTime   = 5 * time.Second
)

// learn keeps the keys that the repository's ssh host showed at the first
// clone, so that from then on no other is trusted. Keys that the project has
// are never changed. When it fails, the next report brings them again.
func (p *Progress) learn(ctx context.Context, e *cyclone.Event, keys []string) {
	if len(keys) == 0 {
		return
	}
	if why := oddKeys(keys); why != "" {
		p.Log.Warn("host keys that a worker told of are not kept", "event", e.ID, "project", e.Project, "why", why)
		return
	}
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), learnTime)
	defer stop()
	learned, err := p.keepHostKeys(ctx, e, keys)
	switch {
	case err != nil:
		p.Log.Warn("cannot keep the host keys of a repository", "event", e.ID, "project", e.Project, "error", err)
	case learned:
		p.Log.Info("host keys of a repository are pinned", "event", e.ID, "project", e.Project, "keys", len(keys))
	}
}

// keepHostKeys writes the keys into the project if it has none, and reports
// whether it did.
func (p *Progress) keepHostKeys(ctx context.Context, e *cyclone.Event, keys []string) (bool, error) {
	for range maxTries {
		project, err := p.Projects.Find(ctx, e.Project)
		if errors.Is(err, cyclone.ErrNotFound) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		// Who changed the project since the worker got its job may have given
		// it another host.
		if len(project.Repository.HostKeys) > 0 || e.StartedAt == nil || project.UpdatedAt.After(*e.StartedAt) {
			return false, nil
		}
		project.Repository.HostKeys = slices.Clone(keys)
		if err := p.Projects.Replace(ctx, project); !errors.Is(err, cyclone.ErrConflict) {
			return err == nil, err
		}
	}
	return false, cyclone.Unavailable("project %s is written by too many at once", e.Project)
}

// oddKeys says what is wrong with keys that are not as known_hosts has them.
func oddKeys(keys []string) string {
	if len(keys) > maxHostKeys {
		return "there are too many"
	}
	for _, key := range keys {
		kind, rest, _ := strings.Cut(key, " ")
		switch {
		case len(key) > maxHostKey:
			return "one is too long"
		case kind == "" || rest == "" || strings.ContainsFunc(key, func(r rune) bool { return r > unicode.MaxASCII || !unicode.IsPrint(r) }):
			return "one is not a key"
		}
	}
	return ""
}
