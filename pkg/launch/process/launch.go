// Package process starts workers as child processes of the server, for
// machines on which worker containers cannot be had. Such a worker uses the
// Docker engine that is already there instead of one of its own, and makes a
// network of its own for its event. Launcher is cyclone.Launcher.
//
// A worker outlives the server that started it, in a session of its own; what
// is known of it stands in its directory, where a restarted server finds it.
//
// It is not isolation: a worker process has the rights of the server, its
// steps share one engine, and CPU and memory limits of a worker are not
// enforced. docs/decisions/0004-worker-isolation.md says when that is enough.
package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"cyclone/pkg/cyclone"
)

const (
	// stopGrace is how long a worker may take to end after SIGTERM. It stops
	// its steps meanwhile, which have ten seconds themselves.
	stopGrace = 15 * time.Second
	// killGrace is how long the kernel may take to end one after SIGKILL.
	killGrace = 10 * time.Second
	// readyTimeout is how long the engine may take to answer Ready.
	readyTimeout = 3 * time.Second
	// undoTime bounds the removal of what a failed start left.
	undoTime = time.Minute
	// DefaultPath is the PATH of workers that Environment gives none.
	DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// engine is what is needed of the engine that the workers share.
type engine interface {
	// Ready waits for the engine's API to answer.
	Ready(ctx context.Context) error
	// Sweep removes what carries all the labels.
	Sweep(ctx context.Context, labels map[string]string) error
}

// Launcher starts workers as processes. Set the fields before the first call;
// it is then safe for concurrent use, but only one Launcher at a time may use
// a Dir.
type Launcher struct {
	// Binary is the path of cyclone-worker.
	Binary string
	// Dir holds a directory per worker: its state, its own log, its workspace.
	Dir string
	// ServerURL is how workers reach the server.
	ServerURL string
	// EngineHost is the engine that workers use: "unix:///var/run/docker.sock".
	EngineHost string
	// Engine is the same engine, for what a dead worker left there.
	Engine engine
	// Environment are further variables of the workers, KEY=value. They get
	// PATH (DefaultPath), HOME and TMPDIR (both in their directory) and what
	// they need to connect, and nothing of the server's own.
	Environment []string
	// Node is the name of this place, for messages.
	Node string

	// looking lets one at a time look at the directories and ask for the exit
	// of a child, which can be had only once.
	looking sync.Mutex
}

var _ cyclone.Launcher = (*Launcher)(nil)

// Launch starts a worker process and returns as soon as it runs. ErrConflict
// when there is a worker of this id already. Nothing is left behind when it
// fails.
func (l *Launcher) Launch(ctx context.Context, w cyclone.WorkerSpec) error {
	dir, err := l.dir(w.ID)
	if err != nil {
		return err
	}
	if err := l.begin(dir, w); err != nil {
		err = fmt.Errorf("launch worker %s on node %s: %w", w.ID, l.Node, err)
		if errors.Is(err, cyclone.ErrConflict) {
			return err
		}
		undo, stop := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
		defer stop()
		return errors.Join(err, l.Remove(undo, w.ID))
	}
	return nil
}

// begin runs a worker in a directory of its own and notes what it is known by.
// Nobody looks at the directory before it is complete.
func (l *Launcher) begin(dir string, w cyclone.WorkerSpec) error {
	l.looking.Lock()
	defer l.looking.Unlock()
	if err := os.MkdirAll(l.Dir, 0o700); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); errors.Is(err, fs.ErrExist) {
		return cyclone.Conflict("there is a worker of this id already in %s", l.Dir)
	} else if err != nil {
		return err
	}
	for _, d := range []string{"work", "tmp"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			return err
		}
	}
	// Noted before the start, so that no moment exists in which a worker runs
	// and a restarted server knows nothing of it.
	s := &state{Worker: w.ID, Event: w.Event, Created: time.Now().UTC()}
	if err := s.save(dir); err != nil {
		return err
	}
	pid, err := l.spawn(dir, w)
	if err != nil {
		return err
	}
	if s.Process, err = identify(pid); err != nil {
		return err
	}
	return s.save(dir)
}

// spawn starts the process: in a session of its own, so that neither a signal
// to the server's group nor the server's end reaches it.
func (l *Launcher) spawn(dir string, w cyclone.WorkerSpec) (int, error) {
	log, err := os.OpenFile(filepath.Join(dir, logFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { _ = log.Close() }() // nothing was written through it here
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer func() { _ = null.Close() }() // only ever read
	child, err := os.StartProcess(l.Binary, []string{l.Binary}, &os.ProcAttr{
		Dir:   filepath.Join(dir, "work"),
		Env:   l.environment(dir, w),
		Files: []*os.File{null, log, log},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return 0, fmt.Errorf("start %s: %w", l.Binary, err)
	}
	pid := child.Pid
	// From here on it is known by its number, like one that an earlier server
	// started.
	return pid, child.Release()
}

// environment is all that a worker gets to see: later values win.
func (l *Launcher) environment(dir string, w cyclone.WorkerSpec) []string {
	env := []string{
		"PATH=" + DefaultPath,
		"HOME=" + filepath.Join(dir, "work"),
		"TMPDIR=" + filepath.Join(dir, "tmp"),
	}
	env = append(env, l.Environment...)
	if dir := l.cacheDir(w); dir != "" {
		env = append(env, "CYCLONE_CACHE_DIR="+dir)
	}
	return append(env,
		"CYCLONE_SERVER_URL="+l.ServerURL,
		"CYCLONE_WORKER_ID="+string(w.ID),
		"CYCLONE_WORKER_TOKEN="+w.Token,
		"CYCLONE_ENGINE_HOST="+l.EngineHost,
	)
}

// dir is a worker's directory. Ids become file names, so odd ones are refused.
func (l *Launcher) dir(id cyclone.WorkerID) (string, error) {
	if id == "" || strings.HasPrefix(string(id), ".") || strings.ContainsAny(string(id), "/\x00") {
		return "", cyclone.Invalid("worker", "%q cannot name a directory", id)
	}
	return filepath.Join(l.Dir, string(id)), nil
}

// Ready returns ErrUnavailable with the reason when no worker can be started:
// the binary is missing, the directory cannot be written, the engine is down.
func (l *Launcher) Ready(ctx context.Context) error {
	info, err := os.Stat(l.Binary)
	if err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
		return cyclone.Unavailable("node %s: there is no program %s; `make build` makes cyclone-worker", l.Node, l.Binary)
	}
	if err := os.MkdirAll(l.Dir, 0o700); err != nil {
		return cyclone.Unavailable("node %s: the workers' directory cannot be made: %v", l.Node, err)
	}
	probe, err := os.MkdirTemp(l.Dir, ".ready-")
	if err == nil {
		err = os.Remove(probe)
	}
	if err != nil {
		return cyclone.Unavailable("node %s: the workers' directory cannot be written: %v", l.Node, err)
	}
	ctx, done := context.WithTimeout(ctx, readyTimeout)
	defer done()
	if err := l.Engine.Ready(ctx); err != nil {
		return cyclone.Unavailable("node %s: %v; start it, or set the node's engine address", l.Node, err)
	}
	return nil
}
