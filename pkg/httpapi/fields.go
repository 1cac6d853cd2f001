package httpapi

import (
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"cyclone/pkg/cyclone"
)

// checkFields compares parsed JSON with the Go type that it is meant for and
// notes every unknown field and every value of the wrong type. encoding/json
// stops at the first; people want all of them.
func checkFields(path string, value any, target any, bad *cyclone.InvalidError) {
	walkValue(path, value, reflect.TypeOf(target), bad)
}

func walkValue(path string, value any, t reflect.Type, bad *cyclone.InvalidError) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if value == nil || t.Kind() == reflect.Interface {
		return // null means "not given"
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		walkOwn(path, value, t, bad)
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		walkStruct(path, value, t, bad)
	case reflect.Map:
		walkMap(path, value, t, bad)
	case reflect.Slice:
		walkList(path, value, t, bad)
	default:
		if want := mismatch(value, t); want != "" {
			bad.Add(path, "must be %s", want)
		}
	}
}

// walkOwn lets a type that reads its own JSON try.
func walkOwn(path string, value any, t reflect.Type, bad *cyclone.InvalidError) {
	data, err := json.Marshal(value)
	if err == nil {
		err = json.Unmarshal(data, reflect.New(t).Interface())
	}
	if err != nil {
		bad.Add(path, "%s", clip(err.Error(), 200))
	}
}

func walkStruct(path string, value any, t reflect.Type, bad *cyclone.InvalidError) {
	object, ok := value.(map[string]any)
	if !ok {
		bad.Add(path, "must be an object: {...}")
		return
	}
	fields := jsonFields(t)
	for _, name := range sortedKeys(object) {
		field, known := fields[name]
		if !known {
			bad.Add(join(path, clip(name, 60)), "unknown field%s", oneOf(sortedKeys(fields)))
			continue
		}
		walkValue(join(path, name), object[name], field, bad)
	}
}

func walkMap(path string, value any, t reflect.Type, bad *cyclone.InvalidError) {
	object, ok := value.(map[string]any)
	if !ok {
		bad.Add(path, "must be an object: {...}")
		return
	}
	for _, name := range sortedKeys(object) {
		if object[name] == nil {
			bad.Add(join(path, clip(name, 60)), "must not be null")
			continue
		}
		walkValue(join(path, clip(name, 60)), object[name], t.Elem(), bad)
	}
}

func walkList(path string, value any, t reflect.Type, bad *cyclone.InvalidError) {
	list, ok := value.([]any)
	if !ok {
		bad.Add(path, "must be a list: [...]")
		return
	}
	for i, item := range list {
		at := path + "[" + strconv.Itoa(i) + "]"
		if item == nil {
			bad.Add(at, "must not be null")
			continue
		}
		walkValue(at, item, t.Elem(), bad)
	}
}

// mismatch says what a plain value should have been, or nothing when it is.
func mismatch(value any, t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		if _, ok := value.(string); !ok {
			return "a string"
		}
	case reflect.Bool:
		if _, ok := value.(bool); !ok {
			return "true or false"
		}
	case reflect.Int, reflect.Int64:
		n, ok := value.(json.Number)
		if !ok {
			return "a whole number"
		}
		if _, err := strconv.ParseInt(n.String(), 10, t.Bits()); err != nil {
			return "a whole number"
		}
	case reflect.Float64:
		n, ok := value.(json.Number)
		if !ok {
			return "a number"
		}
		if _, err := n.Float64(); err != nil {
			return "a number"
		}
	}
	return ""
}

// jsonFields are the fields of a struct by their JSON names; embedded structs
// give theirs.
func jsonFields(t reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			for n, inner := range jsonFields(f.Type) {
				if _, nearer := fields[n]; !nearer {
					fields[n] = inner
				}
			}
		case f.IsExported() && name != "-" && name != "":
			fields[name] = f.Type
		}
	}
	return fields
}

func sortedKeys[T any](m map[string]T) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
