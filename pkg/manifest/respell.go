package manifest

import (
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// respelling is a word of the file that Fix may write differently: a key that
// is surely another one, or an accepted misspelling.
type respelling struct {
	line, column int // of the node, from 1; columns in characters
	was, is      string
}

// respell notes that a key was surely meant to be another one: one that only
// capitals or dashes set apart, or that is nearer than all others.
func (v value) respell(near string, known []string) {
	if v.beside(near) {
		return
	}
	if spelt(v.name, known) == near || slices.Equal(nearest(v.name, known), []string{near}) {
		v.title().rewrite(v.name, near)
	}
}

// beside reports whether a key stands in the same mapping.
func (v value) beside(key string) bool {
	for i := 0; v.in != nil && i < len(v.in.Content); i += 2 {
		if v.in.Content[i].Value == key {
			return true
		}
	}
	return false
}

// rewrite notes a word to be written differently.
func (v value) rewrite(was, is string) {
	v.p.words = append(v.p.words, respelling{v.node.Line, v.node.Column, was, is})
}

// before is what may stand between the place of a node and its text.
var before = regexp.MustCompile(`^(?:[&!][^\s,\[\]{}]*\s+)*["']?`)

// respelt is the text with words written differently. One that does not stand
// where it should, and one that should become several things, is left alone.
func respelt(text string, words []respelling) string {
	lines := splitLines(text)
	slices.SortFunc(words, func(a, b respelling) int {
		if a.line != b.line {
			return b.line - a.line
		}
		return b.column - a.column // the last one first, so that places stay right
	})
	words = slices.Compact(words)
	for i, w := range words {
		ambiguous := i > 0 && words[i-1].at(w) || i+1 < len(words) && words[i+1].at(w)
		if !ambiguous && w.line <= len(lines) {
			lines[w.line-1] = w.in(lines[w.line-1])
		}
	}
	return strings.Join(lines, "\n")
}

// at reports whether two respellings are of one place.
func (w respelling) at(other respelling) bool {
	return w.line == other.line && w.column == other.column
}

// in is the line with the word written differently.
func (w respelling) in(line string) string {
	from := 0
	for n := 1; n < w.column; n++ {
		_, size := utf8.DecodeRuneInString(line[from:])
		from += size
	}
	from += len(before.FindString(line[from:]))
	rest, found := strings.CutPrefix(line[from:], w.was)
	if !found || rest != "" && !strings.ContainsRune(":.,'\"}] \t\r", rune(rest[0])) {
		return line
	}
	return line[:from] + w.is + rest
}
