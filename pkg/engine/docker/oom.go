package docker

import (
	"os"
	"strconv"
	"strings"
)

// The engine learns from the kernel, through a watch on the container's
// control group, that memory ran out. When the container ends in the same
// moment its group is gone before the watch is read, and the engine knows
// only of a SIGKILL. The kernel's own count of such kills is the second witness.

// vmstat is where Linux counts, among others, its kills for lack of memory
// (see proc_vmstat(5)).
const vmstat = "/proc/vmstat"

// memoryKills is how many processes this machine's kernel has killed for lack
// of memory; -1 where that cannot be known.
func memoryKills() int64 {
	text, err := os.ReadFile(vmstat)
	if err != nil {
		return -1
	}
	return killCount(string(text))
}

func killCount(text string) int64 {
	for line := range strings.Lines(text) {
		if count, ok := strings.CutPrefix(line, "oom_kill "); ok {
			if n, err := strconv.ParseInt(strings.TrimSpace(count), 10, 64); err == nil {
				return n
			}
		}
	}
	return -1
}

// ranOut reports whether a container with a memory limit that was killed by
// nobody we know of ran out of memory: the kernel has killed for that reason
// while it ran.
func ranOut(before, after int64) bool { return before >= 0 && after > before }
