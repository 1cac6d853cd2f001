package client

import (
	"bytes"
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
	// outboxEach is what a message counts beside its bytes: ten small ones a
	// second for days must not fill the memory with what is known of them.
	outboxEach = 512
)

// errKept is the end of a worker whose kept log lines are gone.
var errKept = errors.New("log lines that were kept for the server cannot be read")

// parcel is one message that is kept until the server acknowledged it: a log
// chunk (last > 0), or a report or result (seq > 0).
type parcel struct {
	last   int64
	seq    int64
	config []byte // that the report has
	data   []byte // nil when spilled
	at     int64  // place and size in the spill file
	size   int
}

// weight is what a parcel counts against the bounds.
func (p parcel) weight() int { return p.size + outboxEach }

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
	inUse   int // weight of what is in memory
	online  bool
	closed  error
	seq     int64
	file    *os.File
	end     int64  // of the spill file
	spilled int    // parcels in it
	onDisk  int64  // their weight, with that of those before them that are gone
	full    bool   // the file could take no more
	config  []byte // that the server has
	newest  int64  // last line of the newest chunk
	lines   int64  // acknowledged
	seqs    int64  // acknowledged
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
	p := parcel{last: c.Last(), data: c.Data, size: len(c.Data)}
	for {
		if o.closed != nil {
			return o.closed
		}
		if o.inUse == 0 || o.inUse+p.weight() <= o.memory {
			o.add(p)
			return nil
		}
		if !o.online && !o.full && o.onDisk+int64(p.weight()) <= o.disk {
			if err := o.spill(p); err == nil {
				return nil
			}
			// A full disk must not end the event: the log waits for the server.
			o.full = true
		}
		if err := o.wait(ctx); err != nil {
			return fmt.Errorf("hand over log lines: %w", err)
		}
	}
}

// frame adds a report or result under the next number, which it returns. A
// report takes the place of reports that were not sent yet: it says all they
// said. Of the configuration it says nothing once the server has that.
func (o *outbox) frame(f cyclone.WorkerFrame) (int64, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed != nil {
		return 0, o.closed
	}
	o.seq++
	f.Seq = o.seq
	p := parcel{seq: o.seq}
	if f.Report != nil {
		report := *f.Report
		if bytes.Equal(report.Config, o.config) {
			report.Config = nil
		}
		f.Report, p.config = &report, report.Config
	}
	data, err := json.Marshal(f)
	if err != nil {
		return 0, fmt.Errorf("encode report: %w", err)
	}
	if f.Report != nil {
		o.dropReports()
	}
	p.data, p.size = data, len(data)
	o.add(p)
	return o.seq, nil
}

// dropReports forgets the reports that were not sent; o.mu is held.
func (o *outbox) dropReports() {
	kept := o.parcels[:o.next]
	for _, p := range o.parcels[o.next:] {
		if p.seq > 0 {
			o.inUse -= p.weight()
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
	if p.data != nil {
		o.inUse += p.weight()
	}
	o.notify()
}

// spill writes a chunk to the file; o.mu is held.
func (o *outbox) spill(p parcel) error {
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
	if _, err := o.file.WriteAt(p.data, o.end); err != nil {
		return fmt.Errorf("keep log lines while the server is away: %w", err)
	}
	p.data, p.at = nil, o.end
	o.add(p)
	o.end += int64(p.size)
	o.onDisk += int64(p.weight())
	o.spilled++
	return nil
}

// acked drops what the server has.
func (o *outbox) acked(a cyclone.Ack) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lines, o.seqs = max(o.lines, a.Line), max(o.seqs, a.Seq)
	if o.online {
		o.dropFirst()
	} else {
		o.dropAll()
	}
	if o.spilled == 0 && o.end > 0 {
		o.end, o.onDisk, o.full = 0, 0, false
		// Only gives disk space back; a file that stays long is overwritten.
		_ = o.file.Truncate(0)
	}
	o.notify()
}

// has reports whether the server has a parcel; o.mu is held.
func (o *outbox) has(p parcel) bool {
	return (p.last > 0 && p.last <= o.lines) || (p.seq > 0 && p.seq <= o.seqs)
}

// dropFirst drops what the server has from the front: on a connection it
// answers in order. There may be very many behind.
func (o *outbox) dropFirst() {
	for len(o.parcels) > 0 && o.has(o.parcels[0]) {
		o.dropped(o.parcels[0])
		o.parcels[0] = parcel{}
		o.parcels = o.parcels[1:]
		o.next = max(o.next-1, 0)
	}
}

// dropAll drops what the server has, also behind what it has not: after an
// interruption it may have lines, but not the report before them.
func (o *outbox) dropAll() {
	kept := o.parcels[:0]
	next := o.next
	for i, p := range o.parcels {
		if !o.has(p) {
			kept = append(kept, p)
			continue
		}
		o.dropped(p)
		if i < o.next {
			next--
		}
	}
	clear(o.parcels[len(kept):])
	o.parcels, o.next = kept, next
}

// dropped does the books of a parcel that the server has; o.mu is held.
func (o *outbox) dropped(p parcel) {
	if p.data == nil {
		o.spilled--
	} else {
		o.inUse -= p.weight()
	}
	if p.config != nil {
		o.config = p.config
	}
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
			return nil, false, nil, fmt.Errorf("%w: %w", errKept, err)
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
