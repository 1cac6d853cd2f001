package mongo

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// indexes that the queries of this package use, by collection.
var indexes = map[string][]index{
	"events": {
		{keys: bson.D{{Key: "key", Value: 1}}, unique: true},
		{keys: bson.D{{Key: "project", Value: 1}, {Key: "number", Value: 1}}, unique: true},
		{keys: bson.D{{Key: "status", Value: 1}, {Key: "project", Value: 1}, {Key: "number", Value: 1}}},
		{keys: bson.D{{Key: "createdAt", Value: -1}, {Key: "_id", Value: -1}}},
		{keys: bson.D{{Key: "status", Value: 1}, {Key: "createdAt", Value: -1}, {Key: "_id", Value: -1}}},
		{keys: bson.D{{Key: "project", Value: 1}, {Key: "createdAt", Value: -1}, {Key: "_id", Value: -1}}},
		{keys: bson.D{{Key: "project", Value: 1}, {Key: "status", Value: 1}, {Key: "createdAt", Value: -1}, {Key: "_id", Value: -1}}},
		{keys: bson.D{{Key: "project", Value: 1}, {Key: "branch", Value: 1}, {Key: "createdAt", Value: -1}, {Key: "_id", Value: -1}}},
		{keys: bson.D{{Key: "project", Value: 1}, {Key: "trigger.kind", Value: 1}, {Key: "createdAt", Value: -1}, {Key: "_id", Value: -1}}},
		{keys: bson.D{{Key: "noticeDue", Value: 1}}},
	},
	"logs": {{keys: bson.D{{Key: "event", Value: 1}, {Key: "last", Value: 1}}}},
	"files": {
		{keys: bson.D{{Key: "event", Value: 1}, {Key: "_id", Value: 1}}},
		{keys: bson.D{{Key: "content", Value: 1}}},
	},
	"uploads": {{keys: bson.D{{Key: "aliveAt", Value: 1}}}},
	"deliveries": {
		{keys: bson.D{{Key: "project", Value: 1}, {Key: "receivedAt", Value: -1}, {Key: "_id", Value: -1}}},
		{keys: bson.D{{Key: "state", Value: 1}, {Key: "due", Value: 1}}},
	},
	"secrets": {{keys: bson.D{{Key: "project", Value: 1}, {Key: "name", Value: 1}}, unique: true}},
	"marks":   {{keys: bson.D{{Key: "project", Value: 1}, {Key: "name", Value: 1}}, unique: true}},
}

type index struct {
	keys   bson.D
	unique bool
}

// name is the one that MongoDB itself would give.
func (ix index) name() string {
	parts := make([]string, len(ix.keys))
	for i, key := range ix.keys {
		parts[i] = fmt.Sprintf("%s_%d", key.Key, key.Value)
	}
	return strings.Join(parts, "_")
}

// makeIndexes makes those that are missing, one at a time, as not every server
// takes a list of which some are there already.
func (s *Store) makeIndexes(ctx context.Context) error {
	ctx, stop := long(ctx)
	defer stop()
	db := s.Events.c.Database()
	for name, list := range indexes {
		view := db.Collection(name).Indexes()
		there, err := view.ListSpecifications(ctx)
		if err != nil {
			return wrap(err, "list indexes of %s", name)
		}
		for _, ix := range list {
			if slices.ContainsFunc(there, func(i mongo.IndexSpecification) bool { return i.Name == ix.name() }) {
				continue
			}
			o := options.Index().SetName(ix.name())
			if ix.unique {
				o.SetUnique(true)
			}
			if _, err := view.CreateOne(ctx, mongo.IndexModel{Keys: ix.keys, Options: o}); err != nil {
				return wrap(err, "make index %s of %s", ix.name(), name)
			}
		}
	}
	return nil
}
