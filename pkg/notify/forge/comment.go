package forge

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"cyclone/pkg/cyclone"
)

// Comments keeps one comment on each pull request with the table of stages,
// edited in place. It is a view of the Notifier.
type Comments struct{ *Notifier }

// Comments is the notifier of comments with what n has.
func (n *Notifier) Comments() *Comments { return &Comments{n} }

// Wanted reports whether the event belongs into a comment: it is about a pull
// request and not skipped, the project wants comments, and the forge can be
// told at all.
func (c *Comments) Wanted(p *cyclone.Project, e *cyclone.Event) bool {
	wish := p.Notifications.Comment
	return wish != nil && wish.Enabled && e.PullRequest != nil && e.PullRequest.Number > 0 &&
		e.Status != cyclone.StatusSkipped && c.Notifier.Wanted(p, e)
}

// Notify writes the comment on the event's pull request, if it is Wanted, over
// the one that is there. That of a newer event stays. The errors are those of
// Notifier.Notify.
func (c *Comments) Notify(ctx context.Context, p *cyclone.Project, e *cyclone.Event) error {
	if !c.Wanted(p, e) {
		return nil
	}
	access, ok, err := c.access(ctx, p)
	if err != nil || !ok {
		return wrap(err, "write comment")
	}
	marker := "<!-- cyclone/" + string(p.Name) + " -->"
	err = c.follow(ctx, e, samePullRequest, func(newest *cyclone.Event) error {
		return c.Drivers[p.Repository.Type].PutComment(ctx, access, newest.PullRequest.Number, marker, c.text(p, newest)+"\n"+marker+"\n")
	})
	return wrap(err, "write comment")
}

// maxFailures is how many failed tests are listed.
const maxFailures = 10

// text is the comment, in the Markdown that forges have in common. What comes
// from outside stands in code, all in one line, where no forge looks for
// mentions, links, HTML or commands.
func (c *Comments) text(p *cyclone.Project, e *cyclone.Event) string {
	var b strings.Builder
	fmt.Fprintf(&b, "**Cyclone**: %s of %s %s\n\n", link(fmt.Sprintf("%s, event %d", p.Name, e.Number), c.EventURL, e), code(e.Commit.ShortSHA()), headline(e))
	if e.Reason != "" {
		fmt.Fprintf(&b, "%s\n\n", code(e.Reason))
	}
	table(&b, e)
	failure(&b, e)
	tests(&b, e.Tests)
	if c.LogURL != nil {
		fmt.Fprintf(&b, "%s\n", link("Complete log", c.LogURL, e))
	}
	return b.String()
}

// headline is how far the event is, in words of our own alone.
func headline(e *cyclone.Event) string {
	switch e.Status {
	case cyclone.StatusPending:
		return "waits for a worker"
	case cyclone.StatusBlocked:
		return "waits for approval"
	case cyclone.StatusRunning:
		return "is running"
	}
	text := "ended: **" + word(e.Status) + "**"
	if took := between(e.StartedAt, e.FinishedAt); took != "" {
		text += " after " + took
	}
	return text
}

// word is a status, or nothing for what is none.
func word(s cyclone.Status) string {
	if !slices.Contains(cyclone.Statuses, s) {
		return ""
	}
	return string(s)
}

// table has the stages that the worker told of; names that are none of
// Cyclone's are left out.
func table(b *strings.Builder, e *cyclone.Event) {
	var rows []string
	for _, s := range e.Stages {
		if slices.Contains(cyclone.Stages, s.Name) {
			rows = append(rows, fmt.Sprintf("| %s | %s | %s |\n", s.Name, word(s.Status), between(s.StartedAt, s.FinishedAt)))
		}
	}
	if len(rows) > 0 {
		fmt.Fprintf(b, "| Stage | Status | Duration |\n| --- | --- | --- |\n%s\n", strings.Join(rows, ""))
	}
}

// failure says what ended the event.
func failure(b *strings.Builder, e *cyclone.Event) {
	f := e.Error
	if f == nil {
		return
	}
	var at []string
	for _, part := range []struct{ what, name string }{{"stage", string(f.Stage)}, {"step", f.Step}, {"command", f.Command}} {
		if name := code(part.name); name != "" {
			at = append(at, part.what+" "+name)
		}
	}
	if f.ExitCode != 0 {
		at = append(at, fmt.Sprintf("exit code %d", f.ExitCode))
	}
	if len(at) > 0 {
		fmt.Fprintf(b, "Failed in %s.\n\n", strings.Join(at, ", "))
	}
	if text := code(f.Message); text != "" && f.Message != e.Reason {
		fmt.Fprintf(b, "%s\n\n", text)
	}
}

// tests lists the failed tests.
func tests(b *strings.Builder, t *cyclone.TestSummary) {
	if t == nil {
		return
	}
	fmt.Fprintf(b, "Tests: %d passed, %d failed, %d skipped.\n\n", t.Passed, t.Failed, t.Skipped)
	for _, f := range t.Failures[:min(len(t.Failures), maxFailures)] {
		name := strings.Trim(f.Class+" "+f.Name, " ")
		fmt.Fprintf(b, "- %s", code(name))
		if text := code(f.Message); text != "" {
			fmt.Fprintf(b, ": %s", text)
		}
		b.WriteString("\n")
	}
	if more := t.Failed - maxFailures; more > 0 && len(t.Failures) > 0 {
		fmt.Fprintf(b, "- and %d more\n", more)
	}
	if len(t.Failures) > 0 {
		b.WriteString("\n")
	}
}

// code is a text from outside as a span of code; empty when nothing is left of
// it. Backticks would end it.
func code(text string) string {
	text = strings.ReplaceAll(line(text), "`", "'")
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}

// link is a word that leads to an address, or the word alone.
func link(text string, address func(*cyclone.Event) string, e *cyclone.Event) string {
	if address == nil {
		return text
	}
	u, err := url.Parse(address(e))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return text
	}
	return "[" + text + "](" + strings.NewReplacer("(", "%28", ")", "%29", " ", "%20", "<", "%3C", ">", "%3E").Replace(u.String()) + ")"
}
