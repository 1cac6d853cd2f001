package httpapi

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"cyclone/pkg/cyclone"
)

// checkFields compares parsed JSON with the Go type that it is meant for and
// notes every unknown field and every value of the wrong type, and takes them
// out, so that what is left can be decoded and checked further. encoding/json
// stops at the first; people want all of them.
func checkFields(path string, value any, target any, bad *cyclone.InvalidError) {
	walkValue(path, value, reflect.TypeOf(target), bad)
}

// walkValue reports whether the value, less what it took out, can be decoded.
func walkValue(path string, value any, t reflect.Type, bad *cyclone.InvalidError) bool {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if value == nil || t.Kind() == reflect.Interface {
		return true // null means "not given"
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		return walkOwn(path, value, t, bad)
	}
	switch t.Kind() {
	case reflect.Struct:
		return walkStruct(path, value, t, bad)
	case reflect.Map:
		return walkMap(path, value, t, bad)
	case reflect.Slice:
		return walkList(path, value, t, bad)
	}
	want := mismatch(value, t)
	if want != "" {
		bad.Add(path, "must be %s", want)
	}
	return want == ""
}

// walkOwn lets a type that reads its own JSON try.
func walkOwn(path string, value any, t reflect.Type, bad *cyclone.InvalidError) bool {
	data, err := json.Marshal(value)
	if err == nil {
		err = json.Unmarshal(data, reflect.New(t).Interface())
	}
	if err != nil {
		bad.Add(path, "%s", clip(err.Error(), 200))
	}
	return err == nil
}

func walkStruct(path string, value any, t reflect.Type, bad *cyclone.InvalidError) bool {
	object, ok := value.(map[string]any)
	if !ok {
		bad.Add(path, "must be an object: {...}")
		return false
	}
	fields := jsonFields(t)
	for _, name := range sortedKeys(object) {
		field, known := fields[name]
		if !known {
			bad.Add(join(path, clip(name, 60)), "unknown field%s", oneOf(sortedKeys(fields)))
		}
		if !known || !walkValue(join(path, name), object[name], field, bad) {
			delete(object, name)
		}
	}
	return true
}

func walkMap(path string, value any, t reflect.Type, bad *cyclone.InvalidError) bool {
	object, ok := value.(map[string]any)
	if !ok {
		bad.Add(path, "must be an object: {...}")
		return false
	}
	for _, name := range sortedKeys(object) {
		if object[name] == nil || !walkValue(join(path, clip(name, 60)), object[name], t.Elem(), bad) {
			delete(object, name) // null means "not given" here too
		}
	}
	return true
}

func walkList(path string, value any, t reflect.Type, bad *cyclone.InvalidError) bool {
	list, ok := value.([]any)
	if !ok {
		bad.Add(path, "must be a list: [...]")
		return false
	}
	for i, item := range list {
		at := path + "[" + strconv.Itoa(i) + "]"
		if item == nil {
			bad.Add(at, "must not be null")
			continue
		}
		if !walkValue(at, item, t.Elem(), bad) {
			list[i] = nil // the others keep their places
		}
	}
	return true
}

// allWrong adds to the problems of err, if those are of fields, what check
// finds in the fields that are not among them: a caller is to learn of every
// wrong field at once.
func allWrong(err error, check func() error) error {
	var first, second *cyclone.InvalidError
	if err != nil && !errors.As(err, &first) {
		return err
	}
	found := check()
	if first == nil || found != nil && !errors.As(found, &second) {
		return found
	}
	all := &cyclone.InvalidError{Fields: slices.Clone(first.Fields)}
	if second == nil {
		return all
	}
	for _, problem := range second.Fields {
		if !slices.ContainsFunc(first.Fields, func(p cyclone.FieldProblem) bool { return within(problem.Field, p.Field) }) {
			all.Fields = append(all.Fields, problem)
		}
	}
	return all
}

// within reports whether a field is another one or a part of it.
func within(field, whole string) bool {
	rest, ok := strings.CutPrefix(field, whole)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
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
