package httpapi

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/paging"
)

const (
	defaultLimit = 50
	maxLimit     = 200
)

// listOf is a List whose items are written as [] when there are none.
func listOf[T any](l cyclone.List[T]) cyclone.List[T] {
	if l.Items == nil {
		l.Items = []T{}
	}
	return l
}

// writePage answers with the page that was asked for of a list that is read
// as a whole.
func writePage[T any](w http.ResponseWriter, r *http.Request, items []T, key func(T) string) error {
	list, err := pageOf(r, items, key)
	if err != nil {
		return err
	}
	return show(w, list)
}

// pageOf is the page that was asked for of a list that is read as a whole. Its
// cursor is the key of the page's last item, so that pages fit together while
// items come and go; items are sorted by that key.
func pageOf[T any](r *http.Request, items []T, key func(T) string) (cyclone.List[T], error) {
	q := queryOf(r)
	page := q.page()
	after, err := paging.Parse(page.Cursor, 1)
	if err := allWrong(q.bad.OrNil(), func() error { return err }); err != nil {
		return cyclone.List[T]{}, err
	}
	slices.SortFunc(items, func(a, b T) int { return strings.Compare(key(a), key(b)) })
	rest := items
	if after != nil {
		rest = slices.DeleteFunc(slices.Clone(items), func(item T) bool { return key(item) <= after[0] })
	}
	return listOf(paging.Cut(rest, page.Limit, len(items), func(last T) string { return paging.Cursor(key(last)) })), nil
}

// query reads parameters and collects what is wrong with them.
type query struct {
	values url.Values
	bad    cyclone.InvalidError
}

func queryOf(r *http.Request) *query { return &query{values: r.URL.Query()} }

// number is a whole number of at least low, or otherwise when it is not given.
func (q *query) number(name string, low, otherwise int64) int64 {
	text := q.values.Get(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < low {
		q.bad.Add(name, "must be a whole number from %d", low)
		return otherwise
	}
	return n
}

func (q *query) time(name string) time.Time {
	text := q.values.Get(name)
	if text == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		q.bad.Add(name, "must be a time like 2026-01-31T12:00:00Z")
	}
	return t.UTC()
}

func (q *query) flag(name string) bool {
	text := q.values.Get(name)
	if text == "" && !q.values.Has(name) {
		return false
	}
	if text == "" {
		return true
	}
	on, err := strconv.ParseBool(text)
	if err != nil {
		q.bad.Add(name, "must be true or false")
	}
	return on
}

func (q *query) page() cyclone.Page {
	limit := q.number("limit", 1, defaultLimit)
	if limit > maxLimit {
		q.bad.Add("limit", "must be at most %d", maxLimit)
	}
	return cyclone.Page{Limit: int(min(limit, maxLimit)), Cursor: q.values.Get("cursor")}
}

// statuses reads a parameter that may be repeated or hold several values with
// commas between them.
func (q *query) statuses(name string) []cyclone.Status {
	var all []cyclone.Status
	for _, text := range q.values[name] {
		for part := range strings.SplitSeq(text, ",") {
			if part == "" {
				continue
			}
			if !slices.Contains(cyclone.Statuses, cyclone.Status(part)) {
				q.bad.Add(name, "%q is not a status%s", clip(part, 30), oneOf(texts(cyclone.Statuses)))
			}
			all = append(all, cyclone.Status(part))
		}
	}
	return all
}

func (q *query) kind(name string) cyclone.TriggerKind {
	kind := cyclone.TriggerKind(q.values.Get(name))
	if kind != "" && !slices.Contains(kinds, kind) {
		q.bad.Add(name, "%q is not a kind of trigger%s", clip(string(kind), 30), oneOf(texts(kinds)))
	}
	return kind
}

// kinds are all kinds of trigger.
var kinds = []cyclone.TriggerKind{
	cyclone.KindPush, cyclone.KindTag, cyclone.KindRelease, cyclone.KindPullRequest,
	cyclone.KindComment, cyclone.KindManual, cyclone.KindCron, cyclone.KindRerun,
}

func texts[T ~string](all []T) []string {
	out := make([]string, len(all))
	for i, v := range all {
		out[i] = string(v)
	}
	return out
}
