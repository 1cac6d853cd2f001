package scmtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"testing"

	"cyclone/pkg/cyclone"
)

// replacements stand in for each value of a payload in turn.
var replacements = []any{
	nil, true, json.Number("-1"), json.Number("1e400"), json.Number("0.5"), "", "\x00", "--upload-pack=x",
	[]any{}, []any{nil, "x", map[string]any{}}, map[string]any{}, map[string]any{"id": []any{}},
}

// perValue is how many of the replacements each value gets; they take turns.
const perValue = 3

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
	d := json.NewDecoder(bytes.NewReader(c.Body))
	d.UseNumber()
	var payload any
	if err := d.Decode(&payload); err != nil {
		t.Fatal(err)
	}
	try := func() {
		body, err := json.Marshal(payload)
		if err != nil {
			t.Fatal(err)
		}
		hook, err := s.Forge.Parse(c.Header, body)
		Check(t, hook, err)
		if t.Failed() {
			t.Fatalf("with the payload %s", body)
		}
	}
	turn := 0
	walk(payload, func(set func(any)) {
		for range perValue {
			set(replacements[turn%len(replacements)])
			turn++
			try()
		}
	}, try)
}

// walk calls replace with a setter of each value below v, and removed after
// each removal of a key.
func walk(v any, replace func(set func(any)), removed func()) {
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			old := v[key]
			delete(v, key)
			removed()
			replace(func(r any) { v[key] = r })
			v[key] = old
			walk(old, replace, removed)
		}
	case []any:
		for i, old := range v {
			replace(func(r any) { v[i] = r })
			v[i] = old
			walk(old, replace, removed)
		}
	}
}

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
