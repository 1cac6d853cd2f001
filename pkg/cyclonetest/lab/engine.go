package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Engine is a Docker engine beside the machine's own: with a data folder, a
// socket, a containerd, a bridge and a control group of its own, and without a
// firewall rule. Whatever is done to it, the machine's own is not touched.
type Engine struct {
	// Host is its address for DOCKER_HOST, Bridge the machine's own address
	// on its network.
	Host, Bridge string

	data, run string // folders
	log       io.Writer
	lock      *os.File
	process   *process
	network   string // of Bridge, with its length
}

const (
	engineBridge = "cyclone-test0"
	// engineGroup holds all that runs in the engine's containers.
	engineGroup = "/cyclone-test"
)

// StartEngine starts an engine and removes what an earlier one left. data is
// a folder that outlives it and keeps its images, run one for its sockets; one
// engine at a time runs on a data folder.
func StartEngine(ctx context.Context, data, run string, log io.Writer) (*Engine, error) {
	e := &Engine{Host: "unix://" + filepath.Join(run, "docker.sock"), data: data, run: run, log: log}
	for _, dir := range []string{data, run} {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return nil, fmt.Errorf("make the engine's folders: %w", err)
		}
	}
	var err error
	if e.lock, err = os.OpenFile(data+".lock", os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, fmt.Errorf("lock the engine's folder: %w", err)
	}
	if err := syscall.Flock(int(e.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("another engine runs on %s: %w", data, err), e.lock.Close())
	}
	e.clear()
	if err := e.makeBridge(ctx); err != nil {
		e.Stop()
		return nil, err
	}
	if err := e.Start(ctx); err != nil {
		e.Stop()
		return nil, err
	}
	return e, e.Empty(ctx)
}

// makeBridge makes the engine's network interface with a range of addresses
// that no other one has.
func (e *Engine) makeBridge(ctx context.Context) error {
	taken, err := net.InterfaceAddrs()
	if err != nil {
		return fmt.Errorf("list the machine's addresses: %w", err)
	}
	for third := range 256 {
		gateway := net.IPv4(10, 213, byte(third), 1)
		free := !slices.ContainsFunc(taken, func(a net.Addr) bool {
			n, ok := a.(*net.IPNet)
			return ok && n.Contains(gateway)
		})
		if free {
			e.Bridge, e.network = gateway.String(), fmt.Sprintf("10.213.%d.0/24", third)
			break
		}
	}
	for _, args := range [][]string{
		{"link", "add", engineBridge, "type", "bridge"}, {"addr", "add", e.Bridge + "/24", "dev", engineBridge}, {"link", "set", engineBridge, "up"},
	} {
		if out, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

// Start starts the engine, again after Kill, and waits until it answers.
func (e *Engine) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	e.forget()
	var err error
	e.process, err = startProcess("dockerd", []string{
		"--host", e.Host, "--data-root", e.data, "--exec-root", filepath.Join(e.run, "exec"), "--pidfile", filepath.Join(e.run, "docker.pid"),
		"--bridge", engineBridge, "--fixed-cidr", e.network, "--cgroup-parent", engineGroup, "--insecure-registry", e.network,
		"--iptables=false", "--ip6tables=false", "--ip-masq=false", "--storage-driver", "overlay2", "--log-level", "warn",
	}, os.Environ(), e.log)
	if err != nil {
		return err
	}
	return e.process.waitFor(ctx, "the second Docker engine", func() error {
		_, err := e.Docker(ctx, "version")
		return err
	})
}

// forget ends the containerd of an engine that was killed, and removes the
// files by which both would take themselves for running.
func (e *Engine) forget() {
	pid := filepath.Join(e.run, "exec", "containerd", "containerd.pid")
	for _, id := range e.processes() {
		if name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", id)); err == nil && strings.TrimSpace(string(name)) == "containerd" {
			_ = syscall.Kill(id, syscall.SIGKILL) // it may be gone already
		}
	}
	_ = os.Remove(pid) // there may be none
	_ = os.Remove(filepath.Join(e.run, "docker.pid"))
}

// Docker runs the docker command on the engine and returns what it printed.
func (e *Engine) Docker(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "docker", append([]string{"--host", e.Host}, args...)...).Output()
	if err != nil {
		return "", fmt.Errorf("docker %s: %w", strings.Join(args, " "), stderrOf(err))
	}
	return strings.TrimSpace(string(out)), nil
}

// Load brings an image of the machine's own engine, unless it is there already.
func (e *Engine) Load(ctx context.Context, image string) error {
	id, err := exec.CommandContext(ctx, "docker", "image", "inspect", "--format", "{{.Id}}", image).Output()
	if err != nil {
		return fmt.Errorf("image %s is not there: %w", image, stderrOf(err))
	}
	if have, err := e.Docker(ctx, "image", "inspect", "--format", "{{.Id}}", image); err == nil && have == strings.TrimSpace(string(id)) {
		return nil
	}
	save := exec.CommandContext(ctx, "docker", "save", image)
	load := exec.CommandContext(ctx, "docker", "--host", e.Host, "load", "-q")
	if load.Stdin, err = save.StdoutPipe(); err != nil {
		return fmt.Errorf("load %s: %w", image, err)
	}
	if err := save.Start(); err != nil {
		return fmt.Errorf("load %s: %w", image, err)
	}
	out, err := load.CombinedOutput()
	if err := errors.Join(err, save.Wait()); err != nil {
		return fmt.Errorf("load %s: %w: %s", image, err, out)
	}
	_, err = e.Docker(ctx, "image", "prune", "-f") // the one of this name before
	return err
}

// Empty removes every container, network and volume.
func (e *Engine) Empty(ctx context.Context) error {
	for _, c := range []struct{ list, remove []string }{
		{[]string{"ps", "-aq"}, []string{"rm", "-f", "-v"}},
		{[]string{"network", "ls", "-q", "--filter", "type=custom"}, []string{"network", "rm"}},
		{[]string{"volume", "ls", "-q"}, []string{"volume", "rm"}},
	} {
		found, err := e.Docker(ctx, c.list...)
		if err != nil {
			return err
		}
		if found == "" {
			continue
		}
		if _, err := e.Docker(ctx, append(c.remove, strings.Fields(found)...)...); err != nil {
			return err
		}
	}
	return nil
}

// Kill ends the daemon without warning. Its containers go on, and are ended
// by the next one.
func (e *Engine) Kill() {
	if e.process != nil {
		e.process.kill()
	}
}

// Stop ends the engine and removes all it made but its data folder.
func (e *Engine) Stop() {
	if e.process != nil {
		e.process.stop()
	}
	e.clear()
	_ = e.lock.Close() // the lock goes with it
}

// clear removes what a killed engine leaves: processes, mounts, the bridge.
func (e *Engine) clear() {
	for range 50 {
		left := append(e.processes(), e.Running()...)
		if len(left) == 0 {
			break
		}
		for _, pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may be gone already
		}
		time.Sleep(20 * time.Millisecond) // the kernel takes a moment
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 1 && (strings.HasPrefix(f[1]+"/", e.data+"/") || strings.HasPrefix(f[1], e.run+"/")) {
			_ = syscall.Unmount(f[1], syscall.MNT_DETACH) // one may hold another
		}
	}
	_ = exec.Command("ip", "link", "del", engineBridge).Run() // there may be none
	for _, top := range []string{"/sys/fs/cgroup" + engineGroup, "/sys/fs/cgroup/*" + engineGroup} {
		groups, _ := filepath.Glob(top) // the pattern is well formed
		for _, group := range groups {
			removeGroup(group)
		}
	}
}

// removeGroup removes a control group with those inside of it. One that holds
// a process stays.
func removeGroup(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, entry := range entries {
		if entry.IsDir() {
			removeGroup(filepath.Join(dir, entry.Name()))
		}
	}
	_ = os.Remove(dir) // the next engine finds it, if it stays
}

// processes are the daemons of the engine: dockerd, containerd and one for
// each container.
func (e *Engine) processes() []int {
	return processes(func(pid int) bool {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		return err == nil && pid != os.Getpid() && (strings.Contains(string(line), e.data+"\x00") || strings.Contains(string(line), e.run+"/exec/"))
	})
}

// Running are the processes inside of the engine's containers, and of the
// containers that these have started.
func (e *Engine) Running() []int {
	return processes(func(pid int) bool {
		groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		return err == nil && strings.Contains(string(groups), ":"+engineGroup+"/")
	})
}

func processes(wanted func(pid int) bool) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var found []int
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil && wanted(pid) {
			found = append(found, pid)
		}
	}
	return found
}
