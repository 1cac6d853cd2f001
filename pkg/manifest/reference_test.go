package manifest

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// reference is the page that describes the language.
const referencePage = "../../docs/caicloud-yml.md"

// TestReferenceTables holds the tables of keys in the reference to the table
// that the schema is made of. Each stands between two markers.
func TestReferenceTables(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(referencePage)
	if err != nil {
		t.Fatal(err)
	}
	was := string(data)
	is := was
	for name, table := range tables() {
		begin, end := "<!-- keys: "+name+" -->\n", "<!-- end of keys -->\n"
		before, rest, ok := strings.Cut(is, begin)
		_, after, closed := strings.Cut(rest, end)
		if !ok || !closed {
			t.Fatalf("the reference has no table for %s", name)
		}
		is = before + begin + table + end + after
	}
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile(referencePage, []byte(is), 0o600); err != nil {
			t.Fatal(err)
		}
	} else if is != was {
		t.Errorf("the tables of %s are not what the table of keys makes; run with -update", referencePage)
	}
	for _, f := range []string{"yaml-language-server", "yaml.schemas", "cyclone lint", "cyclone fmt", "caicloud.schema.json"} {
		if !strings.Contains(is, f) {
			t.Errorf("the reference does not tell of %s", f)
		}
	}
}

// tables are all tables of keys, in Markdown.
func tables() map[string]string {
	var everywhere, stages, others []entry
	for _, e := range stepPlace.keys {
		switch {
		case e.name == "image":
			if e.in&roleService != 0 {
				everywhere = append(everywhere, e)
			}
		case e.in == roleAll:
			everywhere = append(everywhere, e)
		case e.in == roleStage:
			stages = append(stages, e)
		default:
			others = append(others, e)
		}
	}
	only := func(r role) []entry {
		return slices.DeleteFunc(slices.Clone(others), func(e entry) bool { return e.in&r == 0 })
	}
	out := map[string]string{
		"everywhere": rows(everywhere), "stages": rows(stages),
		"pre_build": rows(only(rolePreBuild)), "integration": rows(only(roleIntegration)), "services": rows(only(roleService)),
	}
	for _, p := range places {
		if p.name != stepPlace.name {
			out[strings.TrimSuffix(p.name, "_keys")] = rows(p.keys)
		}
	}
	return out
}

// rows is one table.
func rows(keys []entry) string {
	var b strings.Builder
	b.WriteString("| key | form | meaning | example |\n|---|---|---|---|\n")
	for _, e := range keys {
		what := e.what
		if e.without != "" {
			what += " Default: `" + e.without + "`."
		}
		cells := []string{"`" + e.name + "`", forms[e.form].words, what, "`" + e.name + ": " + e.example + "`"}
		for i, c := range cells {
			cells[i] = strings.ReplaceAll(c, "|", `\|`)
		}
		b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
	}
	return b.String()
}

// TestExamplesOfKeys reads the example of every key where the key may stand.
func TestExamplesOfKeys(t *testing.T) {
	t.Parallel()
	schema := compiled(t)
	frames := map[string]string{
		"file": "KEY", "build_step": "build: {context_dir: a, KEY}",
		"target":      "build: {api: {context_dir: .}}\ndeploy: [{cluster: a, namespace: b, deployment: c, containers: [d], type: kubernetes, host: h, token: t, KEY}]",
		"auth_config": "pre_build: {image: 'a:1', commands: ls, auth_config: {username: a, password: b, KEY}}",
		"when":        "pre_build: {image: 'a:1', commands: ls, when: {KEY}}",
		"wait_for":    "integration: {image: 'a:1', services: {db: {image: 'a:1', wait_for: {port: 1, KEY}}}}",
		"reports":     "pre_build: {image: 'a:1', commands: ls, reports: {KEY}}",
	}
	steps := map[role]string{
		rolePreBuild: "pre_build: {image: 'a:1', KEY}", rolePostBuild: "post_build: {image: 'a:1', KEY}",
		roleIntegration: "integration: {image: 'a:1', services: {postgres: {image: 'a:1'}}, KEY}",
		roleService:     "integration: {image: 'a:1', services: {postgres: {image: 'a:1'}, s: {image: 'a:1', KEY}}}",
	}
	for _, p := range places {
		for _, e := range p.keys {
			in := []string{frames[strings.TrimSuffix(p.name, "_keys")]}
			if p.name == stepPlace.name {
				in = nil
				for r, frame := range steps {
					if e.in&r != 0 {
						in = append(in, frame)
					}
				}
			}
			for _, frame := range in {
				checkExample(t, schema, frame, e)
			}
		}
	}
}

// given are the keys that the files need without the example.
var given = []string{
	"image: 'a:1'", "services: {postgres: {image: 'a:1'}}", "context_dir: a", "port: 1", "username: a", "password: b",
	"cluster: a", "namespace: b", "deployment: c", "containers: [d]", "type: kubernetes", "host: h", "token: t",
}

// checkExample puts an example into a file that is right without it, in place
// of what is given under its key, or excludes it.
func checkExample(t *testing.T, schema *jsonschema.Schema, frame string, e entry) {
	t.Helper()
	out := e.name
	if strings.HasPrefix(frame, "pre_build") && (e.name == "context_dir" || e.name == "dockerfile_name") {
		out = "image"
	}
	for _, g := range given {
		at := strings.LastIndex(frame, g+", ")
		if strings.HasPrefix(g, out+":") && at >= 0 {
			frame = frame[:at] + frame[at+len(g)+2:]
		}
	}
	text := strings.Replace(frame, "KEY", e.name+": "+e.example, 1)
	_, problems := Parse([]byte(text))
	content, readable := asJSON([]byte(text))
	if Errors(problems) > 0 || !readable {
		t.Errorf("%s\n%v", text, problems)
	} else if err := schema.Validate(content); err != nil {
		t.Errorf("%s\n%v", text, err)
	}
}
