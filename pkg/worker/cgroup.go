package worker

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

const cgroupRoot = "/sys/fs/cgroup"

// nestCgroups lets the inner engine make limits of its own under cgroup v2:
// controllers can only be handed down from a group that holds no process, so
// the container's processes move into a child group. Under cgroup v1, and
// where the mounted tree is not the container's own, there is nothing to do.
func nestCgroups() error {
	controllers, err := os.ReadFile(cgroupRoot + "/cgroup.controllers")
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	pids, err := cgroupProcesses()
	if err != nil {
		return err
	}
	// The host's tree may be mounted here; its processes are not ours to move.
	if !slices.Contains(pids, strconv.Itoa(os.Getpid())) || slices.Contains(pids, "0") {
		return nil
	}
	if err := os.MkdirAll(cgroupRoot+"/init", 0o750); err != nil {
		return err
	}
	for _, pid := range pids {
		// One that has ended meanwhile needs no moving.
		_ = os.WriteFile(cgroupRoot+"/init/cgroup.procs", []byte(pid), 0)
	}
	for _, c := range strings.Fields(string(controllers)) {
		if err := os.WriteFile(cgroupRoot+"/cgroup.subtree_control", []byte("+"+c), 0); err != nil {
			return fmt.Errorf("hand down cgroup controller %s: %w", c, err)
		}
	}
	return nil
}

// cgroupParent is the group that the inner engine's containers must lie in, so
// that the worker's own limits hold for them: the worker's, where the host's
// tree is what it sees (cgroup v1). Without it they would lie beside the worker,
// as if it had no limits. Empty leaves it to the engine.
func cgroupParent() string {
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return ""
	}
	return memoryGroup(string(groups))
}

// memoryGroup is the group of the memory controller in the text of
// /proc/self/cgroup (see cgroups(7)); empty for the root and for cgroup v2.
func memoryGroup(groups string) string {
	for line := range strings.Lines(groups) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) == 3 && slices.Contains(strings.Split(parts[1], ","), "memory") && parts[2] != "/" {
			return parts[2]
		}
	}
	return ""
}

func cgroupProcesses() ([]string, error) {
	data, err := os.ReadFile(cgroupRoot + "/cgroup.procs")
	return strings.Fields(string(data)), err
}
