package manifest

import (
	"math"
	"path"
	"strconv"
	"strings"

	"github.com/google/shlex"
	"gopkg.in/yaml.v3"

	"cyclone/pkg/cyclone"
)

// text reads a scalar as it is written: 0755, 1.10 and yes stay what they are.
func (v value) text() (string, bool) {
	switch {
	case v.null():
		return "", false
	case v.node.Kind == yaml.MappingNode && len(v.node.Content) > 0 && v.key == nil:
		// What "- echo a: b" means to YAML is hardly ever what was meant.
		v.errorf(`a ": " inside makes it a mapping; put the whole of it in single quotes`, "must be text, not a mapping")
		return "", false
	case v.node.Kind != yaml.ScalarNode:
		v.errorf("", "must be text, not %s", describe(v.node))
		return "", false
	case strings.ContainsRune(v.node.Value, 0):
		v.errorf("remove it", "contains a NUL character")
		return "", false
	}
	return v.node.Value, true
}

// word reads text that must not be blank; blanks around it are dropped.
func (v value) word() (string, bool) {
	text, ok := v.text()
	text = strings.TrimSpace(text)
	if ok && text == "" {
		v.title().errorf("give it a value or remove it", "is empty")
		return "", false
	}
	return text, ok
}

// words reads a list of words; one text is a list of one. The check is given
// each item and reports what is wrong with it; nil checks nothing.
func (v value) words(check func(item value, word string)) []string {
	var out []string
	for _, item := range v.items() {
		if w, ok := item.word(); ok {
			if check != nil {
				check(item, w)
			}
			out = append(out, w)
		}
	}
	return out
}

// commands reads shell commands: one text or a list, as written.
func (v value) commands() []string {
	var out []string
	for _, item := range v.items() {
		if text, ok := item.text(); ok {
			if strings.TrimSpace(text) == "" {
				item.errorf("write a shell command or remove the line", "is an empty command")
				continue
			}
			item.checkCommand(text)
			out = append(out, text)
		}
	}
	return out
}

// arguments reads entrypoint or command: one text split as a shell would, or
// a list taken as it is.
func (v value) arguments() []string {
	if v.node.Kind == yaml.SequenceNode {
		var out []string
		for _, item := range v.items() {
			if text, ok := item.text(); ok {
				out = append(out, text)
			}
		}
		return out
	}
	text, ok := v.word()
	if !ok {
		return nil
	}
	out, err := shlex.Split(text)
	if err != nil || len(out) == 0 {
		v.errorf("close every quote, or write a list of arguments", "cannot be split into words: %s", quote(text))
		return nil
	}
	return out
}

// boolean reads true or false. YAML 1.1 had more spellings; they are refused,
// not guessed.
func (v value) boolean() bool {
	text, ok := v.word()
	if !ok {
		return false
	}
	switch strings.ToLower(text) {
	case "true":
		return true
	case "false":
	case "yes", "on", "y":
		v.errorf("write true", "must be true or false, not %s", quote(text))
	case "no", "off", "n":
		v.errorf("write false", "must be true or false, not %s", quote(text))
	default:
		v.errorf("", "must be true or false, not %s", quote(text))
	}
	return false
}

// integer reads a whole number within bounds.
func (v value) integer(from, to int) int {
	text, ok := v.word()
	if !ok {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < from || n > to {
		v.errorf("", "must be a whole number from %d to %d, not %s", from, to, quote(text))
		return 0
	}
	return n
}

// number reads a positive number.
func (v value) number() float64 {
	text, ok := v.word()
	if !ok {
		return 0
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(n) || n <= 0 || n > 4096 {
		v.errorf("write for instance 0.5 or 2", "must be a number above 0, not %s", quote(text))
		return 0
	}
	return n
}

// duration reads a span such as 10m, longer than nothing.
func (v value) duration() cyclone.Duration {
	text, ok := v.word()
	if !ok {
		return 0
	}
	d, err := cyclone.ParseDuration(text)
	if err != nil || d == 0 {
		v.errorf("write for instance 90s, 10m or 1h30m", "must be a duration, not %s", quote(text))
		return 0
	}
	return d
}

// minMemory is what Docker refuses to go below.
const minMemory = 6 << 20

// size reads an amount of memory: 512m, 2g or bytes.
func (v value) size() cyclone.Size {
	text, ok := v.word()
	if !ok {
		return 0
	}
	n, err := cyclone.ParseSize(text)
	switch {
	case err != nil:
		v.errorf("write for instance 512m, 2g or a number of bytes", "must be a size, not %s", quote(text))
	case n < minMemory:
		v.errorf("write for instance 512m", "is below the least that Docker allows, 6m: %s", quote(text))
	}
	return n
}

// pullPolicy reads when to pull: true is always, false is missing.
func (v value) pullPolicy() cyclone.PullPolicy {
	text, ok := v.word()
	if !ok {
		return ""
	}
	switch policy := cyclone.PullPolicy(strings.ToLower(text)); policy {
	case cyclone.PullAlways, cyclone.PullMissing, cyclone.PullNever:
		return policy
	case "true":
		return cyclone.PullAlways
	case "false":
		return cyclone.PullMissing
	}
	hint := "write always, missing, never, true or false"
	if near := suggest(text, []string{"always", "missing", "never"}); near != "" {
		hint = `did you mean "` + near + `"?`
	}
	v.errorf(hint, "is no way of pulling: %s", quote(text))
	return ""
}

// glob checks a pattern of names; a leading ! excludes what it matches.
func glob(item value, pattern string) {
	pattern = strings.TrimPrefix(pattern, "!")
	if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
		item.errorf("close the [ or put a \\ before it", "is not a pattern: %s", quote(pattern))
	}
}
