package mongo

import (
	"context"
	"strconv"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"cyclone/pkg/cyclone"
	"cyclone/pkg/paging"
)

// timeCursor packs the place of an item in a list that is newest first.
func timeCursor(t time.Time, id string) string {
	return paging.Cursor(strconv.FormatInt(t.UnixMilli(), 10), id)
}

// older selects what comes after the cursor in a list that is newest first by
// the field and then by _id.
func older(field, after string) (bson.D, error) {
	parts, err := paging.Parse(after, 2)
	if parts == nil || err != nil {
		return nil, err
	}
	ms, err := strconv.ParseInt(parts[0], 10, 64)
	if err != nil {
		return nil, paging.Bad()
	}
	t := time.UnixMilli(ms)
	return bson.D{{Key: "$or", Value: bson.A{
		bson.D{{Key: field, Value: bson.D{{Key: "$lt", Value: t}}}},
		bson.D{{Key: field, Value: t}, {Key: "_id", Value: bson.D{{Key: "$lt", Value: parts[1]}}}},
	}}}, nil
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
	after, err := paging.Parse(page.Cursor, 1)
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
	n := paging.Limit(page)
	items, err := all[D](ctx, c, filter, options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}).SetLimit(int64(n)+1))
	if err != nil {
		return none, wrap(err, "list %s", c.Name())
	}
	return paging.Cut(items, n, int(total), func(item T) string { return paging.Cursor(name(item)) }), nil
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
