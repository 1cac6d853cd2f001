package scmtest

import (
	"encoding/json"
	"errors"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"cyclone/pkg/cyclone"
)

// bombs are bodies that are small for what a careless reader makes of them.
func bombs() map[string]string {
	const many = 1 << 17
	return map[string]string{
		"objects in objects":     strings.Repeat(`{"repository":`, many) + "1" + strings.Repeat("}", many),
		"lists in lists":         `{"commits":` + strings.Repeat("[", many) + strings.Repeat("]", many) + "}",
		"lists without end":      `{"commits":` + strings.Repeat("[", many),
		"commits":                `{"commits":[` + strings.Repeat("{},", many) + "{}]}",
		"commits of nothing":     `{"commits":[` + strings.Repeat("0,", many) + "0]}",
		"paths":                  `{"commits":[{"added":[` + strings.Repeat(`"",`, many) + `""]}]}`,
		"the same key":           "{" + strings.Repeat(`"commits":[{}],`, many/8) + `"ref":""}`,
		"unknown keys":           "{" + strings.Repeat(`"\u0061":{},`, many/8) + `"ref":""}`,
		"a long number":          `{"number":` + strings.Repeat("9", many) + "}",
		"a long text of escapes": `{"ref":"` + strings.Repeat(`\u0000`, many/4) + `"}`,
		"fields of a form":       strings.Repeat("a&", many) + "payload={}",
	}
}

const (
	// memoryPerByte and spareMemory bound what reading a body may allocate.
	memoryPerByte = 16
	spareMemory   = 64 << 20
	// timesSlower bounds the time of reading a bomb against that in which
	// encoding/json reads as many bytes of a list.
	timesSlower = 15
)

// bombs: every one of them is read, or refused, in bounded time and memory.
// The kinds of delivery take turns.
func (s Suite) bombs(t *testing.T, cases []Case) {
	some, turn, perList := s.mutable(cases), 0, listTime(t)
	for name, body := range bombs() {
		c := some[turn%len(some)]
		turn++
		header := c.Header.Clone()
		if strings.HasSuffix(body, "payload={}") {
			header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		took, grew := s.cost(t, header, []byte(body))
		if most := uint64(memoryPerByte*len(body) + spareMemory); grew > most {
			t.Errorf("%s, as %s: %d bytes allocated for a body of %d", name, c.name, grew, len(body))
		}
		usual := perList * time.Duration(len(body)) / listBytes
		for try := 0; took > timesSlower*usual && try < 5; try++ {
			// A machine with other work to do measures nonsense now and then.
			took, _ = s.cost(t, header, []byte(body))
		}
		if took > timesSlower*usual {
			t.Errorf("%s, as %s: took %s; as many bytes of a list take %s", name, c.name, took, usual)
		}
	}
}

// listBytes is how much of a list listTime reads.
const listBytes = 1 << 18

// listTime is how long encoding/json reads a list of listBytes bytes.
func listTime(t *testing.T) time.Duration {
	t.Helper()
	text := []byte("[0" + strings.Repeat(",0", listBytes/2) + "]")
	start := time.Now()
	var list []any
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	return time.Since(start)
}

// cost parses once and tells what that took, of time and of memory.
func (s Suite) cost(t *testing.T, header http.Header, body []byte) (time.Duration, uint64) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	hook, err := s.Forge.Parse(header, body)
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	Check(t, hook, err)
	return took, after.TotalAlloc - before.TotalAlloc
}

// strange are names of branches and tags that git takes, and refused are such
// that it does not, or would take for an option.
func strange() (taken, refused []string) {
	taken = []string{
		"a;b", "$(touch${IFS}x)", "`id`", "a&&b|c", "it's", `say-"hi"`, "<a>", "ünïcödé/分支/🚀", "a%20b", "x-", "a/-x",
		"feature/#1", "a=b", "{x}", "HEAD", strings.Repeat("n", 244),
	}
	refused = []string{
		"-x", "--upload-pack=x", "a b", "a..b", "a\nb", "a\x00b", "a~1", "a^", "a:b", "a?", "a*", "a[b", `a\b`, "a.lock", "a.lock/b",
		".a", "a/.b", "/a", "a/", "a//b", "a.", "a@{1}", "\x7f", strings.Repeat("n", 2000),
	}
	return taken, refused
}

// names puts strange names where a delivery has the name of its branch or tag.
func (s Suite) names(t *testing.T, cases []Case) {
	taken, refused := strange()
	for _, c := range s.mutable(cases) {
		hook, err := s.Forge.Parse(c.Header, c.Body)
		if err != nil {
			t.Fatal(err)
		}
		old := hook.Branch + hook.Tag
		if old == "" || s.OwnNames {
			continue
		}
		for _, name := range taken {
			got, err := s.Forge.Parse(c.Header, s.renamed(t, c.Body, old, name))
			Check(t, got, err)
			if err != nil || got.Branch+got.Tag != name {
				t.Errorf("%s of %q: Parse = %+v, %v; want that name", c.name, name, got, err)
			}
		}
		for _, name := range refused {
			if got, err := s.Forge.Parse(c.Header, s.renamed(t, c.Body, old, name)); !errors.Is(err, cyclone.ErrInvalid) {
				t.Errorf("%s of %q: Parse = %+v, %v; want ErrInvalid", c.name, name, got, err)
			}
		}
	}
}

// renamed writes another name wherever a whole text of the payload is the old
// one, or its ref.
func (s Suite) renamed(t *testing.T, body []byte, old, name string) []byte {
	t.Helper()
	text := string(body)
	for _, prefix := range []string{"", "refs/heads/", "refs/tags/"} {
		was, err := json.Marshal(prefix + old)
		if err != nil {
			t.Fatal(err)
		}
		is, err := json.Marshal(prefix + name)
		if err != nil {
			t.Fatal(err)
		}
		text = strings.ReplaceAll(text, string(was), string(is))
	}
	return []byte(text)
}
