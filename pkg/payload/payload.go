// Package payload reads what forges send to webhooks: it decodes a body into
// typed structs, however wrong the types in it are, and checks the values that
// the drivers of all forges have in common: hashes, names of refs, signatures,
// ids of deliveries, texts that people are shown.
//
// Bodies come from outside. A field that is missing, null or of another type
// counts as not said; only what is no JSON object is refused. Time and memory
// grow with the length of a body and with nothing else that is in it.
//
// It knows no forge and none of their fields but those of a commit, which all
// write the same way, and it decides nothing about what a delivery means.
package payload

import (
	"bytes"
	"mime"
	"net/url"
	"reflect"

	"cyclone/pkg/cyclone"
)

const (
	// maxDepth is how deep objects and lists may lie in each other; forges stay
	// below ten.
	maxDepth = 64
	// maxKept is how many bytes the items of lists may take, without the texts in
	// them, all lists of a body taken together: 30,000 commits, or half a
	// million paths. A list that begins or goes on beyond counts as not said.
	maxKept = 8 << 20
)

// Decode reads a body, JSON or a form with the JSON in its field "payload",
// into the struct that into points to. Fields of these types are filled:
// string, bool, int64, structs, pointers to structs, and slices of those;
// their names are those of their json tags, to the letter. A slice is nil
// when the list was not said, and so is a pointer when the object was not. Of
// keys that come twice the last counts. ErrInvalid when the body is no JSON
// object, or goes deeper than any forge does.
func Decode(contentType string, body []byte, into any) error {
	text, err := JSON(contentType, body)
	if err != nil {
		return err
	}
	target := reflect.ValueOf(into).Elem()
	r := &reader{data: text, room: maxKept, plans: map[reflect.Type]plan{}}
	r.space()
	if r.peek() != '{' {
		return cyclone.Invalid("body", "is not a JSON object")
	}
	if err := r.value(target); err != nil {
		return err
	}
	if r.space(); r.pos < len(text) {
		return cyclone.Invalid("body", "goes on after the JSON object, at byte %d", r.pos)
	}
	return nil
}

// JSON is the JSON of a body: all of it or, when it is a form, its field
// "payload". ErrInvalid when the form cannot be read or has no such field.
func JSON(contentType string, body []byte) ([]byte, error) {
	if !IsForm(contentType) {
		return body, nil
	}
	form, err := Form(body, "payload")
	if err != nil {
		return nil, err
	}
	text, ok := form["payload"]
	if !ok {
		return nil, cyclone.Invalid("payload", "is missing from the form")
	}
	return []byte(text), nil
}

// IsForm reports whether a Content-Type is that of a form's fields.
func IsForm(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && media == "application/x-www-form-urlencoded"
}

// Form reads the named fields of a form; those that are not there are not in
// the answer either, and of fields that come twice the first counts. Other
// fields are passed over, however many there are. ErrInvalid when a field that
// is wanted cannot be read.
func Form(body []byte, names ...string) (map[string]string, error) {
	fields := map[string]string{}
	for len(body) > 0 {
		var field []byte
		field, body, _ = bytes.Cut(body, []byte("&"))
		key, value, _ := bytes.Cut(field, []byte("="))
		for _, name := range names {
			if _, again := fields[name]; again || string(key) != name {
				continue
			}
			text, err := url.QueryUnescape(string(value))
			if err != nil {
				return nil, cyclone.Invalid(name, "cannot be read as a field of a form")
			}
			fields[name] = text
		}
	}
	return fields, nil
}
