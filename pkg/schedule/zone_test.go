package schedule_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestClockChanges(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ what, zone, spec, after, want string }{
		{"left out: at the change", "Europe/Berlin", "30 2 * * *", "2026-03-28 00:00 +01:00",
			"2026-03-28 02:30 +01:00, 2026-03-29 03:00 +02:00, 2026-03-30 02:30 +02:00"},
		{"twice: the first", "Europe/Berlin", "30 2 * * *", "2026-10-24 12:00 +02:00",
			"2026-10-25 02:30 +02:00, 2026-10-26 02:30 +01:00"},
		{"between the two: not again", "Europe/Berlin", "30 2 * * *", "2026-10-25 02:45 +02:00",
			"2026-10-26 02:30 +01:00"},
		{"all that is left out is at the change, once", "Europe/Berlin", "*/20 2 * * *", "2026-03-29 00:00 +01:00",
			"2026-03-29 03:00 +02:00, 2026-03-30 02:00 +02:00, 2026-03-30 02:20 +02:00"},
		{"one that is at the change anyway", "Europe/Berlin", "0 2,3 * * *", "2026-03-29 00:00 +01:00",
			"2026-03-29 03:00 +02:00, 2026-03-30 02:00 +02:00"},
		{"every ten minutes, spring", "Europe/Berlin", "*/10 * * * *", "2026-03-29 01:40 +01:00",
			"2026-03-29 01:50 +01:00, 2026-03-29 03:00 +02:00, 2026-03-29 03:10 +02:00"},
		{"every ten minutes, autumn", "Europe/Berlin", "*/10 * * * *", "2026-10-25 02:40 +02:00",
			"2026-10-25 02:50 +02:00, 2026-10-25 02:00 +01:00, 2026-10-25 02:10 +01:00"},
		{"every hour, spring", "Europe/Berlin", "15 * * * *", "2026-03-29 00:15 +01:00",
			"2026-03-29 01:15 +01:00, 2026-03-29 03:15 +02:00, 2026-03-29 04:15 +02:00"},
		{"every hour, autumn", "Europe/Berlin", "15 0-23 * * *", "2026-10-25 01:15 +02:00",
			"2026-10-25 02:15 +02:00, 2026-10-25 02:15 +01:00, 2026-10-25 03:15 +01:00"},
		{"every two hours, spring", "Europe/Berlin", "0 */2 * * *", "2026-03-28 23:00 +01:00",
			"2026-03-29 00:00 +01:00, 2026-03-29 03:00 +02:00, 2026-03-29 04:00 +02:00"},
		{"every two hours, autumn", "Europe/Berlin", "0 */2 * * *", "2026-10-25 00:00 +02:00",
			"2026-10-25 02:00 +02:00, 2026-10-25 04:00 +01:00"},
		{"New York, spring", "America/New_York", "30 2 * * *", "2026-03-07 03:00 -05:00",
			"2026-03-08 03:00 -04:00, 2026-03-09 02:30 -04:00"},
		{"New York, autumn", "America/New_York", "30 1 * * *", "2026-10-31 03:00 -04:00",
			"2026-11-01 01:30 -04:00, 2026-11-02 01:30 -05:00"},
		{"Shanghai changes nothing", "Asia/Shanghai", "30 2 * * *", "2026-03-28 03:00 +08:00",
			"2026-03-29 02:30 +08:00, 2026-03-30 02:30 +08:00"},
		{"half an hour is left out", "Australia/Lord_Howe", "15 2 * * *", "2026-10-03 12:00 +10:30",
			"2026-10-04 02:30 +11:00, 2026-10-05 02:15 +11:00"},
		{"half an hour comes twice", "Australia/Lord_Howe", "45 1 * * *", "2026-04-04 12:00 +11:00",
			"2026-04-05 01:45 +11:00, 2026-04-06 01:45 +10:30"},
		{"every quarter of an hour, half an hour left out", "Australia/Lord_Howe", "*/15 * * * *", "2026-10-04 01:30 +10:30",
			"2026-10-04 01:45 +10:30, 2026-10-04 02:30 +11:00, 2026-10-04 02:45 +11:00"},
		{"every quarter of an hour, half an hour twice", "Australia/Lord_Howe", "*/15 * * * *", "2026-04-05 01:30 +11:00",
			"2026-04-05 01:45 +11:00, 2026-04-05 01:30 +10:30, 2026-04-05 01:45 +10:30, 2026-04-05 02:00 +10:30"},
		{"midnight is left out", "America/Santiago", "0 0 * * sun", "2026-09-01 12:00 -04:00",
			"2026-09-06 01:00 -03:00, 2026-09-13 00:00 -03:00"},
		{"the hour before midnight comes twice", "America/Santiago", "30 23 * * sat", "2026-04-01 12:00 -03:00",
			"2026-04-04 23:30 -03:00, 2026-04-11 23:30 -04:00"},
		{"midnight after an hour that comes twice", "America/Santiago", "0 0 * * *", "2026-04-04 00:00 -03:00",
			"2026-04-05 00:00 -04:00, 2026-04-06 00:00 -04:00"},
		{"a whole day is left out", "Pacific/Apia", "0 12 * * *", "2011-12-29 00:00 -10:00",
			"2011-12-29 12:00 -10:00, 2011-12-31 00:00 +14:00, 2011-12-31 12:00 +14:00"},
		{"a date that is left out", "Pacific/Apia", "30 9 30 12 *", "2011-01-01 00:00 -10:00",
			"2011-12-31 00:00 +14:00, 2012-12-30 09:30 +14:00"},
		{"quarters of an hour off", "Asia/Kathmandu", "0 3 * * *", "2026-01-01 00:00 +05:45",
			"2026-01-01 03:00 +05:45"},
	} {
		want := strings.Split(c.want, ", ")
		if diff := cmp.Diff(want, slots(parse(t, c.spec, c.zone), at(t, c.after), len(want))); diff != "" {
			t.Errorf("%s: %s in %s (-want +got):\n%s", c.what, c.spec, c.zone, diff)
		}
	}
}
