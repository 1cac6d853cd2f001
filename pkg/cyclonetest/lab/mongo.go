package lab

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// Mongo is the stand-in for a MongoDB, as a process. What it acknowledged is
// there again after Kill and Start.
type Mongo struct {
	Addr string

	program, dir string
	log          io.Writer
	process      *process
}

// NewMongo finds a port for a stand-in and starts nothing yet. The program is
// what scripts/mongo-standin.sh prints; log gets what it says and may be nil.
func NewMongo(program, dir string, log io.Writer) (*Mongo, error) {
	address, err := freeAddress("127.0.0.1", 0)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("make the store's folder: %w", err)
	}
	return &Mongo{Addr: address, program: program, dir: dir, log: log}, nil
}

// Start starts it, again after Kill, and waits until it listens.
func (m *Mongo) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var err error
	if m.process, err = startProcess(m.program, []string{"--address", m.Addr, "--dir", m.dir}, os.Environ(), m.log); err != nil {
		return err
	}
	err = m.process.waitFor(ctx, "the MongoDB stand-in", func() error {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", m.Addr)
		if err != nil {
			return err
		}
		return c.Close()
	})
	if err != nil {
		m.process.kill()
	}
	return err
}

// Kill ends it without warning.
func (m *Mongo) Kill() {
	if m.process != nil {
		m.process.kill()
	}
}

// Pause freezes it where it is; Resume lets it go on.
func (m *Mongo) Pause() error { return m.process.pause() }

// Resume ends Pause.
func (m *Mongo) Resume() error { return m.process.resume() }
