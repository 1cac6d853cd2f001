// Command cyclone-server is Cyclone's server: the REST interface, the hooks,
// the queue and the end of every event. It reads its settings from flags and
// environment variables; --help lists them.
//
// Exit codes: 0 ended by a signal, 1 failed, 2 wrong settings.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"slices"
	"syscall"
	_ "time/tzdata" // cron triggers have zones, also where the system knows none

	"cyclone/pkg/config"
	"cyclone/pkg/metrics"
)

// Set by the linker.
var (
	version = "unknown"
	commit  = "unknown"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if slices.Contains(os.Args[1:], "--version") {
		fmt.Println("cyclone-server", version, commit)
		return
	}
	p := program{args: os.Args[1:], lookup: os.LookupEnv, stdout: os.Stdout, stderr: os.Stderr}
	err := p.run(ctx)
	var wrong *settingsError
	switch {
	case err == nil, errors.Is(err, config.ErrHelp):
	case errors.As(err, &wrong):
		fmt.Fprintf(os.Stderr, "cyclone-server: wrong settings:\n%v\n", err)
		os.Exit(2)
	default:
		fmt.Fprintf(os.Stderr, "cyclone-server: %v\n", err)
		os.Exit(1)
	}
}

// program is everything that the server takes from its surroundings.
type program struct {
	args           []string
	lookup         func(string) (string, bool)
	stdout, stderr io.Writer
	// listening is told the address once requests are answered; may be nil.
	listening func(net.Addr)
}

// settingsError marks errors that are the operator's to correct.
type settingsError struct{ error }

func (e *settingsError) Unwrap() error { return e.error }

// run is the server's life: settings, store, rooms, and then serving until ctx ends.
func (p *program) run(ctx context.Context) error {
	var s settings
	if err := s.read(p.args, p.lookup, p.stdout); err != nil {
		return &settingsError{err}
	}
	log := logger(&s, p.stderr)
	counts := metrics.New()
	st, err := openStores(ctx, &s, counts, log)
	if err != nil {
		return err
	}
	in, err := p.installation(ctx, &s, st)
	if err != nil {
		return errors.Join(err, st.close())
	}
	r, err := build(&s, st, in, counts, log)
	if err != nil {
		return errors.Join(err, st.close())
	}
	return errors.Join(r.serve(ctx, p.listening), st.close())
}

func logger(s *settings, out io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(s.logLevel)) // one of the words that settings allow
	options := &slog.HandlerOptions{Level: level}
	if s.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(out, options))
	}
	return slog.New(slog.NewTextHandler(out, options))
}
