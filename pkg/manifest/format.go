package manifest

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"cyclone/pkg/cyclone"
)

// Format writes a problem for people: place, key, what is wrong; what to
// write instead; and the line of the source with a caret below the place.
// The source may be nil. The text ends without a line end, and holds nothing
// of the file that a terminal would take for a command. What seems to be a
// credential is not repeated: problems end up in logs.
//
//	caicloud.yml:3:12: pre_build.volumes: is indented deeper than "image" on line 2; align the keys with "image"
//	  hint: indent this line and the keys below it by 2 spaces instead of 4; ...
//	  3 |     volumes:
//	    |            ^
func Format(file string, p cyclone.Problem, source []byte) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d:%d: ", file, p.Line, p.Column)
	if p.Severity == cyclone.SeverityWarning {
		b.WriteString("warning: ")
	}
	if p.Path != "" {
		b.WriteString(printable(p.Path) + ": ")
	}
	b.WriteString(printable(p.Message))
	if p.Hint != "" {
		b.WriteString("\n  hint: " + printable(p.Hint))
	}
	if line, ok := sourceLine(source, p.Line); ok {
		if above, _ := sourceLine(source, p.Line-1); opensSecret.MatchString(above) {
			line = line[:len(line)-len(strings.TrimLeft(line, " \t"))] + "***"
		}
		b.WriteString("\n" + excerpt(line, p.Line, p.Column))
	}
	return b.String()
}

// sourceLine is the n-th line of the source, from 1; false for one that does
// not exist or is blank. Lines end where they end in YAML.
func sourceLine(source []byte, n int) (string, bool) {
	if n < 1 || len(source) == 0 {
		return "", false
	}
	rest := source
	for ; n > 1; n-- {
		end, size := lineEnd(rest)
		if size == 0 {
			return "", false
		}
		rest = rest[end+size:]
	}
	end, _ := lineEnd(rest)
	line := strings.ToValidUTF8(string(rest[:end]), "\uFFFD")
	return strings.TrimPrefix(line, byteOrderMark), strings.TrimSpace(line) != ""
}

// lineEnd is where a line ends, and how many bytes its end has: 0 for the last.
func lineEnd(text []byte) (at, size int) {
	at = bytes.IndexAny(text, "\n\r\u0085\u2028\u2029")
	switch {
	case at < 0:
		return len(text), 0
	case bytes.HasPrefix(text[at:], []byte("\r\n")):
		return at, 2
	}
	_, size = utf8.DecodeRune(text[at:])
	return at, size
}

// credential matches the name of a password or a token with what separates it
// from the value.
var credential = regexp.MustCompile(`(?i)(token|passw(or)?d|passphrase|secret|api_?key|access_?key|private_?key|credentials?)["']?\s*[:=]`)

// opensSecret matches a line whose credential stands on the next one.
var opensSecret = regexp.MustCompile(credential.String() + `\s*([|>][-+0-9]*)?\s*(#.*)?$`)

// excerpt shows a line with a caret below a column. Of a long line only the
// part around the column is shown, with dots for the rest.
func excerpt(line string, n, column int) string {
	const width, before, dots = 110, 60, "..."
	line, end := masked(printable(line))
	runes := []rune(line)
	at := min(max(column-1, 0), end)
	from, to, head, tail := 0, len(runes), "", ""
	if len(runes) > width {
		if at > before {
			from, head = at-before, dots
		}
		if from+width < len(runes) {
			to, tail = from+width, dots
		}
	}
	number := fmt.Sprint(n)
	return fmt.Sprintf("  %s | %s%s%s\n  %s | %s%s^", number, head, string(runes[from:to]), tail,
		strings.Repeat(" ", len(number)), strings.Repeat(" ", len(head)), blanks(runes[from:at]))
}

// blanks is as wide on a terminal as the runes: tabs stay, the letters of East
// Asian scripts and pictures take two columns, marks on letters none.
func blanks(runes []rune) string {
	var b strings.Builder
	for _, r := range runes {
		switch {
		case r == '\t':
			b.WriteByte('\t')
		case unicode.Is(unicode.Mn, r), unicode.Is(unicode.Me, r):
		case wide(r):
			b.WriteString("  ")
		default:
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// wide tells characters that take two columns.
func wide(r rune) bool {
	for _, s := range wideRanges {
		if r >= s[0] && r <= s[1] {
			return true
		}
	}
	return false
}

// wideRanges are Unicode's blocks of wide characters.
var wideRanges = [][2]rune{
	{0x1100, 0x115f}, {0x231a, 0x231b}, {0x23e9, 0x23ec}, {0x2614, 0x2615}, {0x26a1, 0x26a1}, {0x2705, 0x2705},
	{0x274c, 0x274c}, {0x2e80, 0x303e}, {0x3041, 0xa4cf}, {0xa960, 0xa97f}, {0xac00, 0xd7a3}, {0xf900, 0xfaff},
	{0xfe30, 0xfe6f}, {0xff00, 0xff60}, {0xffe0, 0xffe6}, {0x1f300, 0x1f64f}, {0x1f680, 0x1f6ff},
	{0x1f900, 0x1faff}, {0x20000, 0x3fffd},
}
