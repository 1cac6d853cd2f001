package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"cyclone/pkg/cyclone"
)

const (
	servicePrefix = string(cyclone.StageIntegration) + "/"
	serviceTail   = 50               // lines that are quoted when a service fails
	serviceEnd    = 10 * time.Second // from a service's removal to the end of its output
)

// integration starts the services, runs the tests and stops the services.
func (r *run) integration(ctx context.Context) error {
	i := r.pipeline.Integration
	if run, err := r.shallRun(ctx, i.When, func(string, ...any) {}); err != nil || !run {
		// It notes that the step is skipped. What is not tested in this event
		// needs no test to be called latest.
		return errors.Join(err, r.container(ctx, cyclone.StageIntegration, i.Step, ""), r.pushTags(ctx, cyclone.StageIntegration))
	}
	if err := r.up.wait(ctx); err != nil {
		return engineError(ctx, err)
	}
	network, err := r.eventNetwork(ctx)
	if err != nil {
		return err
	}
	testCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// Not ended by ctx: that would give every service ten seconds to stop, one
	// after the other. stop removes them all at once.
	following, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	services := &services{run: r, network: network, fail: cancel, giveUp: giveUp, following: following, links: i.Links}
	defer services.stop(ctx)
	for _, c := range i.Services {
		if err := services.start(testCtx, c); err != nil {
			return err
		}
	}
	if err := r.container(testCtx, cyclone.StageIntegration, i.Step, network); err != nil {
		return err
	}
	return r.pushTags(ctx, cyclone.StageIntegration)
}

// services are the running services of the integration stage.
type services struct {
	run     *run
	network string
	links   []cyclone.Link
	fail    context.CancelCauseFunc // ends the tests
	giveUp  context.CancelFunc      // ends what follows the services' output
	all     []*service
	running sync.WaitGroup

	following context.Context // of what follows their output
}

// service is one container that the tests need.
type service struct {
	step     cyclone.Step
	id       string
	out      *step
	ended    chan struct{} // closed once exit and err are set
	exit     cyclone.Exit
	err      error
	stopping chan struct{} // closed before it is stopped on purpose
}

// start starts a service and waits until it is ready.
func (all *services) start(ctx context.Context, c cyclone.Step) error {
	return all.run.step(ctx, cyclone.StageIntegration, c.Name, func(s *step) error {
		if run, err := all.run.shallRun(ctx, c.When, s.say); err != nil || !run {
			return errors.Join(err, skippedUnless(run))
		}
		s.remember(serviceTail)
		v := &service{step: c, out: s, ended: make(chan struct{}), stopping: make(chan struct{})}
		if err := all.create(ctx, v); err != nil {
			return err
		}
		if all.run.dry() {
			return nil
		}
		all.all = append(all.all, v)
		all.running.Go(func() { all.follow(v) })
		if err := all.run.ready(ctx, v); err != nil {
			all.quote(v)
			return err
		}
		all.running.Go(func() { all.watch(v) })
		return nil
	})
}

// create makes a service's container.
func (all *services) create(ctx context.Context, v *service) error {
	r := all.run
	image, err := r.imageFor(ctx, v.out, v.step)
	if err != nil {
		return err
	}
	spec, err := r.spec(ctx, v.out, v.step, image, all.network)
	if err != nil {
		return err
	}
	if err := r.outputs.packed(ctx); err != nil {
		return err
	}
	spec.Labels = r.labels("service")
	spec.Aliases = all.aliases(v.step.Name)
	if r.dry() {
		r.plan(v.out, v.step, spec)
		return nil
	}
	v.out.set(func(st *cyclone.StepState) { st.Image = firstOf(v.step.Image, image) })
	v.id, err = r.Containers.Create(ctx, spec)
	return err
}

// aliases are the names under which a service is reached.
func (all *services) aliases(step string) []string {
	name := strings.TrimPrefix(step, servicePrefix)
	out := []string{name}
	for _, l := range all.links {
		if l.Service == name && l.Alias != "" && l.Alias != name {
			out = append(out, l.Alias)
		}
	}
	return out
}

// follow keeps a service's output until it ends.
func (all *services) follow(v *service) {
	v.exit, v.err = all.run.Containers.Run(all.following, v.id, v.out)
	v.out.close()
	close(v.ended)
}

// watch ends the tests when a service that was ready ends by itself.
func (all *services) watch(v *service) {
	select {
	case <-v.stopping:
		return
	case <-v.ended:
	}
	select {
	case <-v.stopping: // both at once: it was stopped
		return
	default:
	}
	all.quote(v)
	why := failure(cyclone.StageIntegration, v.step.Name, "the service %s while the tests ran", v.ending())
	why.exitCode = v.exit.Code
	v.out.set(func(st *cyclone.StepState) {
		st.Status, st.ExitCode, st.Error = cyclone.StatusFailure, v.exit.Code, all.run.log.masked(why.message)
	})
	all.fail(why)
}

// stop removes all services at once and waits for the rest of their output.
func (all *services) stop(ctx context.Context) {
	var removing sync.WaitGroup
	for _, v := range all.all {
		close(v.stopping)
		removing.Go(func() { all.run.remove(ctx, v.id) })
	}
	removing.Wait()
	// What is removed has ended. An engine that does not say so is not waited
	// for without end.
	late := time.AfterFunc(serviceEnd, all.giveUp)
	defer late.Stop()
	all.running.Wait()
}

// ending says how a service ended.
func (v *service) ending() string {
	if v.err != nil {
		return "was lost: " + v.err.Error()
	}
	n, command := v.out.command()
	if n > 0 {
		return "ended: " + exitText(v.exit, v.step, n, command)
	}
	if len(v.step.Commands) == 0 && (v.exit.OOMKilled || v.exit.Signal != "") {
		return strings.TrimPrefix(exitText(v.exit, v.step, 0, ""), "its command ")
	}
	return fmt.Sprintf("exited with %d", v.exit.Code)
}

// quote repeats a failed service's last lines where the reader looks for the
// reason.
func (all *services) quote(v *service) {
	lines := v.out.tail()
	if len(lines) == 0 {
		return
	}
	o := all.run.log.output(cyclone.StageIntegration, string(cyclone.StageIntegration))
	defer o.close()
	o.say("The last %d lines of %s:", len(lines), v.step.Name)
	for _, l := range lines {
		o.say("  %s", l)
	}
}
