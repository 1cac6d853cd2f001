package worker

import (
	"context"
	"fmt"
	"math"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/logchunk"
)

// limit bounds a journal's log: its first half goes out as it is written, of
// the rest only as much as the other half is kept, and follows at the end.
//
// Lines of the rest are numbered on as if all of them were there. settle gives
// the kept ones their final numbers, so that the log has no gap, and place
// says what became of a number.
type limit struct {
	size  cyclone.Size
	head  int64 // bytes of text that go out at once
	text  int64 // bytes of text so far
	tail  *tail // nil without a limit
	mark  int64 // number of the line that ends the head; 0 while it grows
	first int64 // once settled: the first kept line of the rest
	shift int64 // once settled: what the numbers from first on are less by
	done  bool  // settled
}

// bound sets the limit of a log that has no line yet; 0 is none. dir is for
// what is kept of the rest.
func (j *journal) bound(size cyclone.Size, dir string) {
	j.limit.head = math.MaxInt64
	if size <= 0 {
		return
	}
	j.limit.size, j.limit.head = size, int64(size)/2
	j.limit.tail = newTail(int64(size)-j.limit.head, dir)
}

// beginTail ends the head with a word about what comes; j.mu is held.
func (j *journal) beginTail(l cyclone.Line) {
	l.Stream = cyclone.System
	l.Text = fmt.Sprintf("the log is larger than the limit of %s: from here on only its last %s are kept; they follow at the end",
		j.limit.size, cyclone.Size(j.limit.tail.keep))
	j.put(l)
	j.limit.mark = l.N
	j.full = append(j.full, j.current)
	j.current = j.fresh()
}

// settle ends the log: everything goes to the sink, what was kept of a log
// that is too large with its final numbers. Nothing may be written meanwhile.
func (j *journal) settle(ctx context.Context) error {
	j.mu.Lock()
	j.limit.done = true
	j.mu.Unlock()
	if err := j.flush(ctx); err != nil {
		return err
	}
	j.send.Lock()
	defer j.send.Unlock()
	l := &j.limit
	if l.mark == 0 {
		return nil
	}
	defer l.tail.close()
	if err := l.tail.troubled; err != nil {
		j.log.Warn("the end of the log is shorter than its limit", "error", err)
	}
	next, err := j.sendTail(ctx)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.next = next
	return err
}

// sendTail sends what was kept and returns the number of the next line. j.send
// is held.
func (j *journal) sendTail(ctx context.Context) (int64, error) {
	l := &j.limit
	next := l.mark + 1
	if l.tail.count() == 0 {
		return next, nil
	}
	first, lines, err := l.tail.cut()
	if err != nil {
		return next, err
	}
	final := next
	if l.tail.lines > 0 {
		final++
		said := first
		said.Stream = cyclone.System
		said.Text = fmt.Sprintf("%d lines with %d bytes are left out here: the log was larger than the limit of %s",
			l.tail.lines, l.tail.bytes, l.size)
		lines = append([]cyclone.Line{said}, lines...)
	}
	for i := range lines {
		lines[i].N = next + int64(i)
	}
	j.mu.Lock()
	l.first, l.shift = first.N, first.N-final
	j.mu.Unlock()
	chunk, err := logchunk.Encode(lines)
	if err != nil {
		return next, fmt.Errorf("send the end of the log: %w", err)
	}
	send := func(c cyclone.Chunk) error {
		c, err := logchunk.Renumber(c, next)
		if err == nil {
			err = j.sink.Append(ctx, c)
		}
		if err != nil {
			return fmt.Errorf("send the end of the log: %w", err)
		}
		next += c.Count
		return nil
	}
	if err := send(chunk); err != nil {
		return next, err
	}
	return next, l.tail.each(send)
}

// limited reports whether the log has outgrown its limit.
func (j *journal) limited() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.limit.mark > 0
}

// place is where the lines that were numbered first to last when they were
// written are in the log: 0, 0 when none of them is, or not yet.
func (j *journal) place(first, last int64) (from, to int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	l := &j.limit
	mark := l.mark
	switch {
	case mark == 0 || first == 0 || max(first, last) <= mark:
		return first, last
	case l.first == 0 && last == 0:
		return min(first, mark+1), 0 // still under way: what it prints comes after the mark
	case l.first == 0 && first <= mark:
		return first, mark
	case l.first == 0:
		return 0, 0
	}
	return l.settled(first, last, mark)
}

// settled is place once the numbers are final.
func (l *limit) settled(first, last, mark int64) (from, to int64) {
	left := last != 0 && last < l.first // nothing of it after the mark
	switch {
	case left && first > mark:
		return 0, 0
	case left:
		last = mark
	case last != 0:
		last -= l.shift
	}
	switch {
	case first <= mark:
	case first <= l.first:
		first = mark + 1 // where it says what is left out, or the first kept line
	default:
		first -= l.shift
	}
	return first, last
}
