package schedule

import "time"

// everyHour: such a schedule follows real time when clocks are changed.
func (s *Schedule) everyHour() bool { return s.hours == 1<<24-1 }

// nextReal finds the next moment at which the zone's clock shows a slot.
func (s *Schedule) nextReal(after time.Time) time.Time {
	at := after.Round(0).Add(1).In(s.zone) // a slot at after is not after it
	for {
		_, offset := at.Zone()
		shift := time.Duration(offset) * time.Second
		wall, ok := s.nextWall(s.clock(at))
		if !ok {
			return time.Time{}
		}
		slot := wall.Add(-shift).In(s.zone)
		_, change := at.ZoneBounds()
		if change.IsZero() || slot.Before(change) {
			return slot
		}
		at = change.In(s.zone) // where the clock goes on from another time
	}
}

// nextOnClock finds the slot that follows by the calendar. Later times of the
// calendar never are at earlier moments, but what the clock shows for the
// second time was over before.
func (s *Schedule) nextOnClock(after time.Time) time.Time {
	wall, ok := s.nextWall(s.clock(after).Truncate(time.Minute))
	for ; ok; wall, ok = s.nextWall(wall.Add(time.Minute)) {
		if slot := s.moment(wall); slot.After(after) {
			return slot
		}
	}
	return time.Time{}
}

// clock is what the zone's clock shows at a moment, written in UTC.
func (s *Schedule) clock(at time.Time) time.Time {
	t := at.In(s.zone)
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// moment is when the zone's clock first shows a time, or the moment of the
// change that leaves that time out.
func (s *Schedule) moment(wall time.Time) time.Time {
	// The clock of no zone is a whole day from UTC's: this is before.
	for at := wall.Add(-24 * time.Hour).In(s.zone); ; {
		_, offset := at.Zone()
		begin, end := at.ZoneBounds()
		slot := wall.Add(-time.Duration(offset) * time.Second).In(s.zone)
		switch {
		case !begin.IsZero() && slot.Before(begin):
			return begin.In(s.zone)
		case end.IsZero() || slot.Before(end):
			return slot
		}
		at = end.In(s.zone)
	}
}
