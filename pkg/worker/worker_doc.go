// Package worker handles one event: it brings up the Docker engine of its
// container, receives the job, clones, reads caicloud.yml, runs the stages and
// reports, with every line that anything prints.
//
//	worker.go     a worker's life, from connecting to cleaning up
//	stages.go     the stages as a list; stage_*.go has one each
//	step.go       one container run: image, script, mounts, exit, reason
//	when.go       which steps run in which events
//	keep*.go      artifacts and test reports on their way to the server
//	rerun.go      what a later event takes over; kept_outputs.go keeps it
//	journal.go    output -> mask -> numbered lines -> chunks
//	engine.go     the Docker daemon as a supervised child
//
// It is not a client of the server (client.Worker is, and main wires the two),
// knows no Docker API, no git and no Kubernetes (cyclone's interfaces stand for
// them), and never decides what an event may do: the job says it.
package worker
