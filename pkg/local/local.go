// Package local runs a pipeline on the machine of the person who wrote it, with
// the worker that a server uses: it stands in for what a worker has around it.
//
//	server.go   the worker's server: hands it the job, takes lines and reports
//	source.go   what git says of the tree; tree.go copies it, ref.go exports one
//	job.go      the choices of the command line and the source -> a job
//	printer.go  lines and reports -> a terminal or a file
//	plan.go     what a dry run would do
//	keeper.go   containers and networks: removed in the background, or kept
//	owner.go    whose they are, and what a run that crashed has left
//	logins.go   what docker login has left
//	last.go     what is kept for the next run with a later first stage
//
// It runs no step: worker does, and cmd/cyclone puts the two together. It is no
// server: nothing of a run can be looked at later, and nobody is told.
package local
