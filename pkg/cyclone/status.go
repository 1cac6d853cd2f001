package cyclone

// Status is the state of an event, a stage, a step or a deployment.
type Status string

// The statuses. Failure is the project's fault, Error is Cyclone's or its
// surroundings'. All from Success on are final: they never change.
const (
	StatusPending  Status = "pending"
	StatusBlocked  Status = "blocked"
	StatusRunning  Status = "running"
	StatusSuccess  Status = "success"
	StatusFailure  Status = "failure"
	StatusError    Status = "error"
	StatusCanceled Status = "canceled"
	StatusTimeout  Status = "timeout"
	StatusSkipped  Status = "skipped"
)

// Statuses lists all of them in the order of an event's life.
var Statuses = []Status{
	StatusPending, StatusBlocked, StatusRunning,
	StatusSuccess, StatusFailure, StatusError, StatusCanceled, StatusTimeout, StatusSkipped,
}

// Final reports whether a status can no longer change.
func (s Status) Final() bool {
	switch s {
	case StatusSuccess, StatusFailure, StatusError, StatusCanceled, StatusTimeout, StatusSkipped:
		return true
	}
	return false
}

// Stage is one of the six parts of an event, in fixed order.
type Stage string

// The stages in the order in which they run.
const (
	StageClone       Stage = "clone"
	StagePreBuild    Stage = "pre_build"
	StageBuild       Stage = "build"
	StageIntegration Stage = "integration"
	StagePostBuild   Stage = "post_build"
	StageDeploy      Stage = "deploy"
)

// Stages lists all stages in the order in which they run.
var Stages = []Stage{StageClone, StagePreBuild, StageBuild, StageIntegration, StagePostBuild, StageDeploy}
