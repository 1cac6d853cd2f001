package main

import (
	"fmt"
	"strings"
)

// corrections says what makes one text the other, of which lines were only
// changed in themselves.
func corrections(before, after []byte) []string {
	const mark = "\xef\xbb\xbf"
	var out []string
	text := string(before)
	if rest, marked := strings.CutPrefix(text, mark); marked {
		text, out = rest, append(out, "removed the byte order mark")
	}
	was, is := strings.Split(text, "\n"), strings.Split(string(after), "\n")
	if len(was) != len(is) {
		return append(out, "the lines were put in order")
	}
	for n := 0; n < len(was); n++ {
		first, by := n, moved(was[n], is[n])
		if by == 0 {
			if was[n] != is[n] {
				out = append(out, fmt.Sprintf("line %d: %q became %q", n+1, strings.TrimSpace(was[n]), strings.TrimSpace(is[n])))
			}
			continue
		}
		for n+1 < len(was) && (moved(was[n+1], is[n+1]) == by || strings.TrimSpace(was[n+1]) == "") {
			n++
		}
		for strings.TrimSpace(was[n]) == "" {
			n--
		}
		where := fmt.Sprintf("lines %d to %d", first+1, n+1)
		if first == n {
			where = fmt.Sprintf("line %d", n+1)
		}
		out = append(out, fmt.Sprintf("%s: indented by %d less", where, by))
	}
	return out
}

// moved is how many blanks fewer a line begins with when nothing else changed.
func moved(was, is string) int {
	if len(was) > len(is) && strings.TrimLeft(was, " ") == strings.TrimLeft(is, " ") && strings.TrimSpace(is) != "" {
		return len(was) - len(is)
	}
	return 0
}
