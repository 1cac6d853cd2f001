package local

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// clean takes from a line what would do anything to a terminal but print text:
// cursor movements, titles, links, control characters. Colours and the like
// (SGR) stay when colours is set, and end with the line.
func clean(text string, colours bool) string {
	if plain(text) {
		return text
	}
	var b strings.Builder
	coloured := false
	for len(text) > 0 {
		if text[0] == 0x1b {
			n, sgr := escape(text)
			if sgr && colours {
				b.WriteString(text[:n])
				coloured = true
			}
			text = text[n:]
			continue
		}
		r, n := utf8.DecodeRuneInString(text)
		switch {
		case r == utf8.RuneError && n == 1:
			b.WriteRune(utf8.RuneError)
		case r == '\t', !unicode.IsControl(r) && !reorders(r):
			b.WriteString(text[:n])
		}
		text = text[n:]
	}
	if coloured {
		b.WriteString(reset)
	}
	return b.String()
}

const reset = "\x1b[0m"

// plain reports whether a text is printable ASCII, as most are.
func plain(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' && c != '\t' || c >= 0x7f {
			return false
		}
	}
	return true
}

// reorders reports whether a rune makes a terminal show text in another order
// than it has.
func reorders(r rune) bool {
	return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

// escape is the length of the escape sequence that a text begins with, and
// whether it only changes how text looks. One without an end takes the rest.
func escape(text string) (n int, sgr bool) {
	if len(text) < 2 {
		return len(text), false
	}
	switch text[1] {
	case '[':
		for i := 2; i < len(text); i++ {
			switch c := text[i]; {
			case c == 'm':
				return i + 1, strings.Trim(text[2:i], "0123456789;:") == ""
			case c >= 0x40 && c <= 0x7e:
				return i + 1, false
			case c < 0x20 || c > 0x7e: // broken off
				return i, false
			}
		}
		return len(text), false
	case ']', 'P', 'X', '^', '_': // up to BEL or ESC \
		for i := 2; i < len(text); i++ {
			switch {
			case text[i] == 0x07:
				return i + 1, false
			case text[i] == 0x1b && i+1 < len(text) && text[i+1] == '\\':
				return i + 2, false
			}
		}
		return len(text), false
	}
	for i := 1; i < len(text); i++ {
		if text[i] < 0x20 || text[i] > 0x2f { // not an intermediate byte: the last
			if text[i] >= 0x80 || text[i] < 0x20 {
				return i, false
			}
			return i + 1, false
		}
	}
	return len(text), false
}

// cut is as much of a clean text without colours as fits into columns.
func cut(text string, columns int) string {
	used := 0
	for i, r := range text {
		if used += width(r); used > columns {
			return text[:i]
		}
	}
	return text
}

// width is how many columns of a terminal a rune takes up, about: more rather
// than less.
func width(r rune) int {
	switch {
	case r == '\t':
		return 8
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case r >= 0x1100 && r <= 0x115f, r >= 0x2e80 && r <= 0xa4cf, r >= 0xac00 && r <= 0xd7a3,
		r >= 0xf900 && r <= 0xfaff, r >= 0xfe30 && r <= 0xfe4f, r >= 0xff00 && r <= 0xff60, r >= 0x1f000:
		return 2
	}
	return 1
}
