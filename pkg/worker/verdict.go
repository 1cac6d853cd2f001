package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"cyclone/pkg/cyclone"
)

// verdict is an error that says how the event ends, and why.
type verdict struct {
	status   cyclone.Status
	stage    cyclone.Stage
	step     string
	command  string
	exitCode int
	message  string
	judged   bool // in its step, which has said it
}

// Error implements error.
func (v *verdict) Error() string { return v.message }

// label is how messages call a step: "pre_build", "pre_build/lint",
// "integration/postgres".
func label(stage cyclone.Stage, step string) string {
	if step == "" || step == string(stage) {
		return string(stage)
	}
	if strings.HasPrefix(step, string(stage)+"/") {
		return step
	}
	return string(stage) + "/" + step
}

// failure is the project's fault.
func failure(stage cyclone.Stage, step, format string, args ...any) *verdict {
	return &verdict{
		status: cyclone.StatusFailure, stage: stage, step: step,
		message: label(stage, step) + " failed: " + fmt.Sprintf(format, args...),
	}
}

// judge turns what went wrong in a step into a verdict: the project's fault
// for the kinds of error that a project causes, otherwise ours. What ended ctx
// comes first: errors that follow from it say nothing.
func judge(ctx context.Context, stage cyclone.Stage, step string, err error) error {
	if err == nil {
		return nil
	}
	var v *verdict
	if errors.As(err, &v) && v.judged {
		return err
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
		if errors.Is(cause, context.Canceled) {
			err = &verdict{status: cyclone.StatusError, message: errStopped.Error()}
		}
	}
	if errors.As(err, &v) {
		return v.in(stage, step)
	}
	if errors.Is(err, errOver) {
		return err
	}
	v = failure(stage, step, "%v", err)
	if !projectsFault(err) {
		v.status = cyclone.StatusError
	}
	if diskFull(err) {
		v.message = label(stage, step) + " failed: the worker's disk is full: " + err.Error()
	}
	return v.in(stage, step)
}

// in is the verdict as judged: it names stage and step where v does not say
// them yet.
func (v *verdict) in(stage cyclone.Stage, step string) *verdict {
	placed := *v
	if placed.stage == "" {
		placed.stage, placed.step = stage, step
	}
	placed.judged = placed.step != ""
	return &placed
}

func projectsFault(err error) bool {
	if diskFull(err) || errors.Is(err, cyclone.ErrUnavailable) {
		return false
	}
	return errors.Is(err, cyclone.ErrNotFound) || errors.Is(err, cyclone.ErrInvalid) ||
		errors.Is(err, cyclone.ErrForbidden) || errors.Is(err, cyclone.ErrConflict)
}

// diskFull also looks at the text: over the engine's API nothing else remains
// of the error.
func diskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) ||
		strings.Contains(err.Error(), "no space left on device") || strings.Contains(err.Error(), "disk quota exceeded")
}

// result is the result of the run whose stages ended with err.
func (r *run) result(err error) cyclone.Result {
	if err == nil {
		return cyclone.Result{Status: cyclone.StatusSuccess, Reason: strings.Join(r.remarks, "; "), LastLine: r.log.last()}
	}
	var v *verdict
	if !errors.As(err, &v) {
		v = &verdict{status: cyclone.StatusError, message: err.Error()}
	}
	message := r.log.masked(v.message)
	return cyclone.Result{
		Status: v.status, Reason: message, LastLine: r.log.last(),
		Error: &cyclone.Failure{
			Stage: v.stage, Step: v.step, Command: r.log.masked(v.command), ExitCode: v.exitCode, Message: message,
		},
	}
}

// exitText says how a container ended, with the command that ran.
func exitText(e cyclone.Exit, step cyclone.Step, n int, command string) string {
	what := "its command"
	if n > 0 {
		what = fmt.Sprintf("command %d %q", n, short(command))
	} else if len(step.Commands) > 0 {
		what = "the shell, before the first command,"
	}
	switch {
	case e.OOMKilled && step.Memory > 0:
		return fmt.Sprintf("%s was killed: out of memory (mem_limit is %s)", what, step.Memory)
	case e.OOMKilled:
		return what + " was killed: out of memory"
	case e.Signal != "":
		return what + " was killed by " + e.Signal
	}
	return fmt.Sprintf("%s exited with %d", what, e.Code)
}

// short is the beginning of a command for a message.
func short(command string) string {
	const most = 200
	first, _, more := strings.Cut(strings.TrimSpace(command), "\n")
	if len(first) > most {
		first, more = strings.ToValidUTF8(first[:most], ""), true
	}
	if more {
		return first + "..."
	}
	return first
}
