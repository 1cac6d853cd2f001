package manifest

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// variables are those that every step has; see Variables.
var variables = []string{
	"CI", "CYCLONE", "CYCLONE_PROJECT", "CYCLONE_EVENT_ID", "CYCLONE_EVENT_NUMBER", "CYCLONE_EVENT",
	"CYCLONE_REF", "CYCLONE_BRANCH", "CYCLONE_TAG", "CYCLONE_COMMIT_SHA", "CYCLONE_COMMIT_SHORT_SHA",
	"CYCLONE_COMMIT_MESSAGE", "CYCLONE_COMMIT_AUTHOR", "CYCLONE_PULL_REQUEST", "CYCLONE_TARGET_BRANCH",
	"CYCLONE_VERSION", "CYCLONE_IMAGE", "CYCLONE_EVENT_URL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL",
}

// Variables lists the names of the variables that every step has, whatever
// the project and the event add.
func Variables() []string { return slices.Clone(variables) }

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// expandable reads text in which ${NAME} stands for a variable. It reports
// final when nothing is left to be replaced; only then is what the text says
// worth checking.
func (v value) expandable() (text string, final, ok bool) {
	text, ok = v.text()
	if !ok {
		return "", false, false
	}
	return v.expand(text)
}

// expandableWord is expandable for text that must not be blank.
func (v value) expandableWord() (text string, final, ok bool) {
	if _, ok := v.word(); !ok {
		return "", false, false
	}
	text, final, ok = v.expandable()
	text = strings.TrimSpace(text)
	if ok && final && text == "" {
		v.errorf("the variable may have no value in this event", "is empty once its variables are replaced")
		return "", false, false
	}
	return text, final, ok
}

// expandables reads a list like words, with variables in it.
func (v value) expandables(check func(item value, word string)) []string {
	var out []string
	for _, item := range v.items() {
		text, final, ok := item.expandableWord()
		if !ok {
			continue
		}
		if final && check != nil {
			check(item, text)
		}
		out = append(out, text)
	}
	return out
}

// expand replaces references in a text of the value. Every wrong reference
// is reported. What is put in is not looked at again, so a value that
// contains ${...} stays as it is.
func (v value) expand(text string) (out string, final, ok bool) {
	var b strings.Builder
	final, ok = true, true
	for {
		at := strings.IndexByte(text, '$')
		if at < 0 || at == len(text)-1 {
			break
		}
		b.WriteString(text[:at])
		text = text[at:]
		switch text[1] {
		case '$':
			b.WriteString(v.dollar())
			text = text[2:]
		case '{':
			name, rest, closed := strings.Cut(text[2:], "}")
			if !closed {
				v.errorf("write ${NAME}, or $${ for the characters themselves", "has a ${ without its }")
				return b.String() + text, false, false
			}
			with, known, fine := v.reference(name)
			b.WriteString(with)
			final, ok, text = final && known, ok && fine, rest
		default:
			b.WriteByte('$')
			text = text[1:]
		}
	}
	return b.String() + text, final, ok
}

// dollar is what $$ becomes: a dollar, but only once the variables are there.
func (v value) dollar() string {
	if v.p.values == nil {
		return "$$"
	}
	return "$"
}

// reference is what ${name} becomes. It reports whether the value is known
// and whether the reference is in order.
func (v value) reference(name string) (text string, known, ok bool) {
	raw := "${" + name + "}"
	if !variableName.MatchString(name) {
		v.errorf("write ${NAME}; defaults and other shell forms only work in commands", "%s is not a variable", quote(raw))
		return raw, false, false
	}
	secret, own := v.p.secrets[name]
	if v.p.values == nil {
		if !own {
			v.doubt(name)
		}
		return raw, false, true
	}
	if own {
		if text, known = v.p.values.Secrets[secret]; !known {
			return raw, false, true
		}
		return text, true, true
	}
	if text, known = v.p.values.Variables[name]; known {
		return text, true, true
	}
	v.errorf(v.meant(name), "${%s} is not known", clip(name))
	return raw, false, false
}

// doubt warns of a name that looks like one of ours and is none. Projects may
// well have variables of such names, so it is no error yet.
func (v value) doubt(name string) {
	if strings.HasPrefix(name, "CYCLONE_") && !slices.Contains(variables, name) {
		v.warnf(v.meant(name), "${%s} is not a variable of Cyclone", clip(name))
	}
}

// meant is the advice for a name that is not known: those that are near.
func (v value) meant(name string) string {
	known := append(Variables(), slices.Sorted(maps.Keys(v.p.secrets))...)
	if v.p.values != nil {
		known = append(known, slices.Sorted(maps.Keys(v.p.values.Variables))...)
	}
	near := nearest(name, slices.Compact(slices.Sorted(slices.Values(known))))
	if len(near) == 0 {
		return "set it in the project's variables, name the secret in this step's `secrets`, or write $${ for the characters themselves"
	}
	for i, n := range near {
		near[i] = "${" + clip(n) + "}"
	}
	return "did you mean " + strings.Join(near[:min(3, len(near))], " or ") + "?"
}

// refersTo reports whether a text has a reference in it.
func refersTo(n *yaml.Node) bool { return strings.Contains(n.Value, "${") }
