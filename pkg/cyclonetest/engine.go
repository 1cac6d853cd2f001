package cyclonetest

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"cyclone/pkg/cyclone"
)

// Engine is a container engine without containers. A container whose
// entrypoint is /bin/sh runs for real, as a process of this machine, in the
// folder that is mounted at its working directory. Any other container does
// what Programs says of its image. It implements cyclone.Containers and
// cyclone.Networks; Images returns its cyclone.Images.
type Engine struct {
	// Present are the images on the engine, Remote those that can be pulled.
	Present, Remote map[string]cyclone.ImageInfo
	// Programs are run for containers that run no shell, by image. A missing
	// one ends at once with code 0.
	Programs map[string]func(ctx context.Context, c cyclone.ContainerSpec, out cyclone.Output) (cyclone.Exit, error)
	// Files are what CopyOut finds, by path in the container.
	Files map[string][]tar.Header
	// Info is what Inspect says of a running container, by image.
	Info map[string]cyclone.ContainerInfo
	// Errors make a call fail: "pull <image>", "build <image>", "push
	// <image>", "create <image>", "network".
	Errors map[string]error
	// Built, when set, is called for every build.
	Built func(spec cyclone.BuildSpec)

	mu         sync.Mutex
	calls      []string
	containers map[string]*fakeContainer
	networks   map[string]map[string]string
	number     int
}

type fakeContainer struct {
	spec    cyclone.ContainerSpec
	cancel  context.CancelFunc
	ended   chan struct{} // nil before Run
	running bool
	exit    cyclone.Exit
}

// Calls lists what the engine was asked to do, in order: "pull alpine",
// "create golang:1.26", "run golang:1.26", ...
func (e *Engine) Calls() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.calls)
}

// Left lists the containers and networks that were not removed.
func (e *Engine) Left() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := slices.Sorted(maps.Keys(e.containers))
	return append(out, slices.Sorted(maps.Keys(e.networks))...)
}

// call notes a call and returns the error that it is to have. e.mu is held.
func (e *Engine) call(format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	e.calls = append(e.calls, text)
	return e.Errors[text]
}

// Create implements cyclone.Containers.
func (e *Engine) Create(_ context.Context, spec cyclone.ContainerSpec) (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.call("create %s", spec.Image); err != nil {
		return "", err
	}
	if _, ok := e.Present[spec.Image]; !ok {
		return "", cyclone.NotFound("no image %s on the engine", spec.Image)
	}
	e.number++
	id := fmt.Sprintf("container-%d-%s", e.number, spec.Name)
	if e.containers == nil {
		e.containers = map[string]*fakeContainer{}
	}
	e.containers[id] = &fakeContainer{spec: spec}
	return id, nil
}

// Spec returns what the last container of an image was made from.
func (e *Engine) Spec(image string) (cyclone.ContainerSpec, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, id := range slices.Backward(slices.Sorted(maps.Keys(e.containers))) {
		if e.containers[id].spec.Image == image {
			return e.containers[id].spec, true
		}
	}
	return cyclone.ContainerSpec{}, false
}

func (e *Engine) container(id string) (*fakeContainer, error) {
	c, ok := e.containers[id]
	if !ok {
		return nil, cyclone.NotFound("no container %s", id)
	}
	return c, nil
}

// Run implements cyclone.Containers.
func (e *Engine) Run(ctx context.Context, id string, out cyclone.Output) (cyclone.Exit, error) {
	e.mu.Lock()
	c, err := e.container(id)
	if err != nil {
		e.mu.Unlock()
		return cyclone.Exit{}, err
	}
	_ = e.call("run %s", c.spec.Image) // never fails
	own, cancel := context.WithCancel(ctx)
	defer cancel()
	c.cancel, c.running, c.ended = cancel, true, make(chan struct{})
	program := e.Programs[c.spec.Image]
	e.mu.Unlock()
	var exit cyclone.Exit
	switch {
	case len(c.spec.Entrypoint) > 0 && c.spec.Entrypoint[0] == "/bin/sh":
		exit, err = shell(own, c.spec, out)
	case program != nil:
		exit, err = program(own, c.spec, out)
	}
	e.mu.Lock()
	c.running, c.exit = false, exit
	close(c.ended)
	e.mu.Unlock()
	if ctx.Err() != nil && err == nil {
		err = context.Cause(ctx)
	}
	return exit, err
}

// shell runs a container's command as a process of this machine.
func shell(ctx context.Context, spec cyclone.ContainerSpec, out cyclone.Output) (cyclone.Exit, error) {
	args := slices.Clone(spec.Command)
	for i, a := range args {
		args[i] = onHost(spec, a)
	}
	cmd := exec.Command(spec.Entrypoint[0], args...)
	cmd.Dir = onHost(spec, spec.WorkingDir)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, spec.Environment...)
	cmd.Stdout, cmd.Stderr = streamWriter{out, cyclone.Stdout}, streamWriter{out, cyclone.Stderr}
	// A group of its own, so that it can be stopped with all its children.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return cyclone.Exit{}, err
	}
	stop := context.AfterFunc(ctx, func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) // it may be gone
		time.AfterFunc(time.Second, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	})
	defer stop()
	_ = cmd.Wait() // the state says all
	state, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ok && state.Signaled() {
		return cyclone.Exit{Code: 128 + int(state.Signal()), Signal: "SIG" + signalNames[state.Signal()]}, nil
	}
	return cyclone.Exit{Code: cmd.ProcessState.ExitCode()}, nil
}

var signalNames = map[syscall.Signal]string{syscall.SIGKILL: "KILL", syscall.SIGTERM: "TERM", syscall.SIGSEGV: "SEGV"}

// onHost is the place of a container's path on this machine.
func onHost(spec cyclone.ContainerSpec, p string) string {
	for _, m := range spec.Mounts {
		if rest, ok := strings.CutPrefix(p+"/", m.Target+"/"); ok {
			return path.Join(m.Source, rest)
		}
	}
	return p
}

type streamWriter struct {
	out cyclone.Output
	to  cyclone.Stream
}

func (w streamWriter) Write(p []byte) (int, error) {
	w.out.Write(w.to, p)
	return len(p), nil
}

// Inspect implements cyclone.Containers.
func (e *Engine) Inspect(_ context.Context, id string) (cyclone.ContainerInfo, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c, err := e.container(id)
	if err != nil {
		return cyclone.ContainerInfo{}, err
	}
	info := e.Info[c.spec.Image]
	info.Running, info.Exit = c.running, c.exit
	return info, nil
}

// CopyOut implements cyclone.Containers: a tar of Files at the path. A header's
// PAX record "content" is the file's content.
func (e *Engine) CopyOut(_ context.Context, id, path string) (io.ReadCloser, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, err := e.container(id); err != nil {
		return nil, err
	}
	headers, ok := e.Files[path]
	if !ok {
		return nil, cyclone.NotFound("nothing at %s", path)
	}
	return io.NopCloser(bytes.NewReader(Tar(headers))), nil
}

// ContentRecord holds a file's content in a header for Tar.
const ContentRecord = "CYCLONE.content"

// Tar is an archive of headers, each with the content that its PAX record
// ContentRecord holds.
func Tar(headers []tar.Header) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		content := h.PAXRecords[ContentRecord]
		h.PAXRecords = nil
		h.Size = int64(len(content))
		// Writing to memory fails only for a header that a test has wrong.
		if err := w.WriteHeader(&h); err != nil {
			panic(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// Remove implements cyclone.Containers.
func (e *Engine) Remove(_ context.Context, id string) error {
	e.mu.Lock()
	c, err := e.container(id)
	if err != nil {
		e.mu.Unlock()
		return err
	}
	delete(e.containers, id)
	ended := c.ended
	if c.cancel != nil {
		c.cancel()
	}
	e.mu.Unlock()
	if ended != nil {
		<-ended
	}
	return nil
}

// CreateNetwork implements cyclone.Networks.
func (e *Engine) CreateNetwork(_ context.Context, name string, labels map[string]string) (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.call("network"); err != nil {
		return "", err
	}
	if e.networks == nil {
		e.networks = map[string]map[string]string{}
	}
	id := "network-" + name
	e.networks[id] = labels
	return id, nil
}

// RemoveNetwork implements cyclone.Networks.
func (e *Engine) RemoveNetwork(_ context.Context, id string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.networks, id)
	return nil
}

// Sweep implements cyclone.Networks.
func (e *Engine) Sweep(ctx context.Context, labels map[string]string) error {
	e.mu.Lock()
	var ids []string
	for id, c := range e.containers {
		if carries(c.spec.Labels, labels) {
			ids = append(ids, id)
		}
	}
	for id, l := range e.networks {
		if carries(l, labels) {
			delete(e.networks, id)
		}
	}
	e.mu.Unlock()
	for _, id := range ids {
		if err := e.Remove(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

func carries(have, want map[string]string) bool {
	for k, v := range want {
		if have[k] != v {
			return false
		}
	}
	return true
}
