package manifest

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"cyclone/pkg/cyclone"
)

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
