// Package lab starts the real parts that Cyclone works with, on this machine
// and for the length of a test or a demo: an image registry, a git server over
// HTTP, an SMTP server, and Cyclone's own server as a process. Each is what a
// user would run; none is a mock.
//
// It is not for production, and it starts no Kubernetes API server: kubetest does.
package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// BridgeAddress is the machine's own address on Docker's default network: what
// listens there can be reached from worker containers, and from nowhere outside.
func BridgeAddress(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "docker", "network", "inspect", "bridge",
		"--format", `{{index .Options "com.docker.network.bridge.name"}}`).Output()
	if err != nil {
		return "", fmt.Errorf("ask Docker for its bridge (is the engine running?): %w", stderrOf(err))
	}
	name := strings.TrimSpace(string(out))
	bridge, err := net.InterfaceByName(name)
	if err != nil {
		return "", fmt.Errorf("find Docker's bridge %q: %w", name, err)
	}
	addresses, err := bridge.Addrs()
	if err != nil {
		return "", fmt.Errorf("ask Docker's bridge %q for its address: %w", name, err)
	}
	for _, a := range addresses {
		if network, ok := a.(*net.IPNet); ok && network.IP.To4() != nil {
			return network.IP.String(), nil
		}
	}
	return "", fmt.Errorf("docker's bridge %q has no IPv4 address", name)
}

// stderrOf adds what a command printed to its error.
func stderrOf(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
	}
	return err
}

// Forward carries connections from one address to another, like a load
// balancer that knows nothing. Cut ends the open ones.
type Forward struct {
	listener net.Listener
	target   string
	mu       sync.Mutex
	open     map[net.Conn]bool
	done     sync.WaitGroup
}

// StartForward listens on address and forwards to target.
func StartForward(address, target string) (*Forward, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	f := &Forward{listener: l, target: target, open: map[net.Conn]bool{}}
	f.done.Go(f.accept)
	return f, nil
}

// Addr is the address it listens on.
func (f *Forward) Addr() string { return f.listener.Addr().String() }

func (f *Forward) accept() {
	for {
		c, err := f.listener.Accept()
		if err != nil {
			return
		}
		f.done.Go(func() { f.carry(c) })
	}
}

func (f *Forward) carry(c net.Conn) {
	t, err := net.Dial("tcp", f.target)
	if err != nil {
		_ = c.Close() // the client sees that nobody answers
		return
	}
	f.keep(c, t)
	defer f.forget(c, t)
	var both sync.WaitGroup
	for _, pair := range [][2]net.Conn{{c, t}, {t, c}} {
		both.Go(func() {
			_, _ = io.Copy(pair[0], pair[1]) // either end may go at any time
			if tcp, ok := pair[0].(*net.TCPConn); ok {
				_ = tcp.CloseWrite()
			}
		})
	}
	both.Wait()
}

func (f *Forward) keep(conns ...net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range conns {
		f.open[c] = true
	}
}

func (f *Forward) forget(conns ...net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range conns {
		delete(f.open, c)
		_ = c.Close() // it is over either way
	}
}

// Cut ends every open connection; new ones are accepted.
func (f *Forward) Cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.open {
		_ = c.Close()
	}
}

// Stop ends everything.
func (f *Forward) Stop() {
	_ = f.listener.Close()
	f.Cut()
	f.done.Wait()
}

// process is a child that dies with us.
type process struct {
	cmd    *exec.Cmd
	log    *tail
	exited chan struct{}
	stdin  io.WriteCloser // open while we live: some programs end with it
}

func startProcess(name string, args, env []string, also io.Writer) (*process, error) {
	p := &process{cmd: exec.Command(name, args...), log: &tail{also: also}, exited: make(chan struct{})}
	p.cmd.Env = env
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended does not matter: whoever needs it alive looks at exited
		close(p.exited)
	}()
	return p, nil
}

// stop asks the process to end and makes it end after ten seconds.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may be gone already
	select {
	case <-p.exited:
	case <-time.After(10 * time.Second):
		p.kill()
	}
}

// pause stops the process where it is, until resume.
func (p *process) pause() error  { return p.cmd.Process.Signal(syscall.SIGSTOP) }
func (p *process) resume() error { return p.cmd.Process.Signal(syscall.SIGCONT) }

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may be gone already
	<-p.exited
}

// waitFor asks until it gets an answer, the process ends, or ctx does.
func (p *process) waitFor(ctx context.Context, what string, ask func() error) error {
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("%s ended: %s", what, p.log)
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w: %s", what, err, p.log)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	kept []byte
	also io.Writer
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p...)
	if len(t.kept) > 64<<10 {
		t.kept = t.kept[len(t.kept)-32<<10:]
	}
	if t.also != nil {
		return t.also.Write(p)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.kept)
}
