package mongo

import (
	"context"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"cyclone/pkg/cyclone"
)

// Leases hands out named leases.
type Leases struct{ c *mongo.Collection }

// leaseDoc is a lease as it is stored.
type leaseDoc struct {
	ID     string    `bson:"_id"`
	Holder string    `bson:"holder"`
	Until  time.Time `bson:"until"`
}

// Acquire takes the lease, or extends the holder's own, until now+ttl. It
// reports false while another holds it.
func (s *Leases) Acquire(ctx context.Context, name, holder string, now time.Time, ttl time.Duration) (bool, error) {
	until := cyclone.Stamp(ceil(now.Add(ttl)))
	held := false
	err := surely(ctx, func(ctx context.Context) (err error) {
		held, err = s.acquire(ctx, name, holder, now, until)
		return err
	})
	return held && err == nil, wrap(err, "acquire lease %s", name)
}

func (s *Leases) acquire(ctx context.Context, name, holder string, now, until time.Time) (bool, error) {
	// Not one upsert: a lease that another holds would then be a duplicate key
	// of an update, which not every server reports as such.
	result, err := s.c.UpdateOne(ctx, bson.D{{Key: "_id", Value: name}, {Key: "$or", Value: bson.A{
		bson.D{{Key: "holder", Value: holder}},
		bson.D{{Key: "until", Value: bson.D{{Key: "$lte", Value: now}}}},
	}}}, bson.D{{Key: "$set", Value: bson.D{{Key: "holder", Value: holder}, {Key: "until", Value: until}}}})
	if err != nil || result.MatchedCount > 0 {
		return err == nil, err
	}
	_, err = s.c.InsertOne(ctx, leaseDoc{name, holder, until})
	if mongo.IsDuplicateKeyError(err) {
		return false, nil
	}
	return err == nil, err
}

// Release gives the holder's lease back. One that is another's, or nobody's,
// is left alone.
func (s *Leases) Release(ctx context.Context, name, holder string) error {
	err := surely(ctx, func(ctx context.Context) error {
		_, err := s.c.DeleteOne(ctx, bson.D{{Key: "_id", Value: name}, {Key: "holder", Value: holder}})
		return err
	})
	return wrap(err, "release lease %s", name)
}
