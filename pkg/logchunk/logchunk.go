// Package logchunk is the encoding of consecutive log lines: what travels from
// worker to server in one binary message, stands in the store as one record,
// and is decoded by whoever shows lines. The server stores the bytes that it
// received, so a line is encoded once in its life.
//
// Layout: "CL1", then as unsigned varints the number of the first line, the
// count of lines and the size of the plain body, then the body compressed with
// zstd. The body holds per line, each number a varint: milliseconds since the
// line before (signed; since 1970 for the first), a label index, and the text
// with its length before it. A label index one past the known labels is
// followed by a new label: stage, step and stream, each with its length.
//
// It is not a file format and splits no text into lines; worker does that.
package logchunk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"cyclone/pkg/cyclone"
)

const (
	magic = "CL1"
	// MaxPlain bounds the plain size of a chunk, so that a decoder's memory is
	// bounded too.
	MaxPlain = 4 << 20
	// MaxLines bounds the lines of a chunk.
	MaxLines = 1 << 16
)

var errCorrupt = errors.New("log chunk is corrupt")

type label struct {
	stage  cyclone.Stage
	step   string
	stream cyclone.Stream
}

var encoders = sync.Pool{New: func() any {
	// The options are constants that the library accepts.
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		panic(err)
	}
	return e
}}

var decoders = sync.Pool{New: func() any {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(MaxPlain))
	if err != nil {
		panic(err)
	}
	return d
}}

// Encode packs lines, whose numbers must be consecutive.
func Encode(lines []cyclone.Line) (cyclone.Chunk, error) {
	if len(lines) == 0 || len(lines) > MaxLines {
		return cyclone.Chunk{}, fmt.Errorf("encode log chunk: %d lines; 1 to %d fit", len(lines), MaxLines)
	}
	var body []byte
	var before int64
	labels := map[label]int{}
	for i, l := range lines {
		if l.N != lines[0].N+int64(i) {
			return cyclone.Chunk{}, fmt.Errorf("encode log chunk: line %d follows line %d", l.N, lines[0].N+int64(i)-1)
		}
		now := l.Time.UnixMilli()
		body = binary.AppendVarint(body, now-before)
		before = now
		body = appendLabel(body, labels, label{l.Stage, l.Step, l.Stream})
		body = appendText(body, l.Text)
	}
	if len(body) > MaxPlain {
		return cyclone.Chunk{}, fmt.Errorf("encode log chunk: %d bytes; %d fit", len(body), MaxPlain)
	}
	data := header{uint64(lines[0].N), uint64(len(lines)), uint64(len(body))}.append(nil)
	e := encoders.Get().(*zstd.Encoder)
	defer encoders.Put(e)
	return cyclone.Chunk{First: lines[0].N, Count: int64(len(lines)), Data: e.EncodeAll(body, data)}, nil
}

func appendLabel(b []byte, known map[label]int, l label) []byte {
	i, ok := known[l]
	if ok {
		return binary.AppendUvarint(b, uint64(i))
	}
	b = binary.AppendUvarint(b, uint64(len(known)))
	known[l] = len(known)
	b = appendText(b, string(l.stage))
	b = appendText(b, l.step)
	return appendText(b, string(l.stream))
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// header is what stands before the compressed body.
type header struct{ first, count, plain uint64 }

// append writes the header behind b.
func (h header) append(b []byte) []byte {
	b = append(b, magic...)
	for _, n := range []uint64{h.first, h.count, h.plain} {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

func parse(data []byte) (h header, body []byte, err error) {
	if len(data) < len(magic) || string(data[:len(magic)]) != magic {
		return h, nil, errCorrupt
	}
	r := reader{data[len(magic):], nil}
	h = header{r.uvarint(), r.uvarint(), r.uvarint()}
	if r.err != nil || h.first == 0 || h.first > 1<<60 || h.count == 0 || h.count > MaxLines || h.plain > MaxPlain {
		return h, nil, errCorrupt
	}
	return h, r.b, nil
}

// Parse reads the header of encoded bytes that came from outside. It does not
// look at the lines; Decode does.
func Parse(data []byte) (cyclone.Chunk, error) {
	h, _, err := parse(data)
	if err != nil {
		return cyclone.Chunk{}, err
	}
	return cyclone.Chunk{First: int64(h.first), Count: int64(h.count), Data: data}, nil
}

// Decode unpacks a chunk.
func Decode(c cyclone.Chunk) ([]cyclone.Line, error) {
	h, packed, err := parse(c.Data)
	if err != nil {
		return nil, err
	}
	d := decoders.Get().(*zstd.Decoder)
	defer decoders.Put(d)
	body, err := d.DecodeAll(packed, make([]byte, 0, h.plain))
	if err != nil || uint64(len(body)) != h.plain {
		return nil, errCorrupt
	}
	return decodeLines(h, body)
}

// Renumber returns the chunk with its lines numbered from first on. The lines
// themselves are not touched.
func Renumber(c cyclone.Chunk, first int64) (cyclone.Chunk, error) {
	h, packed, err := parse(c.Data)
	if err == nil && (first < 1 || first > 1<<60) {
		err = fmt.Errorf("renumber log chunk: %d is no line's number", first)
	}
	if err != nil {
		return cyclone.Chunk{}, err
	}
	h.first = uint64(first)
	data := append(h.append(make([]byte, 0, len(c.Data)+binary.MaxVarintLen64)), packed...)
	return cyclone.Chunk{First: first, Count: int64(h.count), Data: data}, nil
}

func decodeLines(h header, body []byte) ([]cyclone.Line, error) {
	r := reader{body, nil}
	lines := make([]cyclone.Line, h.count)
	var labels []label
	var now int64
	for i := range lines {
		now += r.varint()
		at := r.uvarint()
		if at == uint64(len(labels)) {
			labels = append(labels, label{cyclone.Stage(r.text()), r.text(), cyclone.Stream(r.text())})
		}
		if r.err != nil || at >= uint64(len(labels)) {
			return nil, errCorrupt
		}
		l := labels[at]
		lines[i] = cyclone.Line{
			N: int64(h.first) + int64(i), Time: time.UnixMilli(now).UTC(),
			Stage: l.stage, Step: l.step, Stream: l.stream, Text: r.text(),
		}
	}
	if r.err != nil || len(r.b) != 0 {
		return nil, errCorrupt
	}
	return lines, nil
}

// reader takes numbers and texts off a slice; the first problem sticks.
type reader struct {
	b   []byte
	err error
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.b, r.err = nil, errCorrupt
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.b, r.err = nil, errCorrupt
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) text() string {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.b, r.err = nil, errCorrupt
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}
