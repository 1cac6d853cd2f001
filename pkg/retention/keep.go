package retention

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"cyclone/pkg/cyclone"
)

// Forever is the text for things that are never removed.
const Forever = "forever"

const (
	// defaultMinimum newest of each are kept when nobody says how many.
	defaultMinimum = 10
	// maxDays is a hundred years: more is a slip of the pen.
	maxDays = 36_500
	// maxCount is what projects are limited to.
	maxCount = 1_000_000
)

// ParseKeep reads how long something is kept: "90d" (days), "500" (so many
// newest in a project), "90d,500" (what is older or beyond goes) or "forever",
// for which both numbers of the result are 0.
func ParseKeep(text string) (*cyclone.Keep, error) {
	keep := &cyclone.Keep{}
	if strings.TrimSpace(text) == Forever {
		return keep, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		to, most, digits := &keep.Count, maxCount, part
		if days, ok := strings.CutSuffix(part, "d"); ok {
			to, most, digits = &keep.Days, maxDays, days
		}
		n, err := strconv.Atoi(digits)
		if err != nil || n < 1 || n > most || digits[0] == '+' {
			return nil, fmt.Errorf("%q does not say how long to keep something; write days (90d), a number (500), both (\"90d,500\") or %s", text, Forever)
		}
		if *to != 0 {
			return nil, fmt.Errorf("%q says two times how long to keep something; write each of days and number once: \"90d,500\"", text)
		}
		*to = n
	}
	return keep, nil
}

// rule is how long one kind of thing of one project is kept.
type rule struct {
	before  time.Time // what is older goes; zero: age does not matter
	most    int       // what is beyond goes; 0: number does not matter
	minimum int       // so many newest never go
}

// any reports whether the rule lets anything go.
func (r rule) any() bool { return !r.before.IsZero() || r.most > 0 }

// rules are those of one project.
type rules struct{ events, logs, files, deliveries rule }

// rulesOf are a project's own rules, each missing part the server's.
func rulesOf(own *cyclone.Retention, server cyclone.Retention, now time.Time) rules {
	if own == nil {
		own = &cyclone.Retention{}
	}
	minimum := defaultMinimum
	if n := cmp.Or(own.Minimum, server.Minimum); n != nil {
		minimum = max(*n, 0)
	}
	rule := func(own, server *cyclone.Keep) rule {
		r := rule{minimum: minimum}
		keep := cmp.Or(own, server)
		if keep == nil {
			return r
		}
		r.most = max(keep.Count, 0)
		if keep.Days > 0 {
			r.before = now.AddDate(0, 0, -min(keep.Days, maxDays))
		}
		return r
	}
	return rules{
		events:     rule(own.Events, server.Events),
		logs:       rule(own.Logs, server.Logs),
		files:      rule(own.Files, server.Files),
		deliveries: rule(own.Deliveries, server.Deliveries),
	}
}
