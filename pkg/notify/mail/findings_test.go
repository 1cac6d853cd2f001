package mail_test

import (
	"fmt"
	"strings"

	"cyclone/pkg/cyclone"
)

// found is an event with everything that tests and steps may leave.
func found() *cyclone.Event {
	e := success()
	e.Trigger = cyclone.Trigger{Kind: cyclone.KindRerun, Actor: "alice", Parent: "00event", From: cyclone.StageIntegration}
	e.Stages[2] = cyclone.StageState{
		Name: cyclone.StageIntegration, Status: cyclone.StatusSuccess, StartedAt: when(93), FinishedAt: when(94),
		Steps: []cyclone.StepState{{Name: "integration", Status: cyclone.StatusFailure, Error: `command 1 "go test ./..." exited with 1`}},
	}
	e.Files = 3
	e.Tests = &cyclone.TestSummary{Total: 40, Passed: 25, Failed: 14, Skipped: 1, Seconds: 12.345}
	for i := range 13 {
		e.Tests.Failures = append(e.Tests.Failures, cyclone.TestCase{
			Stage: cyclone.StageIntegration, Step: "integration", Class: "shop/cart", Name: fmt.Sprintf("Test<%d>", i+1),
			Status: cyclone.TestFailed, Message: "got 1 & want 2",
			Output: strings.Repeat("before\n", 20) + "\x1b[31mcart_test.go:12: <b>got 1\x1b[0m\r\n  want 2\n\n",
		})
	}
	e.Tests.Failures[1].Output, e.Tests.Failures[2].Output = "", "got 1 & want 2\n"
	for i := range 22 {
		e.Problems = append(e.Problems, cyclone.Problem{
			File: "caicloud.yml", Line: i + 1, Column: 12, Path: "pre_build.image", Severity: cyclone.SeverityWarning,
			Message: `"<golang>" has no tag`, Hint: "write golang:1.26",
		})
	}
	return e
}
