package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"time"

	"cyclone/pkg/cyclone"
)

const (
	coldGoal  = 8.0
	greeting  = "hello from the step"
	hostImage = "cyclone/busybox:demo" // what the worker pulls as busybox:1
)

// The step stays for a moment after its line, so that the worker can still be
// asked when its engine was ready.
const coldConfig = "pre_build:\n  image: busybox:1\n  commands: echo " + greeting + " && sleep 1\n"

// cold measures the way from the hook's 202 to the first line of user output,
// with no worker running before, against `docker run --rm`.
func (b *bench) cold(ctx context.Context) error {
	p, err := b.newProject(ctx, b.system.Server, "cold", map[string][]byte{"caicloud.yml": []byte(coldConfig)})
	if err != nil {
		return err
	}
	say("cold start: %d events and `docker run --rm` in turns, after one of each that does not count", b.coldRounds)
	var ours, plain, first series
	parts := timeline{}
	for i := range b.coldRounds + 1 {
		whole, line, err := dockerRun(ctx)
		if err != nil {
			return err
		}
		took, at, err := p.firstLine(ctx)
		if err != nil {
			return err
		}
		if i == 0 {
			continue
		}
		plain.add(whole)
		first.add(line)
		ours.add(took)
		parts.add(at)
		fmt.Printf("    %d: first line after %.2f s; docker run --rm %.2f s; ratio %.1f\n", i, took, whole, took/whole)
	}
	ratio := ours.over(plain)
	fmt.Printf("    its parts (medians):\n%s", parts.String())
	b.goal("first line of a cold event / docker run --rm", fmt.Sprintf("<= %.0fx", coldGoal), ratio.median() <= coldGoal,
		"%s: %s against %s", ratio.show("%.1fx"), ours.seconds(), plain.seconds())
	b.note("  docker run --rm until its first line", "%s", first.seconds())
	return nil
}

// dockerRun runs the same command on the host's engine and returns the
// seconds of the whole and those to the first line.
func dockerRun(ctx context.Context) (whole, first float64, err error) {
	cmd := exec.CommandContext(ctx, "docker", "run", "--rm", hostImage, "echo", greeting)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, 0, err
	}
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	line, readErr := bufio.NewReader(out).ReadString('\n')
	first = time.Since(begun).Seconds()
	if err := errors.Join(readErr, cmd.Wait()); err != nil {
		return 0, 0, fmt.Errorf("docker run: %w", err)
	}
	if strings.TrimSpace(line) != greeting {
		return 0, 0, fmt.Errorf("docker run printed %q", line)
	}
	return time.Since(begun).Seconds(), first, nil
}

// firstLine runs one event and returns the seconds from the hook's 202 to the
// first line, and when its parts were done.
func (p *project) firstLine(ctx context.Context) (float64, map[string]float64, error) {
	if err := p.commit(ctx, "Change"); err != nil {
		return 0, nil, err
	}
	server := p.b.system.Server
	id, err := p.deliver(ctx, server)
	if err != nil {
		return 0, nil, err
	}
	accepted := time.Now()
	var seen, pulled time.Time
	var workerLog []byte
	_, err = server.Follow(ctx, id, func(l cyclone.Line) {
		switch {
		case l.Stream == cyclone.Stdout && l.Text == greeting && seen.IsZero():
			seen = time.Now()
			workerLog = logOfWorker(ctx, id)
		case l.Stream == cyclone.System && strings.HasPrefix(l.Text, "Status: "):
			pulled = l.Time
		}
	})
	if err != nil {
		return 0, nil, err
	}
	e, err := p.outcome(ctx, id)
	if err != nil {
		return 0, nil, err
	}
	if seen.IsZero() {
		return 0, nil, fmt.Errorf("event %s succeeded without its line", id)
	}
	log := &p.b.log
	at := map[string]time.Time{
		"worker container started": log.when("worker launched", id),
		"worker connected":         log.when("worker connected", id),
		"engine ready":             logged(workerLog, "engine ready", ""),
		"clone done":               finished(e, cyclone.StageClone),
		"image pulled":             pulled,
		"first line at the viewer": seen,
	}
	return seen.Sub(accepted).Seconds(), since(accepted, at), nil
}

func finished(e *cyclone.Event, stage cyclone.Stage) time.Time {
	for _, s := range e.Stages {
		if s.Name == stage && s.FinishedAt != nil {
			return *s.FinishedAt
		}
	}
	return time.Time{}
}

// logOfWorker is what an event's worker says about itself; empty when it is
// gone already.
func logOfWorker(ctx context.Context, event string) []byte {
	id := workerContainer(ctx, event)
	if id == "" {
		return nil
	}
	out, _ := exec.CommandContext(ctx, "docker", "logs", id).CombinedOutput() // without it one part is not shown
	return out
}

// since turns times into seconds after one; what could not be seen is left out.
func since(begun time.Time, at map[string]time.Time) map[string]float64 {
	out := map[string]float64{}
	for what, t := range at {
		if !t.IsZero() {
			out[what] = t.Sub(begun).Seconds()
		}
	}
	return out
}

// timeline collects when the parts of a cold start were done.
type timeline map[string]*series

func (t timeline) add(at map[string]float64) {
	for what, seconds := range at {
		if t[what] == nil {
			t[what] = &series{}
		}
		t[what].add(seconds)
	}
}

// String lists the parts in the order in which they happen, each with the time
// since the one before.
func (t timeline) String() string {
	parts := slices.SortedFunc(maps.Keys(t), func(a, b string) int { return cmp.Compare(t[a].median(), t[b].median()) })
	var out strings.Builder
	before := 0.0
	for _, what := range parts {
		at := t[what].median()
		fmt.Fprintf(&out, "      %5.2f s  (+%.2f)  %s\n", at, at-before, what)
		before = at
	}
	return out.String()
}
