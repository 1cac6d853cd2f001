package fakeforge

import (
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"
)

// Shape is the documented form of a JSON object: its fields, none besides.
type Shape map[string]Field

// Field is the documented form of one field.
type Field struct {
	// Type is "string", "bool", "number", "strings", "object", or "flag" for
	// "0", "1", 0 or 1.
	Type     string
	Required bool
	Max      int      // characters of a string; 0 means any
	OneOf    []string // what a string, or each of the strings, may be
	Object   Shape
}

// problems says what is wrong with a body, field by field.
func (s Shape) problems(at string, body map[string]any) []string {
	var found []string
	for _, name := range slices.Sorted(maps.Keys(body)) {
		f, known := s[name]
		if !known {
			found = append(found, at+name+" is no documented field")
			continue
		}
		found = append(found, f.problems(at+name, body[name])...)
	}
	for _, name := range slices.Sorted(maps.Keys(s)) {
		if _, there := body[name]; s[name].Required && !there {
			found = append(found, at+name+" is missing")
		}
	}
	return found
}

func (f Field) problems(name string, v any) []string {
	wrong := []string{fmt.Sprintf("%s is %v, not a %s", name, v, f.Type)}
	switch f.Type {
	case "string":
		if s, ok := v.(string); ok {
			return f.text(name, s)
		}
	case "bool":
		if _, ok := v.(bool); ok {
			return nil
		}
	case "number":
		if _, ok := v.(float64); ok {
			return nil
		}
	case "flag":
		if v == "0" || v == "1" || v == 0.0 || v == 1.0 {
			return nil
		}
	case "strings":
		return f.list(name, v, wrong)
	case "object":
		if o, ok := v.(map[string]any); ok {
			return f.Object.problems(name+".", o)
		}
	}
	return wrong
}

func (f Field) list(name string, v any, wrong []string) []string {
	all, ok := v.([]any)
	if !ok {
		return wrong
	}
	var found []string
	for _, one := range all {
		s, ok := one.(string)
		if !ok {
			return wrong
		}
		found = append(found, f.text(name, s)...)
	}
	return found
}

func (f Field) text(name, s string) []string {
	if f.Max > 0 && utf8.RuneCountInString(s) > f.Max {
		return []string{fmt.Sprintf("%s is too long (maximum is %d characters)", name, f.Max)}
	}
	if f.OneOf != nil && !slices.Contains(f.OneOf, s) {
		return []string{fmt.Sprintf("%s %q is not included in the list", name, s)}
	}
	return nil
}
