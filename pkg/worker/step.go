package worker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"cyclone/pkg/cyclone"
)

const (
	workspace  = "/workspace"     // where the source is when the step does not say
	removeTime = 20 * time.Second // for removing a container
)

// containers runs the steps of a stage that are containers, in order.
func (r *run) containers(ctx context.Context, stage cyclone.Stage, steps []cyclone.Step) error {
	for _, c := range steps {
		if err := r.container(ctx, stage, c, ""); err != nil {
			return err
		}
	}
	return nil
}

// container runs one step with its timeout and retries. network is empty for
// the step's own choice.
func (r *run) container(ctx context.Context, stage cyclone.Stage, c cyclone.Step, network string) error {
	err := r.step(ctx, stage, c.Name, func(s *step) error {
		if run, err := r.shallRun(ctx, c.When, s.say); err != nil || !run {
			return errors.Join(err, skippedUnless(run))
		}
		for try := 0; ; try++ {
			s.again = func(err error) bool { return try < c.Retries && !s.kept && ctx.Err() == nil && failed(err) }
			err := r.attempt(ctx, s, c, network)
			if !s.again(err) {
				return err
			}
			s.say("%v; trying again (%d of %d)", err, try+1, c.Retries)
		}
	})
	if err != nil && c.AllowFailure && ctx.Err() == nil {
		return r.allow(stage, c.Name, err)
	}
	return err
}

// failed reports whether a step found something wrong: it may run again. One
// that ran out of time would hardly be quicker then, and what is ours is no
// matter of the step.
func failed(err error) bool {
	var v *verdict
	return errors.As(err, &v) && v.status == cyclone.StatusFailure
}

// allow lets the run go on after a step that may fail, for whatever reason of
// its own: it failed, or ran out of its time.
func (r *run) allow(stage cyclone.Stage, step string, err error) error {
	var v *verdict
	if !errors.As(err, &v) || (v.status != cyclone.StatusFailure && v.status != cyclone.StatusTimeout) {
		return err
	}
	o := r.log.output(stage, step)
	o.say("The run goes on: this step may fail.")
	o.close()
	ended := "failed"
	if v.status == cyclone.StatusTimeout {
		ended = "timed out"
	}
	r.remarks = append(r.remarks, label(stage, step)+" "+ended+", as it may")
	return nil
}

func skippedUnless(run bool) error {
	if run {
		return nil
	}
	return errSkipped
}

// attempt runs a step once.
func (r *run) attempt(ctx context.Context, s *step, c cyclone.Step, network string) error {
	late := &verdict{status: cyclone.StatusTimeout, stage: s.stage, step: s.name}
	if c.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, time.Duration(c.Timeout), late)
		defer cancel()
	}
	err := r.once(ctx, s, c, network)
	if err == nil {
		return nil
	}
	n, command := s.command()
	late.message = fmt.Sprintf("%s timed out after %s%s", label(s.stage, s.name), c.Timeout, during(n, command))
	err = judge(ctx, s.stage, s.name, err)
	var v *verdict
	if errors.As(err, &v) && (v.status == cyclone.StatusTimeout || v.status == cyclone.StatusCanceled) {
		v.command = command
	}
	return err
}

// during names the command that runs.
func during(n int, command string) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" in command %d %q", n, short(command))
}

// once makes the step's container, runs it and takes its outputs.
func (r *run) once(ctx context.Context, s *step, c cyclone.Step, network string) error {
	image, err := r.imageFor(ctx, s, c)
	if err != nil {
		return err
	}
	spec, err := r.spec(ctx, s, c, image, network)
	if err != nil {
		return err
	}
	s.set(func(st *cyclone.StepState) { st.Image = firstOf(c.Image, image) })
	if r.dry() {
		r.plan(s, c, spec)
		return nil
	}
	// The container may change the source tree.
	if err := r.outputs.packed(ctx); err != nil {
		return err
	}
	caches, err := r.openCaches(ctx, s, c, &spec)
	if err != nil {
		return err
	}
	err = r.contain(ctx, s, c, spec)
	return errors.Join(err, r.closeCaches(ctx, s, caches, err == nil))
}

// contain runs a step in a container of its own and takes what is to be kept.
func (r *run) contain(ctx context.Context, s *step, c cyclone.Step, spec cyclone.ContainerSpec) error {
	id, err := r.Containers.Create(ctx, spec)
	if err != nil {
		return err
	}
	defer r.remove(ctx, id)
	if c.Dockerfile == "" || len(c.Commands) > 0 {
		err = r.runContainer(ctx, s, c, id)
	}
	var taken []string
	if err == nil {
		taken, err = r.takeOutputs(ctx, s, c, spec, id)
	}
	// Reports and artifacts matter most when something went wrong; but of
	// several tries the last one's are kept.
	if !s.again(judge(ctx, s.stage, s.name, err)) {
		if kept := r.keep(ctx, s, c, spec, id); err == nil {
			err = kept
		}
	}
	if err == nil {
		r.keepOutputs(ctx, s, taken)
	}
	return err
}

// runContainer runs a container to its end and says what went wrong.
func (r *run) runContainer(ctx context.Context, s *step, c cyclone.Step, id string) error {
	exit, err := r.Containers.Run(ctx, id, s)
	s.close()
	if err == nil && exit.Code == 0 && exit.Signal == "" {
		return nil
	}
	s.set(func(st *cyclone.StepState) { st.ExitCode = exit.Code })
	if err != nil {
		return err
	}
	n, command := s.command()
	v := failure(s.stage, s.name, "%s", exitText(exit, c, n, command))
	v.command, v.exitCode = command, exit.Code
	return v
}

// remove removes a container, also when the run was stopped.
func (r *run) remove(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTime)
	defer cancel()
	if err := r.Containers.Remove(ctx, id); err != nil && !errors.Is(err, cyclone.ErrNotFound) {
		r.Log.Warn("cannot remove container", "container", id, "error", err)
	}
}

// spec is the container of a step.
func (r *run) spec(ctx context.Context, s *step, c cyclone.Step, image, network string) (cyclone.ContainerSpec, error) {
	env, err := r.environment(s.stage, c)
	if err != nil {
		return cyclone.ContainerSpec{}, err
	}
	mounts, workingDir, err := r.mounts(s, c)
	if err != nil {
		return cyclone.ContainerSpec{}, err
	}
	if network == "" && r.Engine.Shared && r.Local == nil {
		// On the host's engine a step must not meet those of other events.
		if network, err = r.eventNetwork(ctx); err != nil {
			return cyclone.ContainerSpec{}, err
		}
	}
	spec := cyclone.ContainerSpec{
		Name: "cyclone-" + strings.NewReplacer("/", "-", ".", "-").Replace(s.name), Image: image,
		Entrypoint: c.Entrypoint, Command: c.Command, Environment: env, WorkingDir: workingDir, Mounts: mounts,
		Network: network, ExtraHosts: c.ExtraHosts, DNS: c.DNS, Ports: c.Ports,
		Privileged: c.Privileged, Devices: c.Devices, Memory: c.Memory, CPUs: c.CPUs, CPUSet: c.CPUSet,
		Labels: r.labels("step"),
	}
	if len(c.Commands) > 0 {
		return spec, r.addScript(s, c, &spec)
	}
	return spec, nil
}

// addScript makes a container run the step's commands. They are in a file:
// a command line is limited in size and open to every process of the host.
func (r *run) addScript(s *step, c cyclone.Step, spec *cyclone.ContainerSpec) error {
	script := newScript(c.Commands)
	path := filepath.Join(r.aux, script.nonce)
	// The step may run as any user.
	if err := os.WriteFile(path, script.text(), 0o444); err != nil { //#nosec G306
		return fmt.Errorf("write the commands: %w", err)
	}
	s.follow(script)
	spec.Entrypoint = []string{"/bin/sh"}
	spec.Command = []string{"-e", scriptTarget}
	spec.Mounts = append(spec.Mounts, cyclone.Mount{Source: path, Target: scriptTarget, ReadOnly: true})
	return nil
}

// mounts are the step's volumes and, unless they hold it already, the source.
// Services get what they ask for alone. The working directory is empty where
// the image's own holds.
func (r *run) mounts(s *step, c cyclone.Step) (mounts []cyclone.Mount, workingDir string, err error) {
	for _, v := range c.Volumes {
		source, err := r.volumeSource(s, v)
		if err != nil {
			return nil, "", err
		}
		mounts = append(mounts, cyclone.Mount{Source: source, Target: v.Target, ReadOnly: v.ReadOnly})
		if filepath.Clean(v.Source) == "." {
			workingDir = v.Target
		}
	}
	if workingDir != "" || strings.HasPrefix(c.Name, servicePrefix) {
		return mounts, workingDir, nil
	}
	mounts = append(mounts, cyclone.Mount{Source: r.tree, Target: workspace})
	if len(c.Commands) > 0 {
		workingDir = workspace
	}
	return mounts, workingDir, nil
}

// volumeSource is a volume's place on the worker's disk. A path in the source
// tree must stay there even when it is a symbolic link; a missing one is made.
func (r *run) volumeSource(s *step, v cyclone.Volume) (string, error) {
	if filepath.IsAbs(v.Source) {
		return v.Source, nil // manifest.Trusted has let it pass
	}
	rel := filepath.Clean(v.Source)
	if _, err := r.root.Stat(rel); errors.Is(err, fs.ErrNotExist) {
		if err := r.root.MkdirAll(rel, 0o755); err != nil {
			return "", failure(s.stage, s.name, "volume %s: %v", v.Source, pathReason(err))
		}
	}
	return r.inTree(rel)
}

// inTree is a path of the source tree on the worker's disk, with symbolic
// links resolved. ErrInvalid when it leaves the tree, ErrNotFound when there
// is nothing.
func (r *run) inTree(rel string) (string, error) {
	if _, err := r.root.Stat(rel); errors.Is(err, fs.ErrNotExist) {
		return "", cyclone.NotFound("there is no %s in the repository", rel)
	} else if err != nil {
		return "", cyclone.Invalid(rel, "leaves the source tree (%v)", pathReason(err))
	}
	path, err := filepath.EvalSymlinks(filepath.Join(r.tree, rel))
	if err != nil {
		return "", fmt.Errorf("find %s: %w", rel, pathReason(err))
	}
	return path, nil
}
