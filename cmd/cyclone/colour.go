package main

import (
	"io"
	"os"
	"strings"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/manifest"
)

// colours reports whether what is written to w is seen by somebody who wants
// colours: on a terminal that knows them, unless NO_COLOR is set.
func (a *app) colours(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || a.getenv("NO_COLOR") != "" || a.getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// The colours of problems and differences.
const (
	colourBold   = "\x1b[1m"
	colourRed    = "\x1b[31m"
	colourGreen  = "\x1b[32m"
	colourYellow = "\x1b[33m"
	colourFaint  = "\x1b[2m"
	colourOff    = "\x1b[0m"
)

// paint colours a text, if colours are wanted.
func paint(wanted bool, colour, text string) string {
	if !wanted || text == "" {
		return text
	}
	return colour + text + colourOff
}

// problem is a problem as people read it: with the line and a caret below it.
func problem(name string, p cyclone.Problem, source []byte, coloured bool) string {
	text := manifest.Format(name, p, source)
	if !coloured {
		return text
	}
	colour := colourRed
	if p.Severity == cyclone.SeverityWarning {
		colour = colourYellow
	}
	lines := strings.Split(text, "\n")
	if place, rest, ok := strings.Cut(lines[0], ": "); ok {
		lines[0] = paint(true, colourBold, place+":") + " " + paint(true, colour, rest)
	}
	for i := 1; i < len(lines); i++ {
		if strings.HasPrefix(lines[i], "  hint: ") {
			lines[i] = paint(true, colourFaint, lines[i])
		} else if at := strings.LastIndex(lines[i], "^"); i == len(lines)-1 && at >= 0 {
			lines[i] = lines[i][:at] + paint(true, colour, "^")
		}
	}
	return strings.Join(lines, "\n")
}
