package mail

import (
	"fmt"
	"strings"

	"cyclone/pkg/cyclone"
)

// How much of what was found is in a mail; the rest is behind its link.
const (
	mostFailures = 10 // failed tests that are named
	mostPrinted  = 5  // of them that show what they printed
	lastPrinted  = 8  // lines of it
	mostProblems = 20
)

// failedTest is a test that failed.
type failedTest struct {
	Name, Message string
	Output        []string // its last lines
}

// testsFound counts what tests found, "" without reports.
func testsFound(t *cyclone.TestSummary) string {
	if t == nil {
		return ""
	}
	return fmt.Sprintf("%d: %d passed, %d failed, %d skipped in %.1fs", t.Total, t.Passed, t.Failed, t.Skipped, t.Seconds)
}

// failedTests are the first failed tests, and how many there are beside them.
func failedTests(t *cyclone.TestSummary) (list []failedTest, more int) {
	if t == nil {
		return nil, 0
	}
	for i, c := range t.Failures[:min(len(t.Failures), mostFailures)] {
		f := failedTest{Name: clean(testName(c), 200), Message: clean(c.Message, 300)}
		if i < mostPrinted {
			f.Output = lastLines(c.Output, f.Message)
		}
		list = append(list, f)
	}
	return list, max(0, t.Failed-len(list))
}

// testName is a test's place and whole name.
func testName(c cyclone.TestCase) string {
	class := c.Class
	if class == "" {
		class = c.Suite
	}
	if class != "" && !strings.HasPrefix(c.Name, class) {
		return class + " " + c.Name
	}
	return c.Name
}

// lastLines is the end of what a test printed, without what is its message
// and nothing else.
func lastLines(output, message string) []string {
	all := strings.Split(strings.TrimRight(output, "\r\n \t"), "\n")
	var lines []string
	for _, line := range all[max(0, len(all)-lastPrinted):] {
		lines = append(lines, clean(line[:min(len(line), 1<<10)], 200))
	}
	if text := strings.TrimSpace(strings.Join(lines, "\n")); text == "" || text == message {
		return nil
	}
	return lines
}

// problems lists what was found in caicloud.yml, and how much more there is.
func problems(list []cyclone.Problem) (lines []string, more int) {
	for _, p := range list[:min(len(list), mostProblems)] {
		at := fmt.Sprintf("%d:%d: %s: ", p.Line, p.Column, p.Severity)
		if p.File != "" {
			at = p.File + ":" + at
		}
		if p.Path != "" {
			at += p.Path + ": "
		}
		text := at + p.Message
		if p.Hint != "" {
			text += "; " + p.Hint
		}
		lines = append(lines, clean(text, 300))
	}
	return lines, len(list) - len(lines)
}

// stepErrors is what went wrong in a stage: its first error, or where the run
// went on all the same every step that was allowed to fail.
func stepErrors(stage cyclone.StageState) string {
	var allowed []string
	for _, step := range stage.Steps {
		switch {
		case step.Error == "":
		case stage.Status != cyclone.StatusSuccess:
			return clean(step.Error, 300)
		case step.Status != cyclone.StatusSuccess && step.Status != cyclone.StatusSkipped:
			allowed = append(allowed, step.Name+": "+step.Error)
		}
	}
	if len(allowed) == 0 {
		return ""
	}
	return clean("allowed to fail: "+strings.Join(allowed, "; "), 300)
}
