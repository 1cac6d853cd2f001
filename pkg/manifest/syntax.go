package manifest

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"cyclone/pkg/cyclone"
)

var yamlLine = regexp.MustCompile(`^yaml: line (\d+): `)

// syntaxProblem turns what the YAML library says into a problem with a place
// and an advice.
func syntaxProblem(err error, data []byte) cyclone.Problem {
	s := source{lines: splitLines(string(data))}
	var second secondDocument
	if errors.As(err, &second) {
		return s.problem(second.line, 1, "a second document begins here", "keep one document: remove the line ---")
	}
	message, line := err.Error(), 1
	if m := yamlLine.FindStringSubmatch(message); m != nil {
		message = message[len(m[0]):]
		line, _ = strconv.Atoi(m[1]) // the pattern lets only digits through
	}
	message = strings.TrimPrefix(message, "yaml: ")
	line = min(max(line, 1), len(s.lines))
	for _, d := range diagnoses {
		if strings.Contains(message, d.says) {
			return d.problem(s, line, message)
		}
	}
	return s.problem(line, s.indent(line)+1, "is not YAML: "+clip(message), "look at this line and the one before it")
}

// diagnosis explains one of the YAML library's messages.
type diagnosis struct {
	says    string
	problem func(s source, line int, message string) cyclone.Problem
}

var diagnoses = []diagnosis{
	{"mapping values are not allowed", source.misplacedColon},
	{"block sequence entries are not allowed", source.misplacedDash},
	{"cannot start any token", source.badStart},
	{"tab character", source.tab},
	{"unknown anchor", source.unknownAnchor},
	{"expected alphabetic or numeric character", source.badAlias},
	{"did not find expected key", source.misalignedKey},
	{"did not find expected '-' indicator", source.misalignedKey},
	{"could not find expected ':'", source.noColon},
	{"unknown escape character", source.badEscape},
	{"expected <document start>", source.afterEnd},
	{"did not find expected ',' or", source.openBracket},
	{"unexpected end of stream", source.openQuote},
	{"exceeded max depth", source.tooDeep},
}

// problem is an error at a place, with the path that the indentation gives it.
func (s source) problem(line, column int, message, hint string) cyclone.Problem {
	return cyclone.Problem{
		Line: max(line, 1), Column: max(column, 1), Path: s.path(line),
		Severity: cyclone.SeverityError, Message: message, Hint: hint,
	}
}

// overIndented explains a key that stands deeper than the one above it, which
// has a value and so cannot hold keys. The place is that of the colon, where
// YAML stumbles.
func (s source) overIndented(line int) (cyclone.Problem, bool) {
	m, ok := s.misindented(line)
	if !ok {
		return cyclone.Problem{}, false
	}
	column := utf8.RuneCountInString(s.lines[line-1][:strings.Index(s.lines[line-1], ":")]) + 1
	p := s.problem(line, column,
		fmt.Sprintf("is indented deeper than %[1]q on line %[2]d; align the keys with %[1]q", clip(m.above), m.aboveLine),
		fmt.Sprintf("indent this line and the keys below it by %d spaces instead of %d; `cyclone lint --fix` does it", m.want, m.have))
	p.Path = s.joined(m.aboveLine, m.key)
	return p, true
}

// misplacedColon explains a "key:" where YAML still reads the value of the
// line above, or a second colon in a value.
func (s source) misplacedColon(line int, _ string) cyclone.Problem {
	if p, ok := s.overIndented(line); ok {
		return p
	}
	text := s.lines[line-1]
	at := strings.Index(text, ":") + 1
	if second := strings.Index(text[at:], ": "); second >= 0 {
		at += second + 1
	} else if strings.HasSuffix(text, ":") {
		at = len(text)
	}
	return s.problem(line, utf8.RuneCountInString(text[:at]), `a ":" stands where none can stand`,
		`put a value that contains ": " in single quotes, and align keys of one block`)
}

// misplacedDash explains a "- " that is not where a list can begin.
func (s source) misplacedDash(line int, _ string) cyclone.Problem {
	return s.problem(line, s.indent(line)+1, `a "- " stands where no list can begin`,
		`begin the list on the line below its key, each item with "- " and the same indentation`)
}

// badStart explains a character that a value cannot begin with.
func (s source) badStart(line int, message string) cyclone.Problem {
	text := s.lines[line-1]
	if strings.ContainsRune(text[:len(text)-len(strings.TrimLeft(text, " \t"))], '\t') {
		return s.tab(line, message)
	}
	at := strings.IndexAny(text, "@`%")
	if at < 0 {
		at = s.indent(line)
	}
	return s.problem(line, utf8.RuneCountInString(text[:at])+1, "a value cannot begin with this character",
		"put the value in single quotes")
}

// tab explains a tab in the indentation.
func (s source) tab(line int, _ string) cyclone.Problem {
	for n := line; n <= min(line+1, len(s.lines)); n++ {
		text := s.lines[n-1]
		if at := strings.IndexByte(text, '\t'); at >= 0 {
			return s.problem(n, utf8.RuneCountInString(text[:at])+1, "a tab stands where only spaces can", "indent with spaces")
		}
	}
	return s.problem(line, 1, "a tab stands where only spaces can", "indent with spaces")
}

var anchorName = regexp.MustCompile(`unknown anchor '(.*)' referenced`)

// unknownAnchor explains an alias without an anchor. The library does not say
// where it is.
func (s source) unknownAnchor(line int, message string) cyclone.Problem {
	name := ""
	if m := anchorName.FindStringSubmatch(message); m != nil {
		name = m[1]
	}
	column := 1
	for i, text := range s.lines {
		if at := strings.Index(text, "*"+name); at >= 0 {
			line, column = i+1, utf8.RuneCountInString(text[:at])+1
			break
		}
	}
	return s.problem(line, column, fmt.Sprintf("*%s has no anchor before it", clip(name)),
		fmt.Sprintf("write &%s at what it stands for, or put the value in quotes", clip(name)))
}

// badAlias explains a value that begins with * or & and was meant as text.
func (s source) badAlias(line int, _ string) cyclone.Problem {
	column := s.indent(line) + 1
	if at := strings.IndexAny(s.lines[line-1], "*&"); at >= 0 {
		column = utf8.RuneCountInString(s.lines[line-1][:at]) + 1
	}
	return s.problem(line, column, "a value that begins with * or & stands for another one in YAML", "put the value in single quotes")
}

// misalignedKey explains a line whose indentation fits no block.
func (s source) misalignedKey(line int, _ string) cyclone.Problem {
	line = s.firstBad(line)
	if p, ok := s.overIndented(line); ok {
		return p
	}
	if p, ok := s.endedQuote(line); ok {
		return p
	}
	return s.problem(line, s.indent(line)+1, "does not line up with the lines before it",
		"give the keys, or the items, of one block the same indentation")
}

// noColon explains a line that should be a key.
func (s source) noColon(line int, _ string) cyclone.Problem {
	if above := s.above(line); above > 0 && blockText.MatchString(s.text(above)) && s.indent(line) <= s.indent(above) {
		return s.problem(line, s.indent(line)+1, fmt.Sprintf("is not indented deeper than line %d, whose text it seems to be", above),
			"indent every line of the text by the same number of spaces")
	}
	return s.problem(line, s.indent(line)+1, "is not \"key: value\"", "put a colon and a blank behind the key, and close every quote")
}

// endedQuote explains a quote that ends before the value does.
func (s source) endedQuote(line int) (cyclone.Problem, bool) {
	m := quotedStart.FindStringIndex(s.text(line))
	if m == nil {
		return cyclone.Problem{}, false
	}
	return s.problem(line, utf8.RuneCountInString(s.text(line)[:m[1]]), "a quote ends before the value does",
		`in single quotes write '' for a quote, in double quotes \"`), true
}

// badEscape explains a backslash that means nothing in double quotes.
func (s source) badEscape(line int, _ string) cyclone.Problem {
	column := s.indent(line) + 1
	if m := unknownEscape.FindStringIndex(s.text(line)); m != nil {
		column = utf8.RuneCountInString(s.text(line)[:m[1]]) - 1
	}
	return s.problem(line, column, "a backslash in double quotes stands before a character that it does not change",
		`put the value in single quotes, or write \\ for a backslash`)
}

// afterEnd explains what follows the end of the document.
func (s source) afterEnd(line int, _ string) cyclone.Problem {
	for n := line; n <= len(s.lines); n++ {
		if text := s.text(n); !blankOrComment(text) && !strings.HasPrefix(text, "...") {
			return s.problem(n, 1, "stands behind the end of the document", "keep one document: remove the line with ...")
		}
	}
	return s.problem(line, 1, "the document has ended here", "keep one document")
}

// openBracket explains a list or mapping in brackets that does not end.
func (s source) openBracket(line int, _ string) cyclone.Problem {
	line = s.firstBad(line)
	column := s.indent(line) + 1
	if at := strings.IndexAny(s.lines[line-1], "[{"); at >= 0 {
		column = utf8.RuneCountInString(s.lines[line-1][:at]) + 1
	}
	return s.problem(line, column, "a bracket is not closed", "close it, or put a value that begins with [ or { in single quotes")
}

// openQuote explains a quote that does not end.
func (s source) openQuote(line int, _ string) cyclone.Problem {
	column := s.indent(line) + 1
	if at := strings.IndexAny(s.lines[line-1], `"'`); at >= 0 {
		column = utf8.RuneCountInString(s.lines[line-1][:at]) + 1
	}
	return s.problem(line, column, "a quote is not closed", "close it")
}

// tooDeep explains what even the YAML library refuses.
func (s source) tooDeep(line int, _ string) cyclone.Problem {
	return s.problem(line, 1, fmt.Sprintf("is nested more than %d levels deep", maxDepth), "flatten it")
}
