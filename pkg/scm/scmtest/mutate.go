package scmtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"cyclone/pkg/cyclone"
)

// replacements stand in for each value of a payload in turn.
var replacements = []string{
	`null`, `true`, `-1`, `1e400`, `0.5`, `""`, `"\u0000"`, `"--upload-pack=x"`, `[]`, `[null,"x",{}]`, `{}`, `{"id":[]}`,
}

// perValue is how many of the replacements each value gets; they take turns.
const perValue = 2

// mutable picks one delivery of each kind and action that starts something.
func (s Suite) mutable(cases []Case) []Case {
	var picked []Case
	seen := map[string]bool{}
	for _, c := range cases {
		hook, err := s.Forge.Parse(c.Header, c.Body)
		if err != nil || hook.Ignored != "" || !json.Valid(c.Body) {
			continue
		}
		if key := string(hook.Kind) + "/" + string(hook.Action); !seen[key] {
			seen[key] = true
			picked = append(picked, c)
		}
	}
	return picked
}

// mutated removes and replaces every value of the payload, one at a time: each
// time the driver must answer with a sound hook or with ErrInvalid.
func (s Suite) mutated(t *testing.T, c Case) {
	try := func(from, to int, text string) {
		body := slices.Concat(c.Body[:from], []byte(text), c.Body[to:])
		hook, err := s.Forge.Parse(c.Header, body)
		Check(t, hook, err)
		if t.Failed() {
			t.Fatalf("with the payload %s", body)
		}
	}
	turn := 0
	for _, p := range places(t, c.Body) {
		if p.key > 0 {
			try(p.key, p.keyEnd, `"?"`) // nobody knows a key of this name
		}
		for range perValue {
			try(p.value, p.end, replacements[turn%len(replacements)])
			turn++
		}
	}
}

// place is where a value stands in a text, and the key before it, if it has one.
type place struct{ key, keyEnd, value, end int }

// places are all the values of a JSON text but the whole.
func places(t *testing.T, text []byte) []place {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	var found []place
	var open []int // the values that have begun, as indexes in found
	var key place
	isKey := []bool{false} // whether the next text at each depth is a key
	for {
		before := d.InputOffset()
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return found[1:]
		}
		if err != nil {
			t.Fatal(err)
		}
		start, end, top := int(before)+bytes.IndexFunc(text[before:], begins), int(d.InputOffset()), len(isKey)-1
		delim, isDelim := token.(json.Delim)
		switch {
		case isDelim && (delim == '}' || delim == ']'):
			found[open[len(open)-1]].end = end
			open, isKey = open[:len(open)-1], isKey[:top]
			continue
		case isKey[top]:
			key, isKey[top] = place{key: start, keyEnd: end}, false
			continue
		}
		key.value, key.end = start, end
		found = append(found, key)
		key = place{}
		isKey[top] = top > 0 && text[found[open[top-1]].value] == '{'
		if isDelim {
			open, isKey = append(open, len(found)-1), append(isKey, delim == '{')
		}
	}
}

// begins reports whether a token can begin with r.
func begins(r rune) bool { return !strings.ContainsRune(" \t\r\n:,", r) }

func (s Suite) signature(t *testing.T, c Case) {
	secret := []byte("it is a secret to everybody")
	signed := c.Header.Clone()
	s.Sign(signed, c.Body, secret)
	if err := s.Forge.Verify(signed, c.Body, secret); err != nil {
		t.Fatalf("the right signature is refused: %v", err)
	}
	other := c.Header.Clone()
	s.Sign(other, c.Body, []byte("another"))
	cases := []struct {
		name         string
		header       http.Header
		body, secret []byte
	}{
		{"no signature", c.Header, c.Body, secret},
		{"signed with another secret", other, c.Body, secret},
		{"no secret", signed, c.Body, nil},
	}
	for _, x := range cases {
		if err := s.Forge.Verify(x.header, x.body, x.secret); !errors.Is(err, cyclone.ErrForbidden) {
			t.Errorf("%s: Verify = %v; want ErrForbidden", x.name, err)
		}
	}
}

func (s Suite) deliveryID(t *testing.T, c Case) {
	with := c.Header.Clone()
	with.Set(s.IDHeader, "72d3162e-cc78-11e3-81ab-4c9367dc0958")
	if id := s.Forge.DeliveryID(with, c.Body); id != "72d3162e-cc78-11e3-81ab-4c9367dc0958" {
		t.Errorf("id is %q, not the forge's own", id)
	}
	for _, given := range []string{"", "a/b\x00", string(bytes.Repeat([]byte("x"), 5000))} {
		header := c.Header.Clone()
		for _, name := range s.OtherIDs {
			header.Del(name)
		}
		header.Set(s.IDHeader, given)
		id := s.Forge.DeliveryID(header, c.Body)
		if len(id) < 20 || len(id) > 100 {
			t.Errorf("id made without the forge's is %q", id)
		}
		if again := s.Forge.DeliveryID(header, c.Body); again != id {
			t.Errorf("the same delivery is %q and %q", id, again)
		}
		if other := s.Forge.DeliveryID(header, append([]byte(" "), c.Body...)); other == id {
			t.Error("another body has the same id")
		}
	}
}

func (s Suite) noJSON(t *testing.T, c Case) {
	for _, body := range []string{"", "null", "[]", `"x"`, "{", "{} {}", "payload=", "payload=%zz", "\xff\xfe"} {
		for _, contentType := range []string{"application/json", "application/x-www-form-urlencoded", ";;", ""} {
			header := c.Header.Clone()
			header.Set("Content-Type", contentType)
			if hook, err := s.Forge.Parse(header, []byte(body)); !errors.Is(err, cyclone.ErrInvalid) {
				t.Errorf("Parse(%q as %q) = %+v, %v; want ErrInvalid", body, contentType, hook, err)
			}
		}
	}
}
