package cyclone

import (
	"context"
	"strings"
	"time"
)

// TriggerKind says what made an event.
type TriggerKind string

// The kinds of trigger.
const (
	KindPush        TriggerKind = "push"
	KindTag         TriggerKind = "tag"
	KindRelease     TriggerKind = "release"
	KindPullRequest TriggerKind = "pull_request"
	KindComment     TriggerKind = "comment"
	KindManual      TriggerKind = "manual"
	KindCron        TriggerKind = "cron"
	KindRerun       TriggerKind = "rerun"
)

// Event is one thing to be handled: what triggered it, its commit, its status
// and everything that became of it.
type Event struct {
	ID          EventID      `json:"id"`
	Project     ProjectName  `json:"project"`
	Number      int64        `json:"number"` // counts from 1 within the project
	Status      Status       `json:"status"`
	Reason      string       `json:"reason"` // why the status is what it is, for people
	Trigger     Trigger      `json:"trigger"`
	Ref         string       `json:"ref"`
	Branch      string       `json:"branch"`
	Tag         string       `json:"tag"`
	Version     string       `json:"version"`
	Commit      Commit       `json:"commit"`
	PullRequest *PullRequest `json:"pullRequest,omitempty"`
	Image       Image        `json:"image"`
	// Images are all that the event built (or, for a rerun from a later
	// stage, took over), in the order of the file; Image is the first.
	Images      []BuildImage `json:"images,omitempty"`
	Stages      []StageState `json:"stages"`
	Deployments []Deployment `json:"deployments"`
	Worker      WorkerRef    `json:"worker"`
	LogLines    int64        `json:"logLines"`
	CreatedAt   time.Time    `json:"createdAt"`
	StartedAt   *time.Time   `json:"startedAt,omitempty"`
	FinishedAt  *time.Time   `json:"finishedAt,omitempty"`
	Error       *Failure     `json:"error,omitempty"`
	// Tests is what the reports of the event's steps say; nil without reports.
	Tests *TestSummary `json:"tests,omitempty"`
	// Problems are what was found in caicloud.yml, warnings too.
	Problems []Problem `json:"problems,omitempty"`
	// Files counts the artifacts that are kept with the event.
	Files int `json:"files,omitempty"`
	// FilesRemovedAt is when retention removed what was kept with the event;
	// nil while it is there.
	FilesRemovedAt *time.Time `json:"filesRemovedAt,omitempty"`
	// LogRemovedAt is when retention removed the log; nil while it is there.
	LogRemovedAt *time.Time `json:"logRemovedAt,omitempty"`

	// Run is what the server keeps about the event and does not show.
	Run Run `json:"-"`
}

// Trigger says what made the event.
type Trigger struct {
	Kind     TriggerKind `json:"kind"`
	Actor    string      `json:"actor"`
	Delivery DeliveryID  `json:"delivery"`
	Parent   EventID     `json:"parent"` // of a rerun
	// From is the stage at which a rerun begins; empty for the first.
	From Stage `json:"from,omitempty"`
	// Via is ViaPoll or ViaMissed when no webhook told of it.
	Via string `json:"via,omitempty"`
}

// Commit is the source an event is about.
type Commit struct {
	SHA     string `json:"sha"` // a git hash, or r<number> of Subversion
	Message string `json:"message"`
	Author  string `json:"author"` // "Alice <a@example.com>"
	URL     string `json:"url"`
	// Committer is the e-mail address of who committed it, as far as a clone
	// told; it is not kept.
	Committer string `json:"-"`
}

// ShortSHA is the first seven characters of the commit's hash, or the whole of
// a Subversion revision ("r12345678").
func (c Commit) ShortSHA() string {
	if strings.HasPrefix(c.SHA, "r") {
		return c.SHA
	}
	return c.SHA[:min(7, len(c.SHA))]
}

// PullRequest is the pull (or merge) request an event is about.
type PullRequest struct {
	Number       int    `json:"number"`
	Title        string `json:"title"`
	SourceBranch string `json:"sourceBranch"`
	TargetBranch string `json:"targetBranch"`
	Fork         bool   `json:"fork"`
}

// Image is a built image. Digest is set once it was pushed.
type Image struct {
	Name   string `json:"name"` // without a tag
	Tag    string `json:"tag"`
	Digest string `json:"digest"` // "sha256:..."
}

// BuildImage is the image of one build of the file.
type BuildImage struct {
	Build string `json:"build"` // its name
	Image
}

// Ref is name:tag, or empty for no image.
func (i Image) Ref() string {
	if i.Name == "" {
		return ""
	}
	return i.Name + ":" + i.Tag
}

// StageState is what became of one stage.
type StageState struct {
	Name       Stage       `json:"name"`
	Status     Status      `json:"status"`
	StartedAt  *time.Time  `json:"startedAt,omitempty"`
	FinishedAt *time.Time  `json:"finishedAt,omitempty"`
	FirstLine  int64       `json:"firstLine"`
	LastLine   int64       `json:"lastLine"`
	Steps      []StepState `json:"steps"`
}

// StepState is what became of one step.
type StepState struct {
	Name       string     `json:"name"`
	Status     Status     `json:"status"`
	Image      string     `json:"image"`
	ExitCode   int        `json:"exitCode"`
	Error      string     `json:"error"`
	StartedAt  *time.Time `json:"startedAt,omitempty"`
	FinishedAt *time.Time `json:"finishedAt,omitempty"`
}

// Deployment is what became of one target of the deploy stage.
type Deployment struct {
	Cluster       string   `json:"cluster"`
	Namespace     string   `json:"namespace"`
	Deployment    string   `json:"deployment"`
	Containers    []string `json:"containers"`
	Status        Status   `json:"status"`
	PreviousImage string   `json:"previousImage"`
	Image         string   `json:"image"`
	Error         string   `json:"error"`
}

// WorkerRef says who runs the event.
type WorkerRef struct {
	ID      WorkerID `json:"id"`
	Node    string   `json:"node"`
	Attempt int      `json:"attempt"` // counts from 1; the fencing token
}

// Failure says what ended an event that did not succeed.
type Failure struct {
	Stage    Stage  `json:"stage"`
	Step     string `json:"step"`
	Command  string `json:"command"`
	ExitCode int    `json:"exitCode"`
	Message  string `json:"message"`
}

// Run is the part of an event that only the server sees.
type Run struct {
	// Key makes creation idempotent: a second event with the same key is
	// refused with ErrConflict. Deliveries use "<scm>/<project>/<id>/<n>".
	Key string `json:"key"`
	// Revision counts the writes; EventStore.Replace compares it.
	Revision int64 `json:"revision"`
	// LeaseUntil is when the worker counts as lost; zero when nobody runs it.
	LeaseUntil time.Time `json:"leaseUntil"`
	// TokenHash is the SHA-256 of the worker's one-time token, SessionHash of
	// the session key that the first connection with it brought.
	TokenHash   []byte `json:"tokenHash,omitempty"`
	SessionHash []byte `json:"sessionHash,omitempty"`
	// CancelReason is set once somebody asked to cancel.
	CancelReason string     `json:"cancelReason,omitempty"`
	CancelAt     *time.Time `json:"cancelAt,omitempty"`
	// Spare limits the cancellation: it is void once the event has begun to
	// deploy (a newer push supersedes it).
	Spare bool `json:"spare,omitempty"`
	// Stages is the event's own list of stages, or nil for the kind's default.
	Stages []Stage `json:"stages,omitempty"`
	// Variables are a manual event's own, above the project's.
	Variables map[string]string `json:"variables,omitempty"`
	// VersionWanted is a manual event's own version.
	VersionWanted string `json:"versionWanted,omitempty"`
	// Config is the text of caicloud.yml at the commit, once read; a rerun
	// starts with it.
	Config []byte `json:"config,omitempty"`
	// From is the stage at which a rerun begins; empty for the first. What
	// the stages before it made is taken over from earlier events: the images
	// in Event.Images, the outputs of pre_build from the files of Base.
	From Stage   `json:"from,omitempty"`
	Base EventID `json:"base,omitempty"`
	// Before is the commit that a push replaced, as far as the forge said it;
	// Changed are the paths that it touched, nil when unknown.
	Before  string   `json:"before,omitempty"`
	Changed []string `json:"changed,omitempty"`
	// Notices are the things still to be told: most of them after the final
	// status, what stands at the forge also before.
	Notices []Notice `json:"notices,omitempty"`
	// Told is what the forge is to be told of, or was, the last time: a change
	// of it makes the notices of the forge due again.
	Told string `json:"told,omitempty"`
	// Origin is the kind of the event that a chain of reruns began with;
	// empty for an event that is no rerun. See Event.Origin.
	Origin TriggerKind `json:"origin,omitempty"`
	// LaunchFailures counts the attempts whose worker never started.
	LaunchFailures int `json:"launchFailures,omitempty"`
	// Former is the worker that the server took the event from (it was lost,
	// or did not answer a cancellation) until what became of it is decided.
	Former *WorkerRef `json:"former,omitempty"`
	// LostAt is since when it is to be decided what becomes of the event
	// whose worker was taken from it; nil while there is nothing to decide.
	LostAt *time.Time `json:"lostAt,omitempty"`
	// Ending is the status with which the server is ending the event without
	// its worker, for the Reason that stands there; empty while it is not.
	// Whoever finds it half done goes on with it.
	Ending Status `json:"ending,omitempty"`
	// PendingSince is when the event began to wait, where that was later than
	// its creation: it was approved, or put back.
	PendingSince *time.Time `json:"pendingSince,omitempty"`
}

// Names of notices: NoticeMail mails the summary, NoticeStatus sets how far
// the event is beside the commit at its forge, NoticeComment keeps the comment
// on its pull request.
const (
	NoticeMail    = "mail"
	NoticeStatus  = "status"
	NoticeComment = "comment"
)

// Notice is one thing to be told about an event: told once (the forge's: once
// for each change), retried on its own, undoing nothing when it fails.
type Notice struct {
	Name     string    `json:"name"` // "mail", "release", ...
	Done     bool      `json:"done"`
	Attempts int       `json:"attempts"`
	NextAt   time.Time `json:"nextAt"`
	Error    string    `json:"error,omitempty"` // of the last attempt
}

// NoticeDue is when the next undone notice is to be tried; zero for none.
func (e *Event) NoticeDue() time.Time {
	var due time.Time
	for _, n := range e.Run.Notices {
		if !n.Done && (due.IsZero() || n.NextAt.Before(due)) {
			due = n.NextAt
		}
	}
	return due
}

// Fence names one attempt at an event. Writes of an older attempt are refused.
type Fence struct {
	Event   EventID  `json:"event"`
	Worker  WorkerID `json:"worker"`
	Attempt int      `json:"attempt"`
}

// Holds reports whether e is still run by this attempt.
func (f Fence) Holds(e *Event) bool {
	return e.ID == f.Event && e.Worker.ID == f.Worker && e.Worker.Attempt == f.Attempt &&
		e.Status == StatusRunning
}

// StartRequest asks for a manual event. At most one of Ref, Branch, Tag and
// Commit is the source; with none the default branch's head is.
type StartRequest struct {
	Ref       string            `json:"ref,omitempty"`
	Branch    string            `json:"branch,omitempty"`
	Tag       string            `json:"tag,omitempty"`
	Commit    string            `json:"commit,omitempty"`
	Version   string            `json:"version,omitempty"`
	Stages    []Stage           `json:"stages,omitempty"`
	Variables map[string]string `json:"variables,omitempty"`
	Actor     string            `json:"-"`
}

// EventQuery selects events; zero fields select all.
type EventQuery struct {
	Project  ProjectName
	Statuses []Status
	Branch   string
	Kind     TriggerKind
	Since    time.Time // created at or after
	Until    time.Time // created before
	Page
}

// EventStore keeps events.
type EventStore interface {
	// Create stores a new event and sets its Number and Run.Revision.
	// ErrConflict when Run.Key is taken.
	Create(ctx context.Context, e *Event) error
	// Find returns ErrNotFound when there is none.
	Find(ctx context.Context, id EventID) (*Event, error)
	// FindByKey returns the event that was created with the key, or ErrNotFound.
	FindByKey(ctx context.Context, key string) (*Event, error)
	// Replace writes e where the stored revision equals e.Run.Revision and
	// then increments e.Run.Revision; ErrConflict when somebody else wrote
	// meanwhile. A stored final status is never changed: ErrConflict too,
	// unless e has the same status (its notices may change).
	Replace(ctx context.Context, e *Event) error
	// List returns events, newest first.
	List(ctx context.Context, q EventQuery) (List[*Event], error)
	// Delete removes a final event, its log and its files. ErrNotFound when there is
	// none, ErrConflict when it is not final or has notices still to be told.
	Delete(ctx context.Context, id EventID) error
}

// Claim is what a claimed event gets.
type Claim struct {
	Project   ProjectName
	Worker    WorkerID
	Node      string
	TokenHash []byte
	Now       time.Time
	Lease     time.Duration
}

// Queue is the events seen as a queue. The store is the queue: there is no other.
type Queue interface {
	// Waiting returns the projects that have pending events, the one whose
	// oldest event waits longest first.
	Waiting(ctx context.Context) ([]ProjectName, error)
	// Claim atomically turns the oldest pending event of a project into a
	// running one with this worker and a lease, and increments
	// Worker.Attempt. ErrNotFound when nothing is pending.
	Claim(ctx context.Context, c Claim) (*Event, error)
	// Renew extends the lease of an attempt and returns the event, or
	// ErrConflict when the attempt no longer holds it.
	Renew(ctx context.Context, f Fence, until time.Time) (*Event, error)
	// Running returns every running event.
	Running(ctx context.Context) ([]*Event, error)
	// NoticesDue returns events, also such as are not over, with an undone
	// notice whose time has come, at most limit of them.
	NoticesDue(ctx context.Context, now time.Time, limit int) ([]*Event, error)
}
