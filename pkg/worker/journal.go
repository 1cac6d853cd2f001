package worker

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/logchunk"
	"cyclone/pkg/mask"
)

// How lines are packed. A chunk is sent when it is full, or after flushGap;
// the first flushBurst chunks after a quiet time go out at once.
const (
	chunkBytes  = 256 << 10
	chunkLines  = 16 << 10
	lineBytes   = 8                            // at most, of a line beside its text
	fullChunk   = chunkBytes - maxLine - 4<<10 // room for one more line and the names of steps
	flushGap    = 100 * time.Millisecond
	flushBurst  = 8
	partialGap  = 250 * time.Millisecond
	fullBatches = 4 // that wait before writers do
)

// lineSink is where a journal's chunks go.
type lineSink interface {
	Append(ctx context.Context, c cyclone.Chunk) error
	Partial(l cyclone.Line)
}

// journal is an event's log on its way out: it numbers lines, packs them into
// chunks and hands these to the sink. Memory is bounded: when the sink is slow,
// whoever writes waits.
type journal struct {
	sink lineSink
	log  *slog.Logger

	mu      sync.Mutex
	room    *sync.Cond
	next    int64 // number of the next line
	current batch
	full    []batch
	free    [][]cyclone.Line
	open    map[*splitter]struct{} // that may hold an unfinished line
	secrets *mask.Set
	dropped bool // nobody wants the log any more
	failed  error
	limit   limit

	wake chan struct{} // 1: there is something to send
	send sync.Mutex    // one sender at a time keeps chunks in order
}

// batch is lines that become one chunk.
type batch struct {
	lines []cyclone.Line
	bytes int   // about what they take up in a chunk
	text  int64 // what they count against the limit of the log
	tail  bool  // they are past the head of a log with a limit
}

// newJournal returns the journal of a log whose last known line is given.
func newJournal(sink lineSink, last int64, secrets []string, log *slog.Logger) *journal {
	j := &journal{
		sink: sink, log: log, next: last + 1,
		open: map[*splitter]struct{}{}, secrets: mask.Compile(secrets), wake: make(chan struct{}, 1),
	}
	j.room = sync.NewCond(&j.mu)
	j.bound(0, "")
	return j
}

// hide replaces the secrets that are hidden in steps that begin from now on.
func (j *journal) hide(secrets []string) {
	set := mask.Compile(secrets)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.secrets = set
}

// masked is text with the secrets hidden.
func (j *journal) masked(text string) string {
	j.mu.Lock()
	set := j.secrets
	j.mu.Unlock()
	return set.String(text)
}

// last is the number of the last line so far.
func (j *journal) last() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.next - 1
}

// add numbers a line; j.mu is held.
func (j *journal) add(at time.Time, stage cyclone.Stage, step string, stream cyclone.Stream, text string) {
	if j.dropped {
		return
	}
	l := cyclone.Line{N: j.next, Time: at, Stage: stage, Step: step, Stream: stream, Text: text}
	j.limit.text += textSize(text)
	if j.limit.text > j.limit.head && j.limit.mark == 0 {
		j.beginTail(l)
		l.N = j.next
	}
	j.put(l)
}

// put packs a numbered line; j.mu is held.
func (j *journal) put(l cyclone.Line) {
	j.next++
	j.current.lines = append(j.current.lines, l)
	j.current.bytes += len(l.Text) + lineBytes
	j.current.text += textSize(l.Text)
	if j.current.bytes >= fullChunk || len(j.current.lines) >= chunkLines {
		j.full = append(j.full, j.current)
		j.current = j.fresh()
	}
}

// fresh is an empty batch; j.mu is held.
func (j *journal) fresh() batch { return batch{lines: j.spare(), tail: j.limit.mark > 0} }

// spare returns an empty slice of lines, a used one when there is one.
func (j *journal) spare() []cyclone.Line {
	if n := len(j.free); n > 0 {
		lines := j.free[n-1]
		j.free = j.free[:n-1]
		return lines
	}
	return nil
}

// crowded waits while too much is unsent; j.mu is held.
func (j *journal) crowded() {
	for len(j.full) >= fullBatches && !j.dropped {
		j.room.Wait()
	}
}

func (j *journal) poke() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// run sends what is written until ctx ends, which abandons the log.
func (j *journal) run(ctx context.Context) {
	j.abandon(j.sending(ctx))
}

// sending is run until its end, and why that came early.
func (j *journal) sending(ctx context.Context) error {
	partial := time.NewTicker(partialGap)
	defer partial.Stop()
	tokens, refilled := flushBurst, time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-partial.C:
			j.showPartials()
			continue
		case <-j.wake:
		}
		now := time.Now()
		if earned := int(now.Sub(refilled) / flushGap); earned > 0 {
			tokens, refilled = min(tokens+earned, flushBurst), now
		}
		if tokens > 0 {
			tokens--
		} else if !j.ripen(ctx, refilled.Add(flushGap)) {
			return nil
		}
		if err := j.flush(ctx); err != nil {
			if ctx.Err() == nil {
				j.log.Error("the event's log cannot be delivered", "error", err)
			}
			return err
		}
	}
}

// ripen waits until the time or until a chunk is full; false when ctx ended.
func (j *journal) ripen(ctx context.Context, until time.Time) bool {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-j.wake:
			j.mu.Lock()
			full := len(j.full) > 0
			j.mu.Unlock()
			if full {
				return true
			}
		}
	}
}

// flush hands all lines so far to the sink.
func (j *journal) flush(ctx context.Context) error {
	j.send.Lock()
	defer j.send.Unlock()
	until, err := j.last(), j.failure()
	for err == nil {
		b, ok := j.take(until)
		if !ok {
			return nil
		}
		err = j.deliver(ctx, b)
		j.recycle(b)
	}
	return fmt.Errorf("send log lines: %w", err)
}

// deliver hands one batch to the sink, or to the tail. j.send is held.
func (j *journal) deliver(ctx context.Context, b batch) error {
	chunk, err := logchunk.Encode(b.lines)
	if err != nil {
		return err
	}
	if b.tail {
		j.limit.tail.add(chunk, b.text)
		return nil
	}
	return j.sink.Append(ctx, chunk)
}

// take returns the oldest unsent lines when they begin at or before a number.
// Past the head of a log with a limit nobody waits for lines, so only whole
// batches are taken until the end.
func (j *journal) take(until int64) (batch, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	oldest := j.current
	if len(j.full) > 0 {
		oldest = j.full[0]
	}
	if len(oldest.lines) == 0 || oldest.lines[0].N > until ||
		(oldest.tail && len(j.full) == 0 && !j.limit.done) {
		return batch{}, false
	}
	if len(j.full) > 0 {
		j.full = j.full[1:]
		j.room.Broadcast()
	} else {
		j.current = j.fresh()
	}
	return oldest, true
}

func (j *journal) recycle(b batch) {
	clear(b.lines)
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.free) < fullBatches {
		j.free = append(j.free, b.lines[:0])
	}
}

// showPartials publishes unfinished lines that changed since the last time.
func (j *journal) showPartials() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.limit.mark > 0 {
		return // the line will not follow soon
	}
	for s := range j.open {
		if text, ok := s.unfinished(); ok {
			j.sink.Partial(cyclone.Line{
				N: j.next, Time: cyclone.Stamp(time.Now()), Stage: s.stage, Step: s.step, Stream: s.stream, Text: text,
			})
		}
	}
}

// abandon lets writers go on into nothing; err says why it came to that.
func (j *journal) abandon(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.dropped, j.failed = true, err
	j.full, j.current = nil, batch{}
	j.room.Broadcast()
}

// failure is why the log was abandoned before its end.
func (j *journal) failure() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.failed
}
