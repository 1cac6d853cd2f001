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

func cgroupProcesses() ([]string, error) {
	data, err := os.ReadFile(cgroupRoot + "/cgroup.procs")
	return strings.Fields(string(data)), err
}
