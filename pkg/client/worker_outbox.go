package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"

	"cyclone/pkg/cyclone"
)

// How much a worker keeps of what the server has not acknowledged: in memory,
// and, while the server is away, on disk. Past both, writers wait.
const (
	outboxMemory = 16 << 20
	outboxDisk   = 1 << 30
)

// parcel is one message that is kept until the server acknowledged it: a log
// chunk (last > 0), or a report or result (seq > 0).
type parcel struct {
	last int64
	seq  int64
	data []byte // nil when spilled
	at   int64  // place and size in the spill file
	size int
}

// outbox holds messages in order until they are acknowledged. It is what
// makes a lost connection harmless: whatever was sent and not acknowledged is
// sent again.
type outbox struct {
	dir    string
	memory int // bounds in bytes
	disk   int64

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at every change
	parcels []parcel
	next    int // index of the first that was not sent on this connection
	inUse   int // bytes in memory
	online  bool
	closed  error
	seq     int64
	file    *os.File
	end     int64 // of the spill file
	spilled int   // parcels in it
	newest  int64 // last line of the newest chunk
	lines   int64 // acknowledged
	seqs    int64 // acknowledged
}

func newOutbox(dir string) *outbox {
	return &outbox{dir: dir, memory: outboxMemory, disk: outboxDisk, changed: make(chan struct{})}
}

// notify wakes everyone who waits for a change; o.mu is held.
func (o *outbox) notify() {
	close(o.changed)
	o.changed = make(chan struct{})
}

// wait gives o.mu back until something changed; o.mu is held.
func (o *outbox) wait(ctx context.Context) error {
	changed := o.changed
	o.mu.Unlock()
	defer o.mu.Lock()
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// chunk adds a log chunk, and waits while too much is unacknowledged.
func (o *outbox) chunk(ctx context.Context, c cyclone.Chunk) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		if o.closed != nil {
			return o.closed
		}
		if o.inUse == 0 || o.inUse+len(c.Data) <= o.memory {
			o.add(parcel{last: c.Last(), data: c.Data, size: len(c.Data)})
			return nil
		}
		if !o.online && o.end+int64(len(c.Data)) <= o.disk {
			if err := o.spill(c); err == nil {
				return nil
			}
			// A full disk must not end the event: the log waits for the server.
			o.disk = 0
		}
		if err := o.wait(ctx); err != nil {
			return fmt.Errorf("hand over log lines: %w", err)
		}
	}
}

// frame adds a report or result under the next number, which it returns. A
// report takes the place of reports that were not sent yet: it says all they
// said.
func (o *outbox) frame(f cyclone.WorkerFrame) (int64, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed != nil {
		return 0, o.closed
	}
	o.seq++
	f.Seq = o.seq
	data, err := json.Marshal(f)
	if err != nil {
		return 0, fmt.Errorf("encode report: %w", err)
	}
	if f.Report != nil {
		o.dropReports()
	}
	o.add(parcel{seq: o.seq, data: data, size: len(data)})
	return o.seq, nil
}

// dropReports forgets the reports that were not sent; o.mu is held.
func (o *outbox) dropReports() {
	kept := o.parcels[:o.next]
	for _, p := range o.parcels[o.next:] {
		if p.seq > 0 {
			o.inUse -= len(p.data)
			continue
		}
		kept = append(kept, p)
	}
	clear(o.parcels[len(kept):])
	o.parcels = kept
}

func (o *outbox) add(p parcel) {
	o.newest = max(o.newest, p.last)
	o.parcels = append(o.parcels, p)
	o.inUse += len(p.data)
	o.notify()
}

// spill writes a chunk to the file; o.mu is held.
func (o *outbox) spill(c cyclone.Chunk) error {
	if o.file == nil {
		f, err := os.CreateTemp(o.dir, "cyclone-log-")
		if err != nil {
			return fmt.Errorf("keep log lines while the server is away: %w", err)
		}
		// The name goes at once, so that nothing stays behind.
		if err := os.Remove(f.Name()); err != nil {
			return fmt.Errorf("keep log lines while the server is away: %w", errors.Join(err, f.Close()))
		}
		o.file = f
	}
	if _, err := o.file.WriteAt(c.Data, o.end); err != nil {
		return fmt.Errorf("keep log lines while the server is away: %w", err)
	}
	o.add(parcel{last: c.Last(), at: o.end, size: len(c.Data)})
	o.end += int64(len(c.Data))
	o.spilled++
	return nil
}

// acked drops what the server has.
func (o *outbox) acked(a cyclone.Ack) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lines, o.seqs = max(o.lines, a.Line), max(o.seqs, a.Seq)
	kept := o.parcels[:0]
	next := o.next
	for i, p := range o.parcels {
		if (p.last > 0 && p.last <= o.lines) || (p.seq > 0 && p.seq <= o.seqs) {
			o.inUse -= len(p.data)
			if p.data == nil {
				o.spilled--
			}
			if i < o.next {
				next--
			}
			continue
		}
		kept = append(kept, p)
	}
	clear(o.parcels[len(kept):])
	o.parcels, o.next = kept, next
	if o.spilled == 0 && o.end > 0 {
		o.end = 0
		// Only gives disk space back; a file that stays long is overwritten.
		_ = o.file.Truncate(0)
	}
	o.notify()
}

// finished reports whether a line is final already: an older, partial text of
// it must not follow.
func (o *outbox) finished(line int64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return line <= o.newest
}

// progress grows with everything that the server acknowledges.
func (o *outbox) progress() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lines + o.seqs
}

// connected begins a connection: everything unacknowledged goes out again.
func (o *outbox) connected(yes bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.online = yes
	o.next = 0
	o.notify()
}

// take returns the next message to send and whether it is binary. It returns
// nil data and a channel that is closed at the next change when there is none.
func (o *outbox) take() (data []byte, binary bool, changed <-chan struct{}, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.next >= len(o.parcels) {
		return nil, false, o.changed, nil
	}
	p := o.parcels[o.next]
	data = p.data
	if data == nil {
		data = make([]byte, p.size)
		if _, err := o.file.ReadAt(data, p.at); err != nil {
			return nil, false, nil, fmt.Errorf("read kept log lines: %w", err)
		}
	}
	o.next++
	return data, p.last > 0, nil, nil
}

// settled waits until the numbered report was acknowledged.
func (o *outbox) settled(ctx context.Context, seq int64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.seqs < seq {
		if o.closed != nil {
			return o.closed
		}
		if err := o.wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// close ends the outbox: whoever waits gets err.
func (o *outbox) close(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed != nil {
		return
	}
	o.closed = err
	if o.file != nil {
		_ = o.file.Close() // nameless and no longer needed
	}
	o.notify()
}
