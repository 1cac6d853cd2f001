//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/local"
)

// runFlags are what the command line says about a run.
type runFlags struct {
	file, ref, from, envFile, event, color, artifacts string
	stages, env, secrets, changed                     []string
	noPush, noDeploy, keep, noCache, plain            bool
	options                                           local.Options
}

func (a *app) runCommand() *cobra.Command {
	f := &runFlags{}
	c := &cobra.Command{
		Use: "run [DIR]", Short: "Run a pipeline on the Docker engine of this machine; needs no server", Args: atMostOne("DIR"),
		Long: "Run the pipeline of the working tree in DIR (default: here), or of --ref, on the\nDocker engine of this machine (DOCKER_HOST), with what a worker runs it with.\n" +
			"The source is copied: nothing in the working tree is changed. Nothing is pushed or\ndeployed unless --push or --deploy say so.\n\n" +
			"Exit codes: 0 success; 1 the pipeline failed, or its file has errors; 2 wrong usage,\nor something is missing; 130 interrupted.",
	}
	f.define(c)
	c.RunE = a.does(func(cmd *cobra.Command, args []string) error {
		dir := "."
		if len(args) == 1 {
			dir = args[0]
		}
		err := a.localRun(cmd.Context(), dir, f)
		var wrong *local.UsageError
		if errors.As(err, &wrong) {
			return usage("%v", wrong)
		}
		return err
	})
	return c
}

func atMostOne(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) <= 1 {
			return nil
		}
		return usage("%s wants at most one %s, not %d arguments", cmd.CommandPath(), name, len(args))
	}
}

func (f *runFlags) define(c *cobra.Command) {
	flags, o := c.Flags(), &f.options
	flags.StringVar(&f.file, "file", "", "the pipeline (default: caicloud.yml in the root of the tree)")
	flags.StringVar(&f.ref, "ref", "", "run this branch, tag or commit instead of the working tree")
	flags.StringSliceVar(&f.stages, "stage", nil, "run these stages alone")
	flags.StringVar(&f.from, "from", "", "begin at this stage, with what the last run made before it")
	flags.StringArrayVar(&f.env, "env", nil, "NAME=value: a variable for all steps; NAME takes it from the environment")
	flags.StringVar(&f.envFile, "env-file", "", "a file with such variables, one a line")
	flags.StringArrayVar(&f.secrets, "secret", nil, "NAME=value, NAME=@FILE, or NAME from the environment: a secret that steps name")
	flags.BoolVar(&o.Push, "push", false, "push the images that are built")
	flags.BoolVar(&f.noPush, "no-push", true, "push nothing")
	flags.BoolVar(&o.Deploy, "deploy", false, "run the deploy stage")
	flags.BoolVar(&f.noDeploy, "no-deploy", true, "deploy nothing")
	flags.StringVar(&o.Image, "image", "", "the image's name, without a tag (default: the project's name)")
	flags.StringVar(&o.Version, "version", "", "the image's tag (default: ci-<commit>, with -dirty for changes)")
	flags.StringVar(&f.event, "event", "manual", "the kind of event to be: push, tag, release, pull_request, manual or cron")
	flags.StringVar(&o.Branch, "branch", "", "the branch to be at (default: the one that is checked out)")
	flags.StringVar(&o.Tag, "tag", "", "the tag to be at")
	flags.StringSliceVar(&f.changed, "changed", nil, "the paths that count as changed for when.paths; auto asks git")
	flags.BoolVar(&o.Trusted, "trusted", false, "allow privileged containers, devices and volumes of this machine")
	flags.DurationVar(&o.Timeout, "timeout", 0, "end the run after this time")
	flags.BoolVar(&f.keep, "keep", false, "when it fails, keep containers, network and source to look at")
	flags.BoolVar(&o.DryRun, "dry-run", false, "print what would be done, and do nothing; --json prints it for programs")
	flags.StringVar(&f.artifacts, "artifacts", "", "put the artifacts of steps into this folder")
	flags.BoolVar(&f.noCache, "no-cache", false, "do not use what `cache` paths held after the last run")
	flags.BoolVar(&f.plain, "plain", false, "print as into a file: no colours, nothing drawn over")
	flags.StringVar(&f.color, "color", "auto", "auto, always or never")
	c.MarkFlagsMutuallyExclusive("push", "no-push")
	c.MarkFlagsMutuallyExclusive("deploy", "no-deploy")
	c.MarkFlagsMutuallyExclusive("branch", "tag")
}

// localRun is the whole command.
func (a *app) localRun(ctx context.Context, dir string, f *runFlags) error {
	if a.json && !f.options.DryRun {
		return usage("--json prints the plan of --dry-run; a run itself has no JSON")
	}
	if err := f.read(a.getenv); err != nil {
		return err
	}
	src, err := local.OpenSource(ctx, dir, f.ref)
	if err != nil {
		return asUsage(err)
	}
	if err := f.locate(src, dir); err != nil {
		return err
	}
	data, err := src.Read(ctx, f.options.Config)
	if errors.Is(err, cyclone.ErrNotFound) && f.file == "" {
		if _, noDockerfile := src.Read(ctx, "Dockerfile"); noDockerfile != nil {
			return usage("there is neither a %s nor a Dockerfile in %s", local.DefaultConfig, src.Root)
		}
	} else if err != nil {
		return asUsage(err)
	}
	if f.options.Changed, err = f.changedPaths(ctx, src); err != nil {
		return asUsage(err)
	}
	l := &localRun{app: a, flags: f, src: src}
	if err := l.openFolder(); err != nil {
		return err
	}
	l.run, err = local.NewRun(src, data, l.last, f.options)
	var wrong *local.Problems
	if errors.As(err, &wrong) {
		return errors.Join(a.lintText([]linted{{wrong.File, wrong.Source, wrong.List}}), errSilent)
	}
	if err != nil {
		return err
	}
	if f.options.DryRun {
		return l.plan(ctx)
	}
	return l.execute(ctx)
}

// asUsage makes an error about what was asked for one of the command line.
func asUsage(err error) error {
	if errors.Is(err, cyclone.ErrNotFound) || errors.Is(err, cyclone.ErrInvalid) {
		return usage("%v", err)
	}
	return err
}

// read reads the flags that are more than a value.
func (f *runFlags) read(getenv func(string) string) error {
	o := &f.options
	for _, name := range f.stages {
		stage, err := stageNamed(name)
		if err != nil {
			return err
		}
		o.Stages = append(o.Stages, stage)
	}
	if f.from != "" {
		stage, err := stageNamed(f.from)
		if err != nil {
			return err
		}
		o.From = stage
	}
	kinds := []cyclone.TriggerKind{cyclone.KindPush, cyclone.KindTag, cyclone.KindRelease, cyclone.KindPullRequest, cyclone.KindManual, cyclone.KindCron}
	if o.Event = cyclone.TriggerKind(f.event); !slices.Contains(kinds, o.Event) {
		return usage("--event is push, tag, release, pull_request, manual or cron, not %q", f.event)
	}
	if f.color != "auto" && f.color != "always" && f.color != "never" {
		return usage("--color is auto, always or never, not %q", f.color)
	}
	if o.Timeout < 0 {
		return usage("--timeout is a time such as 10m")
	}
	if o.Version != "" && cyclone.DockerTag(o.Version) != o.Version {
		return usage("--version %q cannot be the tag of an image", o.Version)
	}
	if err := f.readVariables(getenv); err != nil {
		return err
	}
	return f.readSecrets(getenv)
}

func stageNamed(name string) (cyclone.Stage, error) {
	stage := cyclone.Stage(strings.TrimSpace(name))
	if !slices.Contains(cyclone.Stages, stage) || stage == cyclone.StageClone {
		return "", usage("there is no stage %q; there are pre_build, build, integration, post_build and deploy", name)
	}
	return stage, nil
}

// readVariables reads --env-file, and --env over it.
func (f *runFlags) readVariables(getenv func(string) string) error {
	f.options.Variables = map[string]string{}
	var pairs []string
	if f.envFile != "" {
		text, err := os.ReadFile(f.envFile)
		if err != nil {
			return usage("--env-file %s cannot be read: %v", f.envFile, errors.Unwrap(err))
		}
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimRight(strings.TrimLeft(line, " \t"), "\r\n"); line != "" && line[0] != '#' {
				pairs = append(pairs, line)
			}
		}
	}
	for _, pair := range append(pairs, f.env...) {
		name, value, given := strings.Cut(pair, "=")
		if name == "" || strings.ContainsAny(name, " \t\x00") {
			return usage("%q is no variable; write NAME=value", pair)
		}
		if !given {
			value = getenv(name)
		}
		f.options.Variables[name] = value
	}
	return nil
}

func (f *runFlags) readSecrets(getenv func(string) string) error {
	f.options.Secrets = map[string]string{}
	for _, pair := range f.secrets {
		name, value, given := strings.Cut(pair, "=")
		file, fromFile := strings.CutPrefix(value, "@")
		switch {
		case name == "":
			return usage("--secret wants NAME=value, NAME=@FILE or NAME")
		case !given:
			if value = getenv(name); value == "" {
				return usage("--secret %s: the environment has no %s", name, name)
			}
		case fromFile:
			text, err := os.ReadFile(filepath.Clean(file))
			if err != nil {
				return usage("--secret %s: %s cannot be read: %v", name, file, errors.Unwrap(err))
			}
			value = strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
		}
		f.options.Secrets[name] = value
	}
	return nil
}

// locate finds the file's path from the root of the source.
func (f *runFlags) locate(src *local.Source, dir string) error {
	f.options.Config = local.DefaultConfig
	if f.file == "" {
		return nil
	}
	from := f.file
	if !filepath.IsAbs(from) {
		if _, err := os.Stat(from); err != nil {
			from = filepath.Join(dir, f.file)
		}
	}
	abs, err := filepath.Abs(from)
	if err == nil {
		if folder, linkErr := filepath.EvalSymlinks(filepath.Dir(abs)); linkErr == nil {
			abs = filepath.Join(folder, filepath.Base(abs))
		}
		f.options.Config, err = filepath.Rel(src.Root, abs)
	}
	if err != nil || !filepath.IsLocal(f.options.Config) {
		return usage("--file %s is not in %s", f.file, src.Root)
	}
	return nil
}

func (f *runFlags) changedPaths(ctx context.Context, src *local.Source) ([]string, error) {
	if slices.Equal(f.changed, []string{"auto"}) {
		return src.Changed(ctx)
	}
	return f.changed, nil
}

// engineWait is how long an engine may take to answer at first.
const engineWait = 3 * time.Second

// noEngine says that no engine answers.
func noEngine(host string, err error) error {
	return fmt.Errorf("no Docker engine answers at %s (%v); start one, or set DOCKER_HOST", host, firstLine(err.Error()))
}
