// Command bench measures how fast Cyclone is, as ratios against plain commands
// that do the same work on the same machine in the same run: the two sides
// take turns, so that both meet the same machine. docs/performance.md says what
// is measured and what came out.
//
// It fails when something is incorrect (a lost line, an event that did not
// succeed), never because something is slow. It is called by scripts/bench.sh,
// which builds what it needs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"cyclone/pkg/cyclonetest/lab"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == rolloutCommand {
		os.Exit(rollOut(os.Args[2:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b := &bench{}
	flag.StringVar(&b.root, "root", ".", "the repository")
	flag.StringVar(&b.cache, "cache", "", "folder that outlives the measurements")
	flag.StringVar(&b.kubeapi, "kubeapi", "", "the Kubernetes API server")
	flag.StringVar(&b.mongo, "mongo", "", "what stands in for MongoDB")
	flag.StringVar(&b.only, "only", "", "measure these alone: cold,lines,hook,stages,big,faults,run,cache")
	flag.IntVar(&b.coldRounds, "cold-rounds", 9, "how often the cold start is measured")
	flag.IntVar(&b.stageRounds, "stage-rounds", 3, "how often the five stages are measured")
	flag.IntVar(&b.lineRounds, "line-rounds", 3, "how often the million lines are measured")
	flag.Parse()
	if err := b.run(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "\n\033[31mthe measurements failed:\033[0m %v\n", err)
		os.Exit(1)
	}
}

type bench struct {
	root, cache, kubeapi, mongo, only   string
	coldRounds, stageRounds, lineRounds int

	system *lab.System
	log    serverLog
	event  string // the newest that has a worker
	table  []row
}

func say(format string, args ...any) { fmt.Printf("\033[36m==>\033[0m "+format+"\n", args...) }

// run starts everything, measures, prints the table and cleans up.
func (b *bench) run(ctx context.Context) (failed error) {
	ctx, cancel := context.WithTimeout(ctx, 40*time.Minute)
	defer cancel()
	parts, err := b.parts()
	if err != nil {
		return err
	}
	describeMachine(ctx)
	b.system, err = lab.StartSystem(ctx, lab.SystemOptions{
		Bin: filepath.Join(b.root, "bin"), Cache: b.cache, Images: lab.BaseImages, Say: say,
		Log: &b.log, Env: map[string]string{"CYCLONE_LOG_LEVEL": "debug"},
	})
	defer func() { failed = errors.Join(failed, b.cleanUp(context.WithoutCancel(ctx))) }()
	if err != nil {
		return err
	}
	for _, p := range parts {
		if err := p.measure(ctx); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	b.print()
	return nil
}

// part is one of the measurements.
type part struct {
	name    string
	measure func(context.Context) error
}

// parts are the measurements that are wanted.
func (b *bench) parts() ([]part, error) {
	all := []part{{"cold", b.cold}, {"lines", b.lines}, {"hook", b.hook}, {"stages", b.stages}, {"big", b.big}, {"faults", b.faults}, {"run", b.localRun}, {"cache", b.caches}}
	if b.only == "" {
		return all, nil
	}
	var wanted []part
	for _, name := range strings.Split(b.only, ",") {
		i := slices.IndexFunc(all, func(p part) bool { return p.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no measurement %q", name)
		}
		wanted = append(wanted, all[i])
	}
	return wanted, nil
}

// cleanUp ends all that was started. The newest event may still run when a
// measurement was broken off.
func (b *bench) cleanUp(ctx context.Context) error {
	var failed error
	if b.event != "" {
		// Refused when the event is over, as it should be.
		_ = b.system.Server.Call(ctx, "POST", "/api/v1/events/"+b.event+"/cancel", nil, nil)
		failed = gone(ctx, b.event)
	}
	return errors.Join(failed, b.system.Stop())
}
