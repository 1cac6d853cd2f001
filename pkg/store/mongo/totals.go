package mongo

import (
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"cyclone/pkg/cyclone"
)

// Totals counts what is not over yet, each part in an index range that holds
// nothing else. The parts are counted one after the other, so events that move
// meanwhile may be in two of them or in none.
func (s *Store) Totals(ctx context.Context) (cyclone.Totals, error) {
	var t cyclone.Totals
	for _, part := range []struct {
		of     *mongo.Collection
		filter bson.D
		to     *int
	}{
		{s.Events.c, with("status", cyclone.StatusPending), &t.Pending},
		{s.Events.c, with("status", cyclone.StatusBlocked), &t.Blocked},
		{s.Events.c, with("status", cyclone.StatusRunning), &t.Running},
		{s.Events.c, with("noticeDue", bson.D{{Key: "$gte", Value: time.UnixMilli(0)}}), &t.Notices},
		{s.Deliveries.c, with("state", waiting), &t.DeliveriesWaiting},
		{s.Deliveries.c, with("state", parked), &t.DeliveriesParked},
	} {
		n, err := part.of.CountDocuments(ctx, part.filter)
		if err != nil {
			return t, wrap(err, "count %s that are not over", part.of.Name())
		}
		*part.to = int(n)
	}
	oldest, err := one[eventDoc](s.Events.c.FindOne(ctx, with("status", cyclone.StatusPending),
		options.FindOne().SetSort(byOne("createdAt")).SetProjection(byOne("createdAt"))))
	if errors.Is(err, mongo.ErrNoDocuments) {
		return t, nil
	}
	if err != nil {
		return t, wrap(err, "find the oldest pending event")
	}
	t.OldestPending = oldest.CreatedAt
	return t, nil
}

// with selects the documents whose field has the value.
func with(field string, value any) bson.D { return bson.D{{Key: field, Value: value}} }
