package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"cyclone/pkg/cyclone"
)

const (
	folderPrefix = "cyclone-run-"
	ownerFile    = "owner"
	keptFile     = "kept"
)

// Owner is a process that runs a pipeline, as the value of cyclone.LabelLocal.
// It tells after a crash whose things are left.
type Owner struct {
	PID   int
	Start string // when the process began, as its machine counts
	Host  string // the machine, and the name space of its processes
	Dir   string // the run's folder
}

// NewOwner makes the folder of a run of this process, below the system's
// folder for temporary files.
func NewOwner() (Owner, error) {
	dir, err := os.MkdirTemp("", folderPrefix)
	if err != nil {
		return Owner{}, fmt.Errorf("make the run's folder: %w", err)
	}
	o := Owner{PID: os.Getpid(), Start: startOf(os.Getpid()), Host: thisHost(), Dir: dir}
	if err := os.WriteFile(filepath.Join(dir, ownerFile), []byte(o.String()), 0o600); err != nil {
		return o, errors.Join(fmt.Errorf("make the run's folder: %w", err), os.RemoveAll(dir))
	}
	return o, nil
}

// String is the label's value.
func (o Owner) String() string { return fmt.Sprintf("%d %s %s %s", o.PID, o.Start, o.Host, o.Dir) }

// Labels are on all that the owner's run makes.
func (o Owner) Labels() map[string]string { return map[string]string{cyclone.LabelLocal: o.String()} }

// parseOwner reads a label's value.
func parseOwner(text string) (Owner, bool) {
	parts := strings.SplitN(text, " ", 4)
	if len(parts) != 4 {
		return Owner{}, false
	}
	pid, err := strconv.Atoi(parts[0])
	return Owner{PID: pid, Start: parts[1], Host: parts[2], Dir: parts[3]}, err == nil && pid > 0
}

// thisHost is the machine and the name space of processes: only there do
// numbers of processes mean what they say.
func thisHost() string {
	name, err := os.Hostname()
	if err != nil {
		name = "unknown"
	}
	space, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		space = "-"
	}
	return strings.ReplaceAll(name+"/"+space, " ", "-")
}

// startOf is when a process began, in ticks since the boot; "-" when nobody
// can tell.
func startOf(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "-"
	}
	// The name in brackets may hold anything; the 22nd field is the 20th after it.
	rest := string(text)[strings.LastIndexByte(string(text), ')')+1:]
	fields := strings.Fields(rest)
	if len(fields) < 20 {
		return "-"
	}
	return fields[19]
}

// gone reports whether the owner's process is known to have ended, without
// anything that somebody wants to look at.
func (o Owner) gone() bool {
	if o.Host != thisHost() || o.alive() {
		return false
	}
	_, err := os.Lstat(filepath.Join(o.Dir, keptFile))
	return errors.Is(err, os.ErrNotExist)
}

func (o Owner) alive() bool {
	if err := syscall.Kill(o.PID, 0); errors.Is(err, syscall.ESRCH) {
		return false
	}
	return startOf(o.PID) == o.Start
}

// mine reports whether the folder is one of a local run's, and this one's.
func (o Owner) mine() bool {
	text, err := os.ReadFile(filepath.Join(o.Dir, ownerFile))
	return err == nil && strings.HasPrefix(filepath.Base(o.Dir), folderPrefix) && string(text) == o.String()
}

// sweeper removes by label; docker.Engine is one.
type sweeper interface {
	LabelValues(ctx context.Context, label string) ([]string, error)
	Sweep(ctx context.Context, labels map[string]string) error
	SweepImages(ctx context.Context, labels map[string]string) error
}

// Sweep removes what runs of this machine have left that crashed: what is on
// the engine, and their folders. What belongs to a process that lives, to
// another machine or to a server is not touched.
func Sweep(ctx context.Context, engine sweeper) error {
	values, err := engine.LabelValues(ctx, cyclone.LabelLocal)
	if err != nil {
		return fmt.Errorf("look for what earlier runs left: %w", err)
	}
	var errs []error
	for _, value := range values {
		o, ok := parseOwner(value)
		if !ok || !o.gone() {
			continue
		}
		errs = append(errs, engine.Sweep(ctx, o.Labels()), engine.SweepImages(ctx, o.Labels()))
	}
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), folderPrefix+"*"))
	errs = append(errs, err)
	for _, dir := range dirs {
		text, err := os.ReadFile(filepath.Join(dir, ownerFile))
		if err != nil {
			continue // being made, or somebody else's
		}
		if o, ok := parseOwner(string(text)); ok && o.Dir == dir && o.gone() && o.mine() {
			_ = os.RemoveAll(dir) // files of other users stay until those remove them
		}
	}
	return errors.Join(errs...)
}
