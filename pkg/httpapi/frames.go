package httpapi

import (
	"fmt"
	"sort"
	"sync"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/logchunk"
)

// frameSize is about how large a frame of lines gets.
const frameSize = 64 << 10

// frame is one message of the stream, with all lines up to the last.
type frame struct {
	last int64
	data []byte
}

// lineFrames packs lines into frames of the stream, at most limit of them; the
// last frame says how far that is.
func lineFrames(lines []cyclone.Line, limit int) []frame {
	var frames []frame
	var b []byte
	for i := range lines {
		if b == nil {
			b = append(make([]byte, 0, frameSize+4<<10), `{"type":"lines","lines":[{`...)
		} else {
			b = append(b, `,{`...)
		}
		b = append(appendLine(b, &lines[i]), '}')
		if len(b) < frameSize && i < len(lines)-1 {
			continue
		}
		b = append(b, `]}`...)
		if len(b) < frameSize/2 {
			b = append([]byte(nil), b...) // not worth keeping so much room for
		}
		frames = append(frames, frame{lines[i].N, b})
		if len(frames) == limit {
			break
		}
		b = nil
	}
	return frames
}

const (
	// frameCacheSize bounds the bytes of encoded frames that viewers share.
	frameCacheSize = 32 << 20
	// ownFrames is how many frames a viewer holds for itself at most, when it
	// cannot have shared ones.
	ownFrames = 2
)

// frameCache keeps the chunks that were sent lately as frames, so that five
// hundred viewers of one log cost one decoding. A viewer holds only the frame
// that it sends: one that takes no more keeps no more alive. The zero value is
// ready to use.
type frameCache struct {
	mu      sync.Mutex
	entries map[frameKey]*frameEntry
	order   []frameKey
	bytes   int
}

type frameKey struct {
	event cyclone.EventID
	first int64
	count int64
}

type frameEntry struct {
	once   sync.Once
	frames []frame
	size   int
	err    error
}

// frames returns the next frames of a chunk from the line on. They are shared
// if the chunk is in the cache, where it comes with its first line. In the
// middle of one that is not (it was forgotten meanwhile, or the viewer begins
// there) the viewer gets a few of its own: encoding the whole for everybody
// would drive out what others are about to send.
func (f *frameCache) frames(id cyclone.EventID, c cyclone.Chunk, from int64) ([]frame, error) {
	e := f.entry(frameKey{id, c.First, c.Count}, from == c.First)
	if e == nil {
		lines, err := linesOf(c, from, c.Last())
		return lineFrames(lines, ownFrames), err
	}
	e.once.Do(func() {
		e.prepare(c)
		f.keep(frameKey{id, c.First, c.Count}, e.size)
	})
	if e.err != nil {
		return nil, e.err
	}
	i := sort.Search(len(e.frames), func(i int) bool { return e.frames[i].last >= from })
	if i == len(e.frames) {
		return nil, fmt.Errorf("line %d is not in its chunk", from)
	}
	begin := c.First
	if i > 0 {
		begin = e.frames[i-1].last + 1
	}
	if begin == from {
		return e.frames[i : i+1], nil
	}
	lines, err := linesOf(c, from, e.frames[i].last)
	return lineFrames(lines, ownFrames), err
}

// entry is the chunk's; nil when there is none and none is to be made.
func (f *frameCache) entry(key frameKey, make bool) *frameEntry {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.entries[key]
	if e == nil && make {
		e = &frameEntry{}
		if f.entries == nil {
			f.entries = map[frameKey]*frameEntry{}
		}
		f.entries[key] = e
	}
	return e
}

func (e *frameEntry) prepare(c cyclone.Chunk) {
	lines, err := logchunk.Decode(c)
	if err != nil {
		e.err = err
		return
	}
	e.frames = lineFrames(lines, -1)
	for _, frame := range e.frames {
		e.size += cap(frame.data)
	}
}

// keep counts a new entry and forgets the oldest beyond the bound.
func (f *frameCache) keep(key frameKey, size int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.order = append(f.order, key)
	f.bytes += size
	for f.bytes > frameCacheSize && len(f.order) > 1 {
		oldest := f.order[0]
		f.order = f.order[1:]
		f.bytes -= f.entries[oldest].size
		delete(f.entries, oldest)
	}
}
