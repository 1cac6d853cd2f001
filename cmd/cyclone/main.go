// Command cyclone is the command line client of a Cyclone server: projects,
// events, logs, clusters, secrets, forges, deliveries, nodes, workers, retention, and
// the check of a caicloud.yml, which needs no server. docs/cli.md describes it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"cyclone/pkg/client"
	"cyclone/pkg/cyclone"
)

// Set by the linker.
var (
	version = "unknown"
	commit  = "unknown"
)

// The exit codes; docs/cli.md promises them.
const (
	exitOK              = 0
	exitFailed          = 1 // the event did not succeed, the file has errors, or any other failure
	exitUsage           = 2 // wrong command, flag or argument
	exitUnavailable     = 3 // the server cannot be reached, or cannot do it now
	exitUnauthenticated = 4 // no token, a wrong one, or one that may not do this
	exitNotFound        = 5
	exitRefused         = 6 // what was asked for is invalid, or in conflict with what is there
	exitInterrupted     = 130
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], terminal{os.Stdin, os.Stdout, os.Stderr}, os.Getenv)
	stop()
	os.Exit(code)
}

// terminal is what the program reads and prints to.
type terminal struct {
	in       io.Reader
	out, err io.Writer
}

// usageError is a command line that cannot be understood.
type usageError struct{ message string }

func (e *usageError) Error() string { return e.message }

func usage(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

// errSilent ends with exit code 1 when everything has been said already.
var errSilent = errors.New("failed")

// run executes one command line and returns the exit code.
func run(ctx context.Context, args []string, t terminal, getenv func(string) string) int {
	a := &app{terminal: t, getenv: getenv}
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	code, advice := explain(ctx, err, a.running)
	if !errors.Is(err, errSilent) {
		text := strings.Join(strings.Fields(err.Error()), " ")
		if advice != "" {
			text = strings.TrimRight(text, ".") + "; " + advice
		}
		_, _ = fmt.Fprintln(t.err, "cyclone: "+oneLine(text)) // there is nowhere else to say it
	}
	return code
}

// explain turns an error into an exit code and what to do about it. Before a
// command runs, errors are about the command line.
func explain(ctx context.Context, err error, running bool) (code int, advice string) {
	var wrong *usageError
	switch {
	case ctx.Err() != nil:
		return exitInterrupted, ""
	case errors.As(err, &wrong), !running:
		return exitUsage, "see --help"
	case errors.Is(err, client.ErrUnauthenticated):
		return exitUnauthenticated, "set CYCLONE_TOKEN to a token of this server"
	case errors.Is(err, cyclone.ErrForbidden):
		return exitUnauthenticated, "use a token that may do this"
	case errors.Is(err, cyclone.ErrUnavailable):
		return exitUnavailable, "try again, or check CYCLONE_SERVER and that the server is running"
	case errors.Is(err, cyclone.ErrNotFound):
		return exitNotFound, "`list` of project, event, delivery, node, cluster or secret shows what there is"
	case errors.Is(err, cyclone.ErrInvalid), errors.Is(err, cyclone.ErrConflict):
		return exitRefused, ""
	}
	return exitFailed, ""
}
