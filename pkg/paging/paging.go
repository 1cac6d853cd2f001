// Package paging cuts lists into pages: how many items a page has, and the
// opaque cursor that says where the next one begins. The stores share it, so
// that a cursor is refused in the same words by each.
//
// It reads nothing: what comes after a cursor is the store's query.
package paging

import (
	"encoding/base64"
	"encoding/json"

	"cyclone/pkg/cyclone"
)

const (
	defaultLimit = 50
	maxLimit     = 200
)

// Limit is how many items a page has.
func Limit(p cyclone.Page) int {
	if p.Limit <= 0 {
		return defaultLimit
	}
	return min(p.Limit, maxLimit)
}

// AtMost is the limit of a call that has no pages: what was asked for.
func AtMost(n int) int {
	if n <= 0 {
		return defaultLimit
	}
	return n
}

// Cursor packs the place of a page's last item.
func Cursor(parts ...string) string {
	b, err := json.Marshal(parts)
	if err != nil {
		return "" // strings always marshal
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// Parse unpacks a cursor of n parts; nil for the first page. ErrInvalid for
// one that Cursor did not make.
func Parse(s string, n int) ([]string, error) {
	if s == "" {
		return nil, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	var parts []string
	if err != nil || json.Unmarshal(b, &parts) != nil || len(parts) != n {
		return nil, Bad()
	}
	return parts, nil
}

// Bad is the ErrInvalid for a cursor that no list returned.
func Bad() error {
	return cyclone.Invalid("cursor", "is not one that a list returned; start again without a cursor")
}

// Cut makes a page of up to n of the items, which are one more where there is
// a next page; mark packs the place of the last.
func Cut[T any](items []T, n, total int, mark func(T) string) cyclone.List[T] {
	list := cyclone.List[T]{Items: items, Total: total}
	if len(items) > n {
		list.Items, list.Next = items[:n], mark(items[n-1])
	}
	return list
}
