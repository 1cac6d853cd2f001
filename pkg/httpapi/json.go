package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"cyclone/pkg/cyclone"
)

// The most bytes that bodies may have. GitHub sends hooks of up to 25 MiB.
const (
	maxBody = 1 << 20
	maxHook = 25 << 20
)

// bodyTime is how long a body may take to arrive.
const bodyTime = time.Minute

const (
	typeJSON       = "application/json"
	typeMergePatch = "application/merge-patch+json"
)

// writeJSON answers with a value. That the caller has gone is no error here.
func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		status = http.StatusInternalServerError
		b.Reset()
		b.WriteString(`{"error":{"code":"internal","message":"internal error","requestId":""}}`)
	}
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}

// show answers 200 with a value.
func show(w http.ResponseWriter, v any) error {
	writeJSON(w, http.StatusOK, v)
	return nil
}

// created answers 201 with a value and where it is.
func created(w http.ResponseWriter, location string, v any) error {
	w.Header().Set("Location", location)
	writeJSON(w, http.StatusCreated, v)
	return nil
}

// readBody reads a whole body of at most limit bytes.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	// A body that never ends must not keep its request for ever.
	control := http.NewResponseController(w)
	if err := control.SetReadDeadline(time.Now().Add(bodyTime)); err == nil {
		defer func() { _ = control.SetReadDeadline(time.Time{}) }() // it was possible above
	}
	resume := suspendDeadline(r)
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	resume()
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, &statusError{http.StatusRequestEntityTooLarge, "too_large",
			fmt.Sprintf("the body is larger than %d bytes", limit)}
	case err != nil:
		return nil, &statusError{http.StatusBadRequest, "invalid", "the body ended early or took too long"}
	}
	return data, nil
}

// checkType refuses bodies of any other type than the given ones.
func checkType(r *http.Request, types ...string) error {
	got, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err == nil && slices.Contains(types, got) {
		return nil
	}
	return &statusError{http.StatusUnsupportedMediaType, "unsupported_media_type",
		"send the body with Content-Type: " + strings.Join(types, " or ")}
}

// readJSON reads a body into v. Its InvalidError names every field that is
// unknown or of the wrong type; v has the others then; see allWrong.
func readJSON(w http.ResponseWriter, r *http.Request, v any) error {
	if err := checkType(r, typeJSON); err != nil {
		return err
	}
	data, err := readBody(w, r, maxBody)
	if err != nil {
		return err
	}
	tree, err := parseJSON(data)
	if err != nil {
		return err
	}
	return decodeTree(tree, v)
}

// readOptionalJSON is readJSON for requests that may come without a body.
func readOptionalJSON(w http.ResponseWriter, r *http.Request, v any) error {
	if r.ContentLength == 0 {
		return nil
	}
	if r.ContentLength < 0 { // sent in chunks; only reading tells whether there are any
		data, err := readBody(w, r, maxBody)
		if err != nil || len(data) == 0 {
			return err
		}
		r.Body = io.NopCloser(bytes.NewReader(data))
	}
	return readJSON(w, r, v)
}

// parseJSON reads exactly one JSON object.
func parseJSON(data []byte) (map[string]any, error) {
	if !utf8.Valid(data) {
		// It would be read with other characters in their place.
		return nil, &statusError{http.StatusBadRequest, "invalid", "the body is not UTF-8"}
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var tree any
	if err := dec.Decode(&tree); err != nil {
		return nil, notJSON(data, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, &statusError{http.StatusBadRequest, "invalid", "the body has more after its JSON object"}
	}
	object, ok := tree.(map[string]any)
	if !ok {
		return nil, &statusError{http.StatusBadRequest, "invalid", "the body must be a JSON object: {...}"}
	}
	return object, nil
}

func notJSON(data []byte, err error) error {
	message := "the body is not JSON"
	var syntax *json.SyntaxError
	switch {
	case len(bytes.TrimSpace(data)) == 0:
		message = "the body is empty; a JSON object is needed"
	case errors.Is(err, io.ErrUnexpectedEOF):
		message = "the body is not JSON: it ends in the middle"
	case errors.As(err, &syntax):
		line := 1 + bytes.Count(data[:min(int(syntax.Offset), len(data))], []byte("\n"))
		message = fmt.Sprintf("the body is not JSON: line %d: %s", line, syntax.Error())
	}
	return &statusError{http.StatusBadRequest, "invalid", message}
}

// decodeTree checks a parsed object against the Go type behind v and fills v
// with what is right. Its InvalidError names the rest; see allWrong.
func decodeTree(tree map[string]any, v any) error {
	var bad cyclone.InvalidError
	checkFields("", tree, v, &bad)
	data, err := json.Marshal(tree)
	if err != nil {
		return fmt.Errorf("encode checked body: %w", err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return &statusError{http.StatusBadRequest, "invalid", "the body cannot be read: " + err.Error()}
	}
	return bad.OrNil()
}

// mergePatch applies an RFC 7396 patch: null removes, objects are merged,
// anything else replaces. A null for what is not there stays, so that a
// mistyped name is noticed; otherwise it means "not given".
func mergePatch(target, patch map[string]any) map[string]any {
	if target == nil {
		target = map[string]any{}
	}
	for name, value := range patch {
		switch value := value.(type) {
		case nil:
			if _, there := target[name]; !there {
				target[name] = nil
			} else {
				delete(target, name)
			}
		case map[string]any:
			inner, _ := target[name].(map[string]any)
			target[name] = mergePatch(inner, value)
		default:
			target[name] = value
		}
	}
	return target
}

// patched returns the JSON form of a value after a patch.
func patched(v any, patch map[string]any) (map[string]any, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode value to patch: %w", err)
	}
	tree, err := parseJSON(data)
	if err != nil {
		return nil, err
	}
	return mergePatch(tree, patch), nil
}

// readPatch reads a merge patch.
func readPatch(w http.ResponseWriter, r *http.Request) (map[string]any, error) {
	if err := checkType(r, typeMergePatch, typeJSON); err != nil {
		return nil, err
	}
	data, err := readBody(w, r, maxBody)
	if err != nil {
		return nil, err
	}
	return parseJSON(data)
}
