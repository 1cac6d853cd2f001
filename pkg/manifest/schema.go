package manifest

import (
	"bytes"
	"encoding/json"
	"slices"

	"cyclone/pkg/cyclone"
)

// schemaID names the schema; it is no address to load it from.
const schemaID = "urn:cyclone:caicloud.schema.json"

// Schema is the JSON Schema (2020-12) of caicloud.yml, for editors: what Parse
// accepts apart from what a schema cannot say, such as names that refer to one
// another and paths that leave the repository. It is made of the tables of
// keys that the reference is made of too.
func Schema() []byte {
	root := keysForm(stagePlace.keys)
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["$id"] = schemaID
	root["title"] = "caicloud.yml"
	root["description"] = "What Cyclone does for the events of a repository."
	root["type"] = []string{"object", "null"}
	root["$defs"] = definitions()
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(root); err != nil {
		return nil // it holds nothing that JSON cannot write
	}
	return out.Bytes()
}

// definitions are the schemas of all forms and places.
func definitions() object {
	out := object{}
	for name, f := range forms {
		out[name] = f.schema
	}
	for name, r := range map[string]role{
		"pre_build_step": rolePreBuild, "integration_step": roleIntegration,
		"service_step": roleService, "post_build_step": rolePostBuild,
	} {
		out[name] = stepForm(r)
	}
	out[buildPlace.name] = keysForm(buildPlace.keys)
	out[targetPlace.name] = targetForm()
	out[authPlace.name] = with(keysForm(authPlace.keys), "required", []string{"username", "password"})
	out[whenPlace.name] = with(keysForm(whenPlace.keys), "not", onlyOwn)
	out[reportsPlace.name] = with(keysForm(reportsPlace.keys), "not", onlyOwn)
	out[waitPlace.name] = with(keysForm(waitPlace.keys), "dependentRequired", object{"http": []string{"port"}})
	return out
}

// own are the keys that belong to the user.
const own = "^x-"

// onlyOwn is a mapping without any key of ours.
var onlyOwn = object{"propertyNames": object{"pattern": own}}

// keysForm is a mapping with these keys and no other.
func keysForm(keys []entry) object {
	properties := object{}
	for _, e := range keys {
		properties[e.name] = e.property()
	}
	return object{
		"type": "object", "properties": properties, "patternProperties": object{own: true},
		"additionalProperties": false,
	}
}

// property is what a mapping says of one key.
func (e entry) property() object {
	out := object{"$ref": "#/$defs/" + e.form, "description": e.what, "examples": []any{plain(e.example)}}
	if e.without != "" {
		out["default"] = plain(e.without)
	}
	return out
}

// plain is a value of the tables as JSON has it.
func plain(text string) any {
	var out any
	if root, err := decode([]byte(text)); err == nil && root != nil && root.Decode(&out) == nil {
		return out
	}
	return text
}

// stepForm is one step.
func stepForm(r role) object {
	out := keysForm(stepPlace.of(r))
	if properties, ok := out["properties"].(object); ok {
		properties[misspeltEnvironment] = object{
			"$ref": "#/$defs/environment", "deprecated": true, "description": "Accepted for `environment`.",
		}
	}
	instead := object{
		"commands":          without("entrypoint", "command"),
		misspeltEnvironment: without("environment"),
	}
	switch r {
	case rolePreBuild:
		instead["image"] = without("context_dir", "dockerfile_name")
		out["anyOf"] = []any{needs("image"), needs("context_dir"), needs("dockerfile_name")}
	case roleIntegration:
		out["dependentRequired"] = object{"links": []string{"services"}}
	case rolePostBuild, roleService:
		out["required"] = []string{"image"}
	}
	out["dependentSchemas"] = instead
	return out
}

// needs is a mapping that has a key.
func needs(keys ...string) object { return object{"required": keys} }

// without is a mapping that lacks keys.
func without(keys ...string) object {
	properties := object{}
	for _, k := range keys {
		properties[k] = false
	}
	return object{"properties": properties}
}

// targetForm is one target of deploy.
func targetForm() object {
	out := keysForm(targetPlace.keys)
	out["required"] = []string{"namespace", "deployment", "containers"}
	out["if"] = needs("type")
	out["then"] = needs("host", "token")
	name := object{"anyOf": []any{
		object{"pattern": refers}, object{"pattern": exactly(bare(cyclone.NamePattern))},
	}}
	out["else"] = object{
		"required":   []string{"cluster"},
		"properties": object{"cluster": name, "host": false, "token": false, "ca": false, "insecure": false},
	}
	return out
}

// named is a map of names to what a place holds.
func named(name string) object {
	return object{
		"type": "object", "propertyNames": object{"pattern": own + "|^" + word + "$"},
		"patternProperties": object{own: true}, "additionalProperties": at(name),
	}
}

// stageForm is one part, or a map of names to parts: one part as soon as one
// of its keys is there.
func stageForm(name string, keys []string) object {
	// "Has one of the keys" is: not all names are none of them.
	one := object{"not": object{"propertyNames": object{"not": object{"enum": keys}}}}
	several := with(named(name), "not", onlyOwn)
	return object{"type": "object", "if": one, "then": at(name), "else": several}
}

// stepsForm is a stage of steps.
func stepsForm(name string) object {
	return stageForm(name, append(names(stepPlace.keys), misspeltEnvironment))
}

// buildForm is the build stage, which may hold nothing at all.
func buildForm() object {
	stage := stageForm(buildPlace.name, names(append(slices.Clone(buildPlace.keys), stepPlace.keys...)))
	stage["else"] = named(buildPlace.name)
	return object{"anyOf": []any{object{"type": "null"}, stage}}
}

// names lists keys, each once.
func names(keys []entry) []string {
	var out []string
	for _, e := range keys {
		if !slices.Contains(out, e.name) {
			out = append(out, e.name)
		}
	}
	return out
}
