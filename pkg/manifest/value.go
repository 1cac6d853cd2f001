package manifest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"gopkg.in/yaml.v3"

	"cyclone/pkg/cyclone"
)

// value is a place in the file: what stands there, and where to report.
type value struct {
	p    *parser
	key  *yaml.Node // nil for list items and the file itself
	name string     // the key's text
	node *yaml.Node // never an alias
	path string
	in   *yaml.Node // the mapping that the key stands in
}

// block is a value that is a mapping.
type block struct {
	value
	keys []value // in file order, merged ones included, x- keys left out
}

// errorf reports an error at the value.
func (v value) errorf(hint, format string, args ...any) {
	v.p.report(v.node, cyclone.Problem{
		Path: v.path, Severity: cyclone.SeverityError, Message: fmt.Sprintf(format, args...), Hint: hint,
	})
}

// warnf reports a warning at the value.
func (v value) warnf(hint, format string, args ...any) {
	v.p.report(v.node, cyclone.Problem{
		Path: v.path, Severity: cyclone.SeverityWarning, Message: fmt.Sprintf(format, args...), Hint: hint,
	})
}

// title is the value, seen at its key: for problems that concern the key
// itself, or something missing below it.
func (v value) title() value {
	if v.key != nil {
		v.node = v.key
	}
	return v
}

// missing reports a key that is not there and must be.
func (v value) missing(key, hint string) {
	t := v.title()
	t.path = join(v.path, key)
	t.errorf(hint, "is missing")
}

// null reports a value that was left out, and whether it was.
func (v value) null() bool {
	if !isNull(v.node) {
		return false
	}
	v.title().errorf("give it a value or remove it", "is empty")
	return true
}

// child is the value under a key or list index of v.
func (v value) child(key, node *yaml.Node, name, path string) value {
	return value{p: v.p, key: key, name: name, node: resolve(node), path: path}
}

// block reads the value as a mapping; what says which keys it wants.
func (v value) block(what string) (block, bool) {
	if v.null() {
		return block{}, false
	}
	if v.node.Kind != yaml.MappingNode {
		hint := "write the keys below it, one a line and indented"
		if v.node.Kind == yaml.SequenceNode {
			hint = "remove the dashes; " + hint
		}
		v.errorf(hint, "must be a mapping with %s, not %s", what, describe(v.node))
		return block{}, false
	}
	b := block{value: v}
	for _, f := range v.entries() {
		if !strings.HasPrefix(f.name, "x-") {
			b.keys = append(b.keys, f)
		}
	}
	return b, true
}

// find returns the value under a key.
func (b block) find(key string) (value, bool) {
	for _, v := range b.keys {
		if v.name == key {
			return v, true
		}
	}
	return value{}, false
}

// has reports whether the key is given.
func (b block) has(key string) bool {
	_, ok := b.find(key)
	return ok
}

// meant reports whether a key that nobody knows was meant to be this one: it
// is then no use to say that this one is missing.
func (b block) meant(key string) bool {
	return slices.ContainsFunc(b.keys, func(k value) bool {
		known := slices.ContainsFunc(places, func(p place) bool { return p.has(k.name) })
		return !known && suggest(k.name, []string{key}) == key
	})
}

// entries lists what a mapping holds, in file order, with merge keys worked
// in where they stand: keys written out win, then earlier merges.
func (v value) entries() []value {
	own := make(map[string]bool, len(v.node.Content)/2)
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		if name, ok := keyText(v.node.Content[i]); ok && !isMerge(v.node.Content[i]) {
			own[name] = true
		}
	}
	seen, out := make(map[string]bool, len(own)), make([]value, 0, len(own))
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		key, node := v.node.Content[i], v.node.Content[i+1]
		if isMerge(key) {
			for _, m := range v.merged(node) {
				if !own[m.name] && !seen[m.name] {
					seen[m.name] = true
					out = append(out, m)
				}
			}
			continue
		}
		// Keys that are no text or come twice were reported with the structure.
		if name, ok := keyText(key); ok && !seen[name] {
			seen[name] = true
			e := v.child(key, node, name, join(v.path, name))
			e.in = v.node
			out = append(out, e)
		}
	}
	return out
}

// merged lists what the value of a merge key brings in.
func (v value) merged(node *yaml.Node) []value {
	from := resolve(node)
	switch from.Kind {
	case yaml.MappingNode:
		return value{p: v.p, node: from, path: v.path}.entries()
	case yaml.SequenceNode:
		var out []value
		for _, item := range from.Content {
			if m := resolve(item); m.Kind == yaml.MappingNode {
				out = append(out, value{p: v.p, node: m, path: v.path}.entries()...)
			}
		}
		return out
	}
	return nil
}

// items reads the value as a list; a single text is a list of one.
func (v value) items() []value {
	if v.null() {
		return nil
	}
	switch v.node.Kind {
	case yaml.ScalarNode:
		return []value{v}
	case yaml.SequenceNode:
		if len(v.node.Content) == 0 {
			v.errorf("list at least one, or remove the key", "is an empty list")
		}
		out := make([]value, len(v.node.Content))
		for i, n := range v.node.Content {
			out[i] = v.child(nil, n, "", v.path+"["+strconv.Itoa(i)+"]")
		}
		return out
	}
	v.errorf("begin each line below it with \"- \"", "must be a list, not a mapping")
	return nil
}

// eachWord calls f for each word of a list that was read before, and reports
// nothing about the list itself: that was done then.
func (v value) eachWord(f func(item value, text string)) {
	quiet := v
	quiet.p = &parser{}
	if isNull(v.node) {
		return
	}
	for _, item := range quiet.items() {
		if text, ok := item.word(); ok {
			item.p = v.p
			f(item, text)
		}
	}
}

// keysOfTable lists the keys of a table.
func keysOfTable[T any](table map[string]T) []string { return slices.Sorted(maps.Keys(table)) }

// readKeys reads a mapping with the readers of a table. Keys without a reader
// are for the caller to read.
func readKeys[T any](b block, where string, table map[string]func(v value, to *T), to *T) {
	for _, k := range b.keys {
		switch read, known := table[k.name]; {
		case !known:
			k.unknown(where, keysOfTable(table))
		case read != nil:
			read(k, to)
		}
	}
}

// join appends a key to a path.
func join(path, key string) string {
	if path == "" {
		return clip(key)
	}
	return path + "." + clip(key)
}

// clip shortens text from the file that is repeated in a message, and takes
// out what could play tricks on a terminal.
func clip(s string) string {
	const most = 60
	if len(s) > most { // in bytes, which are no fewer
		if r := []rune(s); len(r) > most {
			s = string(r[:most]) + "..."
		}
	}
	return printable(s)
}

// printable replaces what cannot be shown by U+FFFD.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

// quote is clip in quotes.
func quote(s string) string { return `"` + clip(s) + `"` }
