package kubetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

var errEnded = errors.New("a process has ended by itself")

// process is a child that dies with us.
type process struct {
	name string
	log  string
	cmd  *exec.Cmd
	done chan struct{}
}

// command is a process to be started: the binary's subcommand and its flags.
type command struct {
	name string
	args []string
}

func (c *Cluster) run(binary string, what command) error {
	p := &process{
		name: what.name,
		log:  filepath.Join(c.dir, what.name+".log"),
		cmd:  exec.Command(binary, append([]string{what.name}, what.args...)...),
		done: make(chan struct{}),
	}
	if err := p.start(); err != nil {
		return fmt.Errorf("start %s: %w", what.name, err)
	}
	c.processes = append(c.processes, p)
	return nil
}

func (p *process) start() error {
	log, err := os.Create(p.log)
	if err != nil {
		return err
	}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		// The kernel sends the death signal when the thread that made the
		// child ends, so the thread has to stay for as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // how it ended is in its log
		}
		_ = log.Close() // nothing of ours was written to it
		close(p.done)
	}()
	return <-started
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// kill ends the process at once: its data is thrown away, and a gentle end
// would take seconds.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // fails only when it has ended already
	<-p.done
}

func (p *process) logTail() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-4000):])
}

// freePorts asks the kernel for ports that nobody listens on at the address.
func freePorts(address string, n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer func() { _ = l.Close() }() // it carried nothing
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}

// commands are etcd and the API server, in the order in which they start.
func commands(address string, ports []int, f files) []command {
	client := fmt.Sprintf("http://127.0.0.1:%d", ports[1])
	peer := fmt.Sprintf("http://127.0.0.1:%d", ports[2])
	return []command{
		{"etcd", []string{
			"--data-dir=" + f.etcd, "--unsafe-no-fsync", "--log-level=error",
			"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
			"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=default=" + peer,
		}},
		{"kube-apiserver", []string{
			"--etcd-servers=" + client, "--bind-address=" + address, fmt.Sprintf("--secure-port=%d", ports[0]),
			"--tls-cert-file=" + f.cert, "--tls-private-key-file=" + f.key,
			"--service-account-key-file=" + f.key, "--service-account-signing-key-file=" + f.key,
			"--service-account-issuer=https://kubernetes.default.svc", "--service-cluster-ip-range=10.0.0.0/24",
			"--token-auth-file=" + f.tokens, "--authorization-mode=RBAC", "--endpoint-reconciler-type=none",
		}},
	}
}

func controllers(f files) command {
	return command{"controllers", []string{"--kubeconfig=" + f.kubeconfig}}
}

// Binary runs scripts/kubeapi.sh of the module that the working directory is
// in and returns the path it prints. Building takes minutes when the binary is
// not in the cache; progress says how far it is.
func Binary(ctx context.Context, progress io.Writer) (string, error) {
	path, err := findUp("scripts/kubeapi.sh")
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, path)
	cmd.Stderr = progress
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("run %s: %w", path, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// findUp looks for a file in the working directory and the folders above it.
func findUp(name string) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for at := dir; ; at = filepath.Dir(at) {
		path := filepath.Join(at, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("%s is neither in %s nor above it: run this inside the repository", name, dir)
		}
	}
}
