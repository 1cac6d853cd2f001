package cyclone

import "time"

// Job is all that a worker needs to handle one event. It carries secrets and
// goes over the worker's connection only.
type Job struct {
	Fence   Fence   `json:"fence"`
	Event   Event   `json:"event"`
	Project Project `json:"project"`
	// EventURL is the event's page, for CYCLONE_EVENT_URL.
	EventURL string `json:"eventUrl"`
	// Origin is the kind of trigger whose rules hold for the event; see
	// Event.Origin, which the worker cannot ask.
	Origin TriggerKind `json:"origin,omitempty"`
	// Config is the caicloud.yml to use instead of the repository's (rerun).
	Config []byte `json:"config,omitempty"`
	// Variables are the project's and the event's own, already merged.
	Variables map[string]string `json:"variables,omitempty"`
	// Stages are the stages that may run.
	Stages []Stage `json:"stages"`
	// Push is false for pull requests: build, but push nothing.
	Push bool `json:"push"`
	// CacheFrom names images whose layers may be reused.
	CacheFrom []string `json:"cacheFrom,omitempty"`
	// From is the stage to begin with, after the clone; empty for the first.
	// Images are what earlier stages built; Outputs the files of kind
	// FileOutput, to be downloaded, that pre_build made.
	From    Stage        `json:"from,omitempty"`
	Images  []BuildImage `json:"images,omitempty"`
	Outputs []File       `json:"outputs,omitempty"`
	// Before is the commit that a push replaced, Changed the paths that it
	// touched; both may be unknown (see Run).
	Before  string   `json:"before,omitempty"`
	Changed []string `json:"changed,omitempty"`
	// CacheLimit bounds what the event's caches may hold on the node, and
	// FileLimit the files kept with the event; 0 is no limit.
	CacheLimit Size `json:"cacheLimit,omitempty"`
	FileLimit  Size `json:"fileLimit,omitempty"`
	// LastLine is the last line the server has; the worker goes on after it.
	LastLine int64 `json:"lastLine"`

	// Patience is how long the clone waits for a commit that the forge does
	// not show yet.
	Patience      Duration `json:"patience,omitempty"`
	CloneUsername string   `json:"cloneUsername,omitempty"`
	ClonePassword string   `json:"clonePassword,omitempty"`
	// Secrets are the project secrets that this event may see, by name.
	Secrets map[string]JobSecret `json:"secrets,omitempty"`
	// Registries are credentials by registry host.
	Registries map[string]RegistryAuth `json:"registries,omitempty"`
	// Clusters are the registered deployment targets that the event may use.
	Clusters map[ClusterName]ClusterAccess `json:"clusters,omitempty"`
	// Timeout is how long the event may run.
	Timeout Duration `json:"timeout"`
	// LogLimit bounds the log: of a longer one head and tail are kept, half
	// each; 0 is no limit.
	LogLimit Size `json:"logLimit,omitempty"`
}

// Cancellation is why an attempt is to end.
type Cancellation struct {
	Reason string `json:"reason"`
	// Spare makes it void once the deploy stage has begun.
	Spare bool `json:"spare,omitempty"`
}

// JobSecret is a project secret in clear, on its way to a step that asked for it.
type JobSecret struct {
	Value  string `json:"value"`
	Masked bool   `json:"masked"` // hidden in the log
}

// EngineConfig is what a worker's inner Docker engine is started with.
type EngineConfig struct {
	RegistryMirror     string   `json:"registryMirror,omitempty"`
	InsecureRegistries []string `json:"insecureRegistries,omitempty"`
}

// RegistryAuth is a login at one registry.
type RegistryAuth struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

// Report is what a worker tells while it works: always the whole state, so
// that a report that arrives twice or late does no harm.
type Report struct {
	Commit  Commit       `json:"commit"`
	Version string       `json:"version"`
	Image   Image        `json:"image"`
	Images  []BuildImage `json:"images,omitempty"`
	Config  []byte       `json:"config,omitempty"`
	// HostKeys are those of the repository's ssh host, seen for the first time.
	HostKeys    []string     `json:"hostKeys,omitempty"`
	Problems    []Problem    `json:"problems,omitempty"`
	Tests       *TestSummary `json:"tests,omitempty"`
	Stages      []StageState `json:"stages"`
	Deployments []Deployment `json:"deployments"`
}

// Result is how an event ended, as its worker saw it.
type Result struct {
	Status   Status   `json:"status"`
	Reason   string   `json:"reason"`
	Error    *Failure `json:"error,omitempty"`
	LastLine int64    `json:"lastLine"` // the log is complete up to here
}

// Frames of the worker's websocket. Log chunks travel as binary messages
// (the chunk's own encoding); everything else as one of these in JSON text.
type (
	// WorkerFrame goes from worker to server. Exactly one field is set.
	WorkerFrame struct {
		Ready     bool    `json:"ready,omitempty"`     // first frame: a job may be sent
		Heartbeat bool    `json:"heartbeat,omitempty"` // nothing but: alive
		Partial   *Line   `json:"partial,omitempty"`   // an unfinished line
		Report    *Report `json:"report,omitempty"`
		Result    *Result `json:"result,omitempty"`
		Seq       int64   `json:"seq,omitempty"` // of Report and Result; acknowledged
	}
	// ServerFrame goes from server to worker.
	ServerFrame struct {
		Engine *EngineConfig `json:"engine,omitempty"` // first frame
		Job    *Job          `json:"job,omitempty"`
		Ack    *Ack          `json:"ack,omitempty"`
		Cancel *Cancellation `json:"cancel,omitempty"`
		Fenced string        `json:"fenced,omitempty"` // this attempt is over: stop and clean up
	}
	// Ack says what the server has stored.
	Ack struct {
		Line int64 `json:"line"` // all lines up to here
		Seq  int64 `json:"seq"`  // all reports and the result up to here
	}
)

// HeartbeatInterval is how often a worker reports that it is alive, and
// LeaseTime how long it may be silent before it counts as lost.
const (
	HeartbeatInterval = 15 * time.Second
	LeaseTime         = 60 * time.Second
)
