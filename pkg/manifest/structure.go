package manifest

import (
	"fmt"
	"strconv"

	"gopkg.in/yaml.v3"

	"cyclone/pkg/cyclone"
)

// extent is how much a node stands for with its aliases written out.
type extent struct{ values, depth int }

// structure checks what holds for every YAML tree, whatever its keys mean:
// no cycles, bounded size and depth, each key once and text, no custom tags.
type structure struct {
	p     *parser
	state map[*yaml.Node]bool // false: being walked, true: done
	known map[*yaml.Node]extent
	fatal bool // the tree must not be walked
}

// sound checks the tree and reports whether it may be walked.
func (p *parser) sound(root *yaml.Node) bool {
	s := &structure{p: p, state: map[*yaml.Node]bool{}, known: map[*yaml.Node]extent{}}
	s.measure(root, nil, 1)
	return !s.fatal
}

// trail is the way to a node. Paths are only written out for problems: most
// files have none, and all have many nodes.
type trail struct {
	up   *trail
	node *yaml.Node // that the node is in
	i    int        // where in its content
}

// path is the path of the node that a trail leads to.
func (t *trail) path() string {
	if t == nil {
		return ""
	}
	path, n := t.up.path(), t.node
	switch {
	case n.Kind == yaml.SequenceNode:
		return path + "[" + strconv.Itoa(t.i) + "]"
	case n.Kind == yaml.MappingNode && n.Content[t.i-t.i%2].Kind == yaml.ScalarNode:
		return join(path, n.Content[t.i-t.i%2].Value)
	}
	return path
}

func (s *structure) error(at *yaml.Node, path, hint, format string, args ...any) {
	s.p.report(at, cyclone.Problem{
		Path: path, Severity: cyclone.SeverityError, Message: fmt.Sprintf(format, args...), Hint: hint,
	})
}

// stop reports what makes the tree unfit to be walked, once.
func (s *structure) stop(at *yaml.Node, path, hint, format string, args ...any) {
	if !s.fatal {
		s.error(at, path, hint, format, args...)
	}
	s.fatal = true
}

// measure walks a node once, however often it is referred to.
func (s *structure) measure(n *yaml.Node, way *trail, depth int) extent {
	if n.Kind == yaml.AliasNode {
		return s.alias(n, way, depth)
	}
	if depth > maxDepth {
		s.stop(n, way.path(), "flatten it", "is nested more than %d levels deep", maxDepth)
		return extent{}
	}
	anchored := n.Anchor != "" // only aliases lead to a node a second time
	if anchored {
		if s.state[n] {
			return s.known[n]
		}
		s.state[n] = false
	}
	s.checkTag(n, way)
	total := extent{values: 1, depth: 1}
	for i, child := range n.Content {
		e := s.measure(child, &trail{way, n, i}, depth+1)
		total.values += e.values
		total.depth = max(total.depth, e.depth+1)
		if total.values > maxValues {
			s.stop(child, way.path(), "use fewer aliases or fewer lines",
				"holds more than %d values once its aliases are written out", maxValues)
			break
		}
	}
	if n.Kind == yaml.MappingNode && !s.fatal {
		s.checkKeys(n, way)
	}
	if anchored {
		s.state[n], s.known[n] = true, total
	}
	return total
}

// alias measures what an alias stands for.
func (s *structure) alias(n *yaml.Node, way *trail, depth int) extent {
	target := n.Alias
	if done, walked := s.state[target]; walked && !done {
		s.stop(n, way.path(), "an alias cannot stand inside its own anchor", "*%s refers to itself", n.Value)
		return extent{}
	}
	e := s.measure(target, way, depth)
	if depth+e.depth-1 > maxDepth {
		s.stop(n, way.path(), "flatten it", "is nested more than %d levels deep", maxDepth)
	}
	return e
}

// checkTag refuses tags that would change what a value means.
func (s *structure) checkTag(n *yaml.Node, way *trail) {
	if n.Style&yaml.TaggedStyle == 0 {
		return
	}
	switch n.Tag {
	case "!!str", "!!int", "!!float", "!!bool", "!!null", "!!timestamp", "!!map", "!!seq", "!!merge":
	default:
		s.error(n, way.path(), "remove the tag", "has the tag %s, which caicloud.yml does not know", clip(n.Tag))
	}
}

// checkKeys refuses keys that are not text, that come twice, and merges of
// what is no mapping.
func (s *structure) checkKeys(n *yaml.Node, way *trail) {
	first := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if isMerge(key) {
			s.checkMerge(n.Content[i+1], join(way.path(), "<<"))
		}
		name, ok := keyText(key)
		if !ok {
			s.error(key, way.path(), `put it in quotes: "key": ...`, "has a key that is not text: %s", describe(key))
			continue
		}
		if line, twice := first[name]; twice {
			s.error(key, join(way.path(), name), "keep one of them", "is already given on line %d", line)
			continue
		}
		first[name] = key.Line
	}
}

// checkMerge holds the value of << to a mapping or a list of mappings.
func (s *structure) checkMerge(n *yaml.Node, path string) {
	target := resolve(n)
	if target.Kind == yaml.SequenceNode {
		for _, item := range target.Content {
			if resolve(item).Kind != yaml.MappingNode {
				s.error(item, path, "write <<: [*one, *two]", "merges %s; only mappings can be merged", describe(item))
			}
		}
		return
	}
	if target.Kind != yaml.MappingNode {
		s.error(n, path, "write <<: *anchor", "merges %s; only mappings can be merged", describe(n))
	}
}

// resolve follows an alias. Chains end, for an anchor cannot stand on an alias.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// isMerge tells the key << of a merge.
func isMerge(key *yaml.Node) bool { return key.Kind == yaml.ScalarNode && key.Tag == "!!merge" }

// keyText is the text of a key, or false for a key that is not text.
func keyText(key *yaml.Node) (string, bool) {
	key = resolve(key)
	return key.Value, key.Kind == yaml.ScalarNode && (key.Tag == "!!str" || key.Tag == "!!merge")
}

// describe names a node in a message.
func describe(n *yaml.Node) string {
	n = resolve(n)
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case isNull(n):
		return "nothing"
	}
	return quote(n.Value)
}
