package cyclone

import (
	"context"
	"net/http"
	"time"
)

// Hook is a forge's webhook delivery after parsing: the only thing a driver
// in scm produces. What the forge did not say is zero.
type Hook struct {
	Kind   TriggerKind // KindPush, KindTag, KindRelease, KindPullRequest or KindComment; empty when Ignored
	Action HookAction
	// Ignored says why the delivery starts nothing ("ping", "branch deleted").
	Ignored string
	Actor   string
	// Repositories are the URLs by which the payload names its repository
	// (https, ssh, git, web page); one of them must be the project's.
	Repositories []string
	Ref          string // as git writes it: refs/heads/main, refs/tags/v1, refs/pull/7/head
	Branch       string
	Tag          string
	Commit       Commit
	PullRequest  *PullRequest
	// Before is the commit that a push replaced; empty when unknown or none.
	Before string
	// Changed are the paths the push touched; nil when unknown or cut off.
	Changed []string
	// Committer is the e-mail address of who committed Commit, as far as known.
	Committer string
	// Comment is what somebody asked for in a comment on PullRequest, of which
	// then only the number need be known; only of KindComment.
	Comment CommentCommand
	// Via says how it was noticed when no delivery told: ViaPoll or ViaMissed.
	Via string
}

// CommentCommand is what a comment on a pull request asks for.
type CommentCommand string

// The commands: CommentTest runs the pull request's head, CommentRetest runs
// again what failed.
const (
	CommentTest   CommentCommand = "test"
	CommentRetest CommentCommand = "retest"
)

// How an event was noticed, other than by a webhook: ViaPoll by polling the
// repository, ViaMissed by the daily comparison of heads, which means that a
// webhook did not arrive.
const (
	ViaPoll   = "poll"
	ViaMissed = "missed"
)

// SCMPoll stands in the place of a forge's name in deliveries that no forge
// sent: polling made them.
const SCMPoll = "poll"

// HookAction says what a hook asks for.
type HookAction string

// The actions. ActionCancel ends the events of a pull request that was closed.
const (
	ActionStart  HookAction = "start"
	ActionCancel HookAction = "cancel"
)

// Forge understands one forge's deliveries. Implementations do no I/O.
type Forge interface {
	// DeliveryID is the forge's unique id of the delivery, or a digest of
	// headers and body where it sends none.
	DeliveryID(header http.Header, body []byte) DeliveryID
	// Verify checks the signature over the raw body in constant time and
	// returns ErrForbidden when it is wrong or missing.
	Verify(header http.Header, body, secret []byte) error
	// Parse reads a verified delivery; ErrInvalid when it cannot be read.
	Parse(header http.Header, body []byte) (*Hook, error)
}

// Delivery is a forge's call as it arrived, kept under the forge's own id.
type Delivery struct {
	ID      DeliveryID  `json:"id"`
	SCM     string      `json:"scm"`
	Project ProjectName `json:"project"`
	Kind    string      `json:"kind"` // the forge's name of it: "push", "Merge Request Hook"
	// Ref and Commit are what it was about, once it was handled.
	Ref        string     `json:"ref,omitempty"`
	Commit     string     `json:"commit,omitempty"`
	ReceivedAt time.Time  `json:"receivedAt"`
	HandledAt  *time.Time `json:"handledAt,omitempty"`
	Events     []EventID  `json:"events"`
	Ignored    string     `json:"ignored"` // why it started nothing
	Error      string     `json:"error"`   // why it could not be handled
	// Attempts counts the failed attempts at handling it; NextAt is when the
	// next one is due (nil: at once). ParkedAt is set when it was given up: it
	// then waits for somebody to redeliver it, and blocks nobody.
	Attempts int        `json:"attempts"`
	NextAt   *time.Time `json:"nextAt,omitempty"`
	ParkedAt *time.Time `json:"parkedAt,omitempty"`

	Header http.Header `json:"-"`
	Body   []byte      `json:"-"`
}

// DeliveryStore keeps deliveries.
type DeliveryStore interface {
	// Create stores a delivery; ErrConflict when the project has one with
	// this scm and id.
	Create(ctx context.Context, d *Delivery) error
	// Find returns ErrNotFound when there is none.
	Find(ctx context.Context, project ProjectName, scm string, id DeliveryID) (*Delivery, error)
	// Replace writes the outcome of a stored delivery: all but Header and Body.
	Replace(ctx context.Context, d *Delivery) error
	// List returns a project's deliveries, newest first, without Header and Body.
	List(ctx context.Context, project ProjectName, page Page) (List[*Delivery], error)
	// Due returns deliveries that are neither handled nor parked and whose
	// NextAt (or else ReceivedAt) is not after now, the longest due first, with
	// Header and Body, at most limit of them.
	Due(ctx context.Context, now time.Time, limit int) ([]*Delivery, error)
	// Prune removes handled and parked deliveries of a project and returns how
	// many; those that still wait are never removed.
	Prune(ctx context.Context, project ProjectName, p Prune) (int, error)
}

// CloneSpec says what to check out.
type CloneSpec struct {
	URL        string
	Ref        string // to fetch when the server refuses to give the commit itself
	SHA        string // the commit to check out; empty for the head of Ref
	Dir        string // an empty directory
	Username   string
	Password   string // handed to git through a helper, never on a command line
	Submodules bool
	// HostKeys are the only keys of the ssh host that are trusted, as
	// known_hosts has them without the host ("ssh-ed25519 AAAA..."). Without
	// any, the first key that is seen is trusted and told to Learned.
	HostKeys []string
	Learned  func(hostKeys []string)
	// Patience is how long a ref or commit that is not there yet is waited for:
	// forges tell of a push before all of their servers show it.
	Patience time.Duration
	// Merge checks out the forge's merge of a pull request into its target
	// instead of SHA, which must be one of its parents; Ref is then the ref of
	// the merge (refs/pull/7/merge).
	Merge bool
}

// Cloner checks a commit out.
type Cloner interface {
	// Clone fills s.Dir and returns the commit that is checked out there.
	// What the tool prints goes to out. ErrNotFound: no such commit or ref;
	// ErrForbidden: credentials are missing or wrong; ErrUnavailable: the
	// repository cannot be reached.
	Clone(ctx context.Context, s CloneSpec, out Output) (Commit, error)
}
