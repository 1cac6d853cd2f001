package worker

import (
	"errors"
	"fmt"
	"os"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/logchunk"
)

// tail keeps the newest chunks of a log until there are keep bytes of text in
// them: the last few in memory, the others on disk, in segments whose places
// are used again. It needs no lock of its own: the journal's sender has it.
type tail struct {
	keep    int64  // bytes of text, line ends included
	segment int    // bytes that go to disk at once
	dir     string // for the file

	file     *os.File
	end      int64     // of the file
	free     []int64   // places in the file that may be used again
	stored   []segment // on disk, oldest first
	newest   segment   // in memory, still growing
	size     int64     // bytes of text in all of them
	lines    int64     // that were left out
	bytes    int64     // of text that were left out
	troubled error     // why the file could not take a segment, once
}

// segment is a run of chunks that is written, and forgotten, as one piece.
type segment struct {
	chunks []keptChunk
	data   []byte // of the chunks, while in memory
	at     int64  // place in the file, once there
}

// keptChunk is a chunk and where its bytes are in the segment.
type keptChunk struct {
	first, count, text int64
	from, to           int
}

const (
	mostSegment  = 4 << 20
	leastSegment = 16 << 10
)

// newTail returns a tail that keeps that much text.
func newTail(keep int64, dir string) *tail {
	return &tail{keep: keep, segment: int(min(max(keep/8, leastSegment), mostSegment)), dir: dir}
}

// add takes the next chunk, with so many bytes of text, and forgets what is
// older than need be.
func (t *tail) add(c cyclone.Chunk, text int64) {
	s := &t.newest
	from := len(s.data)
	s.data = append(s.data, c.Data...)
	s.chunks = append(s.chunks, keptChunk{c.First, c.Count, text, from, len(s.data)})
	t.size += text
	if len(s.data) >= t.segment {
		t.store()
	}
	for t.count() > 1 && t.size-t.oldest().chunks[0].text >= t.keep {
		t.forget()
	}
}

func (t *tail) count() int {
	n := len(t.newest.chunks)
	for _, s := range t.stored {
		if n > 1 {
			break
		}
		n += len(s.chunks)
	}
	return n
}

// oldest is the segment with the oldest chunk; there must be one.
func (t *tail) oldest() *segment {
	if len(t.stored) > 0 {
		return &t.stored[0]
	}
	return &t.newest
}

// forget leaves the oldest chunk out.
func (t *tail) forget() {
	s := t.oldest()
	t.leaveOut(s.chunks[0].count, s.chunks[0].text)
	s.chunks = s.chunks[1:]
	if len(s.chunks) == 0 && len(t.stored) > 0 {
		t.free = append(t.free, s.at)
		t.stored = t.stored[1:]
	}
}

func (t *tail) leaveOut(lines, text int64) {
	t.size -= text
	t.lines += lines
	t.bytes += text
}

// store moves the newest segment to disk. A disk that takes no more makes the
// tail shorter, from its old end: places that it gave before are used again.
func (t *tail) store() {
	err := t.write()
	for err != nil && len(t.stored) > 0 {
		for range t.stored[0].chunks {
			t.forget()
		}
		err = t.write()
	}
	if err == nil {
		t.newest.data = nil
		t.stored = append(t.stored, t.newest)
		t.newest = segment{}
		return
	}
	// Nothing fits on the disk: memory alone has the end.
	t.troubled = err
	for len(t.newest.chunks) > 1 {
		t.forget()
	}
	last := &t.newest.chunks[0]
	t.newest.data = append([]byte(nil), t.newest.data[last.from:last.to]...)
	last.from, last.to = 0, len(t.newest.data)
}

// write puts the newest segment's bytes to a place in the file.
func (t *tail) write() error {
	if t.file == nil {
		f, err := namelessFile(t.dir)
		if err != nil {
			return fmt.Errorf("keep the end of the log: %w", err)
		}
		t.file = f
	}
	at := t.end
	if n := len(t.free); n > 0 {
		at = t.free[n-1]
	}
	if _, err := t.file.WriteAt(t.newest.data, at); err != nil {
		return fmt.Errorf("keep the end of the log: %w", err)
	}
	t.newest.at = at
	if n := len(t.free); n > 0 {
		t.free = t.free[:n-1]
	} else {
		t.end += int64(t.segment) + 2*chunkBytes // no chunk is larger
	}
	return nil
}

// namelessFile is a file that goes with the process, whatever ends it.
func namelessFile(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "cyclone-log-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// cut leaves lines of the oldest chunk out until no more text is kept than
// there may be, but never the last line, and returns the first line that is
// kept. There must be a chunk.
func (t *tail) cut() (cyclone.Line, []cyclone.Line, error) {
	s := t.oldest()
	c, err := t.read(s, s.chunks[0])
	if err != nil {
		return cyclone.Line{}, nil, err
	}
	lines, err := logchunk.Decode(c)
	if err != nil {
		return cyclone.Line{}, nil, fmt.Errorf("read the end of the log: %w", err)
	}
	only := t.count() == 1
	for t.size > t.keep && len(lines) > 0 && (len(lines) > 1 || !only) {
		text := textSize(lines[0].Text)
		t.leaveOut(1, text)
		s.chunks[0].text -= text
		s.chunks[0].count--
		lines = lines[1:]
	}
	if len(lines) == 0 {
		t.forget()
		return t.cut()
	}
	return lines[0], lines, nil
}

// each hands all chunks but the oldest over in order.
func (t *tail) each(fn func(c cyclone.Chunk) error) error {
	skip := true
	for _, s := range append(t.stored, t.newest) {
		for _, k := range s.chunks {
			if skip {
				skip = false
				continue
			}
			c, err := t.read(&s, k)
			if err == nil {
				err = fn(c)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// read returns a chunk of a segment.
func (t *tail) read(s *segment, k keptChunk) (cyclone.Chunk, error) {
	c := cyclone.Chunk{First: k.first, Count: k.count}
	if s.data != nil {
		c.Data = s.data[k.from:k.to]
		return c, nil
	}
	c.Data = make([]byte, k.to-k.from)
	if _, err := t.file.ReadAt(c.Data, s.at+int64(k.from)); err != nil {
		return c, fmt.Errorf("read the end of the log: %w", err)
	}
	return c, nil
}

// close gives the disk space back.
func (t *tail) close() {
	if t.file != nil {
		_ = t.file.Close() // nameless and no longer needed
		t.file = nil
	}
}

// textSize is what a line counts against the limit of a log.
func textSize(text string) int64 { return int64(len(text)) + 1 }
