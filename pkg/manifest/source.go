package manifest

import (
	"regexp"
	"strings"
)

// source is the text of a file that is not YAML, for finding out why.
type source struct {
	lines []string
}

// misindentation is a key that stands deeper than the key above it, which
// has a value and so cannot hold keys.
type misindentation struct {
	key, above string
	aboveLine  int
	have, want int // indentation in spaces
}

var (
	keyLine   = regexp.MustCompile(`^( *)([A-Za-z0-9_.<"'-][^:#]*?) *:( .*)?$`)
	valueLine = regexp.MustCompile(`^( *)((?:- +)*)([A-Za-z0-9_.<"'-][^:#]*?) *: +([^ #|>&*].*)$`)
)

// blockText matches lines that a block of text begins below.
var blockText = regexp.MustCompile(`(^|[:\-?] +)(?:[&!]\S+ +)*[|>][-+0-9]*\s*(#.*)?$`)

// misindented looks whether a line is such a key.
func (s source) misindented(line int) (misindentation, bool) {
	if line < 1 || line > len(s.lines) {
		return misindentation{}, false
	}
	here := keyLine.FindStringSubmatch(strings.TrimRight(s.lines[line-1], "\r"))
	if here == nil {
		return misindentation{}, false
	}
	for n := line - 1; n >= 1; n-- {
		text := strings.TrimRight(s.lines[n-1], "\r")
		if blankOrComment(text) {
			continue
		}
		above := valueLine.FindStringSubmatch(text)
		if above == nil {
			return misindentation{}, false
		}
		want := len(above[1]) + len(above[2])
		return misindentation{
			key: strings.TrimSpace(here[2]), above: above[3], aboveLine: n, have: len(here[1]), want: want,
		}, len(here[1]) > want
	}
	return misindentation{}, false
}

var (
	// quotedStart matches up to what follows a value in quotes and is no end.
	quotedStart = regexp.MustCompile(`^\s*(?:- +)*(?:[A-Za-z0-9_.-]+: +)?(?:'(?:[^']|'')*'|"(?:[^"\\]|\\.)*")[^\s,\]}:#]`)
	// unknownEscape matches up to a backslash with a character that YAML gives
	// no meaning to.
	unknownEscape = regexp.MustCompile(`^[^\\]*(?:\\[0abtnvfre "/\\N_LPxuU\t][^\\]*)*\\[^0abtnvfre "/\\N_LPxuU\t]`)
)

// text is a line without the carriage return at its end.
func (s source) text(line int) string { return strings.TrimRight(s.lines[line-1], "\r") }

// above is the last line above another that says something; 0 for none.
func (s source) above(line int) int {
	for n := line - 1; n >= 1; n-- {
		if !blankOrComment(s.lines[n-1]) {
			return n
		}
	}
	return 0
}

// splitLines splits at line ends; a \r stays with its line.
func splitLines(text string) []string { return strings.Split(text, "\n") }

// indent counts the spaces that a line begins with.
func (s source) indent(line int) int {
	text := s.lines[line-1]
	return len(text) - len(strings.TrimLeft(text, " "))
}

func blankOrComment(text string) bool {
	text = strings.TrimSpace(text)
	return text == "" || text[0] == '#'
}

// firstBad finds the first line that, with all before it, is no YAML any
// more. It only looks at files of a usual size.
func (s source) firstBad(line int) int {
	const usual = 64 << 10
	good, bad := line-1, len(s.lines)
	if len(strings.Join(s.lines, "\n")) > usual {
		return line
	}
	for good+1 < bad {
		middle := (good + bad) / 2
		if _, err := decode([]byte(strings.Join(s.lines[:middle], "\n") + "\n")); err == nil {
			good = middle
		} else {
			bad = middle
		}
	}
	return bad
}

// path is the path of the keys that a line stands below, by indentation.
func (s source) path(line int) string {
	if line < 1 || line > len(s.lines) {
		return ""
	}
	key := ""
	if m := keyLine.FindStringSubmatch(strings.TrimRight(s.lines[line-1], "\r")); m != nil {
		key = strings.TrimSpace(m[2])
	}
	if strings.HasPrefix(key, "- ") {
		key = "" // an item of the list above
	}
	return s.joined(line, key)
}

// joined is the path of the keys above a line with a key appended.
func (s source) joined(line int, key string) string {
	path, indent := key, s.indent(line)
	for n := line - 1; n >= 1 && indent > 0; n-- {
		text := strings.TrimRight(s.lines[n-1], "\r")
		if blankOrComment(text) || s.indent(n) >= indent {
			continue
		}
		if m := keyLine.FindStringSubmatch(text); m != nil {
			path, indent = clip(strings.TrimSpace(m[2]))+"."+path, s.indent(n)
		}
	}
	return strings.TrimSuffix(path, ".")
}
