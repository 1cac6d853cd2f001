package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	runGoal   = 1.2
	runRounds = 9
)

// runConfig is a pipeline of two steps; runHand does the same by hand.
const (
	runConfig = "pre_build:\n  image: " + hostImage + "\n  commands: [cat caicloud.yml >/dev/null, echo one]\n" +
		"post_build:\n  image: " + hostImage + "\n  commands: [echo two]\n"
	runHand = `set -e
docker run --rm -v "$PWD:/workspace" -w /workspace ` + hostImage + ` sh -ec 'cat caicloud.yml >/dev/null; echo one'
docker run --rm -v "$PWD:/workspace" -w /workspace ` + hostImage + ` sh -ec 'echo two'
`
)

// localRun measures `cyclone run` of a pipeline of two steps against the two
// `docker run` that do the same, on the same engine, which has the image.
func (b *bench) localRun(ctx context.Context) (failed error) {
	dir, err := os.MkdirTemp("", "cyclone-bench-run-")
	if err != nil {
		return err
	}
	defer func() { failed = errors.Join(failed, os.RemoveAll(dir)) }()
	tree := filepath.Join(dir, "tree")
	if err := errors.Join(os.Mkdir(tree, 0o750), os.WriteFile(filepath.Join(tree, "caicloud.yml"), []byte(runConfig), 0o600)); err != nil {
		return err
	}
	program, err := filepath.Abs(filepath.Join(b.root, "bin", "cyclone"))
	if err != nil {
		return err
	}
	commit := "git init -q . && git add . && git -c user.name=Bench -c user.email=bench@example.com commit -q -m First"
	if _, err := timed(ctx, tree, dir, "sh", "-c", commit); err != nil {
		return err
	}
	say("cyclone run: %d pipelines of two steps and two docker run in turns", runRounds)
	var ours, plain series
	for i := range runRounds {
		var run, hand float64
		sides := []func() error{
			func() (err error) { run, err = timed(ctx, tree, dir, program, "run"); return err },
			func() (err error) { hand, err = timed(ctx, tree, dir, "sh", "-c", runHand); return err },
		}
		if i%2 == 1 {
			slices.Reverse(sides)
		}
		for _, side := range sides {
			if err := side(); err != nil {
				return err
			}
		}
		ours.add(run)
		plain.add(hand)
		fmt.Printf("    %d: run %.2f s; by hand %.2f s; ratio %.2f\n", i+1, run, hand, run/hand)
	}
	ratio := ours.over(plain)
	b.goal("cyclone run, two steps / two docker run", fmt.Sprintf("<= %.1fx", runGoal), ratio.median() <= runGoal,
		"%s: %s against %s", ratio.show("%.2fx"), ours.seconds(), plain.seconds())
	return nil
}

// timed runs a command that must succeed, with what it keeps below home, and
// returns how many seconds it took.
func timed(ctx context.Context, dir, home, name string, args ...string) (float64, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+home)
	begun := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("%s %s: %w:\n%s", name, strings.Join(args, " "), err, out)
	}
	return time.Since(begun).Seconds(), nil
}
