package mongo

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

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
func atMost(n int) int64 {
	if n <= 0 {
		return defaultLimit
	}
	return int64(n)
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

func badCursor() error {
	return cyclone.Invalid("cursor", "is not one that a list returned; start again without a cursor")
}

// timeCursor packs the place of an item in a list that is newest first.
func timeCursor(t time.Time, id string) string {
	return cursor(strconv.FormatInt(t.UnixMilli(), 10), id)
}

// older selects what comes after the cursor in a list that is newest first by
// the field and then by _id.
func older(field, after string) (bson.D, error) {
	parts, err := parseCursor(after, 2)
	if parts == nil || err != nil {
		return nil, err
	}
	ms, err := strconv.ParseInt(parts[0], 10, 64)
	if err != nil {
		return nil, badCursor()
	}
	t := time.UnixMilli(ms)
	return bson.D{{Key: "$or", Value: bson.A{
		bson.D{{Key: field, Value: bson.D{{Key: "$lt", Value: t}}}},
		bson.D{{Key: field, Value: t}, {Key: "_id", Value: bson.D{{Key: "$lt", Value: parts[1]}}}},
	}}}, nil
}

// cut makes a page of up to n of the items, which are one more where there is
// a next page; mark packs the place of the last.
func cut[T any](items []T, n int, total int64, mark func(T) string) cyclone.List[T] {
	list := cyclone.List[T]{Items: items, Total: int(total)}
	if len(items) > n {
		list.Items, list.Next = items[:n], mark(items[n-1])
	}
	return list
}

// document is how a T is stored.
type document[T any] interface{ value() T }

// all reads what a query finds.
func all[D document[T], T any](ctx context.Context, c *mongo.Collection, filter any, o *options.FindOptionsBuilder) ([]T, error) {
	found, err := c.Find(ctx, filter, o)
	if err != nil {
		return nil, err
	}
	var docs []D
	if err := found.All(ctx, &docs); err != nil {
		return nil, err
	}
	items := make([]T, len(docs))
	for i, d := range docs {
		items[i] = d.value()
	}
	return items, nil
}

// one decodes a single document; mongo.ErrNoDocuments when there is none.
func one[D document[T], T any](found *mongo.SingleResult) (T, error) {
	var d D
	if err := found.Decode(&d); err != nil {
		var none T
		return none, err
	}
	return d.value(), nil
}

// listByName is a page of a collection whose order is its _id.
func listByName[D document[T], T any](ctx context.Context, c *mongo.Collection, page cyclone.Page, name func(T) string) (cyclone.List[T], error) {
	var none cyclone.List[T]
	after, err := parseCursor(page.Cursor, 1)
	if err != nil {
		return none, err
	}
	total, err := c.CountDocuments(ctx, bson.D{})
	if err != nil {
		return none, wrap(err, "count %s", c.Name())
	}
	filter := bson.D{}
	if after != nil {
		filter = bson.D{{Key: "_id", Value: bson.D{{Key: "$gt", Value: after[0]}}}}
	}
	n := limit(page)
	items, err := all[D](ctx, c, filter, options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}).SetLimit(int64(n)+1))
	if err != nil {
		return none, wrap(err, "list %s", c.Name())
	}
	return cut(items, n, total, func(item T) string { return cursor(name(item)) }), nil
}

// ceil is the first whole millisecond that is not before t. Stored times are
// whole milliseconds, so comparing with it is comparing with t itself.
func ceil(t time.Time) time.Time {
	if s := cyclone.Stamp(t); s.Before(t) {
		return s.Add(time.Millisecond)
	}
	return t
}

// byID selects one document.
func byID(id string) bson.D { return bson.D{{Key: "_id", Value: id}} }
