package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"cyclone/pkg/client"
	"cyclone/pkg/cyclone"
)

func (a *app) eventShow() *cobra.Command {
	c := &cobra.Command{Use: "show EVENT", Short: "Show an event", Args: named("EVENT")}
	c.RunE = a.calls(func(cmd *cobra.Command, c *client.Client, args []string) error {
		e, err := c.Event(cmd.Context(), cyclone.EventID(args[0]))
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(e)
		}
		return a.showEvent(&e.Value)
	})
	return c
}

func (a *app) showEvent(e *cyclone.Event) error {
	err := a.facts(
		"ID", string(e.ID), "Project", fmt.Sprintf("%s #%d", e.Project, e.Number), "Status", string(e.Status), "Reason", e.Reason,
		"Trigger", strings.TrimSpace(string(e.Trigger.Kind)+" "+e.Trigger.Actor), "Parent", string(e.Trigger.Parent), "Begins at", string(e.Trigger.From),
		"Source", e.Source(), "Commit", e.Commit.SHA, "Message", firstLine(e.Commit.Message), "Author", e.Commit.Author,
		"Version", e.Version, "Image", image(e.Image), "Digest", e.Image.Digest, "Worker", string(e.Worker.ID),
		"Created", clock(e.CreatedAt), "Started", clockOf(e.StartedAt), "Finished", clockOf(e.FinishedAt),
		"Took", took(e.StartedAt, e.FinishedAt), "Log lines", fmt.Sprint(e.LogLines), "Tests", tests(e.Tests), "Artifacts", artifacts(e))
	if err != nil {
		return err
	}
	for _, show := range []func(*cyclone.Event) error{a.showStages, a.showImages, a.showFindings, a.showFailedTests} {
		if err := show(e); err != nil {
			return err
		}
	}
	if f := e.Error; f != nil {
		return a.printf("\n%s\n", oneLine(fmt.Sprintf("failed: stage %s, step %s, command %q, exit code %d: %s", f.Stage, f.Step, f.Command, f.ExitCode, f.Message)))
	}
	return nil
}

// image is name:tag, "" while nothing was built.
func image(i cyclone.Image) string {
	if i.Tag == "" {
		return ""
	}
	return i.Ref()
}

// tests counts what tests found, "" without reports.
func tests(t *cyclone.TestSummary) string {
	if t == nil {
		return ""
	}
	return fmt.Sprintf("%d: %d passed, %d failed, %d skipped in %.1fs", t.Total, t.Passed, t.Failed, t.Skipped, t.Seconds)
}

// artifacts says how many there are and how to have them.
func artifacts(e *cyclone.Event) string {
	switch {
	case e.Files == 0:
		return ""
	case e.FilesRemovedAt != nil:
		return fmt.Sprintf("%d, removed by retention at %s", e.Files, clock(*e.FilesRemovedAt))
	}
	return fmt.Sprintf("%d; `cyclone artifact list %s` lists them", e.Files, e.ID)
}

// showStages prints the tables of stages and deployments.
func (a *app) showStages(e *cyclone.Event) error {
	if len(e.Stages) > 0 {
		if err := a.stageTable(e); err != nil {
			return err
		}
	}
	if len(e.Deployments) == 0 {
		return nil
	}
	var rows [][]string
	for _, d := range e.Deployments {
		rows = append(rows, []string{d.Cluster, d.Namespace, d.Deployment, string(d.Status), d.Image, d.Error})
	}
	return a.section("CLUSTER NAMESPACE DEPLOYMENT STATUS IMAGE ERROR", rows)
}

// stageTable prints the stages, with notes where there are any.
func (a *app) stageTable(e *cyclone.Event) error {
	var rows [][]string
	noted := false
	for _, s := range e.Stages {
		n := note(e, s)
		noted = noted || n != ""
		rows = append(rows, []string{string(s.Name), string(s.Status), took(s.StartedAt, s.FinishedAt), fmt.Sprintf("%d-%d", s.FirstLine, s.LastLine), n})
	}
	if noted {
		return a.section("STAGE STATUS TOOK LINES NOTE", rows)
	}
	for i := range rows {
		rows[i] = rows[i][:4]
	}
	return a.section("STAGE STATUS TOOK LINES", rows)
}

// note is what a stage's status does not say: whose results it stands for, and
// which of its steps failed and were allowed to.
func note(e *cyclone.Event, s cyclone.StageState) string {
	order := func(s cyclone.Stage) int { return slices.Index(cyclone.Stages, s) }
	if s.Status == cyclone.StatusSkipped && s.Name != cyclone.StageClone && order(s.Name) < order(e.Trigger.From) {
		return "taken over"
	}
	var allowed []string
	for _, step := range s.Steps {
		if s.Status == cyclone.StatusSuccess && step.Status.Final() && step.Status != cyclone.StatusSuccess && step.Status != cyclone.StatusSkipped {
			allowed = append(allowed, step.Name)
		}
	}
	if len(allowed) == 0 {
		return ""
	}
	return "allowed to fail: " + strings.Join(allowed, ", ")
}

// showImages prints the images where there are several.
func (a *app) showImages(e *cyclone.Event) error {
	if len(e.Images) < 2 {
		return nil
	}
	var rows [][]string
	for _, i := range e.Images {
		rows = append(rows, []string{i.Build, image(i.Image), i.Digest})
	}
	return a.section("BUILD IMAGE DIGEST", rows)
}

// showFindings prints what was found in caicloud.yml.
func (a *app) showFindings(e *cyclone.Event) error {
	if len(e.Problems) == 0 {
		return nil
	}
	if err := a.printf("\n"); err != nil {
		return err
	}
	for _, p := range e.Problems {
		text := fmt.Sprintf("%s:%d:%d: %s: ", p.File, p.Line, p.Column, p.Severity)
		if p.Path != "" {
			text += p.Path + ": "
		}
		if text += p.Message; p.Hint != "" {
			text += "; " + p.Hint
		}
		if err := a.printf("%s\n", oneLine(strings.TrimPrefix(text, ":"))); err != nil {
			return err
		}
	}
	return nil
}

// showFailedTests prints the first tests that failed.
func (a *app) showFailedTests(e *cyclone.Event) error {
	if e.Tests == nil || len(e.Tests.Failures) == 0 {
		return nil
	}
	var rows [][]string
	for _, f := range e.Tests.Failures {
		rows = append(rows, []string{place(f), testName(f), f.Message})
	}
	if err := a.section("STEP FAILED-TEST MESSAGE", rows); err != nil {
		return err
	}
	if more := e.Tests.Failed - len(e.Tests.Failures); more > 0 {
		return a.printf("and %d more; `cyclone report %s --failed` shows all\n", more, oneLine(string(e.ID)))
	}
	return nil
}

func (a *app) section(head string, rows [][]string) error {
	if err := a.printf("\n"); err != nil {
		return err
	}
	return a.table(head, rows)
}
