package manifest

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
)

// schemaFile is the schema as it is published.
const schemaFile = "../../api/caicloud.schema.json"

// TestSchemaIsPublished holds the published schema to the tables.
func TestSchemaIsPublished(t *testing.T) {
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile(schemaFile, Schema(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, Schema()) {
		t.Errorf("%s is not what the tables make; run with -update", schemaFile)
	}
}

// compiled is the schema, checked against the schema of schemas.
func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(schemaID, text); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(schemaID)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asJSON is a file as an editor gives it to a schema. It reports false for one
// that has no meaning as JSON: bytes that are no YAML, endless aliases, keys
// that come twice.
func asJSON(data []byte) (any, bool) {
	p := &parser{}
	root, ok := p.load(data)
	if !ok || len(p.problems) > 0 {
		return nil, false
	}
	return jsonOf(root), true
}

// jsonOf is a node in the types of JSON.
func jsonOf(n *yaml.Node) any {
	n = resolve(n)
	switch n.Kind {
	case yaml.MappingNode:
		out := map[string]any{}
		for _, e := range (value{p: &parser{}, node: n}).entries() {
			out[e.name] = jsonOf(e.node)
		}
		return out
	case yaml.SequenceNode:
		out := []any{}
		for _, item := range n.Content {
			out = append(out, jsonOf(item))
		}
		return out
	}
	var out any
	switch n.Tag {
	case "!!int", "!!float":
		if n.Decode(&out) == nil {
			return json.Number(fmt.Sprint(out))
		}
	case "!!bool", "!!null":
		if n.Decode(&out) == nil {
			return out
		}
	}
	return n.Value
}

// notExpressible are the bad files whose faults a schema cannot see, and why.
var notExpressible = map[string]string{
	"built_image_named_without_build": "a name that nothing bears",
	"near_names":                      "names that nothing bears",
	"dockerfile_leaves":               "a path that leaves from where another key leads",
}

func TestSchemaAgreesOnGoldenFiles(t *testing.T) {
	schema := compiled(t)
	seen := map[string]bool{}
	files, err := filepath.Glob("testdata/[bg]*/*.yml")
	if err != nil || len(files) < 100 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		folder, name := filepath.Split(strings.TrimPrefix(file, "testdata/"))
		name = strings.TrimSuffix(name, ".yml")
		content, readable := asJSON(data)
		if !readable {
			if folder == "good/" {
				t.Errorf("%s is good and cannot be read as JSON", file)
			}
			continue
		}
		err = schema.Validate(content)
		why, excused := notExpressible[name]
		switch {
		case folder == "good/" && err != nil:
			t.Errorf("the schema refuses %s: %v", file, err)
		case folder == "bad/" && err == nil && !excused:
			t.Errorf("the schema accepts %s", file)
		case folder == "bad/" && excused && err != nil:
			t.Errorf("%s need not be excused with %q: %v", file, why, err)
		}
		seen[name] = true
	}
	for name := range notExpressible {
		if !seen[name] {
			t.Errorf("there is no bad file %s to be excused", name)
		}
	}
}
