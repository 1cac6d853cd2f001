package manifest

import (
	"net/netip"
	"path"
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"

	"cyclone/pkg/cyclone"
)

// environment reads a list of key=value or a mapping.
func (v value) environment() []cyclone.Variable {
	if v.null() {
		return nil
	}
	var out []cyclone.Variable
	switch v.node.Kind {
	case yaml.MappingNode:
		for _, e := range v.entries() {
			if one, ok := e.mappedVariable(); ok {
				out = append(out, one)
			}
		}
	case yaml.SequenceNode:
		for _, item := range v.items() {
			if one, ok := item.listedVariable(); ok {
				out = append(out, one)
			}
		}
	default:
		v.errorf("write a list of KEY=value, or KEY: value below it", "must be a list or a mapping, not %s", describe(v.node))
	}
	v.checkTwice(out)
	return out
}

// mappedVariable reads "KEY: value"; nothing is an empty value.
func (v value) mappedVariable() (cyclone.Variable, bool) {
	v.checkVariable(v.name)
	if isNull(v.node) {
		return cyclone.Variable{Name: v.name}, true
	}
	text, _, ok := v.expandable()
	v.suspects(v.name, v.node.Value)
	return cyclone.Variable{Name: v.name, Value: text}, ok
}

// listedVariable reads "key = value": blanks around the first = and around
// the value go, and one pair of quotes around the value.
func (v value) listedVariable() (cyclone.Variable, bool) {
	if n := v.node; n.Kind == yaml.MappingNode && len(n.Content) == 2 && n.Content[0].Kind == yaml.ScalarNode {
		v.errorf("write \"- "+clip(n.Content[0].Value)+"=value\"", "must be KEY=value, not KEY: value, in a list")
		return cyclone.Variable{}, false
	}
	text, ok := v.word()
	if !ok {
		return cyclone.Variable{}, false
	}
	name, raw, found := strings.Cut(text, "=")
	name, raw = strings.TrimSpace(name), strings.TrimSpace(raw)
	if !found {
		v.errorf("write \"- "+clip(name)+"=value\"", "must be KEY=value, not %s", quote(text))
		return cyclone.Variable{}, false
	}
	if n := len(raw); n >= 2 && raw[0] == raw[n-1] && (raw[0] == '"' || raw[0] == '\'') {
		raw = raw[1 : n-1]
	}
	v.checkVariable(name)
	v.suspects(name, raw)
	with, _, ok := v.expand(raw)
	return cyclone.Variable{Name: name, Value: with}, ok
}

// checkVariable refuses names that no container could be given.
func (v value) checkVariable(name string) {
	if name == "" || strings.ContainsAny(name, "= \t\r\n\"'\x00") {
		v.title().errorf("use letters, digits and _", "is not the name of a variable: %s", quote(name))
	}
}

// checkTwice warns of variables that are given again.
func (v value) checkTwice(vars []cyclone.Variable) {
	seen := map[string]bool{}
	for _, one := range vars {
		if seen[one.Name] {
			v.title().warnf("keep one of them", "%s is given more than once; the last one holds", clip(one.Name))
		}
		seen[one.Name] = true
	}
}

// secretNames reads a list of secrets, or a mapping of variable -> secret.
// With names that become variables of a shell, they must look like some.
func (v value) secretNames(shell bool) map[string]string {
	out := map[string]string{}
	take := func(item value, variable, secret string) {
		if shell && !variableName.MatchString(variable) {
			item.errorf("write a mapping, for instance TOKEN: "+clip(secret), "%s cannot be a variable", quote(variable))
		}
		if _, twice := out[variable]; twice {
			item.errorf("remove one of them", "%s is given more than once", quote(variable))
		}
		out[variable] = secret
	}
	if v.node.Kind != yaml.MappingNode {
		v.words(func(item value, name string) { take(item, name, name) })
		return out
	}
	for _, e := range v.entries() {
		if name, ok := e.word(); ok {
			take(e.title(), e.name, name)
		}
	}
	return out
}

// authKeys are the keys of auth_config.
var authKeys = map[string]func(v value, a *cyclone.RegistryAuth){
	"username": func(v value, a *cyclone.RegistryAuth) { a.Username, _, _ = v.expandableWord() },
	"password": func(v value, a *cyclone.RegistryAuth) {
		a.Password, _, _ = v.expandableWord()
		v.clearText("a password")
	},
}

// auth reads the login for one image's registry.
func (v value) auth() *cyclone.RegistryAuth {
	b, ok := v.block("username and password")
	if !ok {
		return nil
	}
	out := &cyclone.RegistryAuth{}
	readKeys(b, inAuth, authKeys, out)
	for _, key := range []string{"username", "password"} {
		if !b.has(key) && !b.meant(key) {
			b.missing(key, "give both username and password")
		}
	}
	return out
}

// whenKeys are the keys of when.
var whenKeys = map[string]func(v value, m *cyclone.Match){
	"branch": func(v value, m *cyclone.Match) { m.Branch = v.words(glob) },
	"tag":    func(v value, m *cyclone.Match) { m.Tag = v.words(glob) },
	"event":  func(v value, m *cyclone.Match) { m.Event = v.words(eventKind) },
	"paths":  func(v value, m *cyclone.Match) { m.Paths = v.words(changedPath) },
}

// match reads when.
func (v value) match() *cyclone.Match {
	b, ok := v.block("branch, tag, event or paths")
	if !ok {
		return nil
	}
	out := &cyclone.Match{}
	readKeys(b, "when", whenKeys, out)
	if len(b.keys) == 0 {
		v.title().errorf("give branch, tag, event or paths", "has no condition")
	}
	return out
}

// changedPath checks a pattern of when.paths. Changed files are counted from
// the root of the repository, so other forms would never match.
func changedPath(item value, pattern string) {
	bare := strings.TrimPrefix(pattern, "!")
	switch {
	case !oneLine(bare):
		item.unprintable(pattern)
	case path.IsAbs(bare), strings.HasPrefix(bare, "./"):
		item.errorf("write "+quote(clip(strings.TrimLeft(bare, "./")))+": paths count from the root of the repository", "matches no changed file: %s", quote(pattern))
	case leaves(bare):
		item.errorf("use a path below the root of the repository", "leaves the repository: %s", quote(pattern))
	case strings.HasSuffix(bare, "/"):
		item.errorf("write "+quote(clip(bare)+"**")+" for everything below it", "matches folders, and only files change: %s", quote(pattern))
	default:
		glob(item, pattern)
	}
}

// eventKinds are what when.event may name.
var eventKinds = []string{
	string(cyclone.KindPush), string(cyclone.KindTag), string(cyclone.KindRelease), string(cyclone.KindPullRequest),
	string(cyclone.KindComment), string(cyclone.KindManual), string(cyclone.KindCron), string(cyclone.KindRerun),
}

// eventKind checks a pattern of when.event: one that matches nothing is a
// mistake.
func eventKind(item value, pattern string) {
	glob(item, pattern)
	bare := strings.TrimPrefix(pattern, "!")
	for _, kind := range eventKinds {
		if ok, err := path.Match(bare, kind); ok || err != nil {
			return
		}
	}
	hint := "write one of " + strings.Join(eventKinds, ", ")
	if near := suggest(bare, eventKinds); near != "" {
		hint = `did you mean "` + near + `"?`
	}
	item.errorf(hint, "is no kind of event: %s", quote(bare))
}

var (
	portForm   = regexp.MustCompile(`^((\d{1,3}(\.\d{1,3}){3}|\[[0-9a-fA-F:]+\]):)?((\d{1,5})?(-\d{1,5})?:)?\d{1,5}(-\d{1,5})?(/(tcp|udp|sctp))?$`)
	cpusetForm = regexp.MustCompile(`^\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*$`)
)

// port checks one of ports, as Docker writes them.
func port(item value, text string) {
	if !portForm.MatchString(text) {
		item.errorf(`write for instance "8080", "8080:80" or "127.0.0.1:8080:80/tcp"`, "is not a port: %s", quote(text))
	}
}

// extraHost checks one host:address.
func extraHost(item value, text string) {
	name, ip, _ := strings.Cut(text, ":")
	if _, err := netip.ParseAddr(ip); name == "" || strings.ContainsAny(name, " \t\r\n") || err != nil && ip != "host-gateway" {
		item.errorf(`write for instance "db.example.com:10.0.0.5"`, "must be host:address, not %s", quote(text))
	}
}

// address checks one of dns.
func address(item value, text string) {
	if _, err := netip.ParseAddr(text); err != nil {
		item.errorf("write for instance 10.0.0.53", "is not an IP address: %s", quote(text))
	}
}

// device checks one host[:container[:rwm]].
func device(item value, text string) {
	parts := strings.Split(text, ":")
	bad := len(parts) > 3 || !oneLine(text) || !path.IsAbs(parts[0]) || len(parts) > 1 && !path.IsAbs(parts[1]) ||
		len(parts) == 3 && strings.Trim(parts[2], "rwm") != ""
	if bad {
		item.errorf(`write for instance "/dev/kvm" or "/dev/sda:/dev/xvda:r"`, "is not a device: %s", quote(text))
	}
}

// cpuset reads a list of processors such as 0-2,4.
func (v value) cpuset() string {
	text, ok := v.word()
	if ok && !cpusetForm.MatchString(text) {
		v.errorf(`write for instance "0-2,4"`, "is not a list of processors: %s", quote(text))
	}
	return text
}
