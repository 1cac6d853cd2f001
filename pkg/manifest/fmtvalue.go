package manifest

import "strings"

// key returns where the colon of a key is that the text begins with, or 0.
func key(text string) int {
	rest := text[properties(text):]
	start := len(text) - len(rest)
	if rest == "" || strings.ContainsRune("[{|>#", rune(rest[0])) {
		return 0
	}
	at := 0
	if rest[0] == '"' || rest[0] == '\'' {
		at = quoteEnd(rest)
		if at < 0 {
			return 0
		}
		at += len(rest[at:]) - len(strings.TrimLeft(rest[at:], " \t"))
		if colon(rest, at) {
			return start + at
		}
		return 0
	}
	for ; at < len(rest); at++ {
		if colon(rest, at) {
			return start + at
		}
		if rest[at] == '#' && at > 0 && blankByte(rest[at-1]) {
			return 0
		}
	}
	return 0
}

// colon reports whether there is a colon that ends a key.
func colon(text string, at int) bool {
	return at < len(text) && text[at] == ':' && (at+1 == len(text) || blankByte(text[at+1]))
}

func blankByte(b byte) bool { return b == ' ' || b == '\t' }

// properties is how long the anchors and tags are that a text begins with,
// with the blanks behind them.
func properties(text string) int {
	at := 0
	for at < len(text) && (text[at] == '&' || text[at] == '!') {
		end := strings.IndexAny(text[at:], " \t")
		if end < 0 {
			return len(text)
		}
		at += end
		at += len(text[at:]) - len(strings.TrimLeft(text[at:], " \t"))
	}
	return at
}

// quoteEnd is where the text behind a quoted text begins, or -1 when it does
// not end in this line.
func quoteEnd(text string) int {
	s := scanner{quote: text[0]}
	for i := 1; i < len(text); i++ {
		if i += s.quoted(text[i:]); s.quote == 0 {
			return i + 1
		}
	}
	return -1
}

// value writes a value with what stands before it in its line, and the lines
// that it goes on for. from is the column of the line.
func (l *layout) value(from int, head, text string) {
	holder := level{was: -1, is: -indentation}
	if n := len(l.levels); n > 0 {
		holder = l.levels[n-1]
	}
	at := properties(text)
	if at < len(text) && strings.IndexByte("\"'[{", text[at]) >= 0 {
		l.enclosed(from, max(from, holder.is), head+text, len(head)+at)
		return
	}
	l.write(from, head+text)
	l.at++
	switch trimmed := strings.TrimLeft(text[at:], " \t"); {
	case trimmed == "" || trimmed[0] == '#' || marked(trimmed):
	case trimmed[0] == '|' || trimmed[0] == '>':
		l.block(holder, trimmed)
	default:
		l.plain(holder)
	}
}

// plain writes the further lines of a text without quotes.
func (l *layout) plain(holder level) {
	for {
		next := l.at
		for next < len(l.lines) && strings.Trim(l.lines[next], " \t") == "" {
			next++
		}
		if next == len(l.lines) {
			return
		}
		text := strings.TrimLeft(l.lines[next], " ")
		if len(l.lines[next])-len(text) <= holder.was || strings.TrimLeft(text, " \t")[0] == '#' {
			return
		}
		for ; l.at < next; l.at++ {
			l.out = append(l.out, "") // each is a line end of the text
		}
		l.write(holder.is+indentation, strings.TrimLeft(text, " \t"))
		l.at++
	}
}

// enclosed writes a value in quotes or brackets, which begins in a text.
func (l *layout) enclosed(column, base int, text string, at int) {
	s := scanner{expect: true}
	for {
		done := s.line(text[at:])
		if text = strings.Repeat(" ", column) + text; done || s.quote == 0 {
			text = strings.TrimRight(text, " \t")
		}
		l.out = append(l.out, text)
		if l.at++; done || l.at == len(l.lines) {
			return
		}
		text, at = strings.TrimLeft(l.lines[l.at], " \t"), 0
		column = base + indentation*s.deep(text)
		if text == "" {
			column = 0
		}
	}
}

// block writes the lines of a block of text, which move together.
func (l *layout) block(holder level, header string) {
	was, is := -1, holder.is+indentation
	flags := strings.Fields(header)[0]
	keep := strings.Contains(flags, "+")
	if at := strings.IndexAny(flags, "123456789"); at > 0 {
		deeper := int(flags[at] - '0')
		was, is = max(holder.was, 0)+deeper, max(holder.is, 0)+deeper
	}
	end := l.at
	for n := l.at; n < len(l.lines); n++ {
		text := strings.TrimLeft(l.lines[n], " ")
		column := len(l.lines[n]) - len(text)
		// A line of blanks that goes beyond the indentation is text.
		if text == "" && (keep || was >= 0 && column > was) {
			end = n + 1
		}
		if text == "" {
			continue
		}
		if was < 0 && column > holder.was {
			was = column
		}
		if was < 0 || column < was {
			break
		}
		end = n + 1
	}
	for ; l.at < end; l.at++ {
		line := l.lines[l.at]
		if len(line) <= was || was < 0 {
			l.out = append(l.out, "")
			continue
		}
		l.out = append(l.out, strings.Repeat(" ", is)+line[was:])
	}
	l.fixed, l.bare = len(l.out), l.open && l.at == len(l.lines)
}

// scanner follows quotes and brackets through the lines of a value.
type scanner struct {
	quote    byte // the one that is open
	depth    int  // of brackets
	opened   bool // the value has begun
	expect   bool // a value may begin here, so a quote opens one
	property bool // an anchor, a tag or an alias
	after    bool // right behind a quoted text or a bracket that closed
}

// done reports whether the value is complete.
func (s *scanner) done() bool { return s.opened && s.quote == 0 && s.depth == 0 }

// deep is how deep a line belongs, seen from where the value began.
func (s *scanner) deep(text string) int {
	if s.depth == 0 {
		return 1
	}
	if s.quote != 0 {
		return s.depth
	}
	return max(s.depth-(len(text)-len(strings.TrimLeft(text, "]}"))), 0)
}

// line takes a line of the value, and reports whether the value ends in it.
func (s *scanner) line(text string) bool {
	for i := 0; i < len(text); i++ {
		if s.quote != 0 {
			i += s.quoted(text[i:])
		} else if text[i] == '#' && (i == 0 || blankByte(text[i-1])) {
			break
		} else {
			s.plain(text, i)
		}
		if s.done() {
			return true
		}
	}
	s.property, s.after = false, false
	return false
}

// quoted takes a character of a quoted text, and returns how many to skip.
func (s *scanner) quoted(text string) int {
	switch {
	case s.quote == '"' && text[0] == '\\', text[0] == '\'' && s.quote == '\'' && strings.HasPrefix(text, "''"):
		return 1
	case text[0] == s.quote:
		s.quote, s.after, s.expect = 0, true, false
	}
	return 0
}

// plain takes a character outside of quotes.
func (s *scanner) plain(text string, i int) {
	b, after := text[i], s.after
	s.after = after && blankByte(b)
	switch {
	case blankByte(b):
		s.property = false
	case b == '[' || b == '{':
		s.depth, s.opened, s.expect, s.property = s.depth+1, true, true, false
	case b == ']' || b == '}':
		s.depth, s.expect, s.after, s.property = s.depth-1, false, true, false
	case b == ',':
		s.expect, s.property = true, false
	case s.property:
	case b == ':' && (after || i+1 == len(text) || strings.IndexByte(" \t,[]{}", text[i+1]) >= 0):
		s.expect = true
	case s.expect && (b == '"' || b == '\''):
		s.quote, s.opened = b, true
	case s.expect && strings.IndexByte("&!*", b) >= 0:
		s.property = true
	default:
		s.expect = false
	}
}
