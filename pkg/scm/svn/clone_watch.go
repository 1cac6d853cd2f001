package svn

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// watch ends a call of svn that makes no progress: it prints nothing, and as
// far as the system tells it reads and writes nothing either. svn is silent
// while a large file comes.
type watch struct {
	stall time.Duration
	stop  func()
	last  atomic.Int64 // when something moved, in nanoseconds of Unix time
}

func (w *watch) moved() { w.last.Store(time.Now().UnixNano()) }

// Write implements io.Writer: what is printed is progress.
func (w *watch) Write(p []byte) (int, error) {
	w.moved()
	return len(p), nil
}

// begin watches a process until the function it returns is called.
func (w *watch) begin(pid int) (end func()) {
	w.moved()
	done := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		tick := time.NewTicker(w.stall / 4)
		defer tick.Stop()
		before := transferred(pid)
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			if now := transferred(pid); now != before {
				before = now
				w.moved()
			}
			if time.Since(time.Unix(0, w.last.Load())) >= w.stall {
				w.stop()
				return
			}
		}
	})
	return func() {
		close(done)
		wait.Wait()
	}
}

// transferred counts the bytes that a process has read and written; 0 where
// the system does not tell.
func transferred(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return 0
	}
	var read, written int64
	if _, err := fmt.Sscanf(string(text), "rchar: %d\nwchar: %d", &read, &written); err != nil {
		return 0
	}
	return read + written
}
