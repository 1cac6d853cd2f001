package seal_test

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/seal"
)

var _ cyclone.Sealer = (*seal.Sealer)(nil)

func sealer(t *testing.T) *seal.Sealer {
	t.Helper()
	key, err := seal.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	s, err := seal.New(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRoundTrip(t *testing.T) {
	s := sealer(t)
	for _, plain := range []string{"", "x", "pass:word", strings.Repeat("long", 10000)} {
		a, err := s.Seal("secret/p/n", []byte(plain))
		if err != nil {
			t.Fatal(err)
		}
		b, err := s.Seal("secret/p/n", []byte(plain))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(a, b) {
			t.Error("the same text sealed twice gives the same bytes: its equality leaks")
		}
		if plain != "" && len(plain) > 3 && bytes.Contains(a, []byte(plain)) {
			t.Error("the plain text stands in the sealed value")
		}
		got, err := s.Open("secret/p/n", a)
		if err != nil || string(got) != plain {
			t.Errorf("Open = %q, %v; want %q", got, err, plain)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	s, other := sealer(t), sealer(t)
	sealed, err := s.Seal("cluster/prod", []byte("token"))
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(sealed)
	flipped[len(flipped)-1] ^= 1
	cases := []struct {
		name    string
		s       *seal.Sealer
		purpose string
		value   []byte
	}{
		{"another purpose", s, "cluster/test", sealed},
		{"another key", other, "cluster/prod", sealed},
		{"a changed byte", s, "cluster/prod", flipped},
		{"a short value", s, "cluster/prod", sealed[:5]},
		{"nothing", s, "cluster/prod", nil},
		{"another version", s, "cluster/prod", append([]byte{9}, sealed[1:]...)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got, err := c.s.Open(c.purpose, c.value); err == nil {
				t.Errorf("Open = %q; want an error", got)
			}
		})
	}
}

func TestKeys(t *testing.T) {
	key := bytes.Repeat([]byte{0xfb}, seal.KeySize)
	for _, text := range []string{
		base64.StdEncoding.EncodeToString(key), base64.RawStdEncoding.EncodeToString(key),
		base64.URLEncoding.EncodeToString(key), " " + base64.StdEncoding.EncodeToString(key) + "\n",
	} {
		if got, err := seal.ParseKey(text); err != nil || !bytes.Equal(got, key) {
			t.Errorf("ParseKey(%q) = %x, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "short", "!!!", base64.StdEncoding.EncodeToString(key[:31])} {
		if _, err := seal.ParseKey(text); err == nil {
			t.Errorf("ParseKey(%q) succeeded", text)
		}
	}
	if _, err := seal.New(key[:16]); err == nil {
		t.Error("New accepted 16 bytes")
	}
}
