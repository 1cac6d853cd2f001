package cyclone

import (
	"context"
	"time"
)

// Credential is what a repository is reached with. The zero value is none.
type Credential struct {
	Username string
	// Password is a password, a token, or a private key in PEM for ssh.
	Password string
	// Holder says where it is kept, for messages: `secret "forge"`.
	Holder string
}

// None reports whether there is no credential.
func (c Credential) None() bool { return c.Username == "" && c.Password == "" }

// CredentialSource opens the credentials of projects.
type CredentialSource interface {
	// Credential opens what p's repository is reached with, fresh enough to
	// be used now; the zero value when p names none. ErrNotFound: what p names
	// is not there; ErrInvalid: it cannot be opened; ErrForbidden: it expired
	// and cannot be refreshed; ErrUnavailable: try again.
	Credential(ctx context.Context, p *Project) (Credential, error)
}

// ForgeAccess is how a forge's API is reached about one repository.
type ForgeAccess struct {
	URL string // the repository's, as a project has it
	Credential
}

// CommitStatus is what stands next to a commit at its forge.
type CommitStatus struct {
	State       CommitState
	Context     string // "cyclone/<project>"
	Description string // one printable line; drivers cut it to what the forge takes
	URL         string // of the event's page; may be empty
	// Ref is the event's ref: refs/heads/main. GitLab wants to know it.
	Ref string
}

// CommitState is how far an event is, in the words that forges have in common.
type CommitState string

// The states of a commit.
const (
	CommitPending  CommitState = "pending" // waits: for a worker or for approval
	CommitRunning  CommitState = "running"
	CommitSuccess  CommitState = "success"
	CommitFailure  CommitState = "failure"
	CommitError    CommitState = "error"
	CommitCanceled CommitState = "canceled"
	CommitSkipped  CommitState = "skipped"
)

// StatusSetter writes results next to commits. The errors of all interfaces of
// a forge's API are the same: ErrForbidden when the credential is not accepted
// or lacks a permission (the message names it), ErrNotFound when the repository
// or the thing in it is not there or not visible, ErrInvalid when the forge
// refuses what was asked, ErrUnavailable when it may work later (RetryAfter
// says when, if the forge did).
type StatusSetter interface {
	SetStatus(ctx context.Context, a ForgeAccess, sha string, s CommitStatus) error
	// PutComment writes a comment to a pull request, over the one that holds
	// the marker (an invisible line of the text) if there is one.
	PutComment(ctx context.Context, a ForgeAccess, number int, marker, text string) error
}

// RepositoryReader asks a forge about a repository.
type RepositoryReader interface {
	// Repository describes the repository and what the credential may do there.
	Repository(ctx context.Context, a ForgeAccess) (*RepositoryInfo, error)
	// Changed lists the paths in which two commits differ, or those of a pull
	// request when number is not 0; nil without an error when the forge does
	// not tell all of them.
	Changed(ctx context.Context, a ForgeAccess, before, after string, number int) ([]string, error)
	// PullRequest describes a pull request as it is now.
	PullRequest(ctx context.Context, a ForgeAccess, number int) (*PullRequestInfo, error)
	// MayWrite reports whether a user of the forge may push to the repository.
	MayWrite(ctx context.Context, a ForgeAccess, user string) (bool, error)
}

// HookKeeper makes and removes the webhook by which a forge tells us.
type HookKeeper interface {
	// PutHook makes the hook that leads to spec.URL, or mends the one that is
	// there: its secret, its events, whether it is active. It returns the
	// forge's id of it.
	PutHook(ctx context.Context, a ForgeAccess, spec HookSpec) (id string, err error)
	// RemoveHook removes every hook that leads to the URL; none is no error.
	RemoveHook(ctx context.Context, a ForgeAccess, url string) error
}

// HookSpec is the webhook to make.
type HookSpec struct {
	URL    string
	Secret string
	// Insecure turns the check of our certificate off; for http:// it says nothing.
	Insecure bool
}

// RepositoryLister lists what a project form offers. Lists are by the forge's
// order; query narrows them down by a part of the name.
type RepositoryLister interface {
	// Repositories lists those that the credential may see on a.URL's host.
	Repositories(ctx context.Context, a ForgeAccess, query string, page Page) (List[RepositoryInfo], error)
	Branches(ctx context.Context, a ForgeAccess, query string, page Page) (List[RefInfo], error)
	Tags(ctx context.Context, a ForgeAccess, query string, page Page) (List[RefInfo], error)
}

// RepositoryInfo is a repository as its forge describes it.
type RepositoryInfo struct {
	Name          string `json:"name"` // "acme/orders"
	URL           string `json:"url"`  // to clone over https
	SSHURL        string `json:"sshUrl"`
	WebURL        string `json:"webUrl"`
	DefaultBranch string `json:"defaultBranch"`
	Private       bool   `json:"private"`
	// Account is the user whom the credential belongs to; empty when unknown
	// or in lists. MayPush and MayAdmin are what it may do: set statuses, and
	// make hooks.
	Account  string `json:"account,omitempty"`
	MayPush  bool   `json:"mayPush"`
	MayAdmin bool   `json:"mayAdmin"`
}

// RefInfo is a branch or a tag.
type RefInfo struct {
	Name   string `json:"name"`
	Commit string `json:"commit"`
}

// PullRequestInfo is a pull request as it is now.
type PullRequestInfo struct {
	PullRequest
	Open  bool
	Draft bool
	Ref   string // refs/pull/7/head
	Head  Commit
}

// Heads are the branches and tags of a repository.
type Heads struct {
	Default string            // the default branch; empty when unknown
	Refs    map[string]string // full ref -> commit; of an annotated tag the commit it names
}

// HeadReader looks at a repository without cloning it.
type HeadReader interface {
	// Heads reads all branches and tags. s.Dir, s.Ref and s.SHA are not used.
	// The errors are those of Cloner.
	Heads(ctx context.Context, s CloneSpec) (*Heads, error)
}

// Connection is how a project is connected to its forge.
type Connection struct {
	Account string `json:"account"` // of the credential, at the forge
	// HookURL and HookID are of the webhook that was made; empty without one.
	HookURL   string    `json:"hookUrl"`
	HookID    string    `json:"hookId"`
	CheckedAt time.Time `json:"checkedAt"`
	// Problems say what does not work and what to do; empty when all is well.
	Problems []string `json:"problems"`
}

// Account is an account at a forge that somebody connected by OAuth, so that
// projects can use its token.
type Account struct {
	ID    string `json:"id"` // "github/github.com/alice"
	SCM   string `json:"scm"`
	Host  string `json:"host"`
	Login string `json:"login"` // at the forge
	// Owner is the user of this server who connected it.
	Owner     string    `json:"owner"`
	CreatedAt time.Time `json:"createdAt"`
	// ExpiresAt is when the token of now runs out; it is renewed before, unless
	// Broken says why it cannot be. Nil when it lasts.
	ExpiresAt *time.Time `json:"expiresAt,omitempty"`
	Broken    string     `json:"broken,omitempty"`
}
