package manifest

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"cyclone/pkg/cyclone"
)

// indentation is how much deeper each level of a file in canonical form is.
const indentation = 2

// Canonical returns the file in the one form that `cyclone fmt` knows: two
// spaces a level, lists indented below their key, one space behind "-" and
// ":", at most one blank line in a row, no blanks at the end of a line. Order,
// comments, anchors, quotes and the text of every value stay as they are, so
// the file means what it meant. A file that is not YAML is returned as it
// came, with the problems; what its keys mean is not looked at: Parse it.
func Canonical(data []byte) ([]byte, []cyclone.Problem) {
	p := &parser{}
	root, ok := p.load(data)
	if !ok {
		return data, sorted(p.problems)
	}
	l := newLayout(string(data))
	l.file()
	out := []byte(l.String())
	if again, err := decode(out); l.strange || err != nil || !sameContent(root, again) || squeezed(data) != squeezed(out) {
		return data, []cyclone.Problem{{
			Line: min(l.at, len(l.lines)-1) + 1, Column: 1, Severity: cyclone.SeverityError,
			Message: "is written in a form that cannot be brought in order",
			Hint:    "begin every line with spaces only, and put every key on a line of its own",
		}}
	}
	return out, nil
}

// sameContent reports whether a file's tree is what became of another; a file without
// content has none.
func sameContent(before, after *yaml.Node) bool {
	if after == nil {
		return len(before.Content) == 0
	}
	return alike(before, after)
}

// squeezed is the text without blanks and line ends.
func squeezed(text []byte) string {
	return strings.NewReplacer(" ", "", "\t", "", "\r", "", "\n", "").Replace(string(text))
}

// alike reports whether two trees mean the same. Cycles were refused before.
func alike(a, b *yaml.Node) bool {
	if a.Kind == yaml.AliasNode && b.Kind == yaml.AliasNode {
		return a.Value == b.Value
	}
	return a.Kind == b.Kind && a.Value == b.Value && a.Tag == b.Tag && a.Anchor == b.Anchor && a.Style == b.Style &&
		slices.EqualFunc(a.Content, b.Content, alike)
}

// level is a mapping or list that a line stands in.
type level struct {
	was, is int // column from 0, as it was written and as it becomes
	list    bool
}

// layout writes a file line by line. Lines are never joined or split.
type layout struct {
	lines   []string
	at      int // the line that is read
	levels  []level
	notes   []int // blank lines and comments that wait for what comes next
	out     []string
	fixed   int  // so many lines of out belong to values, blank or not
	strange bool // something is written in a way that is not known here
	open    bool // the last line of the file has no end
	bare    bool // so it must get none
}

// newLayout splits a file into its lines.
func newLayout(text string) *layout {
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)
	return &layout{lines: strings.Split(strings.TrimSuffix(text, "\n"), "\n"), open: !strings.HasSuffix(text, "\n")}
}

// String is the text that was written.
func (l *layout) String() string {
	n := len(l.out)
	for n > l.fixed && l.out[n-1] == "" {
		n--
	}
	text := strings.Join(l.out[:n], "\n")
	// A block of text that ends with the file has no line end of its own.
	if n == 0 || l.bare {
		return text
	}
	return text + "\n"
}

// file writes every line.
func (l *layout) file() {
	for l.at < len(l.lines) && !l.strange {
		text := strings.Trim(l.lines[l.at], " \t")
		switch {
		case text == "" || text[0] == '#':
			l.notes = append(l.notes, l.at)
			l.at++
		case marker(l.lines[l.at]):
			l.comments(level{}, l.levels)
			l.levels = nil
			l.write(0, l.lines[l.at])
			l.at++
		default:
			l.statement()
		}
	}
	l.comments(level{}, l.levels)
}

// marker tells lines that begin or end a document, and directives.
func marker(line string) bool {
	if len(line) > 3 && !blankByte(line[3]) {
		return line[0] == '%'
	}
	return strings.HasPrefix(line, "---") || strings.HasPrefix(line, "...") || strings.HasPrefix(line, "%")
}

// comments writes the comments and blank lines before a line. A comment that
// stands deeper than the line belongs to one of the levels before it.
func (l *layout) comments(next level, before []level) {
	for _, n := range l.notes {
		text := strings.Trim(l.lines[n], " \t")
		if text == "" {
			if n := len(l.out); n > 0 && (l.out[n-1] != "" || n == l.fixed) {
				l.out = append(l.out, "")
			}
			continue
		}
		was, place := strings.Index(l.lines[n], text), next
		for _, above := range before {
			deeper := above.was > place.was || above.was == place.was && above.is > place.is
			if was > next.was && above.was <= was && deeper {
				place = above
			}
		}
		l.write(place.is, text)
	}
	l.notes = nil
}

// write adds a line.
func (l *layout) write(column int, text string) {
	l.out = append(l.out, strings.Repeat(" ", column)+strings.TrimRight(text, " \t"))
}

// statement writes a line that begins an item, a key or a value, and the
// lines that go on with its value.
func (l *layout) statement() {
	line := l.lines[l.at]
	text := strings.TrimLeft(line, " ")
	column := len(line) - len(text)
	if text[0] == '\t' {
		l.strange = true
		return
	}
	before := slices.Clone(l.levels)
	l.leave(column, dash(text))
	first := l.enter(column, text, 0)
	l.comments(first, before)
	head, text := l.items(first.is, column, text)
	if end := key(text); end > 0 {
		rest := strings.TrimLeft(text[end+1:], " \t")
		head += strings.TrimRight(text[:end], " \t")
		if text[0] == '*' {
			head += " " // an alias would swallow the colon
		}
		if rest == "" || rest[0] == '#' {
			// The blanks before a comment stay: comments may be lined up.
			head, text = head+":", text[end+1:]
		} else {
			head, text = head+": ", rest
		}
	}
	l.value(first.is, head, text)
}

// items takes the marks that a text begins with, and enters what they hold:
// "- " of an item, "? " and ": " of a key and a value that are written apart.
// It returns the marks as they are written and the text behind them.
func (l *layout) items(from, column int, text string) (head, rest string) {
	for marked(text) {
		rest := strings.TrimLeft(text[1:], " \t")
		if rest == "" || rest[0] == '#' {
			return head, text
		}
		column += len(text) - len(rest)
		head, text = head+text[:1]+" ", rest
		if marked(text) || key(text) > 0 {
			l.enter(column, text, from+len(head))
		}
	}
	return head, text
}

// marked reports whether a text begins with a mark that others may follow.
func marked(text string) bool {
	return strings.IndexByte("-?:", text[0]) >= 0 && (len(text) == 1 || blankByte(text[1]))
}

// dash reports whether a text begins an item of a list.
func dash(text string) bool { return text[0] == '-' && marked(text) }

// leave closes the levels that a line at this column is not in. A list may
// stand at the column of the key that holds it.
func (l *layout) leave(column int, item bool) {
	for n := len(l.levels) - 1; n >= 0; n-- {
		top := l.levels[n]
		if top.was < column || top.was == column && (!top.list || item) {
			return
		}
		l.levels = l.levels[:n]
	}
}

// enter returns the level that a column is in, opening one for an item or a
// key that goes deeper. least is where it begins when it stands behind a mark.
func (l *layout) enter(column int, text string, least int) level {
	item := dash(text)
	next := level{was: column, is: least, list: item}
	if n := len(l.levels); n > 0 {
		top := l.levels[n-1]
		if top.was == column && top.list == item {
			return top
		}
		if least == 0 {
			next.is = top.is + indentation
		}
	}
	if marked(text) || key(text) > 0 {
		l.levels = append(l.levels, next)
	}
	return next
}
