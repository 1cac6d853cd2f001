package docker

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"cyclone/pkg/cyclone"
)

// demux splits the engine's multiplexed stream. Every frame has a header of
// eight bytes: the stream, three zeros, the length. Neighbours of one stream
// are handed on together as long as they are here already: a program that
// prints line by line makes a frame of every line.
//
// stdcopy would do the same, but moves the rest of its buffer for every frame.
func demux(r *bufio.Reader, out cyclone.Output) error {
	const most = 256 << 10
	var header [8]byte
	buf := make([]byte, 0, most)
	for {
		if _, err := io.ReadFull(r, header[:]); err != nil {
			return endOf(err)
		}
		stream, err := streamOf(header[0])
		if err != nil {
			return err
		}
		for left := int(binary.BigEndian.Uint32(header[4:])); left > 0; {
			n := min(left, most-len(buf))
			if _, err := io.ReadFull(r, buf[len(buf):len(buf)+n]); err != nil {
				return err
			}
			buf, left = buf[:len(buf)+n], left-n
			if len(buf) == most || left == 0 && !follows(r, header[0]) {
				out.Write(stream, buf)
				buf = buf[:0]
			}
		}
	}
}

// follows reports whether a frame of the same stream is here already.
func follows(r *bufio.Reader, stream byte) bool {
	if r.Buffered() < 8 {
		return false
	}
	next, err := r.Peek(8)
	if err != nil || next[0] != stream {
		return false
	}
	size := int(binary.BigEndian.Uint32(next[4:]))
	return size > 0 && size <= r.Buffered()-8
}

func streamOf(b byte) (cyclone.Stream, error) {
	switch b {
	case 0, 1:
		return cyclone.Stdout, nil
	case 2:
		return cyclone.Stderr, nil
	}
	return "", fmt.Errorf("unknown stream %d in container output", b)
}

// endOf is nil for the two ways in which a stream ends: by the engine, or by
// our own Close.
func endOf(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// patientReader knows since when a read has been waiting.
type patientReader struct {
	r     io.Reader
	since atomic.Int64 // when the running read began, in Unix nanoseconds; 0 when none runs
}

func (p *patientReader) Read(b []byte) (int, error) {
	p.since.Store(time.Now().UnixNano())
	defer p.since.Store(0)
	return p.r.Read(b)
}

// idle is how long the running read has been waiting.
func (p *patientReader) idle() time.Duration {
	since := p.since.Load()
	if since == 0 {
		return 0
	}
	return time.Since(time.Unix(0, since))
}
