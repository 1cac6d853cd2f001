package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"cyclone/pkg/cyclone"
)

// process names a process beyond doubt: numbers are used again, but not with
// the same start in the same life of the machine.
type process struct {
	PID   int    `json:"pid"`
	Start string `json:"start"` // clock ticks between the machine's start and its own
	Boot  string `json:"boot"`  // id of the machine's start
}

// stat is a process as the kernel describes it.
type stat struct {
	state   string // "Z" when it has ended and nobody has asked yet
	session int
	start   string
}

// identify describes a running process.
func identify(pid int) (*process, error) {
	st, err := statOf(pid)
	if err != nil {
		return nil, err
	}
	boot, err := bootID()
	if err != nil {
		return nil, err
	}
	return &process{PID: pid, Start: st.start, Boot: boot}, nil
}

func bootID() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read the machine's boot id: %w", err)
	}
	return strings.TrimSpace(string(id)), nil
}

// statOf reads /proc/<pid>/stat. The name in it may hold anything, but only it
// stands in parentheses.
func statOf(pid int) (stat, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, fmt.Errorf("look for process %d: %w", pid, err)
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 20 {
		return stat{}, fmt.Errorf("look for process %d: %q is not understood", pid, text)
	}
	session, err := strconv.Atoi(fields[3])
	return stat{state: fields[0], session: session, start: fields[19]}, err
}

// alive reports whether the process itself still runs.
func (p *process) alive() bool {
	st, err := statOf(p.PID)
	return err == nil && st.state != "Z" && st.state != "X" && p.same(st)
}

// same reports whether a process with p's number is p. Start is empty while
// the process was never identified; then the number is all there is.
func (p *process) same(st stat) bool {
	if p.Start == "" {
		return true
	}
	boot, err := bootID()
	return err == nil && boot == p.Boot && st.start == p.Start
}

// session lists what runs in the session that p began, p itself included.
// Groups are no help: what a worker starts may begin groups of its own.
func (p *process) session() []int {
	if st, err := statOf(p.PID); err == nil && !p.same(st) {
		return nil // the number belongs to somebody else now, so the session has ended
	}
	if boot, err := bootID(); err != nil || p.Boot != "" && boot != p.Boot {
		return nil
	}
	var pids []int
	for _, pid := range numbers() {
		if st, err := statOf(pid); err == nil && st.session == p.PID && st.state != "Z" && st.state != "X" {
			pids = append(pids, pid)
		}
	}
	return pids
}

// numbers lists the processes of the machine.
func numbers() []int {
	var pids []int
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil // only a wrong pattern does that
	}
	for _, d := range dirs {
		if pid, err := strconv.Atoi(filepath.Base(d)); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// find looks for the process of a worker whose server died between starting
// it and noting its number.
func find(id cyclone.WorkerID) *process {
	want := "CYCLONE_WORKER_ID=" + string(id)
	for _, pid := range numbers() {
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil {
			continue // ended meanwhile, or another user's
		}
		for v := range strings.SplitSeq(string(env), "\x00") {
			if v != want {
				continue
			}
			// Any process of the worker will do to find its first one.
			if st, err := statOf(pid); err == nil {
				if p, err := identify(st.session); err == nil {
					return p
				}
			}
		}
	}
	return nil
}

// exit says how a child of this process ended. It is empty while the child
// runs, when p is no child of ours, and the second time.
func (p *process) exit() string {
	st, err := statOf(p.PID)
	if err != nil || st.state != "Z" || !p.same(st) {
		return "" // asking for the number alone could steal another child's exit
	}
	var ws syscall.WaitStatus
	for {
		got, err := syscall.Wait4(p.PID, &ws, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || got != p.PID {
			return ""
		}
		if ws.Signaled() {
			return "was ended by a signal: " + ws.Signal().String()
		}
		return fmt.Sprintf("exited with %d", ws.ExitStatus())
	}
}
