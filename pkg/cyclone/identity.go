package cyclone

// What git commits that a pipeline makes are marked with, so that pushing them
// starts nothing: steps get it as GIT_COMMITTER_NAME and GIT_COMMITTER_EMAIL.
const (
	CommitterName  = "Cyclone"
	CommitterEmail = "cyclone@noreply.invalid"
)
