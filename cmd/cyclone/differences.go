package main

import (
	"fmt"
	"strings"
)

// change is a line of two texts: in both (' '), in the first ('-'), or in the
// second ('+').
type change struct {
	kind byte
	text string
}

// differences lists in the unified form what formatting did to a file. That
// neither moves nor joins lines, so a line is found again by what it holds
// besides blanks.
func differences(name string, before, after []byte, coloured bool) string {
	var b strings.Builder
	b.WriteString(paint(coloured, colourBold, fmt.Sprintf("--- %s\n+++ %s (formatted)\n", name, name)))
	changes := compare(lines(before), lines(after))
	const around = 3
	for from := 0; from < len(changes); from++ {
		if changes[from].kind == ' ' {
			continue
		}
		to, last := from, from
		for ; to < len(changes) && to-last <= 2*around+1; to++ {
			if changes[to].kind != ' ' {
				last = to
			}
		}
		to = min(last+1+around, len(changes))
		writeHunk(&b, changes, max(from-around, 0), to, coloured)
		from = to - 1
	}
	return b.String()
}

// writeHunk writes some of the changes under their place.
func writeHunk(b *strings.Builder, changes []change, from, to int, coloured bool) {
	first, second := linesOf(changes[:from], '-'), linesOf(changes[:from], '+')
	fmt.Fprintf(b, "%s\n", paint(coloured, colourFaint, fmt.Sprintf("@@ -%d,%d +%d,%d @@",
		first+1, linesOf(changes[from:to], '-'), second+1, linesOf(changes[from:to], '+'))))
	for _, c := range changes[from:to] {
		text := string(c.kind) + oneLineOf(c.text)
		switch c.kind {
		case '-':
			text = paint(coloured, colourRed, text)
		case '+':
			text = paint(coloured, colourGreen, text)
		}
		b.WriteString(text + "\n")
	}
}

// oneLineOf is a line without what a terminal would take for a command.
func oneLineOf(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f {
			return -1
		}
		return r
	}, text)
}

// linesOf counts the lines of one of the texts.
func linesOf(changes []change, kind byte) int {
	n := 0
	for _, c := range changes {
		if c.kind == ' ' || c.kind == kind {
			n++
		}
	}
	return n
}

// lines splits a text.
func lines(text []byte) []string {
	if len(text) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

// compare walks through both texts at once.
func compare(before, after []string) []change {
	var out []change
	i, j := 0, 0
	for i < len(before) || j < len(after) {
		switch {
		case i < len(before) && j < len(after) && before[i] == after[j]:
			out = append(out, change{' ', before[i]})
			i, j = i+1, j+1
		case i < len(before) && j < len(after) && squeeze(before[i]) == squeeze(after[j]):
			n := i
			for ; i < len(before) && j+i-n < len(after) && before[i] != after[j+i-n] && squeeze(before[i]) == squeeze(after[j+i-n]); i++ {
				out = append(out, change{'-', before[i]})
			}
			for ; n < i; n++ {
				out = append(out, change{'+', after[j]})
				j++
			}
		case i < len(before):
			out = append(out, change{'-', before[i]})
			i++
		default:
			out = append(out, change{'+', after[j]})
			j++
		}
	}
	return out
}

// squeeze is a line without its blanks.
func squeeze(line string) string { return strings.Join(strings.Fields(line), "") }
