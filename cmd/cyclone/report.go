package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"cyclone/pkg/client"
	"cyclone/pkg/cyclone"
)

func (a *app) reportCommand() *cobra.Command {
	var failed bool
	c := &cobra.Command{
		Use: "report EVENT", Short: "Show what an event's tests found", Args: named("EVENT"),
		Long: "Show what an event's tests found: how many of each step passed and failed, and of\nthose that failed what they printed last. With --failed only these are shown.",
	}
	c.Flags().BoolVar(&failed, "failed", false, "only tests that failed")
	c.RunE = a.calls(func(cmd *cobra.Command, c *client.Client, args []string) error {
		status := cyclone.TestStatus("")
		if failed {
			status = cyclone.TestFailed
		}
		o, err := c.Report(cmd.Context(), cyclone.EventID(args[0]), status)
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(o)
		}
		if !failed {
			if err := a.countTests(&o.Value); err != nil {
				return err
			}
		}
		return a.printFailures(&o.Value, !failed)
	})
	return c
}

// countTests prints a table with a line per step, and one of all.
func (a *app) countTests(r *cyclone.TestReport) error {
	var order []string
	sums := map[string]*cyclone.TestSummary{}
	for _, c := range r.Cases {
		sum := sums[place(c)]
		if sum == nil {
			sum = &cyclone.TestSummary{}
			sums[place(c)] = sum
			order = append(order, place(c))
		}
		count(sum, c)
	}
	var rows [][]string
	for _, step := range order {
		rows = append(rows, counts(step, sums[step]))
	}
	return a.table("STEP TESTS PASSED FAILED SKIPPED TOOK", append(rows, counts("all", &r.TestSummary)))
}

func count(sum *cyclone.TestSummary, c cyclone.TestCase) {
	sum.Total++
	sum.Seconds += c.Seconds
	switch c.Status {
	case cyclone.TestPassed:
		sum.Passed++
	case cyclone.TestSkipped:
		sum.Skipped++
	default:
		sum.Failed++
	}
}

func counts(name string, s *cyclone.TestSummary) []string {
	return []string{name, fmt.Sprint(s.Total), fmt.Sprint(s.Passed), fmt.Sprint(s.Failed), fmt.Sprint(s.Skipped), fmt.Sprintf("%.1fs", s.Seconds)}
}

// place is the step of a test, with its stage where that is another word.
func place(c cyclone.TestCase) string {
	if c.Step == string(c.Stage) || c.Step == "" {
		return string(c.Stage)
	}
	return string(c.Stage) + "/" + c.Step
}

// testName is a test's whole name, without what its parts repeat.
func testName(c cyclone.TestCase) string {
	class := c.Class
	if class == "" {
		class = c.Suite
	}
	if class == "" || strings.HasPrefix(c.Name, class) {
		return c.Name
	}
	return class + " " + c.Name
}

// printFailures prints the tests that failed with what they said.
func (a *app) printFailures(r *cyclone.TestReport, apart bool) error {
	for _, c := range r.Cases {
		if c.Status != cyclone.TestFailed && c.Status != cyclone.TestError {
			continue
		}
		if apart {
			if err := a.printf("\n"); err != nil {
				return err
			}
		}
		apart = true
		if err := a.printf("%s %s: %s (%.1fs)\n", c.Status, oneLine(place(c)), oneLine(testName(c)), c.Seconds); err != nil {
			return err
		}
		text := strings.TrimRight(c.Output, "\n")
		if !strings.Contains(text, c.Message) {
			text = c.Message + "\n" + text
		}
		for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
			if err := a.printf("%s\n", strings.TrimRight("    "+harmless(strings.TrimRight(line, "\r")), " ")); err != nil {
				return err
			}
		}
	}
	return nil
}
