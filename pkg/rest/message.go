package rest

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"unicode"
)

const (
	// maxMessage is how many characters of a text from outside are shown.
	maxMessage = 300
	// maxWord is that of one word, as a content type is.
	maxWord = 60
	// maxReasons is how many details of a refusal are shown.
	maxReasons = 8
)

// message is what a forge says is wrong: GitHub and Gitea say it in message and
// errors, GitLab in message, which may be a map, or in error and
// error_description. It is not cleaned yet.
func message(text []byte) string {
	var said map[string]any
	if json.Unmarshal(text, &said) != nil {
		return "without a reason"
	}
	var parts []string
	for _, key := range []string{"message", "error", "error_description", "errors"} {
		parts = reasons(parts, "", said[key], 0)
	}
	if len(parts) == 0 {
		return "without a reason"
	}
	return strings.Join(slices.Compact(parts), "; ")
}

// reasons appends the texts of a value, each behind the name of its field.
func reasons(parts []string, name string, v any, depth int) []string {
	if len(parts) >= maxReasons || depth > 3 {
		return parts
	}
	switch v := v.(type) {
	case string:
		if v == "" {
			return parts
		}
		if name != "" {
			v = name + ": " + v
		}
		return append(parts, v)
	case []any:
		for _, item := range v {
			parts = reasons(parts, name, item, depth+1)
		}
	case map[string]any:
		if one, ok := problem(v); ok {
			return append(parts, one)
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			parts = reasons(parts, key, v[key], depth+1)
		}
	}
	return parts
}

// problem reads one of GitHub's errors: {"resource": "Hook", "field": "url",
// "code": "custom", "message": "..."}.
func problem(v map[string]any) (string, bool) {
	text := func(key string) string { s, _ := v[key].(string); return s }
	why := text("message")
	if why == "" {
		why = text("code")
	}
	if field := text("field"); field != "" && why != "" {
		return field + ": " + why, true
	}
	return why, why != ""
}

// Line makes one printable line of at most n characters of a text, as a forge
// takes it for a description.
func Line(text string, n int) string {
	text = strings.TrimSpace(strings.Map(printable, strings.ToValidUTF8(text, "")))
	if all := []rune(text); len(all) > n {
		return string(all[:max(n-3, 0)]) + "..."
	}
	return text
}

func printable(r rune) rune {
	if unicode.IsSpace(r) {
		return ' '
	}
	if !unicode.IsPrint(r) {
		return -1
	}
	return r
}

// HasMarker reports whether a comment has the marker on a line of its own; a
// quotation of it does not count. None has an empty marker.
func HasMarker(text, marker string) bool {
	if marker == "" {
		return false
	}
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == marker {
			return true
		}
	}
	return false
}

// Marked is a comment's text with the marker on a line of its own, cut to n
// characters.
func Marked(text, marker string, n int) string {
	if all := []rune(text); len(all) > n {
		text = string(all[:max(n-len(marker)-len("\n...\n"), 0)]) + "\n..."
	}
	if marker != "" && !HasMarker(text, marker) {
		text += "\n" + marker
	}
	return text
}
