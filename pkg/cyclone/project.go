package cyclone

import (
	"context"
	"time"
)

// Project is what is built: a repository, its triggers, whom to tell, its limits.
type Project struct {
	Name          ProjectName       `json:"name"`
	Description   string            `json:"description"`
	Owner         string            `json:"owner"`
	Visibility    string            `json:"visibility"` // private (default) or public
	Repository    Repository        `json:"repository"`
	ConfigFile    string            `json:"configFile"` // relative path, default caicloud.yml
	Image         string            `json:"image"`      // without a tag, default <registry>/<name>
	Triggers      Triggers          `json:"triggers"`
	Notifications Notifications     `json:"notifications"`
	Variables     map[string]string `json:"variables"`
	Limits        Limits            `json:"limits"`

	// Poll is how often the repository is looked at for pushes that no webhook
	// tells of; 0 is never.
	Poll Duration `json:"poll,omitempty"`

	Retention        *Retention `json:"retention,omitempty"`
	CancelSuperseded bool       `json:"cancelSuperseded"`
	Trusted          bool       `json:"trusted"`

	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`

	// WebhookSecret is the key of the forge's signatures, sealed (see Sealer).
	// It never leaves through the API.
	WebhookSecret []byte `json:"-"`
	// CacheEpoch counts how often the project's caches were cleared. Those of
	// an older epoch are not used any more, on whatever node they are.
	CacheEpoch int64 `json:"-"`
	// Revision counts the writes; ProjectStore.Replace compares it.
	Revision int64 `json:"-"`
}

// WebhookPurpose is what WebhookSecret is sealed for.
func (p *Project) WebhookPurpose() string { return "project/" + string(p.Name) + "/webhook" }

// Repository says where a project's source is.
type Repository struct {
	Type          string `json:"type"` // github, gitlab, gitea, git or svn
	URL           string `json:"url"`  // without credentials
	DefaultBranch string `json:"defaultBranch"`
	Credential    string `json:"credential"` // name of a project secret
	// Account is a forge account that was connected by OAuth ("github/alice"),
	// whose token is used when there is no Credential.
	Account string `json:"account,omitempty"`
	// HostKeys are the keys of the ssh host that are trusted, as known_hosts
	// has them ("ssh-ed25519 AAAA..."). Empty: the first one seen is kept here.
	HostKeys []string `json:"hostKeys,omitempty"`
}

// Triggers says which deliveries become events. A nil part is off, but for
// Push and Tag, whose absence means "all".
type Triggers struct {
	Push        *PushTrigger        `json:"push,omitempty"`
	Tag         *TagTrigger         `json:"tag,omitempty"`
	Release     *ReleaseTrigger     `json:"release,omitempty"`
	PullRequest *PullRequestTrigger `json:"pullRequest,omitempty"`
	Cron        []CronTrigger       `json:"cron,omitempty"`
}

// PushTrigger filters pushes to branches. Empty lists match everything;
// globs beginning with ! exclude. Disabled turns pushes off.
type PushTrigger struct {
	Branches []string `json:"branches,omitempty"`
	Paths    []string `json:"paths,omitempty"`
	Stages   []Stage  `json:"stages,omitempty"`
	Disabled bool     `json:"disabled,omitempty"`
}

// TagTrigger filters pushed tags by glob.
type TagTrigger struct {
	Patterns []string `json:"patterns,omitempty"`
	Stages   []Stage  `json:"stages,omitempty"`
	Disabled bool     `json:"disabled,omitempty"`
}

// ReleaseTrigger turns published releases into events.
type ReleaseTrigger struct {
	Enabled bool    `json:"enabled"`
	Stages  []Stage `json:"stages,omitempty"`
}

// PullRequestTrigger turns pull requests into events. Approval is "forks"
// (default: events of forks wait as blocked), "always" or "never".
type PullRequestTrigger struct {
	Enabled  bool     `json:"enabled"`
	Approval string   `json:"approval,omitempty"`
	Branches []string `json:"branches,omitempty"` // target branches
	Paths    []string `json:"paths,omitempty"`
	Stages   []Stage  `json:"stages,omitempty"`
	// Merge runs the forge's merge with the target branch instead of the head.
	Merge bool `json:"merge,omitempty"`
}

// CronTrigger starts an event at set times.
type CronTrigger struct {
	Schedule string `json:"schedule"`
	Timezone string `json:"timezone,omitempty"`
	Branch   string `json:"branch,omitempty"`
}

// Notifications says whom to tell about final events.
type Notifications struct {
	Email    *EmailNotification    `json:"email,omitempty"`
	Webhooks []WebhookNotification `json:"webhooks,omitempty"`
	Comment  *CommentNotification  `json:"comment,omitempty"`
}

// When limits notices: always (default), failure, change (the first failure
// and the first success after one) or never.
type When string

// The values of When.
const (
	WhenAlways  When = "always"
	WhenFailure When = "failure"
	WhenChange  When = "change"
	WhenNever   When = "never"
)

// EmailNotification sends the summary with the complete log.
type EmailNotification struct {
	Recipients []string `json:"recipients"`
	When       When     `json:"when,omitempty"`
}

// WebhookNotification posts the event.
type WebhookNotification struct {
	URL  string `json:"url"`
	When When   `json:"when,omitempty"`
}

// CommentNotification keeps a comment on the pull request with the table of
// stages, edited in place.
type CommentNotification struct {
	Enabled bool `json:"enabled"`
}

// Limits bounds an event of the project. Zero values mean the server's own.
type Limits struct {
	Timeout     Duration `json:"timeout,omitempty"`
	CPUs        float64  `json:"cpus,omitempty"`
	Memory      Size     `json:"memory,omitempty"`
	Concurrency int      `json:"concurrency,omitempty"`
	// OnWorkerLost says what becomes of an event whose worker is lost.
	OnWorkerLost LostPolicy `json:"onWorkerLost,omitempty"`
}

// LostPolicy says what becomes of an event whose worker is lost: LostRetry
// (the default) starts it once more unless it had begun to deploy, LostFail
// ends it with an error.
type LostPolicy string

// The values of LostPolicy.
const (
	LostRetry LostPolicy = "retry"
	LostFail  LostPolicy = "fail"
)

// ProjectStore keeps projects.
type ProjectStore interface {
	// Create stores a new project, or returns ErrConflict when the name is taken.
	Create(ctx context.Context, p *Project) error
	// Find returns ErrNotFound when there is none.
	Find(ctx context.Context, name ProjectName) (*Project, error)
	// Replace writes p where the stored Revision equals p.Revision and then
	// increments p.Revision; ErrConflict when somebody else wrote meanwhile.
	Replace(ctx context.Context, p *Project) error
	// Delete removes the project with its events, their logs and files, and
	// its deliveries.
	Delete(ctx context.Context, name ProjectName) error
	// List returns projects by name.
	List(ctx context.Context, page Page) (List[*Project], error)
}
