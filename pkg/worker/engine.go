package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"cyclone/pkg/cyclone"
)

const (
	engineStart   = 60 * time.Second // from start to ready
	engineStop    = 10 * time.Second // from SIGTERM to SIGKILL
	enginePoll    = 5 * time.Millisecond
	engineOutput  = time.Second // from the end of a child to the end of its output
	engineTail    = 20          // lines of the daemon's log that are quoted
	engineLogKept = 64 << 10
)

// Engine is the Docker engine of the worker's container: containerd and
// dockerd as supervised children. A shared engine of the host is used instead
// when Shared is set; then nothing is started.
type Engine struct {
	// Shared is set when the engine is the host's and runs already.
	Shared bool
	// Ready waits until the engine's API answers or ctx ends.
	Ready func(ctx context.Context) error
	// Root is the engine's data folder, Run the folder of its sockets and
	// state, Socket the path of its API.
	Root, Run, Socket string
	// Containerd and Dockerd are the programs. An empty Containerd leaves it
	// to dockerd to start one.
	Containerd, Dockerd string
	// Data is set when Root lasts between the project's events, which use it
	// one at a time: it readies Root for the next one. Nil for a Root that
	// goes with the worker.
	Data dataKeeper
	Log  *slog.Logger

	mark   dataMark // of Root, while this worker has it
	lock   *os.File // on Root; nil while it is not this worker's
	wiping sync.WaitGroup

	mu       sync.Mutex
	children []*child
	died     chan struct{}
	why      error
	once     sync.Once
}

// NewEngine returns an engine of the worker's own with the usual places.
func NewEngine(socket string, ready func(context.Context) error, log *slog.Logger) *Engine {
	return &Engine{
		Ready: ready, Root: "/var/lib/docker", Run: "/run/cyclone-engine", Socket: socket,
		Containerd: "containerd", Dockerd: "dockerd", Log: log, died: make(chan struct{}),
	}
}

// SharedEngine returns the host's engine.
func SharedEngine(ready func(context.Context) error, log *slog.Logger) *Engine {
	return &Engine{Shared: true, Ready: ready, Log: log, died: make(chan struct{})}
}

// Prepare starts what needs no configuration, so that it comes up while the
// worker still connects.
func (e *Engine) Prepare() error {
	if e.Shared {
		return nil
	}
	if e.Data != nil {
		if err := e.claimData(); err != nil {
			return err
		}
	}
	if e.Containerd == "" {
		return nil
	}
	config, err := e.containerdConfig()
	if err != nil {
		return fmt.Errorf("prepare Docker engine: %w", err)
	}
	return e.spawn(e.Containerd, "--config", config)
}

// Start starts the engine and returns when it answers. Its error quotes the
// end of the daemon's log.
func (e *Engine) Start(ctx context.Context, config cyclone.EngineConfig) error {
	if !e.Shared {
		if err := nestCgroups(); err != nil {
			e.Log.Warn("cgroups cannot be delegated to the inner engine", "error", err)
		}
		if err := e.spawn(e.Dockerd, e.arguments(config)...); err != nil {
			return err
		}
	}
	return e.await(ctx)
}

// arguments are dockerd's. What a single-use engine does not need is off:
// each of these saves start-up time.
func (e *Engine) arguments(config cyclone.EngineConfig) []string {
	args := []string{
		"--host", "unix://" + e.Socket,
		"--data-root", e.Root,
		"--exec-root", filepath.Join(e.Run, "docker"),
		"--pidfile", filepath.Join(e.Run, "docker.pid"),
		"--storage-driver", "overlay2",
		"--userland-proxy=false",
		"--ip6tables=false",
		"--log-level", "warn",
		"--shutdown-timeout", "5",
	}
	if e.Containerd != "" {
		args = append(args, "--containerd", e.containerdSocket())
	}
	if parent := cgroupParent(); parent != "" {
		args = append(args, "--cgroup-parent", parent)
	}
	if config.RegistryMirror != "" {
		args = append(args, "--registry-mirror", config.RegistryMirror)
	}
	for _, r := range config.InsecureRegistries {
		args = append(args, "--insecure-registry", r)
	}
	return args
}

func (e *Engine) containerdSocket() string { return filepath.Join(e.Run, "containerd.sock") }

// containerdConfig writes a configuration without the parts that Docker never
// asks for.
func (e *Engine) containerdConfig() (string, error) {
	state := filepath.Join(e.Run, "containerd")
	if err := os.MkdirAll(state, 0o700); err != nil {
		return "", err
	}
	text := fmt.Sprintf(`version = 2
root = %q
state = %q
disabled_plugins = [%s]
[grpc]
  address = %q
[debug]
  level = "warn"
`, filepath.Join(e.Root, "containerd", "daemon"), state, `"`+strings.Join(unneeded, `", "`)+`"`, e.containerdSocket())
	path := filepath.Join(e.Run, "containerd.toml")
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// unneeded are containerd's plugins that a Docker engine on overlay2 never uses.
var unneeded = []string{
	"io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
	"io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.blockfile",
	"io.containerd.internal.v1.opt", "io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp",
	"io.containerd.nri.v1.nri", "io.containerd.monitor.v1.cgroups",
}

// await waits until the API answers, the engine dies or time is up.
func (e *Engine) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, engineStart)
	defer cancel()
	err := e.listening(ctx)
	if err == nil {
		err = e.Alive(ctx)
	}
	switch {
	case err == nil:
		return nil
	case e.Err() != nil:
		return e.Err()
	case ctx.Err() != nil && context.Cause(ctx) != context.DeadlineExceeded:
		return context.Cause(ctx)
	}
	return cyclone.Unavailable("the Docker engine did not answer within %s: %v%s", engineStart, err, e.quote())
}

// listening waits until the socket takes connections. It asks more often than
// Ready does: every millisecond of it is one until the first line of a log.
func (e *Engine) listening(ctx context.Context) error {
	if e.Shared {
		return nil
	}
	tick := time.NewTicker(enginePoll)
	defer tick.Stop()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", e.Socket)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-e.died:
			return e.why
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// Alive asks the engine whether it answers, until it does, ctx ends or the
// engine dies.
func (e *Engine) Alive(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answered := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-e.died:
			cancel()
		case <-answered:
		}
	})
	err := e.Ready(ctx)
	close(answered)
	watching.Wait()
	return err
}

// spawn starts a child and watches it.
func (e *Engine) spawn(name string, args ...string) error {
	c := &child{name: name}
	c.cmd = exec.Command(name, args...)
	c.cmd.Stdout, c.cmd.Stderr = &c.log, &c.log
	// BuildKit would cut what a step of a Dockerfile prints.
	c.cmd.Env = append(os.Environ(), "BUILDKIT_STEP_LOG_MAX_SIZE=-1", "BUILDKIT_STEP_LOG_MAX_SPEED=-1")
	// A group of its own: signals of a terminal go to the worker alone, which
	// still needs its engine to clean up.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// What a killed one leaves behind may hold its output open for long.
	c.cmd.WaitDelay = engineOutput
	if err := c.cmd.Start(); err != nil {
		return fmt.Errorf("start Docker engine: %w", err)
	}
	c.ended = make(chan struct{})
	e.mu.Lock()
	e.children = append(e.children, c)
	e.mu.Unlock()
	go func() {
		err := c.cmd.Wait()
		close(c.ended)
		if e.fail(fmt.Errorf("the Docker engine died: %s: %s%s", c.name, endText(err), e.quote())) {
			e.killRest()
		}
	}()
	return nil
}

// killRest ends what is left of an engine that died in part: half an engine
// answers nobody, and whoever waits for it would wait until his time is up.
func (e *Engine) killRest() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.children {
		_ = c.cmd.Process.Kill() // it may have ended too
	}
}

func endText(err error) string {
	if err == nil || errors.Is(err, exec.ErrWaitDelay) {
		return "exit status 0"
	}
	return err.Error()
}

// fail records why the engine is gone; false when that is known already.
func (e *Engine) fail(err error) (first bool) {
	e.once.Do(func() {
		first = true
		e.why = err
		close(e.died)
	})
	return first
}

// Died is closed when the engine has ended although nobody stopped it.
func (e *Engine) Died() <-chan struct{} { return e.died }

// Err is why it died; nil while it runs.
func (e *Engine) Err() error {
	select {
	case <-e.died:
		return e.why
	default:
		return nil
	}
}

var errEngineStopped = errors.New("the Docker engine was stopped")

// Stop ends the engine, dockerd before containerd.
func (e *Engine) Stop() {
	e.stopChildren()
	e.wiping.Wait()
	e.leaveData()
}

// stopChildren ends the engine; false when that took force, or when it had
// ended by itself.
func (e *Engine) stopChildren() bool {
	gentle := e.fail(errEngineStopped)
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := len(e.children) - 1; i >= 0; i-- {
		gentle = e.children[i].stop() && gentle
	}
	e.children = nil
	return gentle
}

// quote is the end of the daemons' log for a message.
func (e *Engine) quote() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var lines []string
	for _, c := range e.children {
		lines = append(lines, c.log.tail(engineTail)...)
	}
	if len(lines) == 0 {
		return ""
	}
	return "; its log ends:\n" + strings.Join(lines, "\n")
}

// child is one process of the engine.
type child struct {
	name  string
	cmd   *exec.Cmd
	log   tailLog
	ended chan struct{}
}

// stop ends a child; false when it had to be killed.
func (c *child) stop() bool {
	// It may have ended already; then there is nobody to tell.
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.ended:
		return true
	case <-time.After(engineStop):
		_ = c.cmd.Process.Kill()
		<-c.ended
		return false
	}
}
