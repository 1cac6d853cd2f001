package schedule

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"cyclone/pkg/cyclone"
)

// mostText is the most bytes of a schedule: every minute of an hour, by number,
// needs 169.
const mostText = 1000

// field is one of the five fields of a schedule with its bounds.
type field struct {
	name      string
	low, high int
	words     []string // names of the numbers from low on
}

func fields() []field {
	return []field{
		{"minute", 0, 59, nil},
		{"hour", 0, 23, nil},
		{"day of the month", 1, 31, nil},
		{"month", 1, 12, []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
		{"day of the week", 0, 7, []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}},
	}
}

// Parse reads a schedule of five fields (minute, hour, day of the month, month,
// day of the week) for the clock of a zone, by its name in the IANA database
// (Europe/Berlin); an empty one is UTC. A field is *, a number, a range (1-5),
// one of them with a step (*/10, 8-18/2, 5/15), or a list of these (1,15);
// months and days of the week have names too, and Sunday is 0 or 7. When
// neither of the two fields of days begins with *, a day that is in one of
// them is enough.
//
// What is wrong is returned as a cyclone.InvalidError about the fields
// "schedule" and "timezone"; a schedule that never happens is wrong.
func Parse(spec, zone string) (*Schedule, error) {
	bad := &cyclone.InvalidError{}
	s := &Schedule{}
	if problem := s.read(spec); problem != "" {
		bad.Add("schedule", "%s", problem)
	}
	location, ok := load(zone)
	if !ok {
		bad.Add("timezone", "is not a known time zone; write for instance Asia/Shanghai")
	}
	s.zone = location
	if err := bad.OrNil(); err != nil {
		return nil, err
	}
	return s, nil
}

// zoneName keeps everything away from the files of zones that is no zone's.
var zoneName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$`)

func load(zone string) (*time.Location, bool) {
	if zone == "" {
		return time.UTC, true
	}
	if len(zone) > 100 || !zoneName.MatchString(zone) || zone == "Local" || zone == "localtime" {
		return nil, false // the machine's own zone would mean another time on each server
	}
	location, err := time.LoadLocation(zone)
	return location, err == nil
}

// read fills s from the text of a schedule and says what is wrong with that.
func (s *Schedule) read(spec string) string {
	if len(spec) > mostText {
		return "must be at most " + strconv.Itoa(mostText) + " bytes long"
	}
	parts, all := strings.Fields(strings.ToLower(spec)), fields()
	if len(parts) != len(all) {
		return "must have five fields: minute, hour, day of the month, month, day of the week; like 0 3 * * *"
	}
	for i, set := range []*uint64{&s.minutes, &s.hours, &s.days, &s.months, &s.weekdays} {
		var ok bool
		if *set, ok = all[i].read(parts[i]); !ok {
			return all[i].problem()
		}
	}
	s.weekdays |= s.weekdays >> 7 & 1 // 7 is Sunday too
	s.both = strings.HasPrefix(parts[2], "*") || strings.HasPrefix(parts[4], "*")
	if _, ever := s.nextWall(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)); !ever {
		return "never happens: none of the months has such a day"
	}
	return ""
}

func (f field) problem() string {
	text := "the " + f.name + " must be *, numbers from " + strconv.Itoa(f.low) + " to " + strconv.Itoa(f.high)
	if len(f.words) > 0 {
		text += " or names (" + f.words[0] + ", " + f.words[1] + ", ...)"
	}
	return text + ", ranges (1-5) or steps (*/10)"
}

// read is the set of numbers that a field's text means.
func (f field) read(text string) (uint64, bool) {
	var set uint64
	for item := range strings.SplitSeq(text, ",") {
		part, ok := f.item(item)
		if !ok {
			return 0, false
		}
		set |= part
	}
	return set, true
}

// item is the set of one item of a list.
func (f field) item(text string) (uint64, bool) {
	text, stepText, stepped := strings.Cut(text, "/")
	step := 1
	if stepped {
		var ok bool
		if step, ok = digits(stepText); !ok || step < 1 || step > f.high {
			return 0, false
		}
	}
	low, high, ok := f.span(text, stepped)
	if !ok {
		return 0, false
	}
	var set uint64
	for n := low; n <= high; n += step {
		set |= 1 << n
	}
	return set, true
}

// span is the range of an item: *, a number, which with a step means from there
// on, or two numbers.
func (f field) span(text string, stepped bool) (low, high int, ok bool) {
	top := f.high
	if f.name == "day of the week" {
		top = 6 // Sunday is in already
	}
	if text == "*" {
		return f.low, top, true
	}
	from, to, ranged := strings.Cut(text, "-")
	low, ok = f.number(from)
	switch {
	case !ok:
		return 0, 0, false
	case !ranged && stepped:
		return low, max(low, top), true
	case !ranged:
		return low, low, true
	}
	high, ok = f.number(to)
	if to == "sun" {
		high = 7 // sat-sun
	}
	return low, high, ok && low <= high
}

func (f field) number(text string) (int, bool) {
	if i := slices.Index(f.words, text); i >= 0 {
		return f.low + i, true
	}
	n, ok := digits(text)
	return n, ok && n >= f.low && n <= f.high
}

// digits reads a number of up to two digits, which all are.
func digits(text string) (int, bool) {
	n, err := strconv.ParseUint(text, 10, 8)
	return int(n), err == nil && len(text) <= 2
}
