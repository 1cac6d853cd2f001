package payload_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/payload"
)

const form = "application/x-www-form-urlencoded"

type inner struct {
	Text   string `json:"text"`
	Number int64  `json:"number"`
	Truth  bool   `json:"truth"`
}

type base struct {
	Shared string `json:"shared"`
}

type outer struct {
	base
	Inner   inner         `json:"inner"`
	Maybe   *inner        `json:"maybe"`
	List    []inner       `json:"list"`
	Texts   []string      `json:"texts"`
	Lines   payload.Lines `json:"lines"`
	Unnamed string
}

func TestDecode(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, body string
		want       outer
	}{
		{"nothing", ` { } `, outer{}},
		{"all", `{"shared":"s","inner":{"text":"t","number":-7,"truth":true},"maybe":{},"list":[{"text":"a"},{}],"texts":["x",""],"lines":["l"]}`,
			outer{base: base{"s"}, Inner: inner{"t", -7, true}, Maybe: &inner{}, List: []inner{{Text: "a"}, {}}, Texts: []string{"x", ""}, Lines: payload.Lines{"l"}}},
		{"null", `{"shared":null,"inner":null,"maybe":null,"list":null,"texts":null,"lines":null}`, outer{}},
		{"other types", `{"shared":1,"inner":[],"maybe":"x","list":{},"texts":"x","lines":true}`, outer{}},
		{"other types inside", `{"inner":{"text":{},"number":"7","truth":1},"texts":[1,null,"x"],"list":[0,{"number":2}]}`,
			outer{Texts: []string{"", "", "x"}, List: []inner{{}, {Number: 2}}}},
		{"empty lists are said", `{"list":[],"texts":[]}`, outer{List: []inner{}, Texts: []string{}}},
		{"no whole number", `{"inner":{"number":1.5}}`, outer{}},
		{"too large a number", `{"inner":{"number":1e400}}`, outer{}},
		{"beyond 64 bits", `{"inner":{"number":9223372036854775808}}`, outer{}},
		{"the last counts", `{"shared":"a","shared":"b","list":[{"text":"x","number":1}],"list":[{"text":"y"}],"inner":{"number":1},"inner":{"text":"t"}}`,
			outer{base: base{"b"}, List: []inner{{Text: "y"}}, Inner: inner{Text: "t"}}},
		{"the last is null", `{"shared":"a","shared":null}`, outer{}},
		{"keys to the letter", `{"Shared":"a","SHARED":"b","Unnamed":"c"}`, outer{}},
		{"an escaped key", `{"\u0073hared":"s"}`, outer{base: base{"s"}}},
		{"escapes", `{"shared":"\"\\\/\b\f\n\r\tA\u00e9\ud83d\ude80"}`, outer{base: base{"\"\\/\b\f\n\r\tAé🚀"}}},
		{"half a pair", `{"shared":"\ud83dx\ude80"}`, outer{base: base{"\uFFFDx\uFFFD"}}},
		{"a pair that is none", `{"shared":"\ud83d\u0041"}`, outer{base: base{"\uFFFDA"}}},
		{"no UTF-8", "{\"shared\":\"a\xff\"}", outer{base: base{"a\uFFFD"}}},
		{"lines as a text", `{"lines":"a\nb\n"}`, outer{Lines: payload.Lines{"a", "b", ""}}},
	}
	for _, c := range cases {
		var got outer
		if err := payload.Decode("application/json", []byte(c.body), &got); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(outer{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100)
	cases := []struct{ body, says string }{
		{"", "not a JSON object"}, {"null", "not a JSON object"}, {"[]", "not a JSON object"}, {`"x"`, "not a JSON object"},
		{"{} {}", "goes on after the JSON object, at byte 3"}, {"{}x", "goes on"},
		{"{", "at byte 1"}, {`{"a"}`, "colon"}, {`{"a":}`, "no value"}, {`{a:1}`, "string was expected"}, {`{"a":1,}`, "string was expected"},
		{`{"a":1 "b":2}`, "comma"}, {`{"a":[1,]}`, "no value"}, {`{"a":[1 2]}`, "comma"}, {`{"a":"x`, "does not end"}, {"{\"a\":\"\n\"}", "control character"},
		{`{"a":"\x"}`, "escape"}, {`{"a":"\u12g4"}`, "escape"}, {`{"a":"\`, "escape"}, {`{"a":01}`, "comma"}, {`{"a":-}`, "no digits"},
		{`{"a":1.}`, "point"}, {`{"a":1e}`, "exponent"}, {`{"a":+1}`, "no value"}, {`{"a":tru}`, "no value"}, {`{"a":nul}`, "no value"},
		{deep, "deeper than 64 levels"}, {`{"list":` + strings.Repeat("[", 1<<20), "deeper than 64 levels"},
	}
	for _, c := range cases {
		err := payload.Decode("", []byte(c.body), &outer{})
		if !errors.Is(err, cyclone.ErrInvalid) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("Decode(%.40q) = %v; want ErrInvalid that says %q", c.body, err, c.says)
		}
	}
}

func TestForms(t *testing.T) {
	t.Parallel()
	cases := []struct{ media, body, want, says string }{
		{form, "payload=%7B%22shared%22%3A%22a+b%22%7D", "a b", ""},
		{form + "; charset=utf-8", `x=1&payload={"shared":"s"}&payload={"shared":"t"}`, "s", ""},
		{form, "x=%zz&" + strings.Repeat("a&", 1000) + `payload={"shared":"s"}`, "s", ""},
		{form, "", "", "missing from the form"},
		{form, "x=1", "", "missing from the form"},
		{form, "payload", "", "not a JSON object"},
		{form, "payload=%zz", "", "cannot be read"},
		{"application/json", `payload={"shared":"s"}`, "", "not a JSON object"},
		{";;", `{"shared":"s"}`, "s", ""},
	}
	for _, c := range cases {
		var got outer
		err := payload.Decode(c.media, []byte(c.body), &got)
		if c.says == "" && (err != nil || got.Shared != c.want) {
			t.Errorf("Decode(%.40q) = %q, %v; want %q", c.body, got.Shared, err, c.want)
		}
		if c.says != "" && (!errors.Is(err, cyclone.ErrInvalid) || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("Decode(%.40q) = %v; want ErrInvalid that says %q", c.body, err, c.says)
		}
	}
}

// Half a list would lie: one that is too long is not said at all.
func TestLongListsAreNotSaid(t *testing.T) {
	t.Parallel()
	long := `["x"` + strings.Repeat(`,"x"`, 600_000) + "]"
	var got outer
	if err := payload.Decode("", []byte(`{"texts":`+long+`,"shared":"s"}`), &got); err != nil || got.Texts != nil || got.Shared != "s" {
		t.Errorf("Decode = %d texts, %q, %v; want none, and what follows", len(got.Texts), got.Shared, err)
	}
	got = outer{}
	lines := `{"lines":"` + strings.Repeat(`\n`, 600_000) + `"}`
	if err := payload.Decode("", []byte(lines), &got); err != nil || got.Lines != nil {
		t.Errorf("Decode = %d lines, %v; want none", len(got.Lines), err)
	}
}

// What is read and what is refused is what encoding/json reads and refuses.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"shared":"s","inner":{"text":"\ud83d\ude80","number":-0,"truth":true},"list":[{}],"texts":["x"],"lines":["y"]}`,
		`{"a":[1,2.5e-3,{"b":null}],"texts":[]}`, `{"shared":"\u0000"}`, `[]`, `{"a":1}x`, "{\"a\":\"\xff\"}", "{\"shared\":\"\x7f\"}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var got outer
		err := payload.Decode("", body, &got)
		if err != nil && !errors.Is(err, cyclone.ErrInvalid) {
			t.Errorf("error %v is not ErrInvalid", err)
		}
		object := bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{"))
		deep := err != nil && strings.Contains(err.Error(), "deeper")
		if (err == nil) != (json.Valid(body) && object) && !deep {
			t.Fatalf("Decode(%q) = %v, but JSON is %v", body, err, json.Valid(body))
		}
		var want struct {
			Texts []string `json:"texts"`
		}
		if err == nil && json.Unmarshal(body, &want) == nil && !bytes.Contains(body, []byte("null")) &&
			bytes.Count(bytes.ToLower(body), []byte("texts")) == 1 && !bytes.Contains(body, []byte(`\`)) && !reflect.DeepEqual(want.Texts, got.Texts) && got.Texts != nil {
			t.Errorf("texts are %q, not %q", got.Texts, want.Texts)
		}
	})
}

// large is a push of 2,048 commits in about 3 MB.
func large() []byte {
	r := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	b.WriteString(`{"ref":"refs/heads/main","commits":[`)
	for i := range 2048 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"id":"%016x%024x","tree_id":"%040x","distinct":true,"message":"Change %d\n\nBecause it \"had\" to. %s","timestamp":"2026-03-01T10:00:00Z",`+
			`"url":"https://github.com/acme/orders/commit/%040x","author":{"name":"Alice","email":"alice@example.com","username":"alice"},`+
			`"committer":{"name":"Alice","email":"alice@example.com","username":"alice"},"added":["src/new%d.go"],"removed":[],"modified":[`,
			r.Uint64(), r.Uint64(), r.Uint64(), i, strings.Repeat("word ", 60), r.Uint64(), i)
		for j := range 12 {
			if j > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, `"services/orders/internal/part%d/file%d.go"`, r.IntN(40), r.IntN(1000))
		}
		b.WriteString(`]}`)
	}
	b.WriteString(`]}`)
	return b.Bytes()
}

type pushed struct {
	Ref     string           `json:"ref"`
	Commits []payload.Commit `json:"commits"`
}

func TestFasterThanAGenericMap(t *testing.T) {
	body := large()
	best := func(read func() error) time.Duration {
		least := time.Hour
		for range 3 {
			start := time.Now()
			if err := read(); err != nil {
				t.Fatal(err)
			}
			least = min(least, time.Since(start))
		}
		return least
	}
	var p pushed
	typed := best(func() error { return payload.Decode("", body, &p) })
	var v map[string]any
	generic := best(func() error { return json.Unmarshal(body, &v) })
	if len(p.Commits) != 2048 || len(payload.Changed(p.Commits)) < 2048 {
		t.Fatalf("%d commits with %d paths", len(p.Commits), len(payload.Changed(p.Commits)))
	}
	if typed > generic {
		t.Errorf("a push of %d bytes is read in %s, into a map of anything in %s", len(body), typed, generic)
	}
}

func BenchmarkDecode(b *testing.B) {
	body := large()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		var p pushed
		if err := payload.Decode("", body, &p); err != nil {
			b.Fatal(err)
		}
		if payload.Changed(p.Commits) == nil {
			b.Fatal("no paths")
		}
	}
}
