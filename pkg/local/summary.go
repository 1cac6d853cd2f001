package local

import (
	"fmt"
	"time"

	"cyclone/pkg/cyclone"
)

// namedTests is how many failed tests the summary names.
const namedTests = 10

// Summary prints what became of the run.
func (p *Printer) Summary(run *Run, s *Server, took time.Duration) {
	r, result := s.Outcome()
	if result.Status == "" {
		result.Status = cyclone.StatusError // the worker had nothing to tell
	}
	code, mark := green, p.mark("✓", "ok  ")
	if result.Status != cyclone.StatusSuccess {
		code, mark = red, p.mark("✗", "FAIL")
	}
	p.printing(func() {
		p.stage = cyclone.StageState{} // nothing runs any more
		p.put("\n" + p.paint(code, fmt.Sprintf("%s %s %s: %s in %s", mark, run.Job.Project.Name, r.Version, result.Status, seconds(took))) + "\n")
		for _, stage := range r.Stages {
			p.put("  " + p.stageLine(stage, len(cyclone.StageIntegration)) + "\n")
		}
		for _, fact := range facts(run, r, s.Files) {
			p.put(fmt.Sprintf("  %-10s %s\n", fact[0], clean(fact[1], false)))
		}
		if result.Status == cyclone.StatusSuccess && result.Reason != "" {
			p.put("  " + clean(result.Reason, false) + "\n")
		}
	})
}

// facts are what the run has made, each with what it is.
func facts(run *Run, r cyclone.Report, files *Files) [][2]string {
	var out [][2]string
	add := func(what, format string, args ...any) {
		out = append(out, [2]string{what, fmt.Sprintf(format, args...)})
	}
	if t := r.Tests; t != nil {
		add("tests", "%d passed, %d failed, %d skipped", t.Passed, t.Failed, t.Skipped)
		for i, c := range t.Failures {
			if i == namedTests {
				add("", "and %d more", t.Failed-i)
				break
			}
			add("", "failed: %s", testName(c))
		}
	}
	if count, size := files.artifacts(); count > 0 {
		where := "not kept; --artifacts DIR keeps them"
		if files.Artifacts != "" {
			where = "in " + files.Artifacts
		}
		add("artifacts", "%s, %s, %s", plural(count, "file"), bytesText(size), where)
	}
	if run.runs(cyclone.StageBuild) {
		for _, image := range r.Images {
			pushed := ""
			if image.Digest != "" {
				pushed = ", pushed as " + image.Digest
			}
			add("image", "%s%s", image.Ref(), pushed)
		}
	}
	for _, d := range r.Deployments {
		add("deployed", "%s/%s/%s: %s", d.Cluster, d.Namespace, d.Deployment, d.Status)
	}
	return out
}

func testName(c cyclone.TestCase) string {
	if c.Class != "" {
		return c.Name + " (" + c.Class + ")"
	}
	return c.Name
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
