package forge

import (
	"strings"
	"time"
	"unicode"

	"cyclone/pkg/cyclone"
)

// maxLine bounds what is told in one line, in characters.
const maxLine = 500

// describe says in one line how far an event is, and why.
func describe(e *cyclone.Event) string {
	switch e.Status {
	case cyclone.StatusPending:
		return because("waits for a worker", e.Reason)
	case cyclone.StatusBlocked:
		return because("waits for approval", e.Reason)
	case cyclone.StatusRunning:
		return line("running: " + place(e))
	}
	text := string(e.Status)
	if took := between(e.StartedAt, e.FinishedAt); took != "" {
		text += " after " + took
	}
	return because(text, e.Reason)
}

func because(text, why string) string {
	if why = line(why); why != "" {
		text += ": " + why
	}
	return line(text)
}

// place is the stage that began last, with the step that is at work in it.
func place(e *cyclone.Event) string {
	at := string(cyclone.StageClone)
	for _, stage := range e.Stages {
		if stage.StartedAt == nil && stage.Status != cyclone.StatusRunning {
			continue
		}
		at = string(stage.Name)
		for _, step := range stage.Steps {
			if step.Status == cyclone.StatusRunning && step.Name != "" && step.Name != string(stage.Name) {
				at = string(stage.Name) + ", step " + step.Name
			}
		}
	}
	return at
}

// between is how long something took, in whole seconds; empty when it is not
// known.
func between(from, to *time.Time) string {
	if from == nil || to == nil || !to.After(*from) {
		return ""
	}
	return cyclone.Duration(max(to.Sub(*from).Round(time.Second), time.Second)).String()
}

// line is a text from outside in one printable line.
func line(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(head(text), ""))
	return cut(strings.Join(strings.Fields(text), " "), maxLine)
}

// head bounds the work on a long text.
func head(text string) string { return text[:min(len(text), 8*maxLine)] }

// cut shortens a text to n characters.
func cut(text string, n int) string {
	if all := []rune(text); len(all) > n {
		return string(all[:n-3]) + "..."
	}
	return text
}
