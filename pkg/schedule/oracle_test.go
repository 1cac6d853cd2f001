package schedule_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/robfig/cron/v3"

	"cyclone/pkg/schedule"
)

// changes are days around which zones change their clocks, and one that does not.
var changes = []struct{ zone, day string }{
	{"Europe/Berlin", "2026-03-29"}, {"Europe/Berlin", "2026-10-25"},
	{"America/New_York", "2026-03-08"}, {"America/New_York", "2026-11-01"},
	{"Australia/Lord_Howe", "2026-10-04"}, {"Australia/Lord_Howe", "2026-04-05"},
	{"America/Santiago", "2026-09-06"}, {"America/Santiago", "2026-04-05"},
	{"America/Sao_Paulo", "2018-11-04"}, {"America/Sao_Paulo", "2018-02-18"},
	{"America/St_Johns", "2008-03-09"}, {"America/St_Johns", "2008-11-02"}, // at 00:01
	{"Africa/Casablanca", "2026-02-15"}, {"Antarctica/Troll", "2026-03-29"}, // by two hours
	{"Pacific/Apia", "2011-12-30"}, {"Asia/Pyongyang", "2018-05-05"},
	{"America/Caracas", "2007-12-09"}, {"Asia/Shanghai", "2026-03-29"},
}

// oracle finds the slots of a span by looking at each of its minutes: slowly,
// and with another's understanding of schedules.
type oracle struct {
	spec *cron.SpecSchedule
	zone *time.Location
	real bool // each minute that the clock shows counts
}

func newOracle(t testing.TB, spec, zone string, everyHour bool) *oracle {
	t.Helper()
	parsed, err := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow).Parse(spec)
	if err != nil {
		t.Fatalf("parse %q: %v", spec, err)
	}
	location, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	return &oracle{parsed.(*cron.SpecSchedule), location, everyHour}
}

const star = 1 << 63

func (o *oracle) match(wall time.Time) bool {
	s := o.spec
	dom, dow := s.Dom>>wall.Day()&1 == 1, s.Dow>>int(wall.Weekday())&1 == 1
	day := dom || dow
	if s.Dom&star != 0 || s.Dow&star != 0 {
		day = dom && dow
	}
	return day && s.Month>>int(wall.Month())&1 == 1 && s.Hour>>wall.Hour()&1 == 1 && s.Minute>>wall.Minute()&1 == 1
}

func (o *oracle) slots(from, to time.Time) []int64 {
	set := map[int64]bool{}
	seen := map[int64]bool{}
	// What is shown twice may have been shown a day before.
	for at := from.Add(-25 * time.Hour); !at.After(to); at = at.Add(time.Minute) {
		now, before := at.In(o.zone), at.Add(-time.Minute).In(o.zone)
		wall := naive(now)
		if o.match(wall) && (o.real || !seen[wall.Unix()]) {
			set[at.Unix()] = true
		}
		seen[wall.Unix()] = true
		for skipped := naive(before).Add(time.Minute); !o.real && skipped.Before(wall); skipped = skipped.Add(time.Minute) {
			if o.match(skipped) {
				set[at.Unix()] = true
			}
		}
	}
	var all []int64
	for slot := range set {
		if slot > from.Unix() {
			all = append(all, slot)
		}
	}
	slices.Sort(all)
	return all
}

func naive(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), 0, 0, time.UTC)
}

// TestAgainstEachMinute compares the slots of many schedules around changes of
// clocks with what looking at every minute finds; and Last with Next.
func TestAgainstEachMinute(t *testing.T) {
	t.Parallel()
	for i, c := range changes {
		t.Run(c.zone+" "+c.day, func(t *testing.T) {
			t.Parallel()
			day, err := time.Parse(time.DateOnly, c.day)
			if err != nil {
				t.Fatal(err)
			}
			random := rand.New(rand.NewPCG(1, uint64(i)))
			for range 10 {
				spec, everyHour := randomSpec(random)
				from := day.Add(-time.Duration(20+random.IntN(20)) * time.Hour)
				to := day.Add(time.Duration(30+random.IntN(20)) * time.Hour)
				want := newOracle(t, spec, c.zone, everyHour).slots(from, to)
				s := parse(t, spec, c.zone)
				if got := between(s, from, to); !slices.Equal(got, want) {
					t.Fatalf("%s: got %v, want %v", spec, texts(got, c.zone), texts(want, c.zone))
				}
				checkLast(t, s, from, to, want, spec)
			}
		})
	}
}

func checkLast(t *testing.T, s *schedule.Schedule, from, to time.Time, all []int64, spec string) {
	t.Helper()
	slot, missed := s.Last(from, to)
	switch {
	case len(all) == 0:
		if !slot.IsZero() || missed != 0 {
			t.Errorf("%s: last is %s, %d missed; want none", spec, slot, missed)
		}
	case slot.Unix() != all[len(all)-1] || missed != len(all)-1:
		t.Errorf("%s: last is %s, %d missed; want %s, %d", spec, slot.UTC(), missed, time.Unix(all[len(all)-1], 0).UTC(), len(all)-1)
	}
}

// between are the slots after from and not after to; Next must always advance.
func between(s *schedule.Schedule, from, to time.Time) []int64 {
	var all []int64
	for at := s.Next(from); !at.IsZero() && !at.After(to); {
		all = append(all, at.Unix())
		next := s.Next(at)
		if !next.After(at) {
			return append(all, -1)
		}
		at = next
	}
	return all
}

func texts(all []int64, zone string) []string {
	location, _ := time.LoadLocation(zone) // parsed before
	var list []string
	for _, at := range all {
		list = append(list, time.Unix(at, 0).In(location).Format("2006-01-02 15:04 -07:00"))
	}
	return list
}

func randomSpec(r *rand.Rand) (spec string, everyHour bool) {
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	number := func(n int) string { return fmt.Sprint(r.IntN(n)) }
	minute := pick("*", "*/10", "*/7", "0", "30", number(60), number(60)+","+number(60), "0-29/9", "1,59")
	hour := pick("*", "*", "0-23", "*/2", "*/3", "1/2", number(4), number(24), "0-3", "22,23,0", "1,2,3")
	days := pick("* * *", "* * *", "* * *", "* * 0", "1,4,8,29 * *", "5,30 * 6", "* 3,11 *")
	return strings.Join([]string{minute, hour, days}, " "), hour == "*" || hour == "0-23"
}

// TestAgainstAnother compares with the calendar of another implementation, far
// from any change.
func TestAgainstAnother(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(7, 7))
	for range 1000 {
		spec, _ := randomSpec(random)
		theirs := newOracle(t, spec, "UTC", false).spec
		at := time.Date(2020+random.IntN(20), 1, random.IntN(366), random.IntN(24), random.IntN(60), random.IntN(60), 0, time.UTC)
		ours := parse(t, spec, "")
		for range 5 {
			want := theirs.Next(at)
			if got := ours.Next(at); !got.Equal(want) {
				t.Fatalf("%s after %s: got %s, want %s", spec, at, got, want)
			}
			at = want
		}
	}
}

func TestLastAfterYears(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ spec, zone string }{
		{"* * * * *", "UTC"}, {"*/5 * * * *", "Europe/Berlin"}, {"30 2 * * *", "Europe/Berlin"},
		{"0 0 29 2 *", "America/Santiago"}, {"* 2 1-7 jan *", "Australia/Lord_Howe"}, {"* * * * *", "America/New_York"},
	} {
		s := parse(t, c.spec, c.zone)
		from := time.Date(2016, 3, 1, 0, 0, 30, 0, time.UTC)
		to := from.AddDate(10, 5, 17)
		begun := time.Now()
		slot, missed := s.Last(from, to)
		if took := time.Since(begun); took > time.Second {
			t.Errorf("%s: Last took %s", c.spec, took)
		}
		if next := s.Next(slot); slot.After(to) || !next.After(to) {
			t.Errorf("%s: last is %s, next is %s", c.spec, slot, next)
		}
		if c.spec == "* * * * *" && missed != int(to.Sub(from)/time.Minute)-1 {
			t.Errorf("%s in %s: %d were missed", c.spec, c.zone, missed)
		}
		if c.spec == "30 2 * * *" && missed != int(to.Sub(from)/(24*time.Hour))-1 {
			t.Errorf("%s in %s: %d were missed", c.spec, c.zone, missed)
		}
	}
}

func FuzzSchedule(f *testing.F) {
	for _, spec := range []string{"0 3 * * *", "*/5 8-18/2,20 1,15 jan-mar sat-sun", "0 0 29 2 */7", "* * * * *", "30 2 31 4 7", "@daily", "1-,/ * * * *"} {
		f.Add(spec, "Europe/Berlin", int64(1774746000), uint32(100_000))
		f.Add(spec, "Australia/Lord_Howe", int64(1775314800), uint32(3_000_000))
		f.Add(spec, "", int64(0), uint32(60))
	}
	f.Fuzz(func(t *testing.T, spec, zone string, at int64, span uint32) {
		s, err := schedule.Parse(spec, zone)
		if err != nil {
			return
		}
		from := time.Unix(at%(1<<33), 0)
		to := from.Add(time.Duration(span) * time.Second)
		next, n := from, 0
		for ; n < 1000; n++ {
			following := s.Next(next)
			if following.IsZero() || !following.After(next) || following.Second() != 0 && following.Year() > 1980 {
				t.Fatalf("%q in %q: %s follows %s", spec, zone, following, next)
			}
			if following.After(to) {
				break
			}
			// What lies between two slots leads to the second.
			if half := next.Add(following.Sub(next) / 2); !s.Next(half).Equal(following) {
				t.Fatalf("%q in %q: %s follows %s, not %s", spec, zone, s.Next(half), half, following)
			}
			next = following
		}
		if n == 1000 {
			return
		}
		slot, missed := s.Last(from, to)
		if n == 0 && !slot.IsZero() || n > 0 && (!slot.Equal(next) || missed != n-1) {
			t.Fatalf("%q in %q from %s to %s: last is %s after %d; want %s after %d", spec, zone, from, to, slot, missed, next, n-1)
		}
	})
}

func BenchmarkNext(b *testing.B) {
	for _, spec := range []string{"*/5 * * * *", "30 2 * * *", "0 0 29 2 */7"} {
		b.Run(spec, func(b *testing.B) {
			s := parse(b, spec, "Europe/Berlin")
			at := time.Date(2026, 3, 28, 0, 0, 0, 0, time.UTC)
			for b.Loop() {
				s.Next(at)
			}
		})
	}
}

func BenchmarkLastOfTenYears(b *testing.B) {
	s := parse(b, "* * * * *", "Europe/Berlin")
	from := time.Date(2016, 3, 28, 0, 0, 0, 0, time.UTC)
	for b.Loop() {
		s.Last(from, from.AddDate(10, 0, 0))
	}
}
