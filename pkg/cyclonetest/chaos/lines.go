package chaos

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"cyclone/pkg/cyclone"
)

// emitProgram is the awk program that steps print their lines with: n lines
// "<step>:<i>:<sum>", the sum running on from line to line and beginning with
// the event's id, so that no line can be missing, doubled, at another place or
// of another event without being noticed. With a pause it waits after each
// line, with a separator all is one line.
const emitProgram = `BEGIN {
  for (i = 32; i < 127; i++) code[sprintf("%c", i)] = i
  salt = ENVIRON["CYCLONE_EVENT_ID"] ":" step
  for (i = 1; i <= length(salt); i++) sum = (sum * 31 + code[substr(salt, i, 1)]) % 1048573
  for (i = 1; i <= n; i++) {
    sum = (sum * 69069 + i) % 1048573
    printf "%s:%d:%05x%s", step, i, sum, one ? "|" : "\n"
    if (pause) { fflush(); system("sleep " pause) }
  }
  if (one) printf "\n"
}
`

// sums begins the running sum of a step of an event.
type sums struct{ sum uint64 }

func newSums(event, step string) *sums {
	s := &sums{}
	for _, c := range []byte(event + ":" + step) {
		s.sum = (s.sum*31 + uint64(c)) % 1048573
	}
	return s
}

// next is the sum of line i, which follows line i-1.
func (s *sums) next(i int) string {
	s.sum = (s.sum*69069 + uint64(i)) % 1048573
	return fmt.Sprintf("%05x", s.sum)
}

// output is what of one step's lines is in a log.
type output struct {
	// runs has for each time that the step was run how many of its lines came
	// before the first gap.
	runs []int
	// lost and doubled count lines, wrong those whose sum is not the one of
	// their number.
	lost, doubled, wrong int
}

var (
	record      = regexp.MustCompile(`^([a-z]+):(\d+):([0-9a-f]{5})$`)
	buildPrefix = regexp.MustCompile(`^#\d+ (\d+\.\d+ )?`)
)

// continued marks the parts of a line that was too long.
const continued = " [line continues]"

// outputOf reads a step's lines out of an event's log.
func outputOf(event, step string, lines []cyclone.Line) output {
	var o output
	var want *sums
	next := 1
	for _, r := range records(lines) {
		if r.step != step {
			continue
		}
		if r.number == 1 || want == nil {
			o.runs, want, next = append(o.runs, 0), newSums(event, step), 1
		}
		if r.number < next {
			o.doubled++
			continue
		}
		for ; next < r.number; next++ {
			want.next(next)
			o.lost++
		}
		if want.next(next) != r.sum {
			o.wrong++
		}
		next++
		o.runs[len(o.runs)-1]++
	}
	return o
}

// one is a numbered line as it was found.
type one struct {
	step   string
	number int
	sum    string
}

// records finds the numbered lines, in the order of the log. Lines that were
// split are put together again, each stream of each step for itself.
func records(lines []cyclone.Line) []one {
	var found []one
	begun := map[string]string{}
	for _, l := range lines {
		if l.Stream == cyclone.System {
			continue
		}
		from := string(l.Stage) + "/" + l.Step + "/" + string(l.Stream)
		text := begun[from] + l.Text
		if part, ok := strings.CutSuffix(text, continued); ok {
			begun[from] = part
			continue
		}
		delete(begun, from)
		for part := range strings.SplitSeq(buildPrefix.ReplaceAllString(text, ""), "|") {
			m := record.FindStringSubmatch(part)
			if m == nil {
				continue
			}
			n, err := strconv.Atoi(m[2])
			if err != nil {
				continue // longer than any number of ours
			}
			found = append(found, one{m[1], n, m[3]})
		}
	}
	return found
}
