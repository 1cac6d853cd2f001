package schedule_test

import (
	"errors"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the same zones on every machine

	"github.com/google/go-cmp/cmp"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/schedule"
)

func TestWhatIsRefused(t *testing.T) {
	t.Parallel()
	five := "must have five fields"
	for _, c := range []struct{ spec, zone, field, says string }{
		{"", "", "schedule", five},
		{"* * * *", "", "schedule", five},
		{"0 0 3 * * *", "", "schedule", five},
		{"@daily", "", "schedule", five},
		{"CRON_TZ=UTC 0 3 * * *", "", "schedule", five},
		{"60 * * * *", "", "schedule", "the minute must be *, numbers from 0 to 59"},
		{"0 24 * * *", "", "schedule", "the hour must be *, numbers from 0 to 23"},
		{"0 3 0 * *", "", "schedule", "the day of the month must be *, numbers from 1 to 31"},
		{"0 3 L * *", "", "schedule", "the day of the month"},
		{"0 3 ? * *", "", "schedule", "the day of the month"},
		{"0 3 15W * *", "", "schedule", "the day of the month"},
		{"0 3 * 13 *", "", "schedule", "the month must be *, numbers from 1 to 12 or names (jan, feb, ...)"},
		{"0 3 * 0 *", "", "schedule", "the month"},
		{"0 3 * January *", "", "schedule", "the month"},
		{"0 3 * * 8", "", "schedule", "the day of the week must be *, numbers from 0 to 7 or names (sun, mon, ...)"},
		{"0 3 * * fri#2", "", "schedule", "the day of the week"},
		{"*/0 * * * *", "", "schedule", "the minute"},
		{"*/60 * * * *", "", "schedule", "the minute"},
		{"*/-5 * * * *", "", "schedule", "the minute"},
		{"*/5/5 * * * *", "", "schedule", "the minute"},
		{"*-5 * * * *", "", "schedule", "the minute"},
		{"5-1 * * * *", "", "schedule", "the minute"},
		{"1-2-3 * * * *", "", "schedule", "the minute"},
		{"-1 * * * *", "", "schedule", "the minute"},
		{"+1 * * * *", "", "schedule", "the minute"},
		{"1. * * * *", "", "schedule", "the minute"},
		{"١ * * * *", "", "schedule", "the minute"},
		{", * * * *", "", "schedule", "the minute"},
		{"1,,2 * * * *", "", "schedule", "the minute"},
		{"1, * * * *", "", "schedule", "the minute"},
		{"99999999999999999999 * * * *", "", "schedule", "the minute"},
		{"0 3 * * tue-mon", "", "schedule", "the day of the week"},
		{"0 3 31 2 *", "", "schedule", "never happens"},
		{"0 3 30,31 feb *", "", "schedule", "never happens"},
		{"0 3 31 4,6,9,11 *", "", "schedule", "never happens"},
		{"0 3 31 4 */2", "", "schedule", "never happens"}, // * in front: both must hold
		{strings.Repeat("0,", 600) + "0 * * * *", "", "schedule", "must be at most 1000 bytes"},
		{"0 3 * * *", "Local", "timezone", "is not a known time zone; write for instance Asia/Shanghai"},
		{"0 3 * * *", "localtime", "timezone", "is not a known time zone"},
		{"0 3 * * *", "Mars/Olympus", "timezone", "is not a known time zone"},
		{"0 3 * * *", "../../etc/passwd", "timezone", "is not a known time zone"},
		{"0 3 * * *", "/etc/localtime", "timezone", "is not a known time zone"},
		{"0 3 * * *", "Europe/Berlin\n", "timezone", "is not a known time zone"},
		{"0 3 * * *", " ", "timezone", "is not a known time zone"},
		{"0 3 * * *", "Europe", "timezone", "is not a known time zone"},
		{"0 3 * * *", strings.Repeat("Europe/", 1000) + "Berlin", "timezone", "is not a known time zone"},
	} {
		s, err := schedule.Parse(c.spec, c.zone)
		var bad *cyclone.InvalidError
		if s != nil || !errors.As(err, &bad) || !errors.Is(err, cyclone.ErrInvalid) {
			t.Errorf("%q in %q: %v, %v; want an InvalidError", c.spec, c.zone, s, err)
			continue
		}
		if len(bad.Fields) != 1 || bad.Fields[0].Field != c.field || !strings.HasPrefix(bad.Fields[0].Message, c.says) {
			t.Errorf("%q in %q: %v; want %s: %s...", c.spec, c.zone, err, c.field, c.says)
		}
	}
}

func TestBothProblemsAreTold(t *testing.T) {
	t.Parallel()
	_, err := schedule.Parse("0 25 * * *", "Nowhere")
	var bad *cyclone.InvalidError
	if !errors.As(err, &bad) || len(bad.Fields) != 2 {
		t.Errorf("%v; want two problems", err)
	}
}

// at reads times of a zone's clock, by offset where that shows them twice.
func at(t *testing.T, text string) time.Time {
	t.Helper()
	v, err := time.Parse("2006-01-02 15:04 -07:00", text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func parse(t testing.TB, spec, zone string) *schedule.Schedule {
	t.Helper()
	s, err := schedule.Parse(spec, zone)
	if err != nil {
		t.Fatalf("parse %q in %q: %v", spec, zone, err)
	}
	return s
}

// slots are the n slots after a moment.
func slots(s *schedule.Schedule, after time.Time, n int) []string {
	var all []string
	for range n {
		after = s.Next(after)
		all = append(all, after.Format("2006-01-02 15:04 -07:00"))
	}
	return all
}

func TestCalendar(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		spec  string
		after string
		want  string // without the zone, of which there is none here
	}{
		{"0 3 * * *", "2026-01-31 03:00", "2026-02-01 03:00, 2026-02-02 03:00"},
		{"*/20 * * * *", "2026-12-31 23:39", "2026-12-31 23:40, 2027-01-01 00:00, 2027-01-01 00:20"},
		{"5/25 0 * * *", "2026-01-01 00:00", "2026-01-01 00:05, 2026-01-01 00:30, 2026-01-01 00:55, 2026-01-02 00:05"},
		{"0 8-18/5,20 * * *", "2026-01-01 00:00", "2026-01-01 08:00, 2026-01-01 13:00, 2026-01-01 18:00, 2026-01-01 20:00, 2026-01-02 08:00"},
		{"0 0 29 2 *", "2026-01-01 00:00", "2028-02-29 00:00, 2032-02-29 00:00"},
		{"0 0 29 2 *", "2096-03-01 00:00", "2104-02-29 00:00"}, // 2100 is no leap year
		{"0 0 29 2 */7", "2088-03-01 00:00", "2128-02-29 00:00"},
		{"0 0 31 * *", "2026-01-31 00:00", "2026-03-31 00:00, 2026-05-31 00:00"},
		// One of the two fields of days is enough, unless one begins with *.
		{"0 0 13 * fri", "2026-02-01 00:00", "2026-02-06 00:00, 2026-02-13 00:00, 2026-02-20 00:00, 2026-02-27 00:00, 2026-03-06 00:00, 2026-03-13 00:00"},
		{"0 0 30 2 fri", "2026-02-20 00:00", "2026-02-27 00:00, 2027-02-05 00:00"},
		{"0 0 */10 * fri", "2026-01-01 00:00", "2026-05-01 00:00, 2026-07-31 00:00"},
		{"0 0 1 * */2", "2026-01-02 00:00", "2026-02-01 00:00, 2026-03-01 00:00, 2026-08-01 00:00"},
		// Names, and Sunday by its two numbers.
		{"0 0 1 JAN,Jul *", "2026-01-01 00:00", "2026-07-01 00:00, 2027-01-01 00:00"},
		{"0 0 * * 0", "2026-01-01 00:00", "2026-01-04 00:00, 2026-01-11 00:00"},
		{"0 0 * * 7", "2026-01-01 00:00", "2026-01-04 00:00, 2026-01-11 00:00"},
		{"0 0 * * sat-sun", "2026-01-01 00:00", "2026-01-03 00:00, 2026-01-04 00:00, 2026-01-10 00:00"},
		{"0 0 * * 5-7", "2026-01-05 00:00", "2026-01-09 00:00, 2026-01-10 00:00, 2026-01-11 00:00, 2026-01-16 00:00"},
		{"0 0 * * sun-tue", "2026-01-01 00:00", "2026-01-04 00:00, 2026-01-05 00:00, 2026-01-06 00:00, 2026-01-11 00:00"},
		{"0 0 * * 4/2", "2026-01-01 00:00", "2026-01-03 00:00, 2026-01-08 00:00"},
		{"\t0  0 * *\n1 ", "2026-01-01 00:00", "2026-01-05 00:00"},
	} {
		want := strings.Split(strings.ReplaceAll(c.want+",", ",", " +00:00,"), ", ")
		want[len(want)-1] = strings.TrimSuffix(want[len(want)-1], ",")
		got := slots(parse(t, c.spec, ""), at(t, c.after+" +00:00"), len(want))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.spec, diff)
		}
	}
}

func TestSecondsCountToo(t *testing.T) {
	t.Parallel()
	s, noon := parse(t, "0 12 * * *", "UTC"), at(t, "2026-05-05 12:00 +00:00")
	for after, want := range map[time.Duration]time.Duration{
		-time.Nanosecond: 0, -time.Minute: 0, 0: 24 * time.Hour, time.Nanosecond: 24 * time.Hour, time.Second: 24 * time.Hour,
	} {
		if got := s.Next(noon.Add(after)); !got.Equal(noon.Add(want)) {
			t.Errorf("%s from noon: %s", after, got)
		}
	}
}
