package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"cyclone/pkg/cyclone"
)

// moving is the content of a file on its way to or from the server. It breaks
// off when it makes no progress for long, and when the connection has ended
// for good.
type moving struct {
	from io.ReadCloser
	size int64 // that from must have; -1 when nobody knows
	ctx  context.Context
	stop context.CancelCauseFunc

	stall time.Duration
	watch *time.Timer
	once  sync.Once
	over  chan struct{}
	wait  sync.WaitGroup

	mu     sync.Mutex
	read   int64
	failed error // of from itself
}

var errStalled = errors.New("no progress")

// moving watches over a content until its end is called.
func (w *Worker) moving(ctx context.Context, from io.ReadCloser, size int64) *moving {
	m := &moving{from: from, size: size, stall: w.times.write + w.times.silence, over: make(chan struct{})}
	m.ctx, m.stop = context.WithCancelCause(ctx)
	m.watch = time.AfterFunc(m.stall, func() { m.stop(errStalled) })
	m.wait.Go(func() {
		select {
		case <-w.done:
			m.stop(w.ended())
		case <-m.over:
		}
	})
	return m
}

// Read implements io.Reader.
func (m *moving) Read(p []byte) (int, error) {
	n, err := m.from.Read(p)
	if n > 0 {
		m.watch.Reset(m.stall)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.read += int64(n)
	if m.size < 0 {
		return n, err
	}
	if m.read > m.size || errors.Is(err, io.EOF) && m.read < m.size {
		err = cyclone.Invalid("size", "the file changed while it was sent: it had %d bytes", m.size)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		m.failed = err
	}
	return n, err
}

// Close implements io.Closer. It does not end the request: a content that was
// sent is closed before the answer to it comes.
func (m *moving) Close() error { return m.from.Close() }

// end releases everything; it may be called again.
func (m *moving) end() {
	m.once.Do(func() {
		m.watch.Stop()
		m.stop(context.Canceled)
		close(m.over)
		m.wait.Wait()
		_ = m.from.Close() // what it had to say was read
	})
}

// download is a content whose reader ends the request.
type download struct{ *moving }

// Close implements io.Closer.
func (d download) Close() error {
	d.end()
	return nil
}

// blame says why a request failed: the content, whoever ended it, or else a
// server that is away.
func (m *moving) blame(err error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failed != nil {
		return m.failed
	}
	if cause := context.Cause(m.ctx); cause != nil && !errors.Is(cause, errStalled) {
		return cause
	}
	return cyclone.Unavailable("%s", fmt.Sprint("the server is away: ", err))
}
