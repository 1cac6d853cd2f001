package payload

import (
	"bytes"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"cyclone/pkg/cyclone"
)

// broken is the error about what is no JSON; it says where.
func (r *reader) broken(what string) error {
	return cyclone.Invalid("body", "is not JSON: %s at byte %d", what, r.pos)
}

// peek is the next byte, or 0 at the end.
func (r *reader) peek() byte {
	if r.pos < len(r.data) {
		return r.data[r.pos]
	}
	return 0
}

func (r *reader) space() {
	for r.pos < len(r.data) {
		switch r.data[r.pos] {
		case ' ', '\t', '\n', '\r':
			r.pos++
		default:
			return
		}
	}
}

// take goes over one byte, if it is the next but for white space.
func (r *reader) take(c byte) bool {
	r.space()
	if r.peek() != c {
		return false
	}
	r.pos++
	return true
}

// enter goes into an object or a list.
func (r *reader) enter() error {
	if r.depth++; r.depth > maxDepth {
		return cyclone.Invalid("body", "is nested deeper than %d levels at byte %d", maxDepth, r.pos)
	}
	r.pos++
	return nil
}

// more reports whether another item follows in an object or a list of which n
// items were read; when none does, it has left it.
func (r *reader) more(n int, end byte) (bool, error) {
	if r.take(end) {
		r.depth--
		return false, nil
	}
	if n > 0 && !r.take(',') {
		return false, r.broken("an item is not followed by a comma or the end")
	}
	r.space()
	return true, nil
}

// skip goes over a value of any kind.
func (r *reader) skip() error {
	r.space()
	switch c := r.peek(); {
	case c == '{':
		return r.members(func([]byte) error { return r.skip() })
	case c == '[':
		return r.each(func() error { return r.skip() })
	case c == '"':
		_, _, err := r.quoted()
		return err
	case c == '-' || digit(c):
		_, err := r.number()
		return err
	}
	_, err := r.literal()
	return err
}

// members calls one with the key of each member of an object; one reads the
// value. The key is only good until one returns.
func (r *reader) members(one func(key []byte) error) error {
	if err := r.enter(); err != nil {
		return err
	}
	for n := 0; ; n++ {
		if more, err := r.more(n, '}'); err != nil || !more {
			return err
		}
		key, escaped, err := r.quoted()
		if err != nil {
			return err
		}
		if escaped {
			key = []byte(unescape(key))
		}
		if !r.take(':') {
			return r.broken("a key is not followed by a colon")
		}
		if err := one(key); err != nil {
			return err
		}
	}
}

// each calls one for each item of a list; one reads it.
func (r *reader) each(one func() error) error {
	if err := r.enter(); err != nil {
		return err
	}
	for n := 0; ; n++ {
		if more, err := r.more(n, ']'); err != nil || !more {
			return err
		}
		if err := one(); err != nil {
			return err
		}
	}
}

// literal reads true, false or null.
func (r *reader) literal() (truth bool, err error) {
	for _, word := range []string{"true", "false", "null"} {
		if bytes.HasPrefix(r.data[r.pos:], []byte(word)) {
			r.pos += len(word)
			return word == "true", nil
		}
	}
	return false, r.broken("there is no value")
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// number reads a number as it is written.
func (r *reader) number() ([]byte, error) {
	start := r.pos
	if r.peek() == '-' {
		r.pos++
	}
	if r.peek() == '0' {
		r.pos++
	} else if !r.digits() {
		return nil, r.broken("a number has no digits")
	}
	if r.peek() == '.' {
		if r.pos++; !r.digits() {
			return nil, r.broken("a number has no digits after its point")
		}
	}
	if c := r.peek(); c == 'e' || c == 'E' {
		r.pos++
		if c := r.peek(); c == '+' || c == '-' {
			r.pos++
		}
		if !r.digits() {
			return nil, r.broken("a number has an empty exponent")
		}
	}
	return r.data[start:r.pos], nil
}

func (r *reader) digits() bool {
	start := r.pos
	for digit(r.peek()) {
		r.pos++
	}
	return r.pos > start
}

// quoted reads a string as it is written, without its quotes, and checks it;
// escaped says whether it has to be unescaped.
func (r *reader) quoted() (text []byte, escaped bool, err error) {
	if r.peek() != '"' {
		return nil, false, r.broken("a string was expected")
	}
	r.pos++
	start := r.pos
	for {
		// Most of a payload is the insides of strings: this loop is its speed.
		i, data := r.pos, r.data
		for i < len(data) && !ends[data[i]] {
			i++
		}
		r.pos = i
		switch c := r.peek(); {
		case i == len(data):
			return nil, false, r.broken("a string does not end")
		case c == '"':
			r.pos++
			return data[start:i], escaped, nil
		case c != '\\':
			return nil, false, r.broken("a string holds a control character")
		}
		escaped = true
		if err := r.escape(); err != nil {
			return nil, false, err
		}
		r.pos++
	}
}

// ends are the bytes that are not just themselves in a string: its end, a
// backslash, and control characters, which must not be there.
var ends = [256]bool{
	0: true, 1: true, 2: true, 3: true, 4: true, 5: true, 6: true, 7: true, 8: true, 9: true, 10: true, 11: true, 12: true, 13: true, 14: true, 15: true,
	16: true, 17: true, 18: true, 19: true, 20: true, 21: true, 22: true, 23: true, 24: true, 25: true, 26: true, 27: true, 28: true, 29: true, 30: true, 31: true,
	'"': true, '\\': true,
}

// escape checks what follows a backslash and stands on its last byte then.
func (r *reader) escape() error {
	r.pos++
	switch r.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return nil
	case 'u':
		if _, ok := unit(r.data[r.pos+1:]); ok {
			r.pos += 4
			return nil
		}
	}
	return r.broken("a string holds an unknown escape")
}

// unit reads the four hex digits of an escape.
func unit(s []byte) (rune, bool) {
	if len(s) < 4 {
		return 0, false
	}
	var u rune
	for _, c := range s[:4] {
		switch {
		case digit(c):
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		u = u<<4 | rune(c)
	}
	return u, true
}

// unescape writes a checked string as it is meant. What is no UTF-8, and
// halves of pairs, become the replacement character.
func unescape(s []byte) string {
	var b strings.Builder
	b.Grow(len(s))
	for len(s) > 0 {
		plain := bytes.IndexByte(s, '\\')
		if plain < 0 {
			plain = len(s)
		}
		_, _ = b.Write(s[:plain]) // a builder never fails
		if s = s[plain:]; len(s) > 0 {
			var r rune
			r, s = escaped(s)
			_, _ = b.WriteRune(r)
		}
	}
	return valid(b.String())
}

// escaped reads the escape that s begins with and returns the rest.
func escaped(s []byte) (rune, []byte) {
	switch s[1] {
	case 'b':
		return '\b', s[2:]
	case 'f':
		return '\f', s[2:]
	case 'n':
		return '\n', s[2:]
	case 'r':
		return '\r', s[2:]
	case 't':
		return '\t', s[2:]
	case 'u':
		r, _ := unit(s[2:])
		s = s[6:]
		if utf16.IsSurrogate(r) && len(s) > 1 && s[0] == '\\' && s[1] == 'u' {
			low, _ := unit(s[2:])
			if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
				return pair, s[6:]
			}
		}
		return r, s // WriteRune replaces half a pair
	}
	return rune(s[1]), s[2:]
}

// valid is s in UTF-8.
func valid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, string(utf8.RuneError))
}
