package manifest

import (
	"strings"

	"github.com/distribution/reference"

	"cyclone/pkg/cyclone"
)

// object is a JSON object.
type object = map[string]any

// form is what may stand under a key.
type form struct {
	words  string // for the reference
	schema object
}

// Patterns that several forms share. They hold for Go and for JavaScript.
const (
	notBlank = `\S`
	// references accepts ${NAME}, $$ and single dollars, and no other ${.
	references = `^(?:[^$]|\$[^{]|\$\{[A-Za-z_][A-Za-z0-9_]*\})*\$?$`
	variable   = `^[A-Za-z_][A-Za-z0-9_]*$`
	refers     = `\$\{`
	word       = `[A-Za-z0-9][A-Za-z0-9_.-]{0,62}`
	closed     = `^(?:[^\[\\]|\\.|\[\^?(?:[^\]\\]|\\.)+\])*$` // brackets of a glob
	printed    = `^\s*[^\x00-\x1f\x7f-\x9f]*\s*$`             // no control characters
	decimal    = `(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)`
	address4   = `[0-9]{1,3}(?:\.[0-9]{1,3}){3}`
	address6   = `[0-9A-Fa-f]*:[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?`
)

// scalar is any text that stands on one line or in a block: what YAML takes
// for a number or a boolean is text too.
func scalar(patterns ...string) object {
	return constrained([]string{"string", "number", "boolean"}, patterns...)
}

// constrained is a value of some types; its text matches every pattern.
func constrained(types any, patterns ...string) object {
	out := object{"type": types}
	switch len(patterns) {
	case 0:
	case 1:
		out["pattern"] = patterns[0]
	default:
		var all []any
		for _, p := range patterns {
			all = append(all, object{"pattern": p})
		}
		out["allOf"] = all
	}
	return out
}

// like is text that matches a pattern.
func like(pattern string) object { return object{"type": "string", "pattern": pattern} }

// exactly anchors a pattern; blanks around are dropped when a value is read.
func exactly(pattern string) string { return `^\s*(?:` + pattern + `)\s*$` }

// spelled is a pattern for a word in capitals or not.
func spelled(words ...string) string {
	var out []string
	for _, w := range words {
		var b strings.Builder
		for _, r := range w {
			b.WriteString("[" + strings.ToUpper(string(r)) + string(r) + "]")
		}
		out = append(out, b.String())
	}
	return exactly(strings.Join(out, "|"))
}

// expandable is text with ${NAME} in it; once there is nothing to replace, it
// matches one of the patterns.
func expandable(patterns ...string) object {
	out := scalar(references, notBlank)
	if len(patterns) > 0 {
		any := []any{object{"pattern": refers}}
		for _, p := range patterns {
			any = append(any, object{"pattern": p})
		}
		out["anyOf"] = any
	}
	return out
}

// oneOrMore is an item, or a list of items that is not empty.
func oneOrMore(item object) object {
	return object{"anyOf": []any{item, object{"type": "array", "minItems": 1, "items": item}}}
}

// at is the schema of a place.
func at(name string) object { return object{"$ref": "#/$defs/" + name} }

// with adds a keyword to a schema.
func with(schema object, keyword string, value any) object {
	schema[keyword] = value
	return schema
}

// bare is a pattern of a library without its anchors and groups to keep.
func bare(pattern string) string {
	pattern = strings.TrimSuffix(strings.TrimPrefix(pattern, "^"), "$")
	return strings.NewReplacer("(?:", "(?:", "(", "(?:", `\(`, `\(`).Replace(pattern)
}

// Image names, as Docker's own library reads them.
var (
	anyImage = exactly(bare(reference.ReferenceRegexp.String()))
	anyName  = exactly(bare(reference.NameRegexp.String()))
	anyBuilt = exactly(`BUILT_(?:IMAGE|IAMGE)(?:\.` + word + `)?`)
	// lowerBuilt is BUILT_IMAGE in the wrong letters.
	lowerBuilt = `^\s*[Bb][Uu][Ii][Ll][Tt]_[Ii][Mm][Aa][Gg][Ee](?:\..*)?\s*$`
)

// imageForm is an image to run.
func imageForm(built bool) object {
	if !built {
		return with(expandable(anyImage), "not", like(lowerBuilt))
	}
	out := expandable(anyImage, anyBuilt)
	out["if"], out["then"] = like(lowerBuilt), object{"pattern": anyBuilt}
	return out
}

// environmentForm is a list of KEY=value or a map.
func environmentForm() object {
	listed := constrained("string", `^\s*[^=\s"']+\s*=`+strings.TrimPrefix(references, "^"))
	return object{"anyOf": []any{
		object{"type": "array", "minItems": 1, "items": listed},
		object{
			"type": "object", "propertyNames": object{"pattern": `^[^=\s"']+$`},
			"additionalProperties": constrained([]string{"string", "number", "boolean", "null"}, references),
		},
	}}
}

// secretsForm is a list of secrets or a map of variable -> secret.
func secretsForm(shell bool) object {
	item, names := scalar(notBlank), object{"type": "object", "additionalProperties": scalar(notBlank)}
	if shell {
		item, names = constrained("string", exactly(strings.Trim(variable, "^$"))), with(names, "propertyNames", object{"pattern": variable})
	}
	list := object{"type": "array", "minItems": 1, "uniqueItems": true, "items": item}
	return object{"anyOf": []any{item, list, names}}
}

// eventForm is a pattern of when.event: a kind of event, or a glob.
func eventForm() object {
	item := scalar(`[*?\[\\]|` + exactly(`!?(?:`+strings.Join(eventKinds, "|")+`)`))
	suggested := []any{object{"enum": eventKinds}, item}
	return oneOrMore(object{"anyOf": suggested})
}

// pullForm is a pull policy.
func pullForm() object {
	policies := []string{string(cyclone.PullAlways), string(cyclone.PullMissing), string(cyclone.PullNever)}
	spellings := spelled(append(policies, "true", "false")...)
	return object{"anyOf": []any{object{"enum": policies}, constrained([]string{"boolean", "string"}, spellings)}}
}

// within is a whole number, written as one or as text.
func within(from, to int) object {
	return object{"type": []string{"integer", "string"}, "pattern": exactly(`\+?[0-9]{1,5}`), "minimum": from, "maximum": to}
}

// portSpec is portForm without capturing groups.
var portSpec = bare(portForm.String())

// forms is everything that keys may hold, by name. Places have names too.
var forms = map[string]form{
	"image":            {"name of an image", imageForm(false)},
	"image_or_built":   {"name of an image, or `BUILT_IMAGE`", imageForm(true)},
	"built_image":      {"`BUILT_IMAGE` or `BUILT_IMAGE.<name>`", expandable(anyBuilt)},
	"image_name":       {"name without a tag", with(expandable(anyName), "not", like(lowerBuilt))},
	"commands":         {"list, or text", oneOrMore(scalar(notBlank))},
	"environment":      {"list of `KEY=value`, or map", environmentForm()},
	"volumes":          {"list, or text", oneOrMore(constrained("string", exactly(`(?:\.|\./[^:]*|/[^:]*):/[^:]*[^:/][^:]*(?::ro)?`), printed))},
	"arguments":        {"text, or list", object{"anyOf": []any{scalar(notBlank), object{"type": "array", "minItems": 1, "items": scalar()}}}},
	"links":            {"list, or text", oneOrMore(scalar(exactly(`[^:\s](?:[^:]*[^:\s])?(?::` + word + `)?`)))},
	"ports":            {"list, or text", oneOrMore(object{"type": []string{"integer", "string"}, "pattern": exactly(portSpec), "minimum": 0, "maximum": 99999})},
	"extra_hosts":      {"list, or text", oneOrMore(constrained("string", exactly(`[^:]+:(?:host-gateway|`+address4+`|`+address6+`)`)))},
	"dns":              {"list, or text", oneOrMore(constrained("string", exactly(address4+`|`+address6)))},
	"devices":          {"list, or text", oneOrMore(constrained("string", exactly(`/[^:]*(?::/[^:]*(?::[rwm]*)?)?`)))},
	"bool":             {"`true` or `false`", constrained([]string{"boolean", "string"}, spelled("true", "false"))},
	"size":             {"`512m`, `2g` or bytes", with(constrained([]string{"integer", "string"}, exactly(decimal+`(?:[eE][0-9]+)?\s*(?:[KkMmGgTt](?:[Ii]?[Bb])?|[Bb])?`)), "minimum", minMemory)},
	"number":           {"number", object{"type": []string{"number", "string"}, "allOf": []any{object{"pattern": exactly(decimal)}, object{"pattern": `[1-9]`}}, "exclusiveMinimum": 0, "maximum": 4096}},
	"cpuset":           {"list of processors", object{"type": []string{"integer", "string"}, "pattern": exactly(bare(cpusetForm.String())), "minimum": 0, "maximum": 9999}},
	"pull":             {"`missing`, `always`, `never`, `true`, `false`", pullForm()},
	"secrets":          {"list, or map", secretsForm(true)},
	"build_secrets":    {"list, or map", secretsForm(false)},
	"duration":         {"`90s`, `10m`, `1h30m`", constrained("string", exactly(`\+?(?:`+decimal+`(?:ns|us|µs|μs|ms|s|m|h))+`), `[1-9]`)},
	"retries":          {"0 to 5", within(0, maxRetries)},
	"globs":            {"list, or text", oneOrMore(scalar(closed, `[^!\s]|!.*!`))},
	"kept":             {"list, or text", oneOrMore(with(scalar(closed, printed, `^\s*[^!\s]`), "not", like(exactly(`/+|\.\.(?:/.*)?`))))},
	"changed_paths":    {"list, or text", oneOrMore(with(scalar(closed, printed, `[^!\s]|!.*!`), "not", like(exactly(`!?(?:\.?/.*|\.\.(?:/.*)?|.*/)`))))},
	"cache":            {"list, or text", oneOrMore(with(scalar(printed, `^\s*[^~*?\[$\\\s][^*?\[$\\]*$`), "not", like(exactly(`/+|\./*|\.\.(?:/.*)?|/(?:proc|sys|dev)(?:/.*)?`))))},
	"path":             {"path", scalar(references, printed, `^\s*[^/\\\s][^\\]*$`)},
	"inner_path":       {"path", with(scalar(references, printed, `^\s*[^/\\\s][^\\]*$`), "not", like(`^\s*\.\.(?:/|\s*$)`))},
	"outputs":          {"list, or text", oneOrMore(scalar(exactly(`[^:]+(?::[^:]+)?`), printed, notBlank))},
	"template":         {"text", expandable()},
	"tags":             {"list, or text", oneOrMore(with(expandable(exactly(bare(reference.TagRegexp.String()))), "minimum", 0))},
	"kubernetes_name":  {"name", scalar(references, exactly(`[^/\\?#%\s]+`))},
	"kubernetes_names": {"list, or text", oneOrMore(scalar(references, exactly(`[^/\\?#%\s]+`)))},
	"target_type":      {"`kubernetes`", object{"const": kubernetesType}},
	"host":             {"address", expandable(`^\s*<`, `^\s*http://`, exactly(`[^\s@]+`))},
	"event_kinds":      {"list, or text", eventForm()},
	"port_number":      {"1 to 65535", within(1, 65535)},
	"http_path":        {"path", constrained("string", exactly(`/\S*`))},
	"services":         {"map of name to step", named("service_step")},
	"pre_build":        {"step, or map of name to step", stepsForm("pre_build_step")},
	"build":            {"build, or map of name to build", buildForm()},
	"integration":      {"step", at("integration_step")},
	"post_build":       {"step, or map of name to step", stepsForm("post_build_step")},
	"deploy":           {"list of targets", object{"type": "array", "minItems": 1, "items": at("target")}},
	"auth_config":      {"`username`, `password`", at("auth_config_keys")},
	"when":             {"`branch`, `tag`, `event`, `paths`", at("when_keys")},
	"wait_for":         {"`port`, `http`, `timeout`", at("wait_for_keys")},
	"reports":          {"`junit`", at("reports_keys")},
}
