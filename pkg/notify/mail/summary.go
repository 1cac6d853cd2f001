package mail

import (
	"embed"
	"fmt"
	htmltemplate "html/template"
	"regexp"
	"strings"
	"text/template"
	"time"
	"unicode"

	"cyclone/pkg/cyclone"
)

//go:embed templates
var templates embed.FS

// subjectRunes is the length to which a subject is cut.
const subjectRunes = 120

// escapes are the sequences by which programs colour a terminal.
var escapes = regexp.MustCompile("\x1b(?:\\[[0-9;?]*[ -/]*[@-~]|\\][^\x07\x1b]*(?:\x07|\x1b\\\\)|[@-_])")

// summary is what the templates show.
type summary struct {
	Subject string
	Event   *cyclone.Event
	Failed  bool
	Facts   []fact
	Stages  []row
	Tail    []string
	URL     string
	// Tests are the first failed ones, Problems what was found in caicloud.yml;
	// MoreTests and MoreProblems count the rest.
	Tests                   []failedTest
	Problems                []string
	MoreTests, MoreProblems int
	// Artifacts is where the event's artifacts are listed; empty for none.
	Artifacts string
	// Attached names the attached log; Omitted says why it is not complete.
	Attached, Omitted string
}

type fact struct{ Name, Value string }

// row is one line of the table of stages.
type row struct {
	Name     string
	Status   cyclone.Status
	Duration string
	Error    string
}

func summarize(e *cyclone.Event, tail []string, url string, a *attachment) *summary {
	s := &summary{
		Subject: subject(e), Event: e, Failed: e.Status != cyclone.StatusSuccess && e.Status != cyclone.StatusSkipped,
		Facts: facts(e), URL: url, Omitted: a.says,
	}
	for _, line := range tail {
		s.Tail = append(s.Tail, clean(line[:min(len(line), 4<<10)], 300))
	}
	for _, stage := range e.Stages {
		s.Stages = append(s.Stages, row{
			Name: string(stage.Name), Status: stage.Status, Duration: duration(stage.StartedAt, stage.FinishedAt), Error: stepErrors(stage),
		})
	}
	s.Tests, s.MoreTests = failedTests(e.Tests)
	s.Problems, s.MoreProblems = problems(e.Problems)
	if e.Files > 0 && url != "" {
		s.Artifacts = url + "/artifacts"
	}
	switch {
	case a.says == "":
		s.Attached = a.name
	case url != "" && a.more:
		s.Omitted += " All of it is behind the link above."
	}
	return s
}

// subject is "[Cyclone] orders #42 success: main 3f2a1b9 Fix the thing".
func subject(e *cyclone.Event) string {
	parts := []string{e.Source(), e.Commit.ShortSHA(), title(e)}
	about := strings.Join(strings.Fields(strings.Join(parts, " ")), " ")
	text := fmt.Sprintf("[Cyclone] %s #%d %s", e.Project, e.Number, e.Status)
	if about != "" {
		text += ": " + about
	}
	return clean(text, subjectRunes)
}

func title(e *cyclone.Event) string {
	if e.PullRequest != nil && e.PullRequest.Title != "" {
		return e.PullRequest.Title
	}
	line, _, _ := strings.Cut(strings.TrimSpace(e.Commit.Message), "\n")
	return line
}

// facts lists what is known of an event, in order.
func facts(e *cyclone.Event) []fact {
	all := []fact{
		{"Project", string(e.Project)},
		{"Event", fmt.Sprintf("#%d (%s)", e.Number, e.ID)},
		{"Status", string(e.Status)},
		{"Reason", e.Reason},
		{"Trigger", trigger(e)},
		{"Branch", e.Branch},
		{"Tag", e.Tag},
		{"Pull request", pullRequest(e.PullRequest)},
		{"Version", e.Version},
		{"Commit", e.Commit.SHA},
		{"Message", title(e)},
		{"Author", e.Commit.Author},
		{"Image", image(e.Image)},
		{"Digest", e.Image.Digest},
		{"Started", at(e.StartedAt)},
		{"Finished", at(e.FinishedAt)},
		{"Duration", duration(e.StartedAt, e.FinishedAt)},
		{"Tests", testsFound(e.Tests)},
		{"Artifacts", counted(e.Files)},
	}
	var known []fact
	for _, f := range all {
		if f.Value = clean(f.Value, 300); f.Value != "" && f.Value != "-" {
			known = append(known, f)
		}
	}
	return known
}

// counted is a number of things, "" for none.
func counted(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// image is name:tag, "" when nothing was built.
func image(i cyclone.Image) string {
	if i.Tag == "" {
		return ""
	}
	return i.Ref()
}

func trigger(e *cyclone.Event) string {
	text := strings.ReplaceAll(string(e.Trigger.Kind), "_", " ")
	if e.Trigger.Parent != "" {
		text += " of " + string(e.Trigger.Parent)
	}
	if e.Trigger.From != "" {
		text += " from " + string(e.Trigger.From)
	}
	if e.Trigger.Actor != "" {
		text += " by " + e.Trigger.Actor
	}
	return text
}

func pullRequest(p *cyclone.PullRequest) string {
	if p == nil {
		return ""
	}
	return fmt.Sprintf("#%d %s (%s into %s)", p.Number, p.Title, p.SourceBranch, p.TargetBranch)
}

// render writes the summary as text and as HTML.
func (s *summary) render() (plain, html string, err error) {
	var out strings.Builder
	functions := map[string]any{"clean": func(v string) string { return clean(v, 300) }, "join": strings.Join}
	text, err := template.New("summary.txt").Funcs(functions).ParseFS(templates, "templates/summary.txt")
	if err != nil {
		return "", "", fmt.Errorf("read text of mail: %w", err)
	}
	if err := text.Execute(&out, s); err != nil {
		return "", "", fmt.Errorf("write text of mail: %w", err)
	}
	plain = out.String()
	out.Reset()
	page, err := htmltemplate.New("summary.html").Funcs(functions).ParseFS(templates, "templates/summary.html")
	if err != nil {
		return "", "", fmt.Errorf("read HTML of mail: %w", err)
	}
	if err := page.Execute(&out, s); err != nil {
		return "", "", fmt.Errorf("write HTML of mail: %w", err)
	}
	return plain, out.String(), nil
}

// clean makes text from outside fit one line: no escape sequences, no control
// characters, no characters that turn the direction of reading, at most so
// many runes. Headers made of it cannot carry a second header.
func clean(s string, runes int) string {
	s = escapes.ReplaceAllString(strings.ToValidUTF8(s, "\uFFFD"), "")
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\t', r == '\r', r == '\n', r == '\u2028', r == '\u2029':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r):
			return -1
		}
		return r
	}, s)
	s = strings.TrimRight(s, " ")
	if all := []rune(s); len(all) > runes {
		return string(all[:runes-1]) + "…"
	}
	return s
}

// duration is the time between two times, "-" when one is not known.
func duration(from, to *time.Time) string {
	if from == nil || to == nil {
		return "-"
	}
	d := to.Sub(*from)
	if d < time.Minute {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return d.Round(time.Second).String()
}

func at(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}
