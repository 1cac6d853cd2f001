package main

import (
	"fmt"
	"strings"
)

// corrections says what makes one text the other. Correcting neither adds nor
// removes lines.
func corrections(before, after []byte) []string {
	const mark = "\xef\xbb\xbf"
	var out []string
	text, marked := strings.CutPrefix(string(before), mark)
	if marked {
		out = append(out, "removed the byte order mark")
	}
	if strings.Contains(text, "\r\n") && !strings.Contains(string(after), "\r\n") {
		text, out = strings.ReplaceAll(text, "\r\n", "\n"), append(out, "line ends of Windows became plain ones")
	}
	was, is := strings.Split(text, "\n"), strings.Split(string(after), "\n")
	if len(was) != len(is) {
		return append(out, "the lines were put in order")
	}
	for n := 0; n < len(was); n++ {
		how := moved(was[n], is[n])
		switch {
		case was[n] == is[n]:
			continue
		case how == "":
			out = append(out, fmt.Sprintf("line %d: %q became %q", n+1, strings.TrimSpace(was[n]), strings.TrimSpace(is[n])))
			continue
		}
		first, last := n, n
		for ; n+1 < len(was) && (moved(was[n+1], is[n+1]) == how || blank(was[n+1])); n++ {
			if !blank(was[n+1]) {
				last = n + 1
			}
		}
		where := fmt.Sprintf("lines %d to %d", first+1, last+1)
		if first == last {
			where = fmt.Sprintf("line %d", first+1)
		}
		out = append(out, where+": "+how)
	}
	return out
}

func blank(line string) bool { return strings.TrimSpace(line) == "" }

// moved says how a line was indented anew when nothing else changed.
func moved(was, is string) string {
	by := len(was) - len(is)
	switch {
	case blank(was) || strings.TrimLeft(was, " \t") != strings.TrimLeft(is, " \t"):
	case strings.HasPrefix(was, "\t"):
		return "tabs became spaces"
	case by > 0:
		return fmt.Sprintf("indented by %d less", by)
	case by < 0:
		return fmt.Sprintf("indented by %d more", -by)
	}
	return ""
}
