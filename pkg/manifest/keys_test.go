package manifest

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"cyclone/pkg/cyclone"
)

// TestTableIsWhatTheParserReads holds the table of keys to the tables that
// the parser goes by, both ways.
func TestTableIsWhatTheParserReads(t *testing.T) {
	t.Parallel()
	for r, name := range map[role]string{rolePreBuild: "pre_build", roleIntegration: "integration", roleService: "service", rolePostBuild: "post_build"} {
		same(t, name, names(stepPlace.of(r)), keysOf(r))
	}
	same(t, "file", names(stagePlace.keys), stageNames)
	same(t, "build", names(buildPlace.keys), slices.Collect(maps.Keys(buildKeys)))
	same(t, "target", names(targetPlace.keys), slices.Collect(maps.Keys(targetKeys)))
	same(t, "auth_config", names(authPlace.keys), slices.Collect(maps.Keys(authKeys)))
	same(t, "when", names(whenPlace.keys), slices.Collect(maps.Keys(whenKeys)))
	same(t, "wait_for", names(waitPlace.keys), slices.Collect(maps.Keys(waitKeys)))
	same(t, "reports", names(reportsPlace.keys), slices.Collect(maps.Keys(reportKeys)))
}

func same(t *testing.T, where string, described, read []string) {
	t.Helper()
	described, read = slices.Sorted(slices.Values(described)), slices.Sorted(slices.Values(read))
	if !slices.Equal(described, read) {
		t.Errorf("%s: the table has %v, the parser %v", where, described, read)
	}
}

// TestTableIsComplete holds every entry to what editors and readers need.
func TestTableIsComplete(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	for _, p := range places {
		for _, e := range p.keys {
			f, known := forms[e.form]
			used[e.form] = true
			if !known || f.words == "" || f.schema == nil {
				t.Errorf("%s.%s has the form %q, which is none", p.name, e.name, e.form)
			}
			if !strings.HasSuffix(e.what, ".") || e.example == "" {
				t.Errorf("%s.%s lacks a sentence or an example", p.name, e.name)
			}
		}
	}
	for name := range forms {
		if !used[name] {
			t.Errorf("no key has the form %s", name)
		}
		if _, ok := samples[name]; !ok && !structured[name] {
			t.Errorf("there are no samples of the form %s", name)
		}
	}
}

// structured are the forms that the generator makes of places.
var structured = map[string]bool{
	"pre_build": true, "build": true, "integration": true, "post_build": true, "deploy": true, "services": true,
	"auth_config": true, "when": true, "wait_for": true, "reports": true,
}

// samples are values of each form: some that it allows, some that it does not.
var samples = map[string]struct{ good, bad []string }{
	"image":            {[]string{"golang:1.26", "a.example.com:5000/b/c:1", "7", `"${X}/a"`, "alpine"}, []string{"Golang:1", "a:b:c", `"${"`, `"a b"`, "BUILT_IMAGE", "built_image", "a@sha256:1"}},
	"image_or_built":   {[]string{"golang:1.26", "BUILT_IMAGE", "BUILT_IAMGE", `"${X}"`, "localhost/a"}, []string{"Built_Image", "a:b:c", "'/a'"}},
	"built_image":      {[]string{"BUILT_IMAGE", `"${X}"`}, []string{"golang:1.26", "built_image", "BUILT_IMAGES"}},
	"image_name":       {[]string{"a/b", "registry.example.com:5000/a", `"${X}:1"`}, []string{"a:1", "A", "'a@b'"}},
	"commands":         {[]string{"make", "[a, b]", "0755", "[yes, 1.10]", `"echo ${"`}, []string{"[]", "''", "[' ']", "[{a: b}]", "[[a]]"}},
	"environment":      {[]string{"[A=1, 'B = x y']", "{A: 1, B: , C: yes}", "{}", `["A=${B}"]`, "{x-a: 1}"}, []string{"[]", "A=1", "[A]", "[A: 1]", "{'a b': 1}", "{A: [1]}", `["A=${-}"]`, "['=x']", `{A: "${"}`}},
	"volumes":          {[]string{"['.:/src']", "./a:/b:ro", "['/x:/y']", "[./a/b:/c/]"}, []string{"[.:src]", "['.:/']", "['a:/b']", "['.']", "['.:/a:rw']", "['.:/a:b:c']", "{.: /src}", "[\"./a\\x01b:/c\"]"}},
	"arguments":        {[]string{"sh -c 'a b'", "[a, '']", "[1, true]"}, []string{"[]", "''", "{a: b}", "[{a: b}]"}},
	"links":            {[]string{"[db]", "'db:alias'", "['db:a-1']"}, []string{"[]", "['db:']", "['db:a b']", "{db: a}", "[~]"}},
	"ports":            {[]string{"[8080]", "'8080:80'", "['127.0.0.1:1:2/tcp', 53:53/udp]"}, []string{"[a]", "['1:2:3:4']", "[80/http]", "[-1]", "[1.5]", "[true]"}},
	"extra_hosts":      {[]string{"['a:10.0.0.1']", "'a:host-gateway'", "['b:::1']"}, []string{"[a]", "['a:b']", "['10.0.0.1']"}},
	"dns":              {[]string{"[10.0.0.53]", "'2001:db8::53'"}, []string{"[dns]", "['10.0.0']", "[1]"}},
	"devices":          {[]string{"[/dev/kvm]", "'/dev/a:/dev/b:r'"}, []string{"[kvm]", "['/a:b']", "['/a:/b:x']"}},
	"bool":             {[]string{"true", "false", "True", "'true'", "FALSE"}, []string{"yes", "on", "1", "'maybe'", "[true]"}},
	"size":             {[]string{"512m", "2g", "1073741824", "1.5GB", "'8388608'", "7 MiB"}, []string{"big", "1x", "1024", "-1g", "[512m]", "true"}},
	"number":           {[]string{"1", "0.5", "'2'", "4096"}, []string{"0", "-1", "many", "'0'", "5000", "[1]"}},
	"cpuset":           {[]string{"0", "'0-2,4'", "'1,2'"}, []string{"a", "'0-'", "-1", "1.5", "[0]"}},
	"pull":             {[]string{"always", "missing", "never", "true", "false", "Always"}, []string{"often", "1", "[always]", "yes"}},
	"secrets":          {[]string{"[A, B_1]", "A", "{A: b-c}", "{}"}, []string{"[]", "[a-b]", "{a-b: c}", "[A, A]", "{A: }", "[{A: b}]", "{x-a: b}"}},
	"build_secrets":    {[]string{"[a-b]", "{a-b: c}", "x", "{x-a: b}"}, []string{"[]", "{a: }", "[A, A]", "[[a]]"}},
	"duration":         {[]string{"90s", "10m", "1h30m", "1.5h"}, []string{"10", "0s", "10x", "ten", "[1m]", "-1m", "m", "'1m 30s'"}},
	"retries":          {[]string{"0", "5", "'2'"}, []string{"6", "-1", "many", "1.5", "[1]", "true"}},
	"globs":            {[]string{"a", "['*.xml', '!b']", "[1, 2]", "'**/x'"}, []string{"[]", "'!'", "['']", "{a: b}"}},
	"cache":            {[]string{".npm", "[d, e/f]", "/root/.cache", "[7]"}, []string{"[]", "''", "{a: b}", "['*.o']", "~/.npm", "[$HOME]", "/", "./", "[../a]", "/proc/1", "'a\nb'", `'a\b'`, "\"a\\x01b\""}},
	"kept":             {[]string{"a", "['*.xml', /opt/b]", "[1, 2]", "'**/x'"}, []string{"[]", "'!a'", "['']", "{a: b}", "/", "../a", "'['", "\"a\\nb\"", "\"a\\x01b\""}},
	"changed_paths":    {[]string{"a", "['src/**', '!**/*.md']", "[1]"}, []string{"[]", "'!'", "/a", "./a", "a/", "'!../a'", "{a: b}", "\"a\\x01b\""}},
	"path":             {[]string{"Dockerfile", "a/b", `"${X}/a"`, "1"}, []string{"/a", `'a\b'`, "''", "[a]", `"${x-y}"`, "\"a\\x01b\""}},
	"inner_path":       {[]string{".", "./a/", `"${X}"`, "a/../b"}, []string{"/a", "..", "../a", `'a\b'`, "[a]", "\"a\\x01b\""}},
	"outputs":          {[]string{"bin", "[a, '*.so', 'a:b']", "['/a:b/']"}, []string{"[]", "['a:']", "[':b']", "['a:b:c']", "{a: b}", "\"a\\x01b\""}},
	"template":         {[]string{"a", `"${X} b"`, "1", "$$", "a$"}, []string{`"${"`, `"${a b}"`, "''", "[a]", `"${X:-y}"`}},
	"tags":             {[]string{"latest", "[a, '1.2']", `["${X}"]`, "2"}, []string{"[]", "['a b']", "[-a]", "{a: b}", "[a/b]"}},
	"kubernetes_name":  {[]string{"prod", "1", `"${X}"`}, []string{"a/b", "'a b'", "[a]", "'a?'"}},
	"kubernetes_names": {[]string{"web", "[a, b]"}, []string{"[]", "[a/b]", "[[a]]", "{a: b}"}},
	"target_type":      {[]string{"kubernetes"}, []string{"swarm", "[kubernetes]", "''"}},
	"host":             {[]string{"https://203.0.113.10:6443", "<host>", `"${X}"`, "10.0.0.1"}, []string{"'a b'", "a@b", "[a]"}},
	"event_kinds":      {[]string{"push", "[tag, '!cron', pull_request]", "'p*'"}, []string{"[pushes]", "[]", "'!x'", "{push: 1}"}},
	"port_number":      {[]string{"1", "65535", "'80'"}, []string{"0", "65536", "http", "[1]", "true"}},
	"http_path":        {[]string{"/", "'/healthz?a=b'"}, []string{"healthz", "'/a b'", "[/a]", "1"}},
}

// anything is what may be put in the place of any value.
var anything = []string{"{a: b}", "{}", "[]", "~", "[{a: b}]", "[[x]]", "''", "' '", "[~]", "['']", "x"}

// mapping is a mapping in the making.
type mapping struct {
	role   role   // of a step
	place  string // "" for a map of names
	keys   []string
	values map[string]any // text, *mapping, or []*mapping
}

func (m *mapping) set(key string, v any) {
	if _, there := m.values[key]; !there {
		m.keys = append(m.keys, key)
	}
	m.values[key] = v
}

func (m *mapping) drop(keys ...string) {
	for _, k := range keys {
		delete(m.values, k)
		m.keys = slices.DeleteFunc(m.keys, func(other string) bool { return other == k })
	}
}

func (m *mapping) has(key string) bool { _, ok := m.values[key]; return ok }

// String is the mapping in YAML.
func (m *mapping) String() string {
	var out []string
	for _, k := range m.keys {
		text := ""
		switch v := m.values[k].(type) {
		case string:
			text = v
		case *mapping:
			text = v.String()
		case []*mapping:
			for _, item := range v {
				text += ", " + item.String()
			}
			text = "[" + strings.TrimPrefix(text, ", ") + "]"
		}
		out = append(out, k+": "+text)
	}
	return "{" + strings.Join(out, ", ") + "}"
}

// generator makes files that are right, and spoils them.
type generator struct {
	*rand.Rand
	made []*mapping // of the file in the making
}

// pick takes one of a list.
func pick[T any](g *generator, from []T) T { return from[g.IntN(len(from))] }

// block makes a mapping with some of the keys.
func (g *generator) block(place string, r role, keys []entry) *mapping {
	m := &mapping{role: r, place: place, values: map[string]any{}}
	g.made = append(g.made, m)
	for _, e := range keys {
		if g.IntN(4) == 0 {
			m.set(e.name, g.value(e))
		}
	}
	if g.IntN(10) == 0 {
		m.set("x-note", pick(g, anything))
	}
	return m
}

// value makes what a key may hold.
func (g *generator) value(e entry) any {
	switch e.form {
	case "pre_build":
		return g.named(func() *mapping { return g.step(rolePreBuild) })
	case "post_build":
		return g.named(func() *mapping { return g.step(rolePostBuild) })
	case "build":
		return g.named(g.build)
	case "integration":
		return g.step(roleIntegration)
	case "deploy":
		return []*mapping{g.target(), g.target()}[:1+g.IntN(2)]
	case "services":
		return g.names(func() *mapping { return g.step(roleService) }, "db")
	case "auth_config":
		m := g.block(authPlace.name, 0, nil)
		m.set("username", pick(g, samples["template"].good))
		m.set("password", pick(g, samples["template"].good))
		return m
	case "when":
		m := g.block(whenPlace.name, 0, whenPlace.keys)
		m.set("branch", pick(g, samples["globs"].good))
		return m
	case "wait_for":
		m := g.block(waitPlace.name, 0, waitPlace.keys)
		m.set("port", "80")
		return m
	case "reports":
		m := g.block(reportsPlace.name, 0, nil)
		m.set("junit", pick(g, samples["kept"].good))
		return m
	}
	return pick(g, samples[e.form].good)
}

// named makes one part or several with names.
func (g *generator) named(part func() *mapping) *mapping {
	if g.IntN(2) == 0 {
		return part()
	}
	return g.names(part, "one", "second", "a.b-c")
}

// names makes a map of names to parts.
func (g *generator) names(part func() *mapping, names ...string) *mapping {
	m := &mapping{values: map[string]any{}}
	g.made = append(g.made, m)
	for _, n := range names {
		m.set(n, part())
	}
	return m
}

func (g *generator) step(r role) *mapping {
	m := g.block(stepPlace.name, r, stepPlace.of(r))
	if !m.has("context_dir") && !m.has("dockerfile_name") {
		m.set("image", pick(g, samples["image"].good))
	} else {
		m.drop("image")
	}
	if m.has("commands") {
		m.drop("entrypoint", "command")
	}
	if m.has("links") && r != roleService {
		m.set("services", g.value(entry{form: "services"}))
	}
	return m
}

func (g *generator) build() *mapping {
	m := g.block(buildPlace.name, 0, buildPlace.keys)
	m.set("context_dir", "a")
	return m
}

func (g *generator) target() *mapping {
	m := g.block(targetPlace.name, 0, targetPlace.keys)
	for _, key := range []string{"cluster", "namespace", "deployment", "containers"} {
		m.set(key, pick(g, []string{"a", "b-c", `"${X}"`}))
	}
	if m.drop("host", "token", "ca", "insecure"); m.has("type") {
		m.set("host", pick(g, samples["host"].good))
		m.set("token", pick(g, samples["template"].good))
	}
	return m
}

// file makes a whole file.
func (g *generator) file() *mapping {
	g.made = nil
	return g.block(stagePlace.name, 0, stagePlace.keys)
}

// spoil changes a file in one place and says how.
func (g *generator) spoil() string {
	m := pick(g, g.made)
	switch kind := pick(g, []string{"unknown", "type", "value", "role", "missing", "misspelt"}); {
	case kind == "unknown":
		m.set(pick(g, []string{"zzz", "image_", "on", "X-note"}), pick(g, anything))
		return kind
	case kind == "role":
		other := pick(g, pick(g, places).keys)
		if form, ok := samples[other.form]; ok && !m.has(other.name) {
			m.set(other.name, pick(g, form.good))
		}
		return kind
	case len(m.keys) == 0:
		return "nothing"
	case kind == "missing":
		m.drop(pick(g, m.keys))
		return kind
	case kind == "misspelt" && m.has("environment"):
		m.set("enviroment", m.values["environment"])
		if g.IntN(2) == 0 {
			m.drop("environment")
		}
		return kind
	case kind == "value":
		return g.wrongValue(m)
	}
	m.set(pick(g, m.keys), pick(g, anything))
	return "type"
}

// wrongValue gives a key a value that it must not have.
func (g *generator) wrongValue(m *mapping) string {
	key := pick(g, m.keys)
	for _, p := range places {
		for _, e := range p.keys {
			if p.name == m.place && e.name == key && (e.in == 0 || e.in&m.role != 0) && len(samples[e.form].bad) > 0 {
				m.set(key, pick(g, samples[e.form].bad))
				return "value"
			}
		}
	}
	return "nothing"
}

// structural counts the errors that a schema can see: not those about a name
// that is given elsewhere in the file.
func structural(problems []cyclone.Problem) int {
	n := Errors(problems)
	for _, p := range problems {
		if strings.HasPrefix(p.Message, "there is no service named") {
			n--
		}
	}
	return n
}

// TestSchemaAgreesOnGeneratedFiles makes files from the table, spoils them,
// and asks schema and parser.
func TestSchemaAgreesOnGeneratedFiles(t *testing.T) {
	t.Parallel()
	schema := compiled(t)
	g := &generator{Rand: rand.New(rand.NewPCG(4, 2026))} //#nosec G404 -- the same files every time
	accepted, refused := 0, map[string]int{}
	for range 2200 {
		text, how := g.file().String(), "right"
		if g.IntN(3) > 0 {
			file := g.made[0]
			how = g.spoil()
			text = file.String()
		}
		_, problems := Parse([]byte(text))
		content, readable := asJSON([]byte(text))
		if !readable {
			t.Fatalf("%s makes no YAML: %s %v", how, text, problems)
		}
		err := schema.Validate(content)
		right := Errors(problems) == 0
		if wrong := structural(problems) > 0; right && err != nil || wrong && err == nil {
			t.Errorf("%s: the parser says %v, the schema %v:\n%s", how, problems, err, text)
		} else if how == "right" && !right {
			t.Errorf("a file of the table's keys is refused: %v\n%s", problems, text)
		} else if right {
			accepted++
		} else {
			refused[how]++
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d accepted, refused: %v", accepted, refused)
	if accepted < 700 || len(refused) < 6 {
		t.Errorf("%d accepted, refused: %v", accepted, refused)
	}
}
