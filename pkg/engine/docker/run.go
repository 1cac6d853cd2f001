package docker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"golang.org/x/sys/unix"

	"cyclone/pkg/cyclone"
)

const (
	// startGrace is how long the engine may take to start a container.
	startGrace = 2 * time.Minute
	// stopGrace is how long a container may take to end after SIGTERM.
	stopGrace = 10 * time.Second
	// killGrace is how long the engine may take to end one after SIGKILL, and
	// to deliver the rest of its output.
	killGrace = 30 * time.Second
)

// Run starts a created container, copies what it prints to out in order of
// arrival and returns when it has ended and all its output has been written.
// When ctx ends first the container gets SIGTERM, after ten seconds SIGKILL,
// and Run returns the exit together with context.Cause(ctx). A command that
// cannot be started at all is ErrInvalid; an engine that goes away meanwhile is
// ErrUnavailable.
func (e *Engine) Run(ctx context.Context, id string, out cyclone.Output) (cyclone.Exit, error) {
	if ctx.Err() != nil {
		return cyclone.Exit{}, context.Cause(ctx)
	}
	// Once started the container has to be seen to its end, so nothing below
	// is cut off by ctx; only await looks at it.
	steady, done := context.WithCancel(context.WithoutCancel(ctx))
	defer done()
	// Attached and waiting before the start, so that neither the first line
	// nor a quick end is missed.
	stream, err := e.api.ContainerAttach(steady, id, container.AttachOptions{Stream: true, Stdout: true, Stderr: true})
	if err != nil {
		return cyclone.Exit{}, failed(steady, err, "attach to container %s", short(id))
	}
	defer stream.Close()
	kills := memoryKills()
	ended, lost := e.api.ContainerWait(steady, id, container.WaitConditionNextExit)
	if err := e.start(steady, id); err != nil {
		return cyclone.Exit{}, err
	}
	output := copying(stream, out)
	code, err := e.await(ctx, id, ended, lost)
	if errors.Is(err, errLost) {
		stream.Close()
	}
	if cut := output.finish(stream.Close); err == nil {
		err = failed(steady, cut, "read output of container %s", short(id))
	}
	exit, limited := e.exit(steady, id, code)
	if limited && exit.Code == 137 && err == nil {
		exit.OOMKilled = exit.OOMKilled || ranOut(kills, memoryKills())
	}
	return exit, err
}

// start starts a container; an engine that does not get it done in startGrace
// is taken for broken.
func (e *Engine) start(ctx context.Context, id string) error {
	ctx, done := context.WithTimeoutCause(ctx, startGrace,
		cyclone.Unavailable("the engine did not start it within %v", startGrace))
	defer done()
	return failed(ctx, e.api.ContainerStart(ctx, id, container.StartOptions{}), "start container %s", short(id))
}

// errLost marks the end of a wait whose container's fate is unknown.
var errLost = errors.New("container is out of sight")

// await waits for the container's end and stops it when ctx ends.
func (e *Engine) await(ctx context.Context, id string, ended <-chan container.WaitResponse, lost <-chan error) (int64, error) {
	select {
	case r := <-ended:
		return r.StatusCode, nil
	case err := <-lost:
		return 0, fmt.Errorf("%w: %w", errLost, failed(context.WithoutCancel(ctx), err, "wait for container %s", short(id)))
	case <-ctx.Done():
	}
	for _, s := range []struct {
		signal string
		grace  time.Duration
	}{{"SIGTERM", stopGrace}, {"SIGKILL", killGrace}} {
		e.signal(id, s.signal)
		select {
		case r := <-ended:
			return r.StatusCode, context.Cause(ctx)
		case err := <-lost:
			return 0, errors.Join(context.Cause(ctx), errLost, err)
		case <-time.After(s.grace):
		}
	}
	return 0, errors.Join(context.Cause(ctx), errLost, cyclone.Unavailable("container %s did not end after SIGKILL", short(id)))
}

// signal asks a container to end. Errors do not matter: it may have ended
// meanwhile, and whether it did is seen by who waits for it.
func (e *Engine) signal(id, signal string) {
	ctx, done := context.WithTimeout(context.Background(), stopGrace/2)
	defer done()
	_ = e.api.ContainerKill(ctx, id, signal)
	if signal != "SIGTERM" {
		return
	}
	told, err := e.api.ContainerExecCreate(ctx, id, container.ExecOptions{Cmd: []string{"/bin/sh", "-c", terminateRest}})
	if err == nil {
		_ = e.api.ContainerExecStart(ctx, told.ID, container.ExecStartOptions{Detach: true})
	}
}

// terminateRest sends SIGTERM to all processes of a container but the first,
// unless the first one has a handler for it. The kernel shields the first
// process of a container from signals that it does not handle, and a plain
// shell handles none: the command that it waits for has to be told, or every
// stop of a step would take the whole grace. One that does have a handler
// (bit 14 of SigCgt) decides itself what becomes of the others.
const terminateRest = `while read -r k v; do case "$k$v" in SigCgt:*[4567cdef]???) exit;; esac; done </proc/1/status; kill -TERM -1`

// exit completes what a container's end looks like from its exit code, and says
// whether its memory was limited.
func (e *Engine) exit(ctx context.Context, id string, code int64) (exit cyclone.Exit, limited bool) {
	plain := cyclone.Exit{Code: int(code), Signal: signalName(int(code))}
	// The kernel's word that memory ran out takes its own way through the
	// engine and may come a moment after the end itself.
	for range 10 {
		c, err := e.api.ContainerInspect(ctx, id)
		if err != nil {
			break
		}
		limited = c.HostConfig.Memory > 0
		if plain.OOMKilled = c.State.OOMKilled; plain.OOMKilled || code != 137 || !limited {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	return plain, limited
}

func exitOf(c container.InspectResponse) cyclone.Exit {
	if c.State.Running {
		return cyclone.Exit{}
	}
	return cyclone.Exit{Code: c.State.ExitCode, Signal: signalName(c.State.ExitCode), OOMKilled: c.State.OOMKilled}
}

// signalName is the signal that an exit code above 128 stands for.
func signalName(code int) string {
	if code <= 128 || code > 128+31 {
		return ""
	}
	return unix.SignalName(unix.Signal(code - 128))
}

// output is a copy of a container's output that is under way.
type output struct {
	source *patientReader
	ended  chan error
}

// copying starts to copy an attached stream to out.
func copying(stream types.HijackedResponse, out cyclone.Output) *output {
	o := &output{source: &patientReader{r: stream.Reader}, ended: make(chan error, 1)}
	go func() { o.ended <- demux(bufio.NewReaderSize(o.source, 1<<20), out) }()
	return o
}

// finish waits for the end of the output. The engine closes the stream soon
// after the container's end; should it ever deliver nothing for killGrace,
// stop breaks the stream and the output counts as cut off.
func (o *output) finish(stop func()) error {
	check := time.NewTicker(killGrace / 10)
	defer check.Stop()
	for {
		select {
		case err := <-o.ended:
			return err
		case <-check.C:
			if o.source.idle() > killGrace {
				stop()
				if err := <-o.ended; err == nil {
					return nil // it ended by itself just now
				}
				return io.ErrUnexpectedEOF
			}
		}
	}
}
