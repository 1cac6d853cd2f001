package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"cyclone/pkg/client"
	"cyclone/pkg/cyclone"
)

func (a *app) printf(format string, args ...any) error {
	if _, err := fmt.Fprintf(a.out, format, args...); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// printJSON prints a value in indented JSON.
func (a *app) printJSON(value any) error {
	e := json.NewEncoder(a.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// table prints rows under a head, in columns. A row is cut to fit no width:
// programs should ask for JSON, and people can scroll.
func (a *app) table(head string, rows [][]string) error {
	w := tabwriter.NewWriter(a.out, 0, 8, 2, ' ', 0)
	lines := []string{strings.ReplaceAll(head, " ", "\t")}
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			if cells[i] = oneLine(cell); cells[i] == "" {
				cells[i] = "-"
			}
		}
		lines = append(lines, strings.Join(cells, "\t"))
	}
	if _, err := fmt.Fprintln(w, strings.Join(lines, "\n")); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// facts prints names and values, without those that are empty.
func (a *app) facts(pairs ...string) error {
	for i := 0; i+1 < len(pairs); i += 2 {
		if value := oneLine(pairs[i+1]); value != "" {
			if err := a.printf("%-13s %s\n", pairs[i], value); err != nil {
				return err
			}
		}
	}
	return nil
}

// printList prints a page of a list: a row for each thing below the heads, or
// the server's own JSON.
func printList[T any](a *app, list cyclone.List[client.Object[T]], heads string, row func(*T) []string) error {
	if a.json {
		return a.printJSON(list)
	}
	rows := make([][]string, len(list.Items))
	for i := range list.Items {
		rows[i] = row(&list.Items[i].Value)
	}
	a.more(len(list.Items), list.Total, list.Next)
	return a.table(heads, rows)
}

// more says on the side that a list goes on.
func (a *app) more(shown, total int, next string) {
	if next != "" {
		_, _ = fmt.Fprintf(a.err, "%d of %d; more with --cursor %s\n", shown, total, oneLine(next)) // only a hint
	}
}

// oneLine takes from text what could break a table or command a terminal:
// commit messages and names come from anybody.
func oneLine(s string) string { return strings.TrimSpace(harmless(s)) }

// colours are the sequences by which programs colour a terminal.
var colours = regexp.MustCompile("\x1b\\[[0-9;?]*[ -/]*[@-~]")

// harmless is oneLine for text whose blanks at the beginning mean something.
func harmless(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t', r == '\n', r == '\r':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r):
			return -1
		}
		return r
	}, colours.ReplaceAllString(s, ""))
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

func clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

func clockOf(t *time.Time) string {
	if t == nil {
		return ""
	}
	return clock(*t)
}

// took is the time between two times, "" while one is not known.
func took(from, to *time.Time) string {
	if from == nil || to == nil {
		return ""
	}
	d := to.Sub(*from)
	if d < time.Minute {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return d.Round(time.Second).String()
}
