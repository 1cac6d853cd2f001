package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/junit"
)

// Bounds of what a step's reports may hold.
const (
	testCases   = 50_000  // that are kept
	testOutput  = 8 << 20 // bytes of output of failed ones, in all
	testSummary = 2 << 10 // bytes of output of a failed one that the event names
	testNamed   = 10      // failed ones that the log names
	testFiles   = 2000    // reports
)

// reports reads the reports that match the globs and keeps them as one.
func (k *keeping) reports(ctx context.Context, globs []string) error {
	t := &tests{stage: k.s.stage, step: k.s.name, hide: k.run.log.masked}
	seen := map[string]bool{}
	for _, glob := range globs {
		files, err := k.find(ctx, glob)
		if err != nil {
			return fmt.Errorf("reports %q: %w", glob, err)
		}
		n := 0
		for _, f := range files {
			if k.isReport(f, glob) {
				n++
				if !seen[f.place] && len(seen) < testFiles {
					seen[f.place] = true
					k.read(t, f)
				}
			}
		}
		if n == 0 {
			k.s.say("Warning: reports.junit %q: there is no such file", glob)
		}
	}
	if len(seen) == 0 {
		return nil
	}
	if len(seen) == testFiles {
		k.s.say("Warning: reports.junit: only the first %d reports are read", testFiles)
	}
	k.tell(t)
	return k.keepReport(ctx, t)
}

// isReport tells reports from what else lies in a folder.
func (k *keeping) isReport(f *found, glob string) bool {
	return path.Ext(f.place) == ".xml" || path.Base(f.place) == path.Base(glob) || isGlob(path.Base(glob))
}

// read adds one report.
func (k *keeping) read(t *tests, f *found) {
	content, err := f.open()
	if err == nil {
		var cases []cyclone.TestCase
		cases, err = junit.Parse(content)
		t.add(cases)
		err = errors.Join(err, content.Close())
	}
	if err != nil {
		k.s.say("Warning: report %s: %v", f.place, err)
	}
}

// tell says what the tests found.
func (k *keeping) tell(t *tests) {
	k.s.say("Tests: %d passed, %d failed, %d skipped", t.Passed, t.Failed, t.Skipped)
	for i, c := range t.Failures {
		if i == testNamed {
			break
		}
		k.s.say("  failed: %s", caseText(c))
	}
	if more := t.Failed - min(len(t.Failures), testNamed); more > 0 {
		k.s.say("  and %d more", more)
	}
	if t.Total > len(t.Cases) {
		k.s.say("Warning: only the first %d test cases are listed", len(t.Cases))
	}
}

// caseText is a failed case in a line.
func caseText(c cyclone.TestCase) string {
	text := c.Name
	if where := firstOf(c.Class, c.Suite); where != "" && !strings.Contains(text, where) {
		text += " (" + where + ")"
	}
	if c.Message != "" {
		text += ": " + short(c.Message)
	}
	return text
}

// keepReport sends the report and counts it in the event's summary.
func (k *keeping) keepReport(ctx context.Context, t *tests) error {
	r := k.run
	r.kept.mu.Lock()
	sum := addSummaries(r.kept.tests, &t.TestSummary)
	r.kept.tests = sum
	r.kept.mu.Unlock()
	r.update(func(s *cyclone.Report) { s.Tests = sum })
	t.CreatedAt = cyclone.Stamp(time.Now())
	data, err := json.Marshal(t.TestReport)
	if err != nil {
		return fmt.Errorf("write the report of the tests: %w", err)
	}
	f := cyclone.File{
		Kind: cyclone.FileReport, Path: string(k.s.stage) + "/" + k.s.name + ".json",
		Stage: k.s.stage, Step: k.s.name, Size: cyclone.Size(len(data)),
	}
	err = r.send(ctx, f, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil })
	if errors.Is(err, cyclone.ErrInvalid) {
		return failure(k.s.stage, k.s.name, "the report of the tests is not kept: %v", err)
	}
	return err
}

// tests are the test cases of one step.
type tests struct {
	cyclone.TestReport
	stage  cyclone.Stage
	step   string
	hide   func(text string) string
	output int
}

// add counts the cases of one more report.
func (t *tests) add(cases []cyclone.TestCase) {
	for _, c := range cases {
		c.Stage, c.Step = t.stage, t.step
		c.Suite, c.Class, c.Name = t.hide(c.Suite), t.hide(c.Class), t.hide(c.Name)
		c.Message, c.Output = t.hide(c.Message), t.hide(c.Output)
		t.Total++
		t.Seconds += c.Seconds
		switch c.Status {
		case cyclone.TestPassed:
			t.Passed++
		case cyclone.TestSkipped:
			t.Skipped++
		default:
			t.Failed++
			if t.output += len(c.Output); t.output > testOutput {
				c.Output = ""
			}
			if len(t.Failures) < cyclone.MaxFailures {
				t.Failures = append(t.Failures, brief(c))
			}
		}
		if len(t.Cases) < testCases {
			t.Cases = append(t.Cases, c)
		}
	}
}

// brief is a failed case as the event names it.
func brief(c cyclone.TestCase) cyclone.TestCase {
	if over := len(c.Output) - testSummary; over > 0 {
		c.Output = strings.ToValidUTF8(c.Output[over:], "")
		if _, rest, ok := strings.Cut(c.Output, "\n"); ok {
			c.Output = rest
		}
	}
	return c
}

// addSummaries is the sum of two; the first may be nil, and neither changes.
func addSummaries(a, b *cyclone.TestSummary) *cyclone.TestSummary {
	out := cyclone.TestSummary{}
	if a != nil {
		out = *a
	}
	out.Total, out.Passed, out.Failed = out.Total+b.Total, out.Passed+b.Passed, out.Failed+b.Failed
	out.Skipped, out.Seconds = out.Skipped+b.Skipped, out.Seconds+b.Seconds
	all := append(append([]cyclone.TestCase(nil), out.Failures...), b.Failures...)
	out.Failures = all[:min(len(all), cyclone.MaxFailures)]
	return &out
}
