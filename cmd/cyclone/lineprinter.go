package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"cyclone/pkg/client"
	"cyclone/pkg/cyclone"
)

// flushEvery is how long a printed line may stay in memory.
const flushEvery = 100 * time.Millisecond

// linePrinter prints the lines of a log as they come.
type linePrinter struct {
	query client.LogQuery
	mu    sync.Mutex
	w     *bufio.Writer
}

// print prints one line if it was asked for.
func (p *linePrinter) print(l cyclone.Line) error {
	if p.query.Stage != "" && l.Stage != p.query.Stage || p.query.Step != "" && l.Step != p.query.Step {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.write(l); err != nil {
		return fmt.Errorf("write log: %w", err)
	}
	return nil
}

func (p *linePrinter) write(l cyclone.Line) error {
	if p.query.NDJSON {
		data, err := json.Marshal(l)
		if err != nil {
			return err
		}
		_, err = p.w.Write(append(data, '\n'))
		return err
	}
	if p.query.Timestamps {
		if _, err := p.w.WriteString(l.Time.UTC().Format("2006-01-02T15:04:05.000Z ")); err != nil {
			return err
		}
	}
	if _, err := p.w.WriteString(l.Text); err != nil {
		return err
	}
	return p.w.WriteByte('\n')
}

// keepFlushed passes on what was printed soon, until the returned function is
// called, which passes on the rest.
func (p *linePrinter) keepFlushed() (stop func() error) {
	done, ended := make(chan struct{}), make(chan struct{})
	ticker := time.NewTicker(flushEvery)
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				_ = p.flush() // the writer keeps the error for the next line
			}
		}
	}()
	return func() error {
		ticker.Stop()
		close(done)
		<-ended
		return p.flush()
	}
}

func (p *linePrinter) flush() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.w.Flush(); err != nil {
		return fmt.Errorf("write log: %w", err)
	}
	return nil
}
