package junit

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"cyclone/pkg/cyclone"
)

// cleaner passes a report on with what XML does not allow replaced: runners
// put what a program prints into their reports as it comes, with the colours
// of a terminal and broken characters. Lines stay where they are. It also
// holds the report to its bounds.
type cleaner struct {
	from   *bufio.Reader
	ready  []byte
	line   int
	left   int // bytes that may still be read
	most   int // bytes in all
	state  state
	quote  byte // that a value of a tag began with
	length int  // of the tag
	err    error
}

// state is where in the XML the cleaner is.
type state int

const (
	inText state = iota
	inTag
	inCDATA
	inComment
)

func newCleaner(r io.Reader, size int) *cleaner {
	return &cleaner{from: bufio.NewReaderSize(r, 64<<10), line: 1, left: size, most: size}
}

// Read implements io.Reader.
func (c *cleaner) Read(p []byte) (int, error) {
	for len(c.ready) < len(p) && c.err == nil {
		if c.err = c.plain(); c.err == nil {
			c.err = c.step()
		}
	}
	n := copy(p, c.ready)
	c.ready = append(c.ready[:0], c.ready[n:]...)
	if n == 0 && len(p) > 0 {
		return 0, c.err
	}
	return n, nil
}

// special are the characters after which the cleaner has to look; lines end
// with one of them.
const special = "<>&\"'-]\n\r"

// plain takes what is ready of characters that mean nothing to the cleaner.
func (c *cleaner) plain() error {
	ahead, _ := c.from.Peek(c.from.Buffered()) // it is there
	n := 0
	for n < len(ahead) && ahead[n] >= ' ' && ahead[n] < utf8.RuneSelf && strings.IndexByte(special, ahead[n]) < 0 {
		n++
	}
	c.ready = append(c.ready, ahead[:n]...)
	if c.state == inTag {
		c.length += n
	}
	return c.skip(n)
}

// step takes the next character.
func (c *cleaner) step() error {
	r, n, err := c.from.ReadRune()
	if err != nil {
		return err
	}
	if c.left -= n; c.left < 0 {
		return c.bad("the file is larger than %d MiB", c.most>>20)
	}
	switch {
	case r == escape && c.colour():
		return nil
	case r == utf8.RuneError && n == 1, !allowed(r):
		r = utf8.RuneError
	case r == '\n':
		c.line++
	case r == '&' && c.state != inCDATA:
		if bad := c.badReference(); bad == escape && c.colour() {
			return nil
		} else if bad != 0 {
			r = utf8.RuneError
		}
	case r < utf8.RuneSelf:
		c.follow(byte(r))
	}
	if c.state == inTag {
		if c.length += n; c.length > maxTag {
			return c.bad("a tag is longer than %d MiB", maxTag>>20)
		}
	}
	c.ready = utf8.AppendRune(c.ready, r)
	return nil
}

func (c *cleaner) bad(format string, args ...any) error {
	return cyclone.Invalid(fmt.Sprint("line ", c.line), format, args...)
}

// allowed reports whether XML may have a character.
func allowed(r rune) bool {
	return r == '\t' || r == '\n' || r == '\r' || r >= 0x20 && r <= 0xD7FF || r >= 0xE000 && r <= 0xFFFD || r >= 0x10000
}

// escape begins what colours the text of a terminal.
const escape = 0x1b

// colour skips the rest of a sequence that colours text; false when an escape
// begins something else.
func (c *cleaner) colour() bool {
	ahead, _ := c.from.Peek(16) // a sequence that is cut off is none
	if len(ahead) == 0 || ahead[0] != '[' {
		return false
	}
	for i, b := range ahead[1:] {
		if b >= 0x40 && b <= 0x7e && b != '<' && b != '&' {
			return c.skip(i+2) == nil
		}
		if b < 0x30 || b > 0x3b {
			return false
		}
	}
	return false
}

// skip drops bytes that were peeked at.
func (c *cleaner) skip(n int) error {
	skipped, err := c.from.Discard(n)
	c.left -= skipped
	return err
}

// badReference skips a reference to a character that XML does not have, such
// as &#7;, after its & was read, and returns the character; 0 when there is
// none.
func (c *cleaner) badReference() rune {
	ahead, _ := c.from.Peek(10) // one that is cut off is none
	end := bytes.IndexByte(ahead, ';')
	if end < 2 || ahead[0] != '#' {
		return 0
	}
	digits, base := string(ahead[1:end]), 10
	if hex, ok := strings.CutPrefix(digits, "x"); ok {
		digits, base = hex, 16
	}
	n, err := strconv.ParseUint(digits, base, 32)
	if err != nil || n <= utf8.MaxRune && allowed(rune(n)) || c.skip(end+1) != nil {
		return 0
	}
	if n != escape {
		return utf8.RuneError
	}
	return escape
}

// follow keeps the state over the next ASCII character.
func (c *cleaner) follow(b byte) {
	switch c.state {
	case inText:
		if b != '<' {
			return
		}
		// Too short a rest is no beginning of these.
		ahead, _ := c.from.Peek(8)
		switch {
		case bytes.HasPrefix(ahead, []byte("![CDATA[")):
			c.state = inCDATA
		case bytes.HasPrefix(ahead, []byte("!--")):
			c.state = inComment
		default:
			c.state, c.length, c.quote = inTag, 0, 0
		}
	case inTag:
		switch {
		case c.quote != 0:
			if b == c.quote {
				c.quote = 0
			}
		case b == '"' || b == '\'':
			c.quote = b
		case b == '>':
			c.state = inText
		}
	case inCDATA:
		c.leave(b, "]>")
	case inComment:
		c.leave(b, "->")
	}
}

// leave ends a state with "]]>" or "-->"; the last two of these are given.
func (c *cleaner) leave(b byte, rest string) {
	if b != rest[0] {
		return
	}
	if ahead, _ := c.from.Peek(2); string(ahead) == rest {
		c.state = inText
	}
}

// charset reads the encodings that reports are written in beside UTF-8. A
// cleaner has already replaced what is no UTF-8, so that those of one byte lose
// only what is beyond ASCII, which names of tests hardly have.
func charset(name string, r io.Reader) (io.Reader, error) {
	name = strings.ToLower(name)
	if strings.HasPrefix(name, "utf-16") || strings.HasPrefix(name, "utf-32") || strings.HasPrefix(name, "ucs") {
		return nil, badReport(fmt.Sprintf("the file is written in %s; write UTF-8", name))
	}
	return r, nil
}
