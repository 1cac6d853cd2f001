package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"cyclone/pkg/cyclone"
)

// detailLines is how much of a dead worker's own log is quoted.
const detailLines = 20

// Workers lists the workers in Dir.
func (l *Launcher) Workers(context.Context) ([]cyclone.WorkerState, error) {
	ids, err := l.ids()
	if err != nil {
		return nil, fmt.Errorf("list workers: %w", err)
	}
	var states []cyclone.WorkerState
	for _, id := range ids {
		w, err := l.worker(id)
		if errors.Is(err, cyclone.ErrNotFound) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("list workers: %w", err)
		}
		states = append(states, w)
	}
	return states, nil
}

// ids lists the directories of workers.
func (l *Launcher) ids() ([]cyclone.WorkerID, error) {
	entries, err := os.ReadDir(l.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var ids []cyclone.WorkerID
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			ids = append(ids, cyclone.WorkerID(e.Name()))
		}
	}
	return ids, nil
}

// worker looks at one worker.
func (l *Launcher) worker(id cyclone.WorkerID) (cyclone.WorkerState, error) {
	dir, s, err := l.known(id)
	if err != nil {
		return cyclone.WorkerState{}, err
	}
	w := cyclone.WorkerState{ID: id, Event: s.Event, Running: s.Process != nil && s.Process.alive()}
	if !w.Running {
		w.Detail = detail(dir, s)
	}
	return w, nil
}

// known reads a worker's state and completes it with what is new: the process
// of a start that was cut short, the exit of a child that has ended.
func (l *Launcher) known(id cyclone.WorkerID) (string, *state, error) {
	dir, err := l.dir(id)
	if err != nil {
		return "", nil, err
	}
	l.looking.Lock()
	defer l.looking.Unlock()
	s, err := load(dir)
	if err != nil {
		return dir, nil, err
	}
	before := *s
	if s.Process == nil {
		s.Process = find(id)
	}
	if s.Process != nil && s.Exit == "" {
		s.Exit = s.Process.exit()
	}
	if *s != before {
		err = s.save(dir)
	}
	return dir, s, err
}

// detail says how a dead worker ended.
func detail(dir string, s *state) string {
	text := "the worker process ended while no server watched"
	switch {
	case s.Process == nil:
		text = "the worker process was never started"
	case s.Exit != "":
		text = "the worker process " + s.Exit
	}
	log, err := os.ReadFile(filepath.Join(dir, logFile))
	if err != nil || len(log) == 0 {
		return text
	}
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	return text + "; it last said:\n" + strings.Join(lines[max(0, len(lines)-detailLines):], "\n")
}

// Remove ends a worker (SIGTERM, 15 s, SIGKILL to all that it started), sweeps
// what carries its labels off the engine and removes its directory. Removing
// one that is gone is no error, and sweeps all the same.
func (l *Launcher) Remove(ctx context.Context, id cyclone.WorkerID) error {
	dir, s, err := l.known(id)
	if err != nil && !errors.Is(err, cyclone.ErrNotFound) {
		return fmt.Errorf("remove worker %s: %w", id, err)
	}
	if s != nil && s.Process != nil {
		if err := l.stop(ctx, s.Process, stopGrace); err != nil {
			return fmt.Errorf("remove worker %s: %w", id, err)
		}
	}
	// The directory goes last: as long as it is there, a removal that was cut
	// short is seen and done again.
	if err := l.Engine.Sweep(ctx, map[string]string{cyclone.LabelWorker: string(id)}); err != nil {
		return fmt.Errorf("remove worker %s: sweep the engine: %w", id, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove worker %s: %w", id, err)
	}
	return nil
}

// stop ends a process and everything in its session.
func (l *Launcher) stop(ctx context.Context, p *process, grace time.Duration) error {
	if l.signal(ctx, p, syscall.SIGTERM, grace) || l.signal(ctx, p, syscall.SIGKILL, killGrace) {
		return nil
	}
	return cyclone.Unavailable("process %d does not end, even after SIGKILL", p.PID)
}

// signal sends a signal to all of a session and reports whether all of it
// ended within the grace. When ctx ends the grace does.
func (l *Launcher) signal(ctx context.Context, p *process, s syscall.Signal, grace time.Duration) bool {
	for _, pid := range p.session() {
		_ = syscall.Kill(pid, s) // it may have ended by itself
	}
	deadline := time.Now().Add(grace)
	for {
		l.looking.Lock()
		_ = p.exit() // that of what we end ourselves says nothing
		l.looking.Unlock()
		if len(p.session()) == 0 {
			return true
		}
		if time.Now().After(deadline) || s == syscall.SIGTERM && ctx.Err() != nil {
			return false
		}
		if s == syscall.SIGKILL {
			for _, pid := range p.session() {
				_ = syscall.Kill(pid, s) // forked while the others were ended
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
}
