package local

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"cyclone/pkg/cyclone"
)

// Style says what the place that is printed to can show.
type Style struct {
	Colours bool
	// Live lets an unfinished line and the running stage be shown at the
	// bottom, and be drawn over.
	Live bool
	// Unicode lets marks be other than ASCII.
	Unicode bool
	// Columns is the width of the terminal; it may change.
	Columns func() int
}

// Printer shows a run: its output as it comes, a line for each stage that is
// over, and at the end a summary.
type Printer struct {
	style Style
	why   map[cyclone.Stage]string // stages that do not run

	mu      sync.Mutex
	w       *bufio.Writer
	failed  error
	drawn   bool         // the bottom line is there
	open    cyclone.Line // unfinished; shown at the bottom
	stage   cyclone.StageState
	shown   map[cyclone.Stage]bool
	several map[cyclone.Stage]map[string]bool // steps of a stage that have printed
	now     func() time.Time
	done    chan struct{}
	ticking sync.WaitGroup
}

// NewPrinter returns a printer that shows a run of which some stages do not run.
// Close ends it.
func NewPrinter(w io.Writer, style Style, run *Run) *Printer {
	p := &Printer{
		style: style, why: run.Why, w: bufio.NewWriter(w), now: time.Now, done: make(chan struct{}),
		shown: map[cyclone.Stage]bool{}, several: map[cyclone.Stage]map[string]bool{},
	}
	if run.Pipeline != nil && run.Pipeline.Integration != nil && len(run.Pipeline.Integration.Services) > 0 {
		p.several[cyclone.StageIntegration] = map[string]bool{"": true}
	}
	if style.Live {
		p.ticking.Go(p.tick)
	}
	return p
}

// redraw is how often the bottom line is drawn while nothing is printed.
const redraw = 200 * time.Millisecond

func (p *Printer) tick() {
	t := time.NewTicker(redraw)
	defer t.Stop()
	for {
		select {
		case <-p.done:
			return
		case <-t.C:
			p.printing(func() {})
		}
	}
}

// Close takes the bottom line away and returns what went wrong with printing.
func (p *Printer) Close() error {
	close(p.done)
	p.ticking.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	if err := p.w.Flush(); p.failed == nil {
		p.failed = err
	}
	if p.failed != nil {
		return fmt.Errorf("write output: %w", p.failed)
	}
	return nil
}

// printing prints something above the bottom line.
func (p *Printer) printing(print func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	print()
	p.draw()
	if err := p.w.Flush(); p.failed == nil {
		p.failed = err
	}
}

func (p *Printer) put(text string) { _, _ = p.w.WriteString(text) } // Flush tells

// Say prints a line of its own.
func (p *Printer) Say(format string, args ...any) {
	p.printing(func() { p.put(fmt.Sprintf(format, args...) + "\n") })
}

// Warn prints a warning.
func (p *Printer) Warn(text string) {
	p.printing(func() { p.put(p.paint(yellow, "warning: ") + clean(text, false) + "\n") })
}

// lines implements watcher.
func (p *Printer) lines(all []cyclone.Line) {
	p.printing(func() {
		for _, l := range all {
			p.line(l)
		}
	})
}

// line prints a line; p.mu is held.
func (p *Printer) line(l cyclone.Line) {
	if p.open.Step == l.Step && p.open.Stream == l.Stream {
		p.open = cyclone.Line{}
	}
	text := clean(l.Text, p.style.Colours)
	switch {
	case l.Stream == cyclone.System:
		text = p.paint(faint, clean(l.Text, false))
	case l.Stream == cyclone.Stdout && strings.HasPrefix(text, "$ "):
		text = p.paint(bold, clean(l.Text, false))
	}
	p.put(p.prefix(l) + text + "\n")
}

// prefix names the step of a line where more than one prints.
func (p *Printer) prefix(l cyclone.Line) string {
	steps := p.several[l.Stage]
	if steps == nil {
		steps = map[string]bool{}
		p.several[l.Stage] = steps
	}
	if l.Stage == cyclone.StageClone || len(steps) == 0 && l.Step == string(l.Stage) {
		return ""
	}
	if !steps[l.Step] {
		steps[l.Step] = true
	}
	name := strings.TrimPrefix(l.Step, string(l.Stage)+"/")
	return p.paint(colourOf(name), clean(name, false)+" | ")
}

// partial implements watcher.
func (p *Printer) partial(l cyclone.Line) {
	if !p.style.Live {
		return
	}
	p.printing(func() { p.open = l })
}

// report implements watcher.
func (p *Printer) report(r cyclone.Report) {
	p.printing(func() {
		p.stage = cyclone.StageState{}
		for _, s := range r.Stages {
			if s.Status == cyclone.StatusRunning {
				p.stage = s
			}
			if s.Status.Final() && !p.shown[s.Name] {
				p.shown[s.Name] = true
				p.open = cyclone.Line{}
				p.put(p.stageLine(s, 0) + "\n")
			}
		}
	})
}

// stageLine is what became of a stage; its name is padded to columns.
func (p *Printer) stageLine(s cyclone.StageState, columns int) string {
	name := fmt.Sprintf("%-*s", columns, s.Name)
	switch s.Status {
	case cyclone.StatusSuccess:
		return p.paint(green, p.mark("✓", "ok  ")) + " " + name + " " + elapsed(s.StartedAt, s.FinishedAt)
	case cyclone.StatusSkipped:
		text := "skipped"
		if why := p.why[s.Name]; why != "" {
			text += ": " + why
		}
		return p.paint(faint, p.mark("-", "--  ")+" "+name+" "+text)
	}
	text := p.paint(red, p.mark("✗", "FAIL")) + " " + name + " " + elapsed(s.StartedAt, s.FinishedAt)
	for _, step := range s.Steps {
		if step.Error == "" || !step.Status.Final() {
			continue
		}
		first, _, _ := strings.Cut(step.Error, "\n")
		first = strings.TrimPrefix(first, string(s.Name)+" failed: ")
		if step.ExitCode != 0 {
			first = fmt.Sprintf("exit %d: %s", step.ExitCode, strings.TrimSuffix(first, fmt.Sprintf(" exited with %d", step.ExitCode)))
		}
		return text + " " + clean(first, false)
	}
	if s.Status != cyclone.StatusFailure {
		text += " " + string(s.Status)
	}
	return text
}

func (p *Printer) mark(unicode, ascii string) string {
	if p.style.Unicode {
		return unicode
	}
	return ascii
}

// elapsed is a time between two for people; a stage that never began took none.
func elapsed(from, to *time.Time) string {
	if from == nil || to == nil {
		return "0.0s"
	}
	return seconds(to.Sub(*from))
}

func seconds(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// erase takes the bottom line away.
func (p *Printer) erase() {
	if p.drawn {
		p.put("\r\x1b[K")
		p.drawn = false
	}
}

// draw draws the bottom line: the unfinished line, or else the running stage.
func (p *Printer) draw() {
	if !p.style.Live || p.stage.Name == "" {
		return
	}
	columns := 80
	if p.style.Columns != nil {
		columns = p.style.Columns()
	}
	text := string(p.stage.Name)
	if p.stage.StartedAt != nil {
		text += " " + seconds(max(0, p.now().Sub(*p.stage.StartedAt)))
	}
	if p.open.Text != "" {
		text += "  " + clean(p.open.Text, false)
	}
	p.put(p.paint(cyan, cut(strings.ReplaceAll(text, "\t", " "), columns-1)))
	p.drawn = true
}

// Codes of SGR.
const (
	bold   = "1"
	faint  = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

func (p *Printer) paint(code, text string) string {
	if !p.style.Colours || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + reset
}

// colourOf is the colour of a step's name: the same in every run.
func colourOf(name string) string {
	sum := 0
	for _, c := range []byte(name) {
		sum = sum*31 + int(c)
	}
	codes := []string{"34", "35", "36", "33", "32"}
	return codes[uint(sum)%uint(len(codes))] //#nosec G115 -- any number does
}
