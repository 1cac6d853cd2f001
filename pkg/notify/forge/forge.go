// Package forge tells a project's forge how far its events are: the status
// beside the commit, under the name "cyclone/<project>", and the comment on the
// pull request with the table of stages.
//
// A commit has one status and a pull request one comment, whatever number of
// events there is about it: both follow the newest event. It neither decides
// when something is told nor tries again, which is progress's, and it speaks no
// forge's language, which is that of the drivers in scm.
package forge

import (
	"context"
	"fmt"
	"strings"

	"cyclone/pkg/cyclone"
)

// events is what is read of an EventStore.
type events interface {
	List(ctx context.Context, q cyclone.EventQuery) (cyclone.List[*cyclone.Event], error)
}

// Notifier sets commit statuses. All fields are required unless they say
// otherwise; its methods are safe for concurrent use.
type Notifier struct {
	Credentials cyclone.CredentialSource
	// Drivers are the forges by type of repository: "github", ...
	Drivers map[string]cyclone.StatusSetter
	// Events is where newer events about the same commit are looked for.
	Events events
	// EventURL is the address of an event's page; nil for none. LogURL is that
	// of its log, for comments; nil for none.
	EventURL, LogURL func(*cyclone.Event) string
}

// Wanted reports whether the event's status can be set: the project's forge is
// one that shows statuses, the project has a credential for it, and the commit
// is known.
func (n *Notifier) Wanted(p *cyclone.Project, e *cyclone.Event) bool {
	_, ok := n.Drivers[p.Repository.Type]
	return ok && (p.Repository.Credential != "" || p.Repository.Account != "") && e.Commit.SHA != ""
}

// Notify sets the status beside the event's commit, if it is Wanted. An event
// that is not the newest about its commit sets none, and a skipped one does
// not hide the result of another. To do it twice is harmless.
//
// ErrForbidden, ErrNotFound and ErrInvalid mean that trying again changes
// nothing before somebody changes the credential or the project; ErrUnavailable
// that it may, after cyclone.RetryAfter where that is known.
func (n *Notifier) Notify(ctx context.Context, p *cyclone.Project, e *cyclone.Event) error {
	if !n.Wanted(p, e) {
		return nil
	}
	access, ok, err := n.access(ctx, p)
	if err != nil || !ok {
		return wrap(err, "set commit status")
	}
	err = n.follow(ctx, e, sameCommit, func(newest *cyclone.Event) error {
		return n.Drivers[p.Repository.Type].SetStatus(ctx, access, newest.Commit.SHA, n.status(p, newest))
	})
	return wrap(err, "set commit status")
}

func wrap(err error, what string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// access is how the forge is reached; false when that cannot be, because the
// credential is a key for ssh, which is good for cloning only.
func (n *Notifier) access(ctx context.Context, p *cyclone.Project) (cyclone.ForgeAccess, bool, error) {
	credential, err := n.Credentials.Credential(ctx, p)
	if err != nil {
		return cyclone.ForgeAccess{}, false, fmt.Errorf("open the repository's credential: %w", err)
	}
	usable := !credential.None() && !strings.HasPrefix(credential.Password, "-----BEGIN ")
	return cyclone.ForgeAccess{URL: p.Repository.URL, Credential: credential}, usable, nil
}

// states are the forge's words. A timeout is told as an error: what would have
// become of the commit is not known.
var states = map[cyclone.Status]cyclone.CommitState{
	cyclone.StatusPending: cyclone.CommitPending, cyclone.StatusBlocked: cyclone.CommitPending,
	cyclone.StatusRunning: cyclone.CommitRunning, cyclone.StatusSuccess: cyclone.CommitSuccess,
	cyclone.StatusFailure: cyclone.CommitFailure, cyclone.StatusError: cyclone.CommitError,
	cyclone.StatusTimeout: cyclone.CommitError, cyclone.StatusCanceled: cyclone.CommitCanceled,
	cyclone.StatusSkipped: cyclone.CommitSkipped,
}

func (n *Notifier) status(p *cyclone.Project, e *cyclone.Event) cyclone.CommitStatus {
	s := cyclone.CommitStatus{
		State: states[e.Status], Context: "cyclone/" + string(p.Name), Description: describe(e), Ref: e.Ref,
	}
	if n.EventURL != nil {
		s.URL = n.EventURL(e)
	}
	return s
}
