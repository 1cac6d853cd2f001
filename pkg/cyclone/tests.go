package cyclone

import "time"

// TestStatus is how one test case ended.
type TestStatus string

// The ends of a test case: TestFailed when it found something wrong, TestError
// when it could not be carried out.
const (
	TestPassed  TestStatus = "passed"
	TestFailed  TestStatus = "failed"
	TestError   TestStatus = "error"
	TestSkipped TestStatus = "skipped"
)

// TestCase is one test of a report.
type TestCase struct {
	Stage   Stage      `json:"stage"`
	Step    string     `json:"step"`
	Suite   string     `json:"suite"`
	Class   string     `json:"class"`
	Name    string     `json:"name"`
	Status  TestStatus `json:"status"`
	Seconds float64    `json:"seconds"`
	// Message is the failure in a line, Output what the test printed, cut to
	// its end.
	Message string `json:"message,omitempty"`
	Output  string `json:"output,omitempty"`
}

// TestSummary counts the test cases of reports.
type TestSummary struct {
	Total   int     `json:"total"`
	Passed  int     `json:"passed"`
	Failed  int     `json:"failed"` // with those that ended in an error
	Skipped int     `json:"skipped"`
	Seconds float64 `json:"seconds"`
	// Failures are the first MaxFailures failed cases with the end of their
	// output.
	Failures []TestCase `json:"failures,omitempty"`
}

// MaxFailures is how many failed test cases an event itself names; its reports
// have all.
const MaxFailures = 20

// TestReport is what the tests of a step, or of a whole event, found.
type TestReport struct {
	TestSummary
	Cases     []TestCase `json:"cases"`
	CreatedAt time.Time  `json:"createdAt"`
}
