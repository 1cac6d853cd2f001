package junit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/junit"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestDialects holds what is read of each runner's reports against testdata.
func TestDialects(t *testing.T) {
	t.Parallel()
	reports, err := filepath.Glob("testdata/*.xml")
	if err != nil || len(reports) < 10 {
		t.Fatalf("%d reports, %v", len(reports), err)
	}
	for _, name := range reports {
		t.Run(filepath.Base(name), func(t *testing.T) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			cases, err := junit.Parse(iotest.OneByteReader(bytes.NewReader(data)))
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.MarshalIndent(cases, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden := strings.TrimSuffix(name, ".xml") + ".json"
			if *update {
				if err := os.WriteFile(golden, append(got, '\n'), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), string(got)+"\n"); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestMalformed(t *testing.T) {
	t.Parallel()
	const open = "<testsuite>\n<testcase name='a'/>\n"
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", "line 1: the file is empty"},
		{"blank", "\n\n", "line 3: the file is empty"},
		{"no XML", "ok 1 - works\n", "line 2: the file is empty"},
		{"another XML", "<html/>", "line 1: <html> begins no JUnit report"},
		{"cut off", open + "<testcase", "line 3: unexpected EOF"},
		{"not ended", open, "line 3: the file ends within <testsuite>"},
		{"crossed", open + "<testcase></testsuite>", "line 3: </testsuite> ends nothing"},
		{"ended twice", open + "</testsuite>\n</testsuite>", "line 4: </testsuite> ends nothing"},
		{"two reports", open + "</testsuite>\n<testsuite/>", "line 4: a second report"},
		{"an entity", open + "<testcase name='&lol;'/>", "line 3: invalid character entity &lol;"},
		{"an outer entity", "<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>\n<testsuite><testcase>&x;</testcase></testsuite>", "line 2: invalid character entity &x;"},
		{"bare ampersand", open + "a & b", "line 3: invalid character entity &"},
		{"bad attribute", open + "<testcase name=a/>", "line 3: unquoted or missing attribute value"},
		{"UTF-16", "<?xml version='1.0' encoding='UTF-16'?>\n<testsuite/>", "line 1: opening charset \"UTF-16\": the file is written in utf-16; write UTF-8"},
		{"XML 1.1", "<?xml version='1.1'?>\n<testsuite/>", "line 1: unsupported version"},
		{"deep", "<testsuites>" + strings.Repeat("<a>", 100), "line 1: more than 100 elements within each other"},
		{"long tag", "<testsuite\n" + strings.Repeat("a='' ", 1<<18), "line 2: a tag is longer than 1 MiB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cases, err := junit.Parse(strings.NewReader(tt.text))
			if !errors.Is(err, cyclone.ErrInvalid) || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("%v, want %s", err, tt.want)
			}
			if strings.HasPrefix(tt.text, open) && len(cases) != 1 {
				t.Errorf("%d cases before the mistake", len(cases))
			}
		})
	}
}

func TestReadErrorIsNotTheReports(t *testing.T) {
	broken := errors.New("the disk is gone")
	_, err := junit.Parse(io.MultiReader(strings.NewReader("<testsuite>"), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) || errors.Is(err, cyclone.ErrInvalid) {
		t.Error(err)
	}
}

// endless is a report that never ends.
type endless struct{ begin, again string }

func (e *endless) Read(p []byte) (int, error) {
	if e.begin == "" {
		e.begin = e.again
	}
	n := copy(p, e.begin)
	e.begin = e.begin[n:]
	return n, nil
}

func TestBounds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		from  endless
		want  string
		cases int
	}{
		{"size", endless{"<testsuite><testcase><failure>", "0123456789abcde\n"}, "the file is larger than 2 MiB", 0},
		{"cases", endless{"<testsuite>", "<testcase/>\n"}, "line 50001: more than 50000 test cases", junit.MaxCases},
		{"comment", endless{"<testsuite><!-- ", "- - -> >"}, "the file is larger than 2 MiB", 0},
		{"CDATA", endless{"<testsuite><![CDATA[", "<a ]]]> "}, "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cases, err := junit.ParseWithin(&tt.from, 2<<20)
			if !errors.Is(err, cyclone.ErrInvalid) || !strings.Contains(err.Error(), tt.want) || len(cases) != tt.cases {
				t.Errorf("%d cases, %v", len(cases), err)
			}
		})
	}
}

func TestWhatIsKept(t *testing.T) {
	long := strings.Repeat("one line of output\n", 5000)
	text := fmt.Sprintf("<testsuite name='%[1]s'><testcase name='%[1]s' classname='%[1]s'><failure message='%[1]s'>the reason</failure><system-out>%[2]s</system-out></testcase>"+
		"<testcase><system-out>%[2]s</system-out></testcase><testcase><skipped message='why'/><system-err>%[2]s</system-err></testcase></testsuite>",
		strings.Repeat("ü", 3000), long)
	cases, err := junit.Parse(strings.NewReader(text))
	if err != nil || len(cases) != 3 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	c := cases[0]
	for _, s := range []string{c.Suite, c.Class, c.Name, c.Message} {
		if len(s) > junit.MaxMessage || !strings.HasSuffix(s, "ü...") || !utf8.ValidString(s) {
			t.Errorf("%d bytes, %.20q...", len(s), s)
		}
	}
	if len(c.Output) > junit.MaxOutput || len(c.Output) < junit.MaxOutput-100 {
		t.Errorf("%d bytes of output", len(c.Output))
	}
	if !strings.HasPrefix(c.Output, "one line") || !strings.HasSuffix(c.Output, "output\nthe reason") {
		t.Errorf("output %.30q ... %q", c.Output, c.Output[len(c.Output)-30:])
	}
	if cases[1].Output != "" || cases[2].Output != "" || cases[2].Message != "why" {
		t.Errorf("kept of others: %+v", cases[1:])
	}
}

func FuzzJUnit(f *testing.F) {
	reports, err := filepath.Glob("testdata/*.xml")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range reports {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		cases, err := junit.Parse(bytes.NewReader(data))
		if err != nil && (!errors.Is(err, cyclone.ErrInvalid) || !strings.HasPrefix(err.Error(), "line ")) {
			t.Errorf("an error without a place: %v", err)
		}
		if n := strings.Count(string(data), "<"); len(cases) > n {
			t.Errorf("%d cases of %d tags", len(cases), n)
		}
		again, _ := junit.Parse(iotest.OneByteReader(bytes.NewReader(data)))
		if !cmp.Equal(cases, again) {
			t.Error("the size of reads makes a difference")
		}
		for _, c := range cases {
			checkCase(t, c)
		}
	})
}

func checkCase(t *testing.T, c cyclone.TestCase) {
	t.Helper()
	for _, s := range []string{c.Suite, c.Class, c.Name, c.Message, c.Output} {
		if !utf8.ValidString(s) {
			t.Errorf("%q is no UTF-8", s)
		}
	}
	if max(len(c.Suite), len(c.Class), len(c.Name), len(c.Message)) > junit.MaxMessage || len(c.Output) > junit.MaxOutput {
		t.Errorf("too much is kept: %+v", c)
	}
	failed := c.Status == cyclone.TestFailed || c.Status == cyclone.TestError
	if !failed && (c.Output != "" || c.Status == cyclone.TestPassed && c.Message != "") {
		t.Errorf("kept of one that did not fail: %+v", c)
	}
	if c.Seconds < 0 || math.IsInf(c.Seconds, 0) || math.IsNaN(c.Seconds) {
		t.Errorf("%v seconds", c.Seconds)
	}
}
