package manifest

import (
	"fmt"
	"regexp"
	"strings"

	"cyclone/pkg/cyclone"
)

// Format writes a problem for people: place, key, what is wrong; what to
// write instead; and the line of the source with a caret below the place.
// The source may be nil. The text ends without a line end, and holds nothing
// of the file that a terminal would take for a command. A line that seems to
// hold a credential is not repeated: problems end up in logs.
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
		b.WriteString("\n" + excerpt(line, p.Line, p.Column))
	}
	return b.String()
}

// sourceLine is the n-th line of the source, from 1.
func sourceLine(source []byte, n int) (string, bool) {
	if n < 1 || len(source) == 0 {
		return "", false
	}
	rest := string(source)
	for ; n > 1; n-- {
		_, after, more := strings.Cut(rest, "\n")
		if !more {
			return "", false
		}
		rest = after
	}
	line, _, _ := strings.Cut(rest, "\n")
	line = strings.ToValidUTF8(strings.TrimRight(line, "\r"), "\uFFFD")
	return line, strings.TrimSpace(line) != "" && !credential.MatchString(line)
}

// credential tells lines that may hold a password or a token.
var credential = regexp.MustCompile(`(?i)(token|passw(or)?d|passphrase|secret|api_?key|private_?key)["']?\s*[:=]`)

// excerpt shows a line with a caret below a column. Of a long line only the
// part around the column is shown.
func excerpt(line string, n, column int) string {
	const width, before = 110, 60
	runes := []rune(printable(line))
	at := min(max(column-1, 0), len(runes))
	from := 0
	if len(runes) > width && at > before {
		from = at - before
	}
	to := min(from+width, len(runes))
	number := fmt.Sprint(n)
	return fmt.Sprintf("  %s | %s\n  %s | %s^", number, string(runes[from:to]),
		strings.Repeat(" ", len(number)), blanks(runes[from:at]))
}

// blanks is as wide on a terminal as the runes: tabs stay, and the letters of
// East Asian scripts take two columns.
func blanks(runes []rune) string {
	var b strings.Builder
	for _, r := range runes {
		switch {
		case r == '\t':
			b.WriteByte('\t')
		case r >= 0x1100 && r <= 0x115f, r >= 0x2e80 && r <= 0xa4cf, r >= 0xac00 && r <= 0xd7a3,
			r >= 0xf900 && r <= 0xfaff, r >= 0xfe30 && r <= 0xfe4f, r >= 0xff00 && r <= 0xff60, r >= 0x1f300:
			b.WriteString("  ")
		default:
			b.WriteByte(' ')
		}
	}
	return b.String()
}
