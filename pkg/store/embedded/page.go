package embedded

import (
	"encoding/json"
	"strconv"
	"time"

	"cyclone/pkg/paging"
)

// parseNumbers unpacks a cursor of two numbers; false for the first page.
func parseNumbers(s string) (a, b int64, ok bool, err error) {
	parts, err := paging.Parse(s, 2)
	if parts == nil || err != nil {
		return 0, 0, false, err
	}
	a, errA := strconv.ParseInt(parts[0], 10, 64)
	b, errB := strconv.ParseInt(parts[1], 10, 64)
	if errA != nil || errB != nil {
		return 0, 0, false, paging.Bad()
	}
	return a, b, true, nil
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
