// Package scmtest is the contract of cyclone.Forge as tests: golden pairs of
// deliveries and hooks, signatures, delivery ids, and the promise that no
// payload makes a driver panic or lie. It is also the contract of what calls a
// forge's API: what becomes of each call and of each way in which a forge fails.
//
// Only tests import it. It calls no forge but the strict fakes of fakeforge.
package scmtest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
)

// Suite is what a driver brings to its contract.
type Suite struct {
	Forge cyclone.Forge
	// Sign sets the headers by which the forge signs the body.
	Sign func(header http.Header, body, secret []byte)
	// IDHeader carries the forge's own id of a delivery.
	IDHeader string
	// OtherIDs are headers that it is taken from when there is no IDHeader.
	OtherIDs []string
	// Dir holds the deliveries: <name>.header with header lines, <name>.body
	// with the raw body, <name>.golden with the hook or the error as JSON.
	Dir string
	// OwnNames says that branches and tags are named by something else than the
	// payload's texts, such as the paths of Subversion.
	OwnNames bool
	// Update writes the golden files instead of comparing them.
	Update bool
}

// Run checks the whole contract.
func Run(t *testing.T, s Suite) {
	t.Helper()
	cases := s.load(t)
	t.Run("golden", func(t *testing.T) {
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) { s.golden(t, c) })
		}
	})
	t.Run("mutated", func(t *testing.T) {
		for _, c := range s.mutable(cases) {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				s.mutated(t, c)
			})
		}
	})
	t.Run("signature", func(t *testing.T) { s.signature(t, cases[0]) })
	t.Run("delivery id", func(t *testing.T) { s.deliveryID(t, cases[0]) })
	t.Run("no JSON", func(t *testing.T) { s.noJSON(t, cases[0]) })
	t.Run("bombs", func(t *testing.T) { s.bombs(t, cases) })
	t.Run("names", func(t *testing.T) { s.names(t, cases) })
}

// Case is one delivery of testdata.
type Case struct {
	name   string
	Header http.Header
	Body   []byte
}

// load reads the deliveries of s.Dir.
func (s Suite) load(t *testing.T) []Case {
	t.Helper()
	cases, err := Load(s.Dir)
	if err != nil {
		t.Fatal(err)
	}
	return cases
}

// Load reads the deliveries of a folder, for instance as seeds of a fuzz test.
func Load(dir string) ([]Case, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.body"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, errors.New("no deliveries in " + dir)
	}
	var cases []Case
	for _, file := range files {
		body, err := os.ReadFile(filepath.Clean(file))
		if err != nil {
			return nil, err
		}
		base := strings.TrimSuffix(file, ".body")
		head, err := os.ReadFile(filepath.Clean(base + ".header"))
		if err != nil {
			return nil, err
		}
		head = append(bytes.TrimSpace(head), "\r\n\r\n"...)
		header, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(head))).ReadMIMEHeader()
		if err != nil {
			return nil, err
		}
		cases = append(cases, Case{filepath.Base(base), http.Header(header), body})
	}
	return cases, nil
}

// outcome is what a golden file holds.
type outcome struct {
	Hook  *cyclone.Hook `json:",omitempty"`
	Error string        `json:",omitempty"`
}

func (s Suite) golden(t *testing.T, c Case) {
	hook, err := s.Forge.Parse(c.Header, c.Body)
	got := outcome{Hook: hook}
	if err != nil {
		got = outcome{Error: err.Error()}
	}
	Check(t, hook, err)
	file := filepath.Join(s.Dir, c.name+".golden")
	if s.Update {
		text, err := json.MarshalIndent(got, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append(text, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	text, err := os.ReadFile(filepath.Clean(file))
	if err != nil {
		t.Fatal(err)
	}
	var want outcome
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("parsed differs from %s (-want +got):\n%s", file, diff)
	}
}
