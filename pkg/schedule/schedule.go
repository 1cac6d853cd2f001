// Package schedule reads cron schedules of five fields and finds their slots,
// the moments at which they fire, in the time of a zone.
//
// A slot is a minute of the zone's clock. When that clock is changed:
//
//   - a slot at a time that the clock leaves out is at the moment of the change
//     (02:30 becomes 03:00 where clocks go from 02:00 to 03:00),
//   - a slot at a time that the clock shows twice is at the first of the two,
//   - a schedule of every hour follows real time instead: each minute that the
//     clock shows counts, so that what runs every ten minutes does so, ten
//     minutes apart, through both changes.
//
// Slots that fall on the same moment are one. So none is lost and none doubled.
//
// It starts nothing and keeps no time: that is package cron's work. Zones are
// those of the machine, or of time/tzdata in a program that embeds it.
package schedule

import (
	"math/bits"
	"sort"
	"time"
)

// horizon is how far ahead slots are looked for: 29 February may be a given
// day of the week for the next time after 40 years.
const horizon = 41

// Schedule is a parsed schedule in a zone. Its methods are safe for concurrent
// use.
type Schedule struct {
	minutes, hours, days, months, weekdays uint64 // bit n: n is in
	// both: a day must be in days and in weekdays. Otherwise one is enough.
	both bool
	zone *time.Location
}

// Next is the first slot after a moment, in the schedule's zone. It is zero
// only where a year has more than four digits.
func (s *Schedule) Next(after time.Time) time.Time {
	if s.everyHour() {
		return s.nextReal(after)
	}
	return s.nextOnClock(after)
}

// Last is the latest slot after one moment and not after another, and how many
// there are before it in that span, which passed over. It is zero when there
// is none. The cost grows with the days of the span, not with its slots: ten years
// take milliseconds.
func (s *Schedule) Last(after, until time.Time) (slot time.Time, missed int) {
	first := s.Next(after)
	if first.IsZero() || first.After(until) {
		return time.Time{}, 0
	}
	// Of the seconds in the span: the first after which no slot is left.
	seconds := int(until.Sub(first)/time.Second) + 1
	n := sort.Search(seconds, func(i int) bool {
		next := s.Next(first.Add(time.Duration(i) * time.Second))
		return next.IsZero() || next.After(until)
	})
	slot = first.Add(time.Duration(n) * time.Second)
	return slot, s.count(after, slot) - 1
}

// count counts the slots after one moment and not after another, day by day.
func (s *Schedule) count(after, until time.Time) int {
	n := 0
	perDay := bits.OnesCount64(s.minutes) * bits.OnesCount64(s.hours)
	for day := midnight(s.clock(after)); ; {
		next := day.AddDate(0, 0, 1)
		from, to := s.moment(day), s.moment(next)
		if from.After(until) {
			return n
		}
		changed, change := from.ZoneBounds()
		whole := from.After(after) && to.Before(until)
		// A change at the day's beginning may have brought slots of the day before.
		plain := to.Sub(from) == 24*time.Hour && !changed.Equal(from) && (change.IsZero() || !change.Before(to))
		switch {
		case !whole || !plain:
			n += s.enumerate(later(after, from.Add(-1)), earlier(until, to.Add(-1)))
		case s.onDay(day):
			n += perDay
		}
		day = next
	}
}

// enumerate counts the slots of a day, or of a part of it, one by one.
func (s *Schedule) enumerate(after, until time.Time) int {
	n := 0
	for slot := s.Next(after); !slot.IsZero() && !slot.After(until); slot = s.Next(slot) {
		n++
	}
	return n
}

// nextWall is the first minute of the calendar that is a slot, not before from.
// Times of the zone's clock are written in UTC here: a clock without changes.
func (s *Schedule) nextWall(from time.Time) (time.Time, bool) {
	if t := from.Truncate(time.Minute); t.Before(from) {
		from = t.Add(time.Minute)
	}
	day, hour, minute := midnight(from), from.Hour(), from.Minute()
	for end := day.AddDate(horizon, 0, 0); day.Before(end); hour, minute = 0, 0 {
		if s.months>>int(day.Month())&1 == 0 {
			day = time.Date(day.Year(), day.Month()+1, 1, 0, 0, 0, 0, time.UTC)
			continue
		}
		if s.onDay(day) {
			if at, ok := s.inDay(hour, minute); ok {
				return day.Add(at), true
			}
		}
		day = day.AddDate(0, 0, 1)
	}
	return time.Time{}, false
}

// onDay reports whether there are slots on a day.
func (s *Schedule) onDay(day time.Time) bool {
	inDays := s.days>>day.Day()&1 == 1
	inWeekdays := s.weekdays>>int(day.Weekday())&1 == 1
	switch {
	case s.months>>int(day.Month())&1 == 0:
		return false
	case s.both:
		return inDays && inWeekdays
	}
	return inDays || inWeekdays
}

// inDay is the first slot of a day that is not before a time of it.
func (s *Schedule) inDay(hour, minute int) (time.Duration, bool) {
	h := first(s.hours, hour)
	if h == hour {
		if m := first(s.minutes, minute); m < 60 {
			return span(h, m), true
		}
		h = first(s.hours, hour+1)
	}
	return span(h, first(s.minutes, 0)), h < 24
}

func span(hours, minutes int) time.Duration {
	return time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
}

// first is the lowest bit of a set that is not below from; 64 without one.
func first(set uint64, from int) int { return bits.TrailingZeros64(set >> from << from) }

func midnight(wall time.Time) time.Time {
	return time.Date(wall.Year(), wall.Month(), wall.Day(), 0, 0, 0, 0, time.UTC)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
