package embedded

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"time"

	"cyclone/pkg/cyclone"
)

const (
	defaultLimit = 50
	maxLimit     = 200
)

// limit is how many items a page has.
func limit(p cyclone.Page) int {
	if p.Limit <= 0 {
		return defaultLimit
	}
	return min(p.Limit, maxLimit)
}

// atMost is the limit of a call that has no pages: what was asked for.
func atMost(n int) int {
	if n <= 0 {
		return defaultLimit
	}
	return n
}

// cursor packs the place of a page's last item.
func cursor(parts ...string) string {
	b, err := json.Marshal(parts)
	if err != nil {
		return "" // strings always marshal
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// parseCursor unpacks a cursor of n parts; nil for the first page.
func parseCursor(s string, n int) ([]string, error) {
	if s == "" {
		return nil, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	var parts []string
	if err != nil || json.Unmarshal(b, &parts) != nil || len(parts) != n {
		return nil, badCursor()
	}
	return parts, nil
}

// parseNumbers unpacks a cursor of two numbers; false for the first page.
func parseNumbers(s string) (a, b int64, ok bool, err error) {
	parts, err := parseCursor(s, 2)
	if parts == nil || err != nil {
		return 0, 0, false, err
	}
	a, errA := strconv.ParseInt(parts[0], 10, 64)
	b, errB := strconv.ParseInt(parts[1], 10, 64)
	if errA != nil || errB != nil {
		return 0, 0, false, badCursor()
	}
	return a, b, true, nil
}

func badCursor() error {
	return cyclone.Invalid("cursor", "is not one that a list returned; start again without a cursor")
}

// cut makes a page of up to n of the items, which are one more where there is
// a next page; mark packs the place of the last.
func cut[T any](items []T, n, total int, mark func(T) string) cyclone.List[T] {
	list := cyclone.List[T]{Items: items, Total: total}
	if len(items) > n {
		list.Items, list.Next = items[:n], mark(items[n-1])
	}
	return list
}

// stamp cuts the time that p points to; nil stays nil.
func stamp(p *time.Time) *time.Time {
	if p == nil {
		return nil
	}
	t := cyclone.Stamp(*p)
	return &t
}

// text marshals a value of the vocabulary, which cannot fail but for a
// programming error that the contract suite would show.
func text(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}

// milliCeil is the first whole millisecond that is not before t. Stored times
// are whole milliseconds, so comparing with it is comparing with t itself.
func milliCeil(t time.Time) int64 {
	ms := t.UnixMilli()
	if time.UnixMilli(ms).Before(t) {
		ms++
	}
	return ms
}
