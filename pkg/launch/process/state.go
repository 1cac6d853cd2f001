package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"cyclone/pkg/cyclone"
)

const (
	stateFile = "worker.json"
	logFile   = "worker.log"
)

// state is what a worker's directory says of it.
type state struct {
	Worker  cyclone.WorkerID `json:"worker"`
	Event   cyclone.EventID  `json:"event"`
	Created time.Time        `json:"created"`
	// Process is nil until the process was started.
	Process *process `json:"process,omitempty"`
	// Exit says how it ended ("exit status 1"), once that is known. A worker
	// whose server was restarted ends unseen, and this stays empty.
	Exit string `json:"exit,omitempty"`
}

// save writes the state so that a crash leaves the old or the new one.
func (s *state) save(dir string) error {
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode state of worker %s: %w", s.Worker, err)
	}
	next := filepath.Join(dir, stateFile+".new")
	if err := os.WriteFile(next, text, 0o600); err != nil {
		return fmt.Errorf("save state of worker %s: %w", s.Worker, err)
	}
	if err := os.Rename(next, filepath.Join(dir, stateFile)); err != nil {
		return fmt.Errorf("save state of worker %s: %w", s.Worker, err)
	}
	return nil
}

// load reads the state in a directory; ErrNotFound when there is no such
// directory. One without a state was left by a launch that was cut short.
func load(dir string) (*state, error) {
	text, err := os.ReadFile(filepath.Join(dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(dir); err == nil {
			return &state{Worker: cyclone.WorkerID(filepath.Base(dir))}, nil
		}
		return nil, cyclone.NotFound("there is no worker in %s", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("read state of worker: %w", err)
	}
	s := &state{}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, fmt.Errorf("read state of worker in %s: %w", dir, err)
	}
	return s, nil
}
