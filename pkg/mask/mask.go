// Package mask hides secrets in what passes through a writer: every occurrence
// is replaced by six stars, however the bytes are cut into writes.
//
// Overlapping secrets are hidden as one. A secret is found in the clear, line
// by line when it has several, in base64 (also in the middle of a longer
// base64 text), URL encoded and as JSON text. A program that rewrites its
// secret in another way, reversed or one letter a line, can still show it:
// mask guards against accidents.
//
// It is not a splitter of lines and it is no security boundary.
package mask

import (
	"bytes"
	"io"
)

// Mask is what stands in the place of a secret.
const Mask = "******"

// Writer hides secrets in what is written to it. It holds back the end of a
// write that may be the beginning of a secret, at most one byte less than the
// longest form of one, until more arrives or Flush is called. It is not safe
// for concurrent use.
type Writer struct {
	set *Set
	w   io.Writer
	err error
	// held is input that was not passed on yet; its first covered bytes
	// belong to a secret that was replaced already.
	held    []byte
	covered int
	out     []byte
}

// New returns a Writer to w that hides the secrets; see Compile.
func New(w io.Writer, secrets []string) *Writer { return Compile(secrets).Writer(w) }

// Writer returns a Writer to w that hides the secrets of the set.
func (s *Set) Writer(w io.Writer) *Writer { return &Writer{set: s, w: w} }

// Write passes p on with the secrets replaced. The bytes it holds back count
// as written. After an error of the underlying writer every call returns it.
func (m *Writer) Write(p []byte) (int, error) {
	if m.err != nil {
		return 0, m.err
	}
	data := p
	if len(m.held) > 0 {
		m.held = append(m.held, p...)
		data = m.held
	}
	if err := m.pass(data, false); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush passes on what was held back. Call it where the stream ends: a secret
// that is cut in two by a Flush is not found.
func (m *Writer) Flush() error {
	if m.err != nil || len(m.held) == 0 {
		return m.err
	}
	return m.pass(m.held, true)
}

// pass writes data as far as it is decided, and holds the rest. Nothing of
// data is kept but a copy.
func (m *Writer) pass(data []byte, last bool) error {
	m.out = m.out[:0]
	covered, clear := m.covered, m.covered // data[clear:] is not written yet
	at := m.set.next(data, 0)
	for ; at < len(data); at = m.set.next(data, at+1) {
		size, open := m.set.match(data[at:])
		if open && !last {
			break
		}
		if size == 0 {
			continue
		}
		if at >= covered {
			m.out = append(append(m.out, data[clear:at]...), Mask...)
		}
		covered = max(covered, at+size)
		clear = covered
	}
	err := m.emit(data, min(clear, at), at)
	m.covered = max(0, covered-at)
	m.held = append(m.held[:0], data[at:]...)
	return err
}

// emit writes what was collected and then data[from:to].
func (m *Writer) emit(data []byte, from, to int) error {
	rest := data[from:to]
	if len(m.out) > 0 {
		m.out = append(m.out, rest...)
		rest = m.out
	}
	if len(rest) > 0 {
		_, m.err = m.w.Write(rest)
	}
	return m.err
}

// next is the index, at or after from, of the first byte that may begin a
// secret; len(data) when there is none.
func (s *Set) next(data []byte, from int) int {
	if s.Empty() || from >= len(data) {
		return len(data)
	}
	last := len(data) - 1
	a := uint(data[from])
	for i, c := range data[from+1:] {
		pair := a<<8 | uint(c)
		if s.pairs[pair>>6]&(1<<(pair&63)) != 0 {
			return from + i
		}
		a = uint(c)
	}
	if s.first[data[last]] {
		return last
	}
	return len(data)
}

// match returns the size of the longest secret that data begins with, 0 for
// none, and whether data ends where a longer one could go on.
func (s *Set) match(data []byte) (size int, open bool) {
	if len(data) == 1 {
		return 0, true
	}
	for _, p := range s.byPair[pairOf(data[0], data[1])] {
		if len(p) > len(data) {
			open = open || bytes.HasPrefix(p, data)
			continue
		}
		if bytes.HasPrefix(data, p) {
			return len(p), open
		}
	}
	return 0, open
}
