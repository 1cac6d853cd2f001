// Package junit reads test reports in the XML that JUnit began and every test
// runner writes in its own way: Surefire, Gradle, pytest, go-junit-report,
// gotestsum, jest, mocha, PHPUnit, googletest and their like.
//
// A report is foreign input. Its size, the number of its cases, its nesting
// and what is kept of each case are bounded; there are no entities but XML's
// own five and numbers, and nothing is ever fetched.
//
// It is not a writer of reports and no judge of them: what a failed case means
// for its event, the worker decides.
package junit

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"cyclone/pkg/cyclone"
)

// The bounds of a report.
const (
	MaxSize    = 32 << 20 // bytes of a file
	MaxCases   = 50_000   // test cases of a file
	MaxOutput  = 16 << 10 // bytes that are kept of a failed case's output: its end
	MaxMessage = 1 << 10  // bytes that are kept of a message, and of each name: the beginning
	maxDepth   = 100      // elements within each other
	maxTag     = 1 << 20  // bytes between < and > of a tag
)

// Parse reads a report. Cases come in the order of the file; a passed or
// skipped one has no Output. Stage and Step are left empty.
//
// What cannot be read is an ErrInvalid that begins with the line ("line 12:
// ..."); the cases that stand before that line are returned with it.
func Parse(r io.Reader) ([]cyclone.TestCase, error) { return parse(r, MaxSize) }

func parse(r io.Reader, size int) ([]cyclone.TestCase, error) {
	from := newCleaner(r, size)
	p := &parser{d: xml.NewDecoder(from), from: from}
	p.d.CharsetReader = charset
	for {
		t, err := p.d.RawToken()
		if errors.Is(err, io.EOF) {
			return p.cases, p.ended()
		}
		if err == nil {
			err = p.token(t)
		}
		if err != nil {
			return p.cases, p.located(err)
		}
	}
}

// located is an error with the line of the report.
func (p *parser) located(err error) error {
	var syntax *xml.SyntaxError
	if errors.As(err, &syntax) {
		return cyclone.Invalid(fmt.Sprint("line ", syntax.Line), "%s", syntax.Msg)
	}
	if errors.Is(err, cyclone.ErrInvalid) {
		return err
	}
	if read := p.from.err; read != nil && !errors.Is(read, io.EOF) {
		return fmt.Errorf("read test report: %w", read)
	}
	line, _ := p.d.InputPos()
	return cyclone.Invalid(fmt.Sprint("line ", line), "%s", strings.TrimPrefix(err.Error(), "xml: "))
}

// badReport says what is wrong with a report that is XML.
type badReport string

func (b badReport) Error() string { return string(b) }

// parser goes through a report once.
type parser struct {
	d     *xml.Decoder
	from  *cleaner
	cases []cyclone.TestCase
	open  []element
	found bool // there was a root
	now   *current
}

// element is one that has begun and not ended.
type element struct {
	name  string
	suite string // that cases within belong to
}

// current is the test case that is being read.
type current struct {
	cyclone.TestCase
	depth int    // of its element
	text  *tail  // that takes what is read; nil for none
	kind  string // of the first failure, or of what made it skipped

	failed, broken, skipped bool
	printed, body           tail
}

func (p *parser) token(t xml.Token) error {
	switch t := t.(type) {
	case xml.StartElement:
		return p.begin(t)
	case xml.EndElement:
		return p.end(t)
	case xml.CharData:
		if p.now != nil && p.now.text != nil {
			p.now.text.write(t)
		}
	}
	return nil
}

// begin takes the beginning of an element.
func (p *parser) begin(t xml.StartElement) error {
	e := element{name: t.Name.Local}
	if n := len(p.open); n > 0 {
		e.suite = p.open[n-1].suite
	} else if err := p.root(e.name); err != nil {
		return err
	}
	if len(p.open) == maxDepth {
		return badReport(fmt.Sprintf("more than %d elements within each other", maxDepth))
	}
	p.open = append(p.open, e)
	switch {
	case p.now != nil:
		p.now.begin(t, len(p.open))
	case e.name == "testsuite":
		if name := attribute(t, "name"); name != "" {
			p.open[len(p.open)-1].suite = head(name)
		}
	case e.name == "testcase":
		if len(p.cases) == MaxCases {
			return badReport(fmt.Sprintf("more than %d test cases", MaxCases))
		}
		p.now = newCase(t, e.suite, len(p.open))
	}
	return nil
}

func (p *parser) root(name string) error {
	switch {
	case p.found:
		return badReport(fmt.Sprintf("a second report begins with <%s>", head(name)))
	case name != "testsuites" && name != "testsuite" && name != "testcase":
		return badReport(fmt.Sprintf("<%s> begins no JUnit report: <testsuites> or <testsuite> does", head(name)))
	}
	p.found = true
	return nil
}

// end takes the end of an element.
func (p *parser) end(t xml.EndElement) error {
	n := len(p.open)
	if n == 0 || p.open[n-1].name != t.Name.Local {
		return badReport(fmt.Sprintf("</%s> ends nothing that is open", head(t.Name.Local)))
	}
	p.open = p.open[:n-1]
	switch {
	case p.now == nil:
	case n == p.now.depth:
		p.cases = append(p.cases, p.now.done())
		p.now = nil
	case n == p.now.depth+1:
		p.now.text = nil
	}
	return nil
}

// ended is the end of the file.
func (p *parser) ended() error {
	line, _ := p.d.InputPos()
	at := fmt.Sprint("line ", line)
	switch {
	case !p.found:
		return cyclone.Invalid(at, "the file is empty: a JUnit report begins with <testsuites> or <testsuite>")
	case len(p.open) > 0:
		return cyclone.Invalid(at, "the file ends within <%s>", head(p.open[len(p.open)-1].name))
	}
	return nil
}

func attribute(t xml.StartElement, names ...string) string {
	for _, name := range names {
		for _, a := range t.Attr {
			if a.Name.Local == name && a.Value != "" {
				return a.Value
			}
		}
	}
	return ""
}

// head is the beginning of a text that is kept, in one line.
func head(s string) string {
	if len(s) > 4*MaxMessage {
		s = s[:4*MaxMessage]
	}
	s = strings.ToValidUTF8(strings.Join(strings.Fields(s), " "), "")
	if len(s) > MaxMessage {
		s = strings.ToValidUTF8(s[:MaxMessage-len("...")], "") + "..."
	}
	return s
}
