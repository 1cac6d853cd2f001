package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"cyclone/pkg/cyclone"
)

// linesIn are the lines of a frame; none when it is of another kind.
func linesIn(data []byte) ([]cyclone.Line, error) {
	if !bytes.HasPrefix(data, []byte(`{"type":"lines",`)) {
		return nil, nil
	}
	var f struct{ Lines []cyclone.Line }
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, fmt.Errorf("read log stream: %w", err)
	}
	return f.Lines, nil
}

// peak is the most memory that a process of this machine has had, in MB; 0
// when it is gone.
func peak(pid int) float64 {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		words := strings.Fields(line)
		if len(words) == 3 && words[0] == "VmHWM:" {
			kb, err := strconv.ParseFloat(words[1], 64)
			if err != nil {
				return 0
			}
			return kb / 1000
		}
	}
	return 0
}

// watchMemory looks after the worker of an event until it ends. The function it
// returns stops that and tells the peak of the worker's largest process.
func watchMemory(ctx context.Context, event string) func() float64 {
	ctx, stop := context.WithCancel(ctx)
	most := make(chan float64, 1)
	go func() {
		var found float64
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		var pids []int
		for {
			select {
			case <-ctx.Done():
				most <- found
				return
			case <-tick.C:
			}
			// Two: the one that collects orphans, and the worker itself.
			if len(pids) < 2 {
				pids = workerProcesses(ctx, event)
			}
			for _, pid := range pids {
				found = max(found, peak(pid))
			}
		}
	}()
	return func() float64 {
		stop()
		return <-most
	}
}

// workerProcesses are the processes of an event's worker as this machine
// numbers them: the container's first one, which collects orphans, and its
// child, which does the work.
func workerProcesses(ctx context.Context, event string) []int {
	id := workerContainer(ctx, event)
	if id == "" {
		return nil
	}
	out, err := exec.CommandContext(ctx, "docker", "inspect", "--format", "{{.State.Pid}}", id).Output()
	first, convErr := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil || convErr != nil || first == 0 {
		return nil
	}
	pids := []int{first}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", first, first))
	if err != nil {
		return pids
	}
	for _, text := range strings.Fields(string(children)) {
		pid, err := strconv.Atoi(text)
		name, readErr := os.ReadFile("/proc/" + text + "/comm")
		if err == nil && readErr == nil && strings.TrimSpace(string(name)) == "cyclone-worker" {
			pids = append(pids, pid)
		}
	}
	return pids
}

// workerContainer is the container of an event's worker; empty when there is none.
func workerContainer(ctx context.Context, event string) string {
	id, err := exec.CommandContext(ctx, "docker", "ps", "-q", "--filter", "label="+cyclone.LabelEvent+"="+event).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}
