package docker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"golang.org/x/sys/unix"

	"cyclone/pkg/cyclone"
)

// graces are how long the engine and containers may take.
type graces struct {
	start time.Duration // until the engine has started a container
	stop  time.Duration // until a container has ended after SIGTERM
	// kill is until the engine has ended one after SIGKILL, and has delivered
	// the rest of its output.
	kill time.Duration
}

func usualGraces() graces {
	return graces{start: 2 * time.Minute, stop: 10 * time.Second, kill: 30 * time.Second}
}

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
	// is cut off by ctx; only begin and await look at it.
	steady, done := context.WithCancelCause(context.WithoutCancel(ctx))
	defer done(nil)
	kills := memoryKills()
	b, err := e.begin(ctx, steady, done, id)
	if err != nil {
		return cyclone.Exit{}, err
	}
	defer b.stream.Close()
	output := copying(b.stream, out)
	code, err := e.await(ctx, id, b.ended, b.lost)
	if errors.Is(err, errLost) {
		b.stream.Close()
	}
	if cut := output.finish(e.grace.kill, b.stream.Close); err == nil {
		err = failed(steady, cut, "read output of container %s", short(id))
	}
	exit, limited := e.exit(steady, id, code)
	if limited && exit.Code == 137 && err == nil {
		exit.OOMKilled = exit.OOMKilled || ranOut(kills, memoryKills())
	}
	return exit, err
}

// begun is a container that runs: its output and its end.
type begun struct {
	stream types.HijackedResponse
	ended  <-chan container.WaitResponse
	lost   <-chan error
}

// begin starts a container. Attached and waiting before the start, so that
// neither the first line nor a quick end is missed. An engine that does not get
// it done in time, which is short once ctx is over, is taken for broken.
func (e *Engine) begin(ctx, steady context.Context, giveUp context.CancelCauseFunc, id string) (begun, error) {
	var over atomic.Bool
	late := time.AfterFunc(e.grace.start, func() {
		if !over.Load() {
			giveUp(cyclone.Unavailable("the engine did not answer within %v", e.grace.start))
		}
	})
	defer late.Stop()
	stop := context.AfterFunc(ctx, func() { late.Reset(e.grace.stop) })
	defer stop()
	defer over.Store(true)
	stream, err := e.attach(steady, id)
	if err != nil {
		return begun{}, err
	}
	b := begun{stream: stream}
	b.ended, b.lost = e.api.ContainerWait(steady, id, container.WaitConditionNextExit)
	if err := e.api.ContainerStart(steady, id, container.StartOptions{}); err != nil {
		stream.Close()
		return begun{}, failed(steady, err, "start container %s", short(id))
	}
	return b, nil
}

// attach connects to a container's output. The client does not look at ctx
// while it waits for the engine's answer.
func (e *Engine) attach(ctx context.Context, id string) (types.HijackedResponse, error) {
	type answer struct {
		stream types.HijackedResponse
		err    error
	}
	answered := make(chan answer, 1)
	go func() {
		stream, err := e.api.ContainerAttach(ctx, id, container.AttachOptions{Stream: true, Stdout: true, Stderr: true})
		answered <- answer{stream, err}
	}()
	select {
	case a := <-answered:
		return a.stream, failed(ctx, a.err, "attach to container %s", short(id))
	case <-ctx.Done():
		go func() { // ends with the engine, or with its late answer
			if a := <-answered; a.err == nil {
				a.stream.Close()
			}
		}()
		return types.HijackedResponse{}, failed(ctx, ctx.Err(), "attach to container %s", short(id))
	}
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
	}{{"SIGTERM", e.grace.stop}, {"SIGKILL", e.grace.kill}} {
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
	ctx, done := context.WithTimeout(context.Background(), e.grace.stop/2)
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
	// The end is known; an engine that does not answer any more must not hide it.
	ctx, done := context.WithTimeout(ctx, e.grace.stop)
	defer done()
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
// after the container's end; should it ever deliver nothing for so long, stop
// breaks the stream and the output counts as cut off.
func (o *output) finish(longest time.Duration, stop func()) error {
	check := time.NewTicker(longest / 10)
	defer check.Stop()
	for {
		select {
		case err := <-o.ended:
			return err
		case <-check.C:
			if o.source.idle() > longest {
				stop()
				if err := <-o.ended; err == nil {
					return nil // it ended by itself just now
				}
				return io.ErrUnexpectedEOF
			}
		}
	}
}
