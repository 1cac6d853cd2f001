package httpapi_test

import (
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"cyclone/api"
	"cyclone/pkg/cyclone"
	"cyclone/pkg/httpapi"
)

type tree = map[string]any

func describedAPI(t *testing.T) tree {
	t.Helper()
	var d tree
	if err := yaml.Unmarshal(api.OpenAPI, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// at follows a path of keys.
func at(t *testing.T, v any, keys ...string) any {
	t.Helper()
	for _, k := range keys {
		m, ok := v.(tree)
		if !ok || m[k] == nil {
			t.Fatalf("nothing at %q of %s", k, strings.Join(keys, "."))
		}
		v = m[k]
	}
	return v
}

// Every route is described with its query, and nothing else is.
func TestRoutesAndDescriptionAgree(t *testing.T) {
	d := describedAPI(t)
	described := map[string][]string{}
	for path, methods := range at(t, d, "paths").(tree) {
		for method, op := range methods.(tree) {
			if method == "parameters" {
				continue
			}
			names := []string{}
			if list, ok := op.(tree)["parameters"].([]any); ok {
				for _, p := range list {
					ref := p.(tree)["$ref"].(string)
					parameter := at(t, d, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...).(tree)
					if parameter["in"] != "query" {
						t.Errorf("%s %s: parameter %s is not of the query", method, path, ref)
					}
					names = append(names, parameter["name"].(string))
				}
			}
			described[strings.ToUpper(method)+" "+path] = names
		}
	}
	served := map[string][]string{}
	for _, r := range (&httpapi.Server{}).Routes() {
		served[r.Method+" "+r.Path] = append([]string{}, r.Query...)
	}
	if diff := cmp.Diff(served, described); diff != "" {
		t.Errorf("routes (-) and openapi.yaml (+) differ:\n%s", diff)
	}
}

// Every reference in the file leads somewhere, and paths declare their parts.
func TestDescriptionIsWhole(t *testing.T) {
	d := describedAPI(t)
	for _, m := range regexp.MustCompile(`\$ref: '#/([^']+)'`).FindAllSubmatch(api.OpenAPI, -1) {
		at(t, d, strings.Split(string(m[1]), "/")...)
	}
	ids := map[string]bool{}
	for path, methods := range at(t, d, "paths").(tree) {
		for _, m := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(path, -1) {
			list, _ := methods.(tree)["parameters"].([]any)
			if !slices.ContainsFunc(list, func(p any) bool {
				ref := strings.TrimPrefix(p.(tree)["$ref"].(string), "#/")
				parameter := at(t, d, strings.Split(ref, "/")...).(tree)
				return parameter["name"] == m[1] && parameter["in"] == "path"
			}) {
				t.Errorf("%s: parameter %s is not declared", path, m[1])
			}
		}
		for method, op := range methods.(tree) {
			if method == "parameters" {
				continue
			}
			id, _ := op.(tree)["operationId"].(string)
			if id == "" || ids[id] {
				t.Errorf("%s %s: operationId %q is missing or used twice", method, path, id)
			}
			ids[id] = true
		}
	}
}

// The described fields of answers are the fields of the Go types, both ways
// and all the way down, and the examples use no others.
func TestSchemasMatchTypes(t *testing.T) {
	d := describedAPI(t)
	for name, v := range map[string]any{
		"Project": projectAnswer{}, "Event": cyclone.Event{}, "Secret": cyclone.Secret{}, "Delivery": cyclone.Delivery{},
		"StartRequest": cyclone.StartRequest{}, "StageState": cyclone.StageState{}, "Line": cyclone.Line{},
		"Node": nodeAnswer{}, "RetentionReport": cyclone.RetentionReport{}, "Worker": workerAnswer{},
		"Version": httpapi.Version{}, "Identity": httpapi.Identity{}, "Problem": cyclone.Problem{}, "File": cyclone.File{},
		"Connection": cyclone.Connection{}, "Account": cyclone.Account{}, "RepositoryInfo": cyclone.RepositoryInfo{}, "RefInfo": cyclone.RefInfo{},
		"Artifact": artifactAnswer{}, "Cache": cacheAnswer{}, "TestCase": cyclone.TestCase{}, "TestReport": cyclone.TestReport{},
	} {
		typed := typeFields("", reflect.TypeOf(v))
		schema := at(t, d, "components", "schemas", name).(tree)
		described := schemaFields(t, d, "", schema)
		if diff := cmp.Diff(typed, described); diff != "" {
			t.Errorf("%s: fields of the type (-) and of the schema (+) differ:\n%s", name, diff)
		}
		for _, field := range exampleFields("", schema["example"]) {
			if !slices.Contains(typed, field) && !strings.Contains(field, "variables.") && !strings.Contains(field, "webhookUrls.") {
				t.Errorf("%s: the example has the unknown field %s", name, field)
			}
		}
	}
}

// projectAnswer is a project as the API shows it.
type projectAnswer struct {
	cyclone.Project
	Repository    repositoryAnswer    `json:"repository"`
	Connect       bool                `json:"connect"`
	Connection    *cyclone.Connection `json:"connection"`
	WebhookSecret string              `json:"webhookSecret"`
	WebhookURLs   map[string]string   `json:"webhookUrls"`
}

// repositoryAnswer is a repository as the API takes it.
type repositoryAnswer struct {
	cyclone.Repository
	Token string `json:"token"`
}

// nodeAnswer is a node as the API shows it.
type nodeAnswer struct {
	cyclone.Node
	Running int  `json:"running"`
	Gone    bool `json:"gone"`
}

// workerAnswer is a worker as the API shows it.
type workerAnswer struct {
	ID         cyclone.WorkerID    `json:"id"`
	Node       string              `json:"node"`
	Attempt    int                 `json:"attempt"`
	Event      cyclone.EventID     `json:"event"`
	Project    cyclone.ProjectName `json:"project"`
	Number     int64               `json:"number"`
	StartedAt  *time.Time          `json:"startedAt"`
	LeaseUntil time.Time           `json:"leaseUntil"`
	LastSeen   *time.Time          `json:"lastSeen"`
}

// artifactAnswer is an artifact as the API lists it.
type artifactAnswer struct {
	Path      string        `json:"path"`
	Size      int64         `json:"size"`
	SHA256    string        `json:"sha256"`
	Stage     cyclone.Stage `json:"stage"`
	Step      string        `json:"step"`
	CreatedAt time.Time     `json:"createdAt"`
	URL       string        `json:"url"`
}

// cacheAnswer is a cache as the API lists it.
type cacheAnswer struct {
	Node   string            `json:"node"`
	ID     string            `json:"id"`
	Kind   cyclone.CacheKind `json:"kind"`
	Size   int64             `json:"size"`
	UsedAt time.Time         `json:"usedAt"`
	InUse  bool              `json:"inUse"`
}

func typeFields(path string, t reflect.Type) []string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t == reflect.TypeFor[time.Time]() {
		return []string{path}
	}
	var all []string
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			all = append(all, typeFields(path, f.Type)...)
		case name != "" && name != "-":
			all = append(all, typeFields(path+"."+name, f.Type)...)
		}
	}
	sort.Strings(all)
	return slices.Compact(all) // a field may hide an embedded one
}

func schemaFields(t *testing.T, d tree, path string, schema tree) []string {
	t.Helper()
	if ref, ok := schema["$ref"].(string); ok {
		schema = at(t, d, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...).(tree)
	}
	if items, ok := schema["items"].(tree); ok {
		return schemaFields(t, d, path, items)
	}
	properties, ok := schema["properties"].(tree)
	if !ok {
		return []string{path}
	}
	var all []string
	for name, inner := range properties {
		all = append(all, schemaFields(t, d, path+"."+name, inner.(tree))...)
	}
	sort.Strings(all)
	return all
}

func exampleFields(path string, v any) []string {
	switch v := v.(type) {
	case tree:
		var all []string
		for name, inner := range v {
			all = append(all, exampleFields(path+"."+name, inner)...)
		}
		return all
	case []any:
		var all []string
		for _, inner := range v {
			all = append(all, exampleFields(path, inner)...)
		}
		return all
	case nil:
		return nil
	}
	return []string{path}
}

// The example project of the description is one that the server accepts.
func TestExampleProjectIsAccepted(t *testing.T) {
	f := newFixture(t)
	example := at(t, describedAPI(t), "components", "schemas", "Project", "example")
	data, err := json.Marshal(example)
	if err != nil {
		t.Fatal(err)
	}
	var got, want tree
	f.want(201, "POST", "/api/v1/projects", string(data)).decode(t, &got)
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	for _, ours := range []string{"createdAt", "updatedAt", "webhookSecret", "webhookUrls"} {
		delete(got, ours)
		delete(want, ours)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the example does not come back as it was sent:\n%s", diff)
	}
}

func TestDocsPageShowsEveryRoute(t *testing.T) {
	f := newFixture(t)
	a := f.want(200, "GET", "/docs", "", header{"Authorization", ""})
	if got := a.header.Get("Content-Type"); got != "text/html; charset=utf-8" {
		t.Errorf("Content-Type = %q", got)
	}
	for _, r := range f.Routes() {
		if !strings.Contains(a.body, "<b>"+r.Method+"</b> <code>"+r.Path+"</code>") {
			t.Errorf("page does not show %s %s", r.Method, r.Path)
		}
	}
	if strings.Contains(a.body, "src=") || strings.Contains(a.body, "@import") || strings.Contains(a.body, "<link") {
		t.Error("page loads something from outside")
	}
}

func TestOpenAPIAsJSON(t *testing.T) {
	f := newFixture(t)
	var d tree
	f.want(200, "GET", "/api/v1/openapi.json", "").decode(t, &d)
	if d["openapi"] != "3.1.0" {
		t.Errorf("openapi = %v", d["openapi"])
	}
}
