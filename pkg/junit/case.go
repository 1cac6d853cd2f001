package junit

import (
	"encoding/xml"
	"math"
	"strconv"
	"strings"

	"cyclone/pkg/cyclone"
)

// newCase begins a test case at a depth.
func newCase(t xml.StartElement, suite string, depth int) *current {
	c := &current{depth: depth}
	c.Suite = suite
	c.Class = head(attribute(t, "classname", "class"))
	c.Name = head(attribute(t, "name"))
	c.Seconds = seconds(attribute(t, "time", "duration"))
	// googletest and some others say it in words only.
	for _, word := range []string{attribute(t, "status"), attribute(t, "result")} {
		switch strings.ToLower(word) {
		case "notrun", "skipped", "disabled", "ignored", "suppressed", "pending":
			c.skipped = true
		case "failed", "failure":
			c.failed = true
		}
	}
	return c
}

// begin takes the beginning of an element within the case. What flaky tests
// said before they passed (flakyFailure, flakyError) and what a test said when
// it failed again (rerunFailure, rerunError) are no results of their own.
func (c *current) begin(t xml.StartElement, depth int) {
	if depth != c.depth+1 {
		return
	}
	switch t.Name.Local {
	case "failure":
		c.failed = true
		c.say(t)
		c.text = &c.body
	case "error":
		c.broken = true
		c.say(t)
		c.text = &c.body
	case "skipped", "disabled", "ignored":
		c.skipped = true
		c.say(t)
	case "system-out", "system-err":
		c.text = &c.printed
	}
	if c.text != nil && !c.text.empty() {
		c.text.write([]byte("\n"))
	}
}

// say keeps the first message of a case, and the first type for want of one.
func (c *current) say(t xml.StartElement) {
	if c.Message == "" {
		c.Message = head(attribute(t, "message"))
	}
	if c.kind == "" {
		c.kind = head(attribute(t, "type"))
	}
}

// done is the case as it ended.
func (c *current) done() cyclone.TestCase {
	out := c.TestCase
	switch {
	case c.failed:
		out.Status = cyclone.TestFailed
	case c.broken:
		out.Status = cyclone.TestError
	case c.skipped:
		out.Status = cyclone.TestSkipped
		out.Message = orElse(out.Message, c.kind)
		return out
	default:
		out.Status, out.Message = cyclone.TestPassed, ""
		return out
	}
	// What explains the failure comes last: it is the end that is kept.
	var all tail
	all.write([]byte(c.printed.text()))
	if body := c.body.text(); body != "" {
		if !all.empty() {
			all.write([]byte("\n"))
		}
		all.write([]byte(body))
	}
	out.Output = all.text()
	out.Message = orElse(out.Message, c.firstLine(), c.kind)
	return out
}

// firstLine is the first line of what a failure says that is not just the
// test's name.
func (c *current) firstLine() string {
	for line := range strings.Lines(c.body.first) {
		line = head(line)
		if line != "" && (c.Name == "" || !strings.HasSuffix(line, c.Name) && !strings.Contains(line, "::"+c.Name)) {
			return line
		}
	}
	return ""
}

func orElse(texts ...string) string {
	for _, s := range texts {
		if s != "" {
			return s
		}
	}
	return ""
}

// tail keeps the end of a text, and its beginning for a message.
type tail struct {
	first string
	data  []byte
	cut   bool
}

func (t *tail) empty() bool { return len(t.data) == 0 }

func (t *tail) write(p []byte) {
	if room := 2*MaxMessage - len(t.first); room > 0 {
		t.first += string(p[:min(room, len(p))])
	}
	if len(p) > MaxOutput {
		p, t.cut, t.data = p[len(p)-MaxOutput:], true, t.data[:0]
	}
	t.data = append(t.data, p...)
	if over := len(t.data) - MaxOutput; over > MaxOutput {
		t.data, t.cut = append(t.data[:0], t.data[over:]...), true
	}
}

// text is the end that is kept, from the beginning of a line where one begins
// in it.
func (t *tail) text() string {
	data := t.data
	if over := len(data) - MaxOutput; over > 0 {
		data, t.cut = data[over:], true
	}
	s := string(data)
	if t.cut {
		if _, rest, ok := strings.Cut(s, "\n"); ok {
			s = rest
		}
	}
	return strings.Trim(strings.ToValidUTF8(s, ""), "\r\n")
}

// seconds reads a time in any of the forms that runners write: 1.5, 1,234.5,
// 0,25, 1.234,5 and 2s. What is none is 0.
func seconds(s string) float64 {
	s = strings.TrimSuffix(strings.TrimSpace(s), "s")
	last := strings.LastIndexAny(s, ".,")
	if last >= 0 {
		whole, rest := s[:last], s[last+1:]
		mixed := strings.ContainsRune(whole, '.') && s[last] == ',' || strings.ContainsRune(whole, ',') && s[last] == '.'
		if strings.ContainsRune(whole, rune(s[last])) && !mixed {
			whole, rest = whole+rest, "" // it only parts thousands
		}
		s = strings.NewReplacer(".", "", ",", "").Replace(whole) + "." + rest
	}
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) || n < 0 {
		return 0
	}
	return n
}
