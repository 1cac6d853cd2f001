package httpapi

import (
	"bytes"
	_ "embed" // for the page's template
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"cyclone/api"
)

//go:embed docs.html
var docsPage string

// openAPI serves the description of the API as JSON.
func (s *Server) openAPI(w http.ResponseWriter, _ *http.Request) error {
	var tree map[string]any
	if err := yaml.Unmarshal(api.OpenAPI, &tree); err != nil {
		return fmt.Errorf("read openapi.yaml: %w", err)
	}
	return show(w, tree)
}

// docs serves the same description as a page for people.
func (s *Server) docs(w http.ResponseWriter, _ *http.Request) error {
	page, err := template.New("docs").Parse(docsPage)
	if err != nil {
		return fmt.Errorf("read page template: %w", err)
	}
	var d description
	if err := yaml.Unmarshal(api.OpenAPI, &d); err != nil {
		return fmt.Errorf("read openapi.yaml: %w", err)
	}
	var b bytes.Buffer
	if err := page.Execute(&b, d); err != nil {
		return fmt.Errorf("render page: %w", err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "public, max-age=300")
	_, _ = w.Write(b.Bytes()) // a caller that has gone is no error
	return nil
}

// description is what the page shows of the OpenAPI file.
type description struct {
	Info struct {
		Title       string `yaml:"title"`
		Description string `yaml:"description"`
	} `yaml:"info"`
	Tags []struct {
		Name        string `yaml:"name"`
		Description string `yaml:"description"`
	} `yaml:"tags"`
	Paths      yaml.Node `yaml:"paths"` // a node keeps the file's order
	Components struct {
		Schemas yaml.Node `yaml:"schemas"`
	} `yaml:"components"`
}

// Operation is one method of one path.
type operation struct {
	Method, Path string
	Tags         []string    `yaml:"tags"`
	Summary      string      `yaml:"summary"`
	Description  string      `yaml:"description"`
	Parameters   []parameter `yaml:"parameters"`
	RequestBody  struct {
		Content map[string]yaml.Node `yaml:"content"`
	} `yaml:"requestBody"`
	Responses map[string]struct {
		Ref         string               `yaml:"$ref"`
		Description string               `yaml:"description"`
		Content     map[string]yaml.Node `yaml:"content"`
	} `yaml:"responses"`
}

type parameter struct {
	Ref         string `yaml:"$ref"`
	Name        string `yaml:"name"`
	In          string `yaml:"in"`
	Description string `yaml:"description"`
}

// Title is the parameter's name, also of one that is described elsewhere.
func (p parameter) Title() string {
	if p.Ref != "" {
		return p.Ref[strings.LastIndex(p.Ref, "/")+1:]
	}
	return p.Name
}

// Of lists a tag's operations in the order of the file.
func (d description) Of(tag string) ([]operation, error) {
	var found []operation
	for i := 0; i+1 < len(d.Paths.Content); i += 2 {
		methods := d.Paths.Content[i+1]
		for j := 0; j+1 < len(methods.Content); j += 2 {
			op := operation{Method: strings.ToUpper(methods.Content[j].Value), Path: d.Paths.Content[i].Value}
			if op.Method == "PARAMETERS" {
				continue
			}
			if err := methods.Content[j+1].Decode(&op); err != nil {
				return nil, fmt.Errorf("read %s %s: %w", op.Method, op.Path, err)
			}
			if slices.Contains(op.Tags, tag) {
				found = append(found, op)
			}
		}
	}
	return found, nil
}

// schema is one named schema, shown as the YAML it is.
type schema struct{ Name, Text string }

// Schemas lists the named schemas in the order of the file.
func (d description) Schemas() ([]schema, error) {
	var all []schema
	nodes := d.Components.Schemas.Content
	for i := 0; i+1 < len(nodes); i += 2 {
		text, err := yaml.Marshal(nodes[i+1])
		if err != nil {
			return nil, fmt.Errorf("write schema %s: %w", nodes[i].Value, err)
		}
		all = append(all, schema{nodes[i].Value, string(text)})
	}
	return all, nil
}

// Example shows an example, or else the schema, of a content.
func (operation) Example(n yaml.Node) (string, error) {
	var content struct {
		Example any       `yaml:"example"`
		Schema  yaml.Node `yaml:"schema"`
	}
	if err := n.Decode(&content); err != nil {
		return "", fmt.Errorf("read content: %w", err)
	}
	if text, ok := content.Example.(string); ok {
		return text, nil
	}
	if content.Example != nil {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		err := enc.Encode(content.Example)
		return b.String(), err
	}
	if content.Schema.IsZero() {
		return "", nil
	}
	text, err := yaml.Marshal(&content.Schema)
	return string(text), err
}
