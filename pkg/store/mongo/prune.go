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

// place is where a delivery stands in its project's list, which is by the time
// it was received and then by _id.
type place struct {
	Received time.Time `bson:"receivedAt"`
	ID       string    `bson:"_id"`
}

func (p place) before(q place) bool {
	return p.Received.Before(q.Received) || p.Received.Equal(q.Received) && p.ID < q.ID
}

// Prune removes handled and parked deliveries of a project and returns how
// many; those that still wait are never removed.
func (s *Deliveries) Prune(ctx context.Context, project cyclone.ProjectName, p cyclone.Prune) (int, error) {
	ctx, stop := long(ctx)
	defer stop()
	last, err := s.pruneLast(ctx, project, p)
	if err != nil {
		return 0, wrap(err, "prune deliveries of project %s", project)
	}
	filter := bson.D{
		{Key: "project", Value: project}, {Key: "state", Value: bson.D{{Key: "$in", Value: bson.A{handled, parked}}}},
		{Key: "$or", Value: bson.A{
			bson.D{{Key: "receivedAt", Value: bson.D{{Key: "$lt", Value: last.Received}}}},
			bson.D{{Key: "receivedAt", Value: last.Received}, {Key: "_id", Value: bson.D{{Key: "$lte", Value: last.ID}}}},
		}},
	}
	if p.Dry {
		n, err := s.c.CountDocuments(ctx, filter)
		return int(n), wrap(err, "count deliveries of project %s to be pruned", project)
	}
	removed := 0
	for {
		n, err := deleteSome(ctx, s.c, filter)
		removed += n
		if err != nil || n == 0 {
			return removed, wrap(err, "prune deliveries of project %s", project)
		}
	}
}

// deleteSome deletes a batch of what matches and returns how many that was.
func deleteSome(ctx context.Context, c *mongo.Collection, filter bson.D) (int, error) {
	ids, err := idsOf(ctx, c, filter, deleteBatch)
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	result, err := c.DeleteMany(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}})
	if err != nil {
		return 0, err
	}
	return int(result.DeletedCount), nil
}

// idsOf are the _ids of at most limit documents that match.
func idsOf(ctx context.Context, c *mongo.Collection, filter bson.D, limit int64) (bson.A, error) {
	found, err := c.Find(ctx, filter, options.Find().SetProjection(byOne("_id")).SetLimit(limit))
	if err != nil {
		return nil, err
	}
	var docs []struct {
		ID string `bson:"_id"`
	}
	if err := found.All(ctx, &docs); err != nil {
		return nil, err
	}
	ids := make(bson.A, len(docs))
	for i, d := range docs {
		ids[i] = d.ID
	}
	return ids, nil
}

// pruneLast is the place of the last delivery that goes. What p selects is
// always the older part of the list, so one place says it all.
func (s *Deliveries) pruneLast(ctx context.Context, project cyclone.ProjectName, p cyclone.Prune) (place, error) {
	var last place
	if !p.Before.IsZero() {
		last = place{Received: ceil(p.Before)} // its empty id is before all
	}
	if p.Most > 0 {
		most, err := s.beyond(ctx, project, p.Most)
		if err != nil {
			return last, err
		}
		if last.before(most) {
			last = most
		}
	}
	kept, err := s.beyond(ctx, project, max(p.Minimum, 0))
	if kept.before(last) {
		last = kept
	}
	return last, err
}

// beyond is the place of the project's delivery that has so many newer ones;
// the zero place when there is none.
func (s *Deliveries) beyond(ctx context.Context, project cyclone.ProjectName, newer int) (place, error) {
	var p place
	err := s.c.FindOne(ctx, bson.D{{Key: "project", Value: project}}, options.FindOne().SetSkip(int64(newer)).
		SetSort(bson.D{{Key: "receivedAt", Value: -1}, {Key: "_id", Value: -1}}).
		SetProjection(bson.D{{Key: "receivedAt", Value: 1}})).Decode(&p)
	if errors.Is(err, mongo.ErrNoDocuments) {
		err = nil
	}
	return p, err
}
